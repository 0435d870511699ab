defmodule Outrigger.Kernel.Define do
  @moduledoc false
  # From the head and the body of a kernel to its unit.

  import Outrigger.Kernel.Scope, only: [fail: 3]
  alias Outrigger.Kernel.{Emit, Expression, Head, Reader, Scope, Unit}

  @doc """
  Compiles the kernel of a source, by its position in the module. Its unit is kept in the attribute
  `:outrigger_kernels` of the module: the kernels after it can call it.
  """
  def define(source, visibility, env) do
    {head, body} = env.module |> Module.get_attribute(:outrigger_sources) |> Enum.at(-1 - source)
    {name, meta, params} = Head.split(head)
    arity = Enum.count(params, &(not Head.new?(&1)))
    kernels = Module.get_attribute(env.module, :outrigger_kernels) || %{}
    key = {env.module, name, arity}

    scope = %Scope{
      # Local macros expand inside of functions only.
      env: %{env | function: {name, length(params)}},
      key: key,
      line: Keyword.get(meta, :line),
      kernels: Map.new(kernels, fn {key, {_, unit}} -> {key, unit} end)
    }

    if Expression.builtin?(name),
      do: fail(scope, meta, "#{name} is a function or a word of kernels: use another name")

    if Map.has_key?(kernels, {name, arity}),
      do:
        fail(
          scope,
          meta,
          "the kernel #{name}/#{arity} is there already: clauses are `if` or `cond`"
        )

    {params, scope} = Head.read(head, scope)
    {statements, scope} = Reader.body(body, scope)
    text = "#{inspect(env.module)}.#{name}/#{arity}"
    file = Path.relative_to_cwd(env.file)
    kernel = Emit.kernel(text, file, params, statements, scope)

    case Unit.link(key, kernel, Map.values(scope.callees)) do
      {:ok, unit} ->
        kernels = Map.put(kernels, {name, arity}, {visibility, unit})
        Module.put_attribute(env.module, :outrigger_kernels, kernels)

      {:error, text} ->
        fail(scope, meta, text)
    end
  end
end
