defmodule Outrigger.Nx.Lowering.Elementwise do
  @moduledoc false
  # Element-wise operations. Operands broadcast in the daemon.

  import Outrigger.Nx.Builder
  alias Outrigger.Nx.{Types, Value}

  @floating Enum.map(Nx.Shared.unary_math_funs(), &elem(&1, 0)) ++ [:conjugate]
  @same [:negate, :sign, :floor, :ceil, :round, :bitwise_not]
  # These operations take the operand in its own type, and their result has another type.
  @own [:abs, :real, :imag, :is_nan, :is_infinity, :count_leading_zeros, :population_count]
  @arithmetic [:add, :subtract, :multiply, :pow, :remainder, :divide, :atan2, :min, :max] ++
                [:quotient, :bitwise_and, :bitwise_or, :bitwise_xor, :left_shift, :right_shift]
  @comparison [:equal, :not_equal, :greater, :less, :greater_equal, :less_equal]
  @small_floats small_floats()
  @logical [:logical_and, :logical_or, :logical_xor]

  def ops do
    @floating ++
      @same ++ @own ++ @arithmetic ++ @comparison ++ @logical ++ [:select, :clip, :as_type]
  end

  @doc "Whether the op has another lowering for this number, so that its program needs the number."
  def decisive?(:pow, number), do: number in [1, 1.0, 2, 2.0]
  def decisive?(_op, _number), do: false

  def lower(b, op, out, [x], options) when op in @floating or op in @same do
    {x, b} = cast(b, x, out.type)
    emit(b, op, [x], out.type, out.shape, options)
  end

  def lower(b, op, out, [x], options) when op in [:real, :imag] do
    complex = Nx.Type.to_complex(out.type)
    {x, b} = if match?({:c, _}, x.type), do: {x, b}, else: cast(b, x, complex)
    {value, b} = emit(b, op, [x], Nx.Type.to_real(x.type), out.shape, options)
    cast(b, value, out.type)
  end

  def lower(b, op, out, [x], options) when op in @own do
    emit(b, op, [x], out.type, out.shape, options)
  end

  # A square is a product, which is rounded once. A power costs twenty times as much.
  def lower(
        b,
        :pow,
        %{type: {kind, _} = type} = out,
        [%Value{type: x_type} = x, %Value{id: nil, varies: nil} = y],
        options
      )
      when (y.constant == {:number, 2} or y.constant == {:number, 2.0}) and kind != :c and
             (x_type == type or type not in @small_floats) do
    {x, b} = cast(b, x, out.type)
    emit(b, :multiply, [x, x], out.type, out.shape, options)
  end

  # The derivative of a square has the exponent 1.
  def lower(
        b,
        :pow,
        %{shape: shape} = out,
        [%{shape: shape} = x, %{id: nil, varies: nil} = y],
        []
      )
      when y.constant == {:number, 1} or y.constant == {:number, 1.0} do
    cast(b, x, out.type)
  end

  def lower(b, op, out, [x, y], options) when op in @arithmetic do
    {operands, b} = meet(b, [x, y], out.type)
    {operands, b} = literals(operands, b)
    emit(b, op, operands, out.type, out.shape, options)
  end

  def lower(b, op, out, [x, y], options) when op in @comparison do
    {operands, b} = literals([x, y], b)
    emit(b, op, operands, out.type, out.shape, options)
  end

  def lower(b, op, out, [x, y], options) when op in @logical do
    emit(b, op, [x, y], out.type, out.shape, options)
  end

  # The daemon takes the result's shape from the predicate unless that is a scalar.
  def lower(b, :select, out, [pred, on_true, on_false], options) do
    {on_true, b} = cast(b, on_true, out.type)
    {on_false, b} = cast(b, on_false, out.type)

    {pred, b} =
      if pred.shape in [{}, out.shape],
        do: {pred, b},
        else: broadcast(b, pred, out.shape)

    # A scalar predicate leaves the shape to the branches.
    {on_true, b} =
      if pred.shape == {} and on_true.shape != out.shape and on_false.shape != out.shape,
        do: broadcast(b, on_true, out.shape),
        else: {on_true, b}

    branches = [beside(on_true, on_false), beside(on_false, on_true)]
    emit(b, :select, [pred | branches], out.type, out.shape, options)
  end

  def lower(b, :clip, out, [x, min, max], options) do
    {[x, min, max], b} = meet(b, [x, min, max], out.type)
    # In a small float, the tensor may have kept another type.
    type = if x.type == out.type, do: out.type
    {[min, max], b} = Enum.map_reduce([min, max], b, &literal(&1, type, &2))
    emit(b, :clip, [x, min, max], out.type, out.shape, options)
  end

  def lower(b, :as_type, out, [x], _options), do: cast(b, x, out.type)

  defp broadcast(b, x, shape) do
    axes = Nx.Shape.broadcast_axes(x.shape, shape)
    emit(b, :broadcast, [x], x.type, shape, attrs: [shape: Tuple.to_list(shape), axes: axes])
  end

  # A known scalar beside a tensor of its type needs no instruction.
  defp literals([%Value{id: nil} = x, %Value{id: id} = y], b) when id != nil do
    {x, b} = literal(x, y.type, b)
    {[x, y], b}
  end

  defp literals([%Value{id: id} = x, %Value{id: nil} = y], b) when id != nil do
    {y, b} = literal(y, x.type, b)
    {[x, y], b}
  end

  defp literals(operands, b), do: {operands, b}

  defp literal(%Value{id: nil, varies: nil, constant: {:number, number}, type: type}, type, b)
       when type in [{:f, 32}, {:f, 64}, {:s, 32}, {:s, 64}] and is_number(number) do
    {Types.number(number, type), b}
  end

  defp literal(%Value{} = value, type, b), do: {literal(value, type), b}
  defp literal(operand, _type, b), do: {operand, b}
end
