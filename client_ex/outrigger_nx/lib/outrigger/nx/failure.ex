defmodule Outrigger.Nx.Failure do
  @moduledoc false
  # Explains errors of the daemon to users of Nx: the failed function of Nx, the defn, and its
  # line in the source. A compiled expression keeps its origin (module, function and arity). This
  # module looks up the rest when there is an error.

  alias Outrigger.Error

  @type origin :: mfa | nil

  @doc "The function of a defn's expression, by the compiler's key."
  def origin(fun) when is_function(fun) do
    info = Function.info(fun)
    # The functions by which the backend compiles reductions and blocks are not the user's.
    if info[:module] != Outrigger.Nx.Compiler, do: {info[:module], info[:name], info[:arity]}
  end

  def origin(_other), do: nil

  @doc "The error for a user of Nx."
  def explain(%Error{} = error, origin) do
    where = Enum.filter([function(error.op), origin && describe(origin, error.op)], & &1)
    message = if where == [], do: "", else: Enum.join(where, " in ") <> ": "

    # The index of an instruction means nothing to the user, because the compiler made the program.
    %{error | message: message <> error.message, index: nil}
  end

  def explain(error, _origin), do: error

  # An op has the name of its function in Nx.
  defp function(nil), do: nil

  defp function(op) do
    module = Enum.find([Nx, Nx.LinAlg], &Enum.any?(&1.__info__(:functions), named(op)))
    if module, do: "#{inspect(module)}.#{op}", else: op
  end

  defp named(op), do: fn {name, _arity} -> Atom.to_string(name) == op end

  defp describe({module, name, arity}, op) do
    plain = name |> Atom.to_string() |> String.replace(~r/^__defn:(.*)__$/, "\\1")
    shown = Exception.format_mfa(module, String.to_atom(plain), arity)
    location = location(module, [:"__defn:#{plain}__", name], arity, op) || source(module)
    if location, do: "#{shown} (#{location})", else: shown
  end

  # Modules of scripts and notebooks, and stripped modules, have no debug information.
  defp location(module, names, arity, op) do
    with {_, beam, _} <- :code.get_object_code(module),
         {:ok, {_, [debug_info: {:debug_info_v1, backend, data}]}} <-
           :beam_lib.chunks(beam, [:debug_info]),
         {:ok, %{definitions: definitions, file: file}} <-
           backend.debug_info(:elixir_v1, module, data, []),
         {_, _, _, [clause | _]} <-
           Enum.find_value(names, &List.keyfind(definitions, {&1, arity}, 0)) do
      "#{Path.relative_to_cwd(file)}:#{line(clause, op)}"
    else
      _ -> nil
    end
  end

  defp source(module) do
    path = module.module_info(:compile)[:source]
    path && Path.relative_to_cwd(List.to_string(path))
  end

  # The line of the call, if there is exactly one such call, else the line of the function's head.
  defp line({meta, args, _guards, body}, op) do
    {_, {lines, calls}} =
      Macro.prewalk({args, body}, {[], []}, fn
        {{:., _, [module, name]}, meta, _} = node, {lines, calls}
        when module in [Nx, Nx.LinAlg, Nx.Defn.Kernel] and is_atom(name) ->
          called = if Atom.to_string(name) == op, do: [meta[:line]], else: []
          {node, {[meta[:line] | lines], called ++ calls}}

        {_, meta, _} = node, {lines, calls} when is_list(meta) ->
          {node, {List.wrap(meta[:line]) ++ lines, calls}}

        node, acc ->
          {node, acc}
      end)

    case calls do
      [line] -> line
      _ -> Enum.min(lines, fn -> meta[:line] end)
    end
  end
end
