defmodule Outrigger.Kernel.Head do
  @moduledoc false
  # The signature of a kernel.

  import Outrigger.Kernel.Scope, only: [fail: 3, line: 2, name_key: 1, new_var: 4, put_tensor: 4]
  alias Outrigger.Kernel.Types

  @params_max 64
  @rank_max 16

  @doc "The name and the parameters of a head: `{name, meta, params}`, or nil."
  def split({:when, _, [head, _guard]}), do: split(head)
  def split({:"::", _, [head, _results]}), do: split(head)

  def split({name, meta, params}) when is_atom(name) and is_list(params), do: {name, meta, params}
  def split({name, meta, context}) when is_atom(name) and is_atom(context), do: {name, meta, []}
  def split(_other), do: nil

  @doc "True if a parameter has no type: each call compiles the kernel for its operands."
  def generic?({:when, _, [head, _guard]}), do: generic?(head)
  def generic?({:"::", _, [head, _results]}), do: generic?(head)
  def generic?(head), do: head |> split() |> elem(2) |> Enum.any?(&bare?/1)

  defp bare?({name, _, context}), do: is_atom(name) and is_atom(context)
  defp bare?(_param), do: false

  @doc "The head with types, `{dtype, rank}` in their order, for the parameters that have none."
  def with_types({:"::", meta, [head, results]}, types),
    do: {:"::", meta, [with_types(head, types), results]}

  def with_types({name, meta, params}, types) do
    {params, []} =
      Enum.map_reduce(params, types, fn param, types ->
        if bare?(param),
          do: {{:"::", meta, [param, type_ast(hd(types))]}, tl(types)},
          else: {param, types}
      end)

    {name, meta, params}
  end

  defp type_ast({dtype, rank}) do
    Enum.reduce(1..rank//1, {dtype, [], nil}, fn _axis, type ->
      {{:., [], [Access, :get]}, [], [type, {:_, [], nil}]}
    end)
  end

  @doc "The positions, among the arguments, of the parameters without a type."
  def bare_positions({:"::", _, [head, _results]}), do: bare_positions(head)

  def bare_positions(head) do
    {_name, _meta, params} = split(head)
    passed = Enum.reject(params, &new?/1)
    for {param, at} <- Enum.with_index(passed), bare?(param), do: at
  end

  @doc "True for a parameter that callers do not pass."
  def new?({:"::", _, [_name, {:new, _, [_type]}]}), do: true
  def new?(_param), do: false

  @doc "Reads the head into the scope. Returns the scope and the `params` of the wire."
  def read({:when, meta, _}, s) do
    fail(s, meta, "`when` of a kernel is not supported: write one kernel for each type")
  end

  def read(head, s) do
    {call, results} =
      case head do
        {:"::", _, [call, results]} -> {call, results}
        call -> {call, nil}
      end

    {_name, meta, params} = split(call)

    if length(params) > @params_max,
      do: fail(s, meta, "a kernel has at most #{@params_max} parameters")

    {params, s} = Enum.map_reduce(params, s, &param/2)
    {params, %{s | results: results(results, s), inferred: results == nil}}
  end

  defp results(nil, _s), do: []
  defp results({left, right}, s), do: Enum.map([left, right], &scalar!(&1, s))
  defp results({:{}, _, types}, s), do: Enum.map(types, &scalar!(&1, s))
  defp results(type, s), do: [scalar!(type, s)]

  defp scalar!(type, s) do
    case type(type, s) do
      {dtype, []} ->
        dtype

      _ ->
        fail(
          s,
          meta(type),
          "a result is a number: a tensor is a parameter, out :: new(#{text(type)})"
        )
    end
  end

  defp param({:"::", meta, [{name, _, context} = var, type]}, s)
       when is_atom(name) and is_atom(context) do
    {mode, type} =
      case type do
        {mode, _, [type]} when mode in [:mut, :new] -> {mode, type}
        type -> {:in, type}
      end

    key = name_key(var)

    if Map.has_key?(s.names, key),
      do: fail(s, meta, "two parameters or sizes have the name #{name}")

    case type(type, s) do
      {dtype, []} when mode == :in ->
        {id, s} = new_var(s, Atom.to_string(name), dtype, line(meta, s))
        names = Map.put(s.names, key, {:var, id})
        {[:scalar, dtype], %{s | names: names, bound: MapSet.put(s.bound, id)}}

      {_dtype, []} ->
        fail(
          s,
          meta,
          "a #{mode} parameter is a tensor: write #{name} :: #{mode}(#{text(type)}[n])"
        )

      {dtype, dims} ->
        if mode == :new, do: Enum.each(dims, &known!(&1, s))
        {dims, s} = Enum.map_reduce(dims, s, &dim/2)
        number = Enum.count(s.tensors)
        info = %{name: Atom.to_string(name), dtype: dtype, rank: length(dims), mode: mode}
        {[mode, dtype, dims], put_tensor(s, key, {:param, number}, info)}
    end
  end

  defp param({name, meta, context}, s) when is_atom(name) and is_atom(context) do
    fail(
      s,
      meta,
      "#{name} has no type: write #{name} :: s64 for a number or #{name} :: f32[n] for a tensor"
    )
  end

  defp param(other, s) do
    fail(s, meta(other), "a parameter is name :: type, not #{text(other)}")
  end

  # A result is made by the daemon, so its sizes follow from other parameters.
  defp known!(dim, s) do
    name =
      case dim do
        {op, _, [name, n]} when op in [:+, :-] and is_integer(n) -> name
        name -> name
      end

    case name do
      n when is_integer(n) ->
        :ok

      {:_, meta, _} ->
        fail(s, meta, "a size of a new tensor is a number or a name, not _")

      {name, meta, context} = var when is_atom(name) and is_atom(context) ->
        if not match?({:dim, _}, s.names[name_key(var)]),
          do: fail(s, meta, "the size #{name} of a new tensor occurs in no parameter before it")

      other ->
        fail(s, meta(other), "a size is a name, a number, name ± number or _, not #{text(other)}")
    end
  end

  @doc "A size: `[name, plus]`, an integer or nil."
  def dim(n, s) when is_integer(n) and n >= 0, do: {n, s}
  def dim({:_, _, context}, s) when is_atom(context), do: {nil, s}

  def dim({op, _, [{name, _, context} = var, n]}, s)
      when op in [:+, :-] and is_atom(name) and is_atom(context) and is_integer(n) do
    {[number, 0], s} = dim(var, s)
    {[number, if(op == :+, do: n, else: -n)], s}
  end

  def dim({name, meta, context} = var, s) when is_atom(name) and is_atom(context) do
    key = name_key(var)

    case s.names[key] do
      {:dim, number} ->
        {[number, 0], s}

      nil ->
        number = Enum.count(s.names, &match?({_, {:dim, _}}, &1))
        {[number, 0], %{s | names: Map.put(s.names, key, {:dim, number})}}

      _ ->
        fail(s, meta, "#{name} is a parameter: a size has a name of its own")
    end
  end

  def dim(other, s) do
    fail(s, meta(other), "a size is a name, a number, name ± number or _, not #{text(other)}")
  end

  @doc "A type: the dtype, and the source of its sizes."
  def type(ast, s) do
    {dtype, dims} = type(ast, s, [])

    if length(dims) > @rank_max,
      do: fail(s, meta(ast), "a tensor has at most #{@rank_max} axes")

    {dtype, dims}
  end

  defp type({{:., _, [Access, :get]}, _, [type, dim]}, s, dims), do: type(type, s, [dim | dims])

  defp type({name, meta, context} = ast, s, dims) when is_atom(name) and is_atom(context) do
    cond do
      name in Types.dtypes() ->
        {name, dims}

      name == :bool ->
        fail(s, meta, "bool is for variables only: pass a u8 that is 0 or 1")

      name in Outrigger.Dtype.all() ->
        fail(
          s,
          meta,
          "#{name} is not supported in kernels: #{Enum.join(Types.dtypes(), ", ")} are"
        )

      true ->
        fail(s, meta, "#{text(ast)} is no type: write one of #{Enum.join(Types.dtypes(), ", ")}")
    end
  end

  defp type({:{}, meta, _}, s, _dims), do: fail(s, meta, "a tuple is no type")

  defp type(other, s, _dims) do
    fail(s, meta(other), "#{text(other)} is no type: write f32, f32[n] or f32[h][w]")
  end

  defp meta({_, meta, _}) when is_list(meta), do: meta
  defp meta(_other), do: []

  defp text(ast), do: Macro.to_string(ast)
end
