defmodule Outrigger.Nx.Eager do
  @moduledoc false
  # Sends one operation at a time, without a wait. The program of an operation on given types and
  # shapes is built and prepared once. Afterwards an operation is one short frame. Numbers are
  # arguments, so that a loop with other numbers in each turn has one program. A number is a literal
  # of the call where a literal has the same effect. Otherwise it is a scalar, which has a request
  # of its own.

  alias Nx.Tensor, as: T
  alias Outrigger.Nx.{Backend, Builder, Cache, Lowering, Types}
  alias Outrigger.Nx.Lowering.Elementwise
  alias Outrigger.{Prepared, Program}

  # These operations write into a mutable receiver, if the result has its type and shape.
  @in_place Lowering.Elementwise.ops() ++ [:put_slice, :indexed_add, :indexed_put, :sort]
  @in_place MapSet.new(@in_place -- [:as_type, :select])

  # Up to this number, operands are compared one by one.
  @few 8
  # Above this number, the program contains the numbers, because a scalar needs a request.
  @numbers_max 16
  # The numbers of these operations are positions.
  @placing [:slice, :put_slice]
  # Above this integer, a float of the VM does not hold each integer exactly.
  @exact_max 0x20000000000000

  @doc """
  Runs an operation with the result template `out` and the arguments of the backend's callback.
  """
  def run(op, out, args, options \\ []) do
    {abstract, call} = abstract(op, args, out.type)
    receiver = receiver(op, out, args)
    key = {op, out.type, out.shape, abstract, receiver != nil}

    results =
      execute(key, call, Backend.server(args, options), fn builder, values, numbers ->
        args = concrete(abstract, values, numbers)
        {value, builder} = Lowering.lower(builder, op, out, args, receiver != nil)
        {if(receiver, do: [], else: [value]), builder}
      end)

    case results do
      [ref] -> %{out | data: Backend.new(ref, options)}
      [] -> %{out | data: receiver}
    end
  end

  @doc "Runs a block for which the daemon has an op. `outs` are the templates of its results."
  def block(struct, outs, args) do
    {abstract, call} = abstract(:block, args, nil)
    key = {struct, for(out <- outs, do: {out.type, out.shape}), abstract}

    refs =
      execute(key, call, Backend.server(args, []), fn builder, values, numbers ->
        Lowering.block(builder, struct, outs, concrete(abstract, values, numbers))
      end)

    Enum.zip_with(outs, refs, fn out, ref -> %{out | data: Backend.new(ref, [])} end)
  end

  defp receiver(op, %{type: type, shape: shape}, [%T{type: type, shape: shape} = first | _]) do
    with %Backend{mutable: true, ref: ref} = data when ref != nil <- first.data,
         true <- MapSet.member?(@in_place, op) do
      data
    else
      _ -> nil
    end
  end

  defp receiver(_op, _out, _args), do: nil

  defp execute(key, {operands, _, _, numbers, _}, server, build) do
    operands = :lists.reverse(operands)
    numbers = numbers |> :lists.reverse() |> List.to_tuple()
    {prepared, scalars, literals} = program(key, operands, numbers, server, build)

    passed =
      scalars({key, numbers}, scalars, numbers, server) ++
        for {:literal, at, types} <- literals, do: {:number, literal(elem(numbers, at), types)}

    args = for {source, _, _} <- operands, do: Backend.place(source, server)
    # The server may have a new connection.
    Program.call(%{prepared | server: server}, args ++ passed, [])
  end

  # The prepared program, and the numbers that it takes: scalars, then literals.
  defp program(key, operands, numbers, server, build) do
    Cache.fetch({server.counters, key}, fn ->
      {values, builder} =
        Enum.map_reduce(Enum.with_index(operands), %Builder{}, fn {{_, type, shape}, at}, b ->
          Builder.parameter(b, at, at, type, shape)
        end)

      {outputs, builder} = build.(builder, List.to_tuple(values), numbers)
      {ids, builder} = Enum.map_reduce(outputs, builder, &Builder.id/2)
      {tensors, passed} = builder |> Builder.params() |> Enum.split(length(operands))
      {literals, scalars} = Enum.split_with(passed, &match?({_id, {:literal, _, _}}, &1))
      program = Builder.program(builder, tensors ++ scalars ++ literals, ids)
      [scalars, literals] = for list <- [scalars, literals], do: Enum.map(list, &elem(&1, 1))
      {Prepared.new(server, program), scalars, literals}
    end)
  end

  defp scalars(_key, [], _numbers, _server), do: []

  # Many loops have the same numbers in each turn, whose scalars exist already.
  defp scalars(key, scalars, numbers, server) do
    Backend.scalars(key, server, fn ->
      for {:number, at, casts, type} <- scalars do
        number = Enum.reduce(casts, elem(numbers, at), &Types.hold(&2, &1))
        Backend.scalar(Types.bytes(number, type), type, server)
      end
    end)
  end

  defp literal(number, types),
    do: types |> Enum.reduce(number, &Types.hold(&2, &1)) |> Types.literal()

  ## Arguments without the parts that differ between calls

  # `{entries, call}`: the entries, in the form of the arguments, determine the program. The call
  # has the values that are passed to it, the newest first. Tensors become `{:operand, index,
  # type, shape}`, numbers `{:varying, index, type, kind}`. A call is `{operands, their count, a
  # map of their positions if they are many, numbers, their count}`.
  defp abstract(op, args, type) do
    # A tensor of this type does not keep its type beside a literal, and a scalar has a type, which
    # would change the common type. So the program contains these numbers.
    numbers = if type == {:f8_e4m3fn, 8} and op not in @placing, do: @numbers_max, else: 0
    entries(args, op, {[], 0, nil, [], numbers})
  end

  # The start of a slice differs between calls, and its size does not. A slice of a whole axis
  # starts at 0.
  defp entries([%T{} = x, starts | [more | _] = rest], op, {_, 0, _, _, _} = call)
       when op in [:slice, :put_slice] do
    lengths = if op == :slice, do: more, else: Tuple.to_list(more.shape)
    whole = Enum.zip_with(lengths, Tuple.to_list(x.shape), &(&1 == &2))
    {x, call} = entry(x, op, call)

    {starts, call} =
      Enum.zip(starts, whole)
      |> Enum.map_reduce(call, fn
        {start, true}, call when is_integer(start) -> {start, call}
        {start, _}, call -> entry(start, op, call)
      end)

    {rest, call} = entries(rest, op, call)
    {[x, starts | rest], call}
  end

  defp entries([%T{} = tensor | rest], op, call) do
    {entry, call} = entry(tensor, op, call)
    {rest, call} = entries(rest, op, call)
    {[entry | rest], call}
  end

  defp entries([[%T{} | _] = list | rest], op, call) do
    {list, call} = entries(list, op, call)
    {rest, call} = entries(rest, op, call)
    {[list | rest], call}
  end

  defp entries([other | rest], op, call) do
    {rest, call} = entries(rest, op, call)
    {[other | rest], call}
  end

  defp entries([], _op, call), do: {[], call}

  defp entry(start, op, call) when is_integer(start), do: number(start, {:s, 64}, op, call)

  defp entry(%T{type: type, shape: shape} = tensor, op, call) do
    case Backend.source(tensor) do
      {:number, number} ->
        number(number, type, op, call)

      source ->
        {at, call} = operand(source, type, shape, call)
        {{:operand, at, type, shape}, call}
    end
  end

  defp number(number, type, op, {operands, count, known, numbers, at} = call) do
    kind = kind(number)

    if kind == nil or at == @numbers_max or Elementwise.decisive?(op, number),
      do: {{:number, number, type, sign(number)}, call},
      else: {{:varying, at, type, kind}, {operands, count, known, [number | numbers], at + 1}}
  end

  # The cast of a number depends on its kind. Before OTP 27, 0.0 and -0.0 match each other, so
  # each of them has its own program.
  defp kind(number) when is_float(number) and number != 0, do: :float
  defp kind(number) when is_integer(number) and number in -@exact_max..@exact_max, do: :integer
  defp kind(%Complex{}), do: :complex
  defp kind(_zero_large_or_non_finite), do: nil

  defp sign(number) when is_float(number) and number == 0.0, do: <<number::float>>
  defp sign(_number), do: nil

  # The same tensor twice is one operand.
  defp operand(source, type, shape, {operands, count, known, numbers, number_count}) do
    case position(source, operands, count, known) do
      nil ->
        operand = {source, type, shape}
        known = known(known, operand, operands, count)
        {count, {[operand | operands], count + 1, known, numbers, number_count}}

      at ->
        {at, {operands, count, known, numbers, number_count}}
    end
  end

  # Few operands are searched one by one. Many operands have a map.
  defp position(source, operands, count, nil), do: search(operands, source, count - 1)

  defp position(%Outrigger.Tensor{handle: handle, server: server}, _operands, _count, known),
    do: known[{handle, server.counters}]

  defp position(_elsewhere, _operands, _count, _known), do: nil

  defp search([{%{handle: handle} = other, _, _} | rest], %{handle: handle} = source, at) do
    if other.server.counters == source.server.counters,
      do: at,
      else: search(rest, source, at - 1)
  end

  defp search([{{:upload, _} = source, _, _} | _], source, at), do: at
  defp search([_ | rest], source, at), do: search(rest, source, at - 1)
  defp search([], _source, _at), do: nil

  defp known(nil, operand, operands, @few) do
    Enum.zip([operand | operands], @few..0//-1)
    |> Enum.reduce(%{}, fn {operand, at}, known -> known(known, operand, operands, at) end)
  end

  defp known(nil, _operand, _operands, _count), do: nil

  defp known(known, {%Outrigger.Tensor{} = tensor, _, _}, _operands, at),
    do: Map.put(known, {tensor.handle, tensor.server.counters}, at)

  defp known(known, _elsewhere, _operands, _at), do: known

  defp concrete([head | rest], values, numbers),
    do: [concrete(head, values, numbers) | concrete(rest, values, numbers)]

  defp concrete({:operand, at, _, _}, values, _numbers), do: elem(values, at)
  defp concrete({:number, number, type, _}, _values, _), do: Builder.constant(number, type)

  defp concrete({:varying, at, type, _}, _values, numbers),
    do: Builder.varying(elem(numbers, at), type, at)

  defp concrete(other, _values, _numbers), do: other
end
