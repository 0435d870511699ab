defmodule Outrigger.Nx.Expression do
  @moduledoc false
  # A whole `Nx.Defn.Expr` as one program. A node that several other nodes use is lowered once, in a
  # scope that all of them see. A node that only one branch of a cond needs is part of that branch.

  alias Nx.Defn.{Composite, Expr, Tree}
  alias Nx.Tensor, as: T
  alias Outrigger.Nx.{Builder, Lowering, Types}

  # Up to this size, the program contains a tensor of the expression. A larger tensor is uploaded
  # once and passed to each call.
  @inline_bytes_max 256

  @doc """
  The program of a container of expressions: `{program, arguments, captured}`. Its parameters are
  the arguments of these indices, then the captured tensors of the expression.

  Returns `:callbacks` if the expression calls a function of Elixir, because a daemon cannot.
  `hooks` are those of the compiler's options.
  """
  def program(expr, hooks) do
    outputs = expr |> List.wrap() |> Composite.flatten_list() |> Enum.map(&Nx.devectorize/1)
    state = %{params: :arguments, scope: Tree.scope_ids(List.to_tuple(outputs)), hooks: hooks}
    {values, {_cache, builder}} = many(outputs, state, {%{}, %Builder{}})
    {ids, builder} = Enum.map_reduce(Enum.zip(outputs, values), builder, &declared/2)
    {arguments, captured} = Enum.split_with(Builder.params(builder), &is_integer(elem(&1, 1)))
    program = Builder.program(builder, arguments ++ captured, ids)
    {program, for({_, index} <- arguments, do: index), for({_, tensor} <- captured, do: tensor)}
  catch
    {__MODULE__, :callbacks} -> :callbacks
  end

  # Nx may give an expression a wrong type, for instance a gradient through a loop in f64.
  defp declared({output, value}, b) do
    {value, b} = Builder.cast(b, value, output.type)
    Builder.id(value, b)
  end

  ## Nodes

  # The accumulator is `{cache, builder}`. The cache has the values of each node in scope, as a
  # list, because a node with the type of a tuple has several.
  defp one(%T{data: %Expr{}} = t, state, acc) do
    {[value], acc} = node(t, state, acc)
    {value, acc}
  end

  defp many(list, state, acc), do: Enum.map_reduce(list, acc, &one(&1, state, &2))

  defp node(%T{data: %Expr{op: :constant, args: [number]}, shape: {}} = t, _state, acc) do
    {[Builder.constant(number, t.type)], acc}
  end

  defp node(%T{data: %Expr{id: id, op: op, args: args}} = t, state, {cache, b}) do
    case cache do
      %{^id => values} ->
        {values, {cache, b}}

      _ ->
        {values, {cache, b}} = lower(op, args, t, state, {cache, b})
        {values, {Map.put(cache, id, values), b}}
    end
  end

  defp lower(:parameter, [index], t, %{params: :arguments}, {cache, b}) do
    %{type: type, shape: shape} = Nx.devectorize(t)
    {value, b} = Builder.parameter(b, index, index, type, shape)
    {[value], {cache, b}}
  end

  defp lower(:parameter, [index], _t, %{params: params}, acc), do: {[elem(params, index)], acc}

  defp lower(:tensor, [tensor], %{data: %{id: id}}, _state, {cache, b}) do
    tensor = Nx.devectorize(tensor)
    %{type: type, shape: shape} = tensor
    binary = tensor |> Nx.to_binary() |> Types.pack()

    {value, b} =
      if byte_size(binary) <= @inline_bytes_max do
        attrs = [type: Types.wire(type), shape: Tuple.to_list(shape), data: {:bin, binary}]
        Builder.emit(b, :from_binary, [], type, shape, attrs: attrs)
      else
        Builder.parameter(b, id, tensor, type, shape)
      end

    {[value], {cache, b}}
  end

  defp lower(:metadata, [inner, _metadata], _t, state, acc), do: composite(inner, state, acc)

  defp lower(:elem, [tuple, index], _t, state, acc) do
    {values, acc} = node(tuple, state, acc)
    {[Enum.fetch!(values, index)], acc}
  end

  # A hook without a function.
  defp lower(
         :io_call,
         [inner, {:named, name, nil}, _template, _],
         _t,
         %{hooks: hooks} = state,
         acc
       )
       when not is_map_key(hooks, name) do
    composite(inner, state, acc)
  end

  defp lower(op, _args, _t, _state, _acc) when op in [:io_call, :runtime_call] do
    throw({__MODULE__, :callbacks})
  end

  defp lower(:cond, [clauses, last], _t, state, acc), do: conditional(clauses, last, state, acc)

  defp lower(:while, [initial, _arg, condition, body], _t, state, acc) do
    {values, {cache, b}} = composite(initial, state, acc)
    params = Enum.map(values, &{&1.type, &1.shape})
    {test, b} = closed_region(b, params, condition, [condition], state)
    types = for {type, _shape} <- params, do: type
    {next, b} = closed_region(b, params, body, flat(body), state, types)
    {results, b} = Builder.emit_many(b, :while, values, params, regions: [test, next])
    {results, {cache, b}}
  end

  defp lower(:block, [struct, args, default, _fun], _t, state, acc) do
    {tensors, options} = Enum.split_while(args, &is_struct(&1, T))
    {values, {cache, b}} = many(tensors, state, acc)

    {results, b} =
      if Lowering.native?(struct, tensors) do
        Lowering.block(b, struct, flat(default), values ++ options)
      else
        state = %{state | params: List.to_tuple(values), scope: scope(default)}
        {results, {_cache, b}} = composite(default, state, {%{}, b})
        {results, b}
      end

    {results, {cache, b}}
  end

  # A gradient is the transpose of a product. The product with exchanged operands has the same
  # elements, and has them in the order in which they are read.
  defp lower(:transpose, [%T{data: %Expr{op: :dot, id: id}} = dot, axes] = args, t, state, acc) do
    [x, x_axes, x_batch, y, y_axes, y_batch] = dot.data.args
    batch = length(x_batch)
    x_free = tuple_size(x.shape) - length(x_axes) - batch
    y_free = tuple_size(y.shape) - length(y_axes) - batch

    if axes == exchanged(batch, x_free, y_free) and not is_map_key(elem(acc, 0), id) do
      {[x, y], {cache, b}} = many([x, y], state, acc)
      {value, b} = Lowering.lower(b, :dot, t, [y, y_axes, y_batch, x, x_axes, x_batch])
      # Other users of the product get a view.
      {view, b} = Lowering.lower(b, :transpose, dot, [value, exchanged(batch, y_free, x_free)])
      {[value], {Map.put(cache, id, [view]), b}}
    else
      instruction(:transpose, args, t, state, acc)
    end
  end

  defp lower(op, args, t, state, acc), do: instruction(op, args, t, state, acc)

  defp exchanged(batch, first, second) do
    Enum.concat([
      Enum.to_list(0..(batch - 1)//1),
      Enum.to_list((batch + first)..(batch + first + second - 1)//1),
      Enum.to_list(batch..(batch + first - 1)//1)
    ])
  end

  defp instruction(op, args, t, state, acc) do
    {args, {cache, b}} = Enum.map_reduce(args, acc, &argument(&1, t, state, &2))
    {value, b} = Lowering.lower(b, op, Nx.devectorize(t), args)
    {[value], {cache, b}}
  end

  # The function of a reduction: a region without values from outside.
  defp argument(%T{data: %Expr{op: :fun, args: [params, body, _mfa]}}, t, state, {cache, b}) do
    params = for %T{} = param <- params, do: {param.type, param.shape}
    constants = b.constants
    {region, b} = closed_region(%{b | constants: %{}}, params, body, [body], state, [t.type])
    {region, {cache, %{b | constants: constants}}}
  end

  defp argument(%T{} = t, _op, state, acc), do: one(t, state, acc)

  defp argument([%T{} | _] = list, op, state, acc),
    do: Enum.map_reduce(list, acc, &argument(&1, op, state, &2))

  # Starts of a slice: integers and tensors.
  defp argument([first | _] = list, op, state, acc) when is_integer(first),
    do: Enum.map_reduce(list, acc, &argument(&1, op, state, &2))

  defp argument(other, _op, _state, acc), do: {other, acc}

  ## Composites and scopes

  defp flat(composite), do: Composite.flatten_list([composite])
  defp composite(container, state, acc), do: many_nodes(flat(container), state, acc)

  # An element may stand for a node with several values.
  defp many_nodes(list, state, acc) do
    {values, acc} = Enum.map_reduce(list, acc, &node(&1, state, &2))
    {Enum.concat(values), acc}
  end

  defp scope(composite), do: Tree.scope_ids(composite)

  # The body uses only its parameters, and returns these types.
  defp closed_region(b, params, expr, outputs, state, types \\ nil) do
    Builder.region(b, params, fn b, values ->
      state = %{state | params: List.to_tuple(values), scope: scope(expr)}
      {values, {_cache, b}} = many_nodes(outputs, state, {%{}, b})

      values
      |> Enum.zip(types || Enum.map(values, & &1.type))
      |> Enum.map_reduce(b, fn {value, type}, b -> Builder.cast(b, value, type) end)
    end)
  end

  ## Conditions

  # Only the first predicate is always computed. The others are part of the else branch.
  defp conditional([{pred, body} | rest], last, state, acc) do
    {pred, acc} = one(pred, state, acc)
    {cache, b} = outer(List.to_tuple([body, last | rest]), state, acc)
    otherwise = List.to_tuple([last | rest])
    results = for t <- flat(last), t = Nx.devectorize(t), do: {t.type, t.shape}

    {on_true, b} = branch(b, cache, state, body, results, &composite(body, &1, &2))

    {on_false, b} =
      branch(b, cache, state, otherwise, results, fn state, acc ->
        if rest == [],
          do: composite(last, state, acc),
          else: conditional(rest, last, state, acc)
      end)

    {values, b} = Builder.emit_many(b, :cond, [pred], results, regions: [on_true, on_false])
    {values, {cache, b}}
  end

  defp branch(b, cache, state, expr, results, fun) do
    Builder.region(b, [], fn b, [] ->
      state = %{state | scope: Tree.scope_ids(expr, state.scope)}
      {values, {_cache, b}} = fun.(state, {cache, b})

      values
      |> Enum.zip(results)
      |> Enum.map_reduce(b, fn {value, {type, _}}, b -> Builder.cast(b, value, type) end)
    end)
  end

  # Nodes of this scope that a branch uses are lowered before the cond.
  defp outer(exprs, state, acc) do
    {_seen, acc} = exprs |> flat() |> Enum.reduce({%{}, acc}, &outer_node(&1, state, &2))
    acc
  end

  defp outer_node(%T{data: %Expr{op: :constant}}, _state, acc), do: acc

  defp outer_node(%T{data: %Expr{id: id}} = t, state, {seen, {cache, _} = acc}) do
    cond do
      is_map_key(seen, id) or is_map_key(cache, id) ->
        {seen, acc}

      is_map_key(state.scope, id) ->
        {_values, acc} = node(t, state, acc)
        {Map.put(seen, id, true), acc}

      true ->
        {_t, acc} =
          Tree.apply_args(t, :scope, {Map.put(seen, id, true), acc}, fn arg, acc ->
            {arg, outer_node(arg, state, acc)}
          end)

        acc
    end
  end

  # Options of a block.
  defp outer_node(_other, _state, acc), do: acc
end
