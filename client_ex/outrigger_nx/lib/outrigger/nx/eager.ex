defmodule Outrigger.Nx.Eager do
  @moduledoc false
  # One operation at a time: sent at once, answered whenever. The program of an operation on given
  # types and shapes is built and prepared once; after that, an op is one short frame.

  alias Nx.Tensor, as: T
  alias Outrigger.Nx.{Backend, Builder, Cache, Lowering}
  alias Outrigger.{Prepared, Program}

  # With a mutable receiver, these write into it, if the result has its type and shape.
  @in_place Lowering.Elementwise.ops() ++ [:put_slice, :indexed_add, :indexed_put, :sort]
  @in_place MapSet.new(@in_place -- [:as_type, :select])

  @doc "Runs one operation whose result is like `out`. `args` are those of the backend's callback."
  def run(op, out, args, options \\ []) do
    {abstract, operands} = abstract(args, [])
    receiver = receiver(op, out, args)
    key = {op, out.type, out.shape, abstract, receiver != nil}

    results =
      execute(key, operands, Backend.server(args, options), fn builder, values ->
        args = concrete(abstract, List.to_tuple(values))
        {value, builder} = Lowering.lower(builder, op, out, args, receiver != nil)
        {if(receiver, do: [], else: [value]), builder}
      end)

    case results do
      [ref] -> %{out | data: Backend.new(ref, options)}
      [] -> %{out | data: receiver}
    end
  end

  @doc "Runs a block that the daemon has an op for; `outs` are the templates of its results."
  def block(struct, outs, args) do
    {abstract, operands} = abstract(args, [])
    key = {struct, for(out <- outs, do: {out.type, out.shape}), abstract}

    refs =
      execute(key, operands, Backend.server(args, []), fn builder, values ->
        args = concrete(abstract, List.to_tuple(values))
        Lowering.block(builder, struct, outs, args)
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

  defp execute(key, operands, server, build) do
    operands = :lists.reverse(operands)

    prepared =
      Cache.fetch({server.counters, key}, fn ->
        {values, builder} =
          Enum.map_reduce(Enum.with_index(operands), %Builder{}, fn {{_, type, shape}, at}, b ->
            Builder.parameter(b, at, type, shape)
          end)

        {outputs, builder} = build.(builder, values)
        {program, _sources} = Builder.program(builder, outputs)
        Prepared.new(server, program)
      end)

    args = for {source, _, _} <- operands, do: Backend.place(source, server)
    # The connection may be another one since.
    Program.call(%{prepared | server: server}, args, [])
  end

  ## Arguments without what differs from call to call

  # Tensors become `{:operand, index, type, shape}`; a known scalar is part of the program.
  defp abstract([%T{} = tensor | rest], operands) do
    {entry, operands} = abstract_tensor(tensor, operands)
    {rest, operands} = abstract(rest, operands)
    {[entry | rest], operands}
  end

  defp abstract([[first | _] = list | rest], operands)
       when is_struct(first, T) or is_integer(first) do
    {list, operands} = abstract(list, operands)
    {rest, operands} = abstract(rest, operands)
    {[list | rest], operands}
  end

  defp abstract([other | rest], operands) do
    {rest, operands} = abstract(rest, operands)
    {[other | rest], operands}
  end

  defp abstract([], operands), do: {[], operands}

  defp abstract_tensor(%T{type: type, shape: shape} = tensor, operands) do
    case Backend.source(tensor) do
      {:number, number} ->
        {{:number, number, type, sign(number)}, operands}

      source ->
        operand = {source, type, shape}

        case index(operands, operand) do
          nil -> {{:operand, length(operands), type, shape}, [operand | operands]}
          at -> {{:operand, at, type, shape}, operands}
        end
    end
  end

  # Before OTP 27, 0.0 and -0.0 match each other.
  defp sign(number) when is_float(number) and number == 0.0, do: <<number::float>>
  defp sign(_number), do: nil

  # The same tensor twice is one operand.
  defp index([operand | rest], operand), do: length(rest)
  defp index([_ | rest], operand), do: index(rest, operand)
  defp index([], _operand), do: nil

  defp concrete([head | rest], values), do: [concrete(head, values) | concrete(rest, values)]
  defp concrete({:operand, at, _, _}, values), do: elem(values, at)
  defp concrete({:number, number, type, _}, _values), do: Builder.constant(number, type)
  defp concrete(other, _values), do: other
end
