defmodule Outrigger.Kernel.Define do
  @moduledoc false
  # From the head and the body of a kernel to its unit.

  import Outrigger.Kernel.Scope, only: [fail: 3]
  alias Outrigger.Kernel.{Emit, Expression, Head, Reader, Scope, Unit}

  @doc """
  Compiles the kernel of a source, by its position in the module. Its unit is kept in the attribute
  `:outrigger_kernels` of the module: the kernels after it can call it.

  A kernel with parameters without types is kept as its source.
  """
  def define(source, visibility, env) do
    {head, body} = env.module |> Module.get_attribute(:outrigger_sources) |> Enum.at(-1 - source)
    {name, meta, params} = Head.split(head)
    arity = Enum.count(params, &(not Head.new?(&1)))
    kernels = Module.get_attribute(env.module, :outrigger_kernels) || %{}
    # Local macros expand inside of functions only.
    env = %{env | function: {name, length(params)}}
    known = Map.new(kernels, fn {key, {_, unit}} -> {key, unit} end)
    scope = %Scope{env: env, key: {env.module, name, arity}, line: meta[:line], kernels: known}

    if Expression.builtin?(name),
      do: fail(scope, meta, "#{name} is a function or a word of kernels: use another name")

    if Map.has_key?(kernels, {name, arity}),
      do:
        fail(
          scope,
          meta,
          "the kernel #{name}/#{arity} is there already: clauses are `if` or `cond`"
        )

    kernel =
      if Head.generic?(head),
        do: {:generic, generic(head, body, scope)},
        else: unit(head, body, scope)

    kernels = Map.put(kernels, {name, arity}, {visibility, kernel})
    Module.put_attribute(env.module, :outrigger_kernels, kernels)
  end

  defp unit(head, body, scope) do
    {module, name, arity} = scope.key
    {params, scope} = Head.read(head, scope)
    {statements, scope} = Reader.body(body, scope)
    text = "#{inspect(module)}.#{name}/#{arity}"
    file = Path.relative_to_cwd(scope.env.file)
    kernel = Emit.kernel(text, file, params, statements, scope)

    case Unit.link(scope.key, kernel, Map.values(scope.callees)) do
      {:ok, unit} -> unit
      {:error, text} -> fail(scope, scope.line || scope.env.line, text)
    end
  end

  # Macros and attributes are those of the module's compilation.
  defp generic(head, body, scope) do
    body = Macro.prewalk(body, &expanded(&1, scope))

    {_body, names} =
      Macro.prewalk(body, [], fn
        {:@, _, [{name, _, context}]} = ast, names when is_atom(context) -> {ast, [name | names]}
        ast, names -> {ast, names}
      end)

    attributes = for name <- Enum.uniq(names), into: %{}, do: {name, Scope.attribute(scope, name)}
    env = %{scope.env | lexical_tracker: nil, tracers: [], versioned_vars: %{}}
    :erlang.term_to_binary({head, body, %{scope | env: env, attributes: attributes}})
  end

  defp expanded(ast, scope) do
    case Expression.expand(ast, scope) do
      {:ok, ast, _scope} -> expanded(ast, scope)
      :error -> ast
    end
  end

  @doc """
  The unit of a kernel without types, for arguments with these. `type` gives the `{dtype, rank}` of
  an argument.
  """
  def specialize({module, _, _} = key, source, args, type) do
    {head, body, scope} = :erlang.binary_to_term(source)
    types = for at <- Head.bare_positions(head), do: args |> Enum.at(at) |> type.()
    cached = {__MODULE__, key, module.module_info(:md5), types}

    with nil <- :persistent_term.get(cached, nil) do
      unit = head |> Head.with_types(types) |> unit(body, scope)
      :persistent_term.put(cached, unit)
      unit
    end
  end
end
