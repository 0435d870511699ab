defmodule Outrigger.Nx.Compiler do
  @moduledoc false
  # Defns as prepared programs. The program for a function and the templates of its arguments is
  # kept. A call is one frame.

  alias Nx.Defn.{Composite, Evaluator}
  alias Nx.Tensor, as: T
  alias Outrigger.{Prepared, Program}
  alias Outrigger.Nx.{Backend, Cache, Captured, DefaultServer, Expression, Failure, Functions}
  alias Outrigger.Nx.Options

  # `donated` are the positions of arguments that are not read after the call. `captured` are the
  # tensors of the expression, which each call passes, too.
  @enforce_keys [:ref, :program, :sources, :captured, :outputs, :donated, :origin]
  defstruct [:ref, :program, :sources, :captured, :outputs, :donated, :origin]

  @doc "A function that takes the lists of arguments and returns the lists of results."
  def compile(key, vars, fun, options) do
    if Backend.module_body?() do
      # The module's code keeps the result.
      evaluate(key, vars, fun, options, fn _arguments -> Nx.BinaryBackend end)
    else
      case compiled(key, vars, fun, options) do
        :callbacks -> evaluate(key, vars, fun, options, &{Backend, server: server(&1, options)})
        compiled -> fn [params] -> [call(compiled, params, options)] end
      end
    end
  end

  defp compiled(key, vars, fun, options) do
    hooks = hooks(options)
    templates = Enum.map(vars, &Composite.traverse(&1, [], fn t, acc -> {nil, [id(t) | acc]} end))

    Functions.fetch(key, {templates, Map.keys(hooks)}, fn ->
      Options.warn_misspelt(options)
      expr = fun.(vars)
      origin = Failure.origin(key)

      with {program, sources, captured} <- Expression.program(expr, hooks) do
        %__MODULE__{
          ref: make_ref(),
          program: program,
          sources: sources,
          captured: captured,
          outputs: Composite.traverse(expr, &output(&1, origin)),
          donated: donated(vars),
          origin: origin
        }
      end
    end)
  end

  defp hooks(options), do: options[:hooks] || %{}

  # The parts of a result that are the same in each call.
  defp output(expr, origin) do
    %{Nx.to_template(expr) | donatable?: false, data: %Backend{ref: nil, origin: origin}}
  end

  defp id(%T{} = t), do: {t.type, t.shape, t.names, t.vectorized_axes, t.donatable?}

  defp donated(vars) do
    for var <- vars,
        %T{donatable?: true, data: %{op: :parameter, args: [index]}} <-
          Composite.flatten_list([var]),
        do: index
  end

  ## Calls

  defp call(compiled, params, options) do
    params = List.to_tuple(params)
    sources = for index <- compiled.sources, do: argument(elem(params, index).())
    server = server(sources, params, options)
    prepared = prepared(compiled, server)
    captured = Captured.tensors(compiled, server)
    args = place(sources, server, captured)
    # The server may have a new connection.
    prepared = %{prepared | server: server}
    results = run(prepared, args, donated(compiled, params, args), compiled, options[:profile])
    fill(compiled.outputs, results)
  end

  # Functions with the same program share it.
  defp prepared(%{ref: ref, program: program}, server) do
    Cache.fetch({ref, server.counters}, fn ->
      Cache.fetch({:program, server.counters, program.encoded}, fn ->
        Prepared.new(server, program)
      end)
    end)
  end

  # Numbers, tensors of other backends, and arguments that the program does not use are not donated.
  defp donated(%{donated: []}, _params, _args), do: []

  defp donated(%{donated: indices}, params, args) do
    arguments = for index <- indices, do: elem(params, index).()
    refs = for %T{data: %Backend{ref: ref}} <- arguments, ref != nil, do: ref
    passed = for %{handle: handle} <- args, into: MapSet.new(), do: handle
    {used, unused} = Enum.split_with(refs, &(&1.handle in passed))
    Outrigger.release(unused)
    if used == [], do: [], else: [donated: Enum.uniq(used)]
  end

  defp run(prepared, args, donated, _compiled, nil), do: Program.call(prepared, args, donated)

  # `tell` gets the steps of a profile.
  defp run(prepared, args, _donated, compiled, tell) do
    case Outrigger.profile(prepared, args) do
      {:ok, results, steps} ->
        tell.(steps)
        results

      {:error, error} ->
        raise Failure.explain(error, compiled.origin)
    end
  end

  defp argument(%T{data: %Nx.Defn.Expr{}} = t) do
    raise ArgumentError,
          "cannot pass a tensor expression as argument to defn, got: #{inspect(t)}"
  end

  defp argument(%T{} = t) do
    t = Nx.devectorize(t)

    case Backend.source(t) do
      {:number, number} -> {:number, number, t.type}
      source -> source
    end
  end

  # The server of the arguments, or else the server of the caller's new tensors.
  defp server(sources, params, options) do
    case options[:server] || Enum.find(sources, &is_struct(&1, Outrigger.Tensor)) do
      nil -> server(for(param <- Tuple.to_list(params), do: param.()), options)
      %Outrigger.Tensor{server: server} -> server
      server -> DefaultServer.fetch!(server)
    end
  end

  defp server(arguments, options) do
    if options[:server],
      do: DefaultServer.fetch!(options[:server]),
      else: Backend.server(arguments, default_options())
  end

  defp default_options do
    case Nx.default_backend() do
      {Backend, options} -> options
      _ -> []
    end
  end

  defp place([source | rest], server, captured),
    do: [Backend.place(source, server) | place(rest, server, captured)]

  defp place([], _server, captured), do: captured

  # The common cases first, without a traversal.
  defp fill(%T{} = out, [ref]), do: %{out | data: %{out.data | ref: ref}}

  defp fill(outputs, refs) do
    {results, []} =
      Composite.traverse(outputs, refs, fn out, [ref | rest] ->
        {%{out | data: %{out.data | ref: ref}}, rest}
      end)

    results
  end

  ## Functions of Elixir within a defn

  # Evaluates operation by operation, on the backend for the arguments.
  defp evaluate(key, vars, fun, options, backend) do
    if options[:profile] do
      raise ArgumentError,
            "a defn with hooks or runtime calls runs operation by operation: there is no " <>
              "program to profile"
    end

    evaluator_options = [hooks: hooks(options)] ++ Keyword.take(options, [:garbage_collect])

    fn [params] ->
      arguments = for param <- params, do: param.()
      args = [for(argument <- arguments, do: fn -> argument end)]

      Nx.with_default_backend(backend.(arguments), fn ->
        Evaluator.__compile__(key, vars, fun, evaluator_options).(args)
      end)
    end
  end

  ## For the backend

  @doc "Runs a reduction with a function as a program."
  def apply_op(op, out, tensors, rest) do
    out = Nx.to_template(out)
    jit(&apply(Nx.Defn.Expr, op, [out | Tuple.to_list(&1)] ++ rest), tensors)
  end

  @doc "Runs a block by its definition as a program."
  def apply_block(struct, args, fun) do
    {tensors, options} = Enum.split_while(args, &is_struct(&1, T))
    jit(&Nx.Defn.Expr.block(struct, Tuple.to_list(&1) ++ options, fun), tensors)
  end

  defp jit(fun, tensors) do
    options = [compiler: Outrigger.Nx, on_conflict: :force, server: Backend.server(tensors, [])]
    Nx.Defn.jit_apply(fun, [List.to_tuple(tensors)], options)
  end
end
