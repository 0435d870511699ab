defmodule Outrigger.Nx.Failure do
  @moduledoc false
  # Errors of the daemon in Nx's words: which of its functions failed, in which defn, and where that is
  # written. What makes an expression remembers its origin, a module, function and arity; all the rest is
  # looked up when there is an error to tell.

  alias Outrigger.Error

  @type origin :: mfa | nil

  @doc "The function that a defn's expression came from, by the compiler's key."
  def origin(fun) when is_function(fun) do
    info = Function.info(fun)
    # The backend compiles reductions and blocks by functions of its own.
    if info[:module] != Outrigger.Nx.Compiler, do: {info[:module], info[:name], info[:arity]}
  end

  def origin(_other), do: nil

  @doc "The error as a user of Nx should read it."
  def explain(%Error{} = error, origin) do
    where = Enum.filter([function(error.op), origin && "in #{describe(origin)}"], & &1)
    message = if where == [], do: "", else: Enum.join(where, " ") <> ": "
    # Instructions are numbered in a program that nobody has written.
    %{error | message: message <> error.message, index: nil}
  end

  def explain(error, _origin), do: error

  # Ops have the names of Nx's functions.
  defp function(nil), do: nil

  defp function(op) do
    module = Enum.find([Nx, Nx.LinAlg], &Enum.any?(&1.__info__(:functions), named(op)))
    if module, do: "#{inspect(module)}.#{op}", else: op
  end

  defp named(op), do: fn {name, _arity} -> Atom.to_string(name) == op end

  defp describe({module, name, arity} = function) do
    shown = name |> Atom.to_string() |> String.replace(~r/^__defn:(.*)__$/, "\\1")
    Exception.format_mfa(module, String.to_atom(shown), arity) <> location(function)
  end

  # Modules that were compiled to a file tell the line, those of scripts and notebooks their file.
  defp location({module, name, arity}) do
    with {_, beam, _} <- :code.get_object_code(module),
         {:ok, {_, [debug_info: {:debug_info_v1, backend, data}]}} <-
           :beam_lib.chunks(beam, [:debug_info]),
         {:ok, %{definitions: definitions, file: file}} <-
           backend.debug_info(:elixir_v1, module, data, []),
         {_, _, _, [clause | _]} <- List.keyfind(definitions, {name, arity}, 0) do
      " (#{Path.relative_to_cwd(file)}:#{line(clause)})"
    else
      _ -> source(module)
    end
  end

  defp source(module) do
    case module.module_info(:compile)[:source] do
      nil -> ""
      path -> " (#{Path.relative_to_cwd(List.to_string(path))})"
    end
  end

  # A defn's own head has the module's line; what it is made of has kept its own.
  defp line({meta, args, _guards, body}) do
    {_, lines} =
      Macro.prewalk({args, body}, [], fn
        {_, meta, _} = node, lines when is_list(meta) -> {node, List.wrap(meta[:line]) ++ lines}
        node, lines -> {node, lines}
      end)

    Enum.min(lines, fn -> meta[:line] end)
  end
end
