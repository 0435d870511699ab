defmodule Outrigger.Kernel.Arithmetic do
  @moduledoc false
  # The operations of kernels on one element, with the bits of the daemon. A float is an Elixir
  # float, :nan, :infinity or :neg_infinity; one of f32 is a float that f32 has.

  import Bitwise
  alias Outrigger.Kernel.{FloatMath, Types}

  @nan_bits 0x7FF8000000000000
  @infinity_bits 0x7FF0000000000000
  @neg_infinity_bits 0xFFF0000000000000

  @doc "The integer modulo the range of the dtype."
  def wrap(n, dtype) do
    case Types.parts(dtype) do
      {:u, bits} -> n &&& (1 <<< bits) - 1
      {:s, bits} -> (n + (1 <<< (bits - 1)) &&& (1 <<< bits) - 1) - (1 <<< (bits - 1))
    end
  end

  @doc "Rounds a float to the dtype: to nearest, ties to even."
  def round_to(x, :f64), do: x
  def round_to(x, :f32) when is_atom(x), do: x

  def round_to(x, :f32) do
    # A float beyond the largest of f32 has the bits of an infinity.
    case <<x::float-32>> do
      <<rounded::float-32>> -> rounded
      <<0::1, _::31>> -> :infinity
      <<1::1, _::31>> -> :neg_infinity
    end
  rescue
    # Other versions of Erlang raise.
    ArgumentError -> if x > 0, do: :infinity, else: :neg_infinity
  end

  @doc "A literal of the unit as a value of the dtype."
  def number(flag, :bool), do: flag
  def number(n, dtype) when is_integer(n) and dtype in [:f32, :f64], do: cast(n, :s64, dtype)
  def number(x, dtype) when dtype in [:f32, :f64], do: round_to(x, dtype)
  def number(n, _dtype), do: n

  @doc "The cast of `as_type`."
  def cast(n, from, to) do
    case {Types.float?(from), Types.float?(to)} do
      {false, false} -> wrap(n, to)
      {false, true} -> integer_to_float(n, to)
      {true, true} -> round_to(n, to)
      {true, false} -> float_to_integer(n, to)
    end
  end

  defp float_to_integer(:nan, _to), do: 0
  defp float_to_integer(:infinity, to), do: to |> Types.range() |> elem(1)
  defp float_to_integer(:neg_infinity, to), do: to |> Types.range() |> elem(0)
  defp float_to_integer(x, to), do: x |> trunc() |> wrap(to)

  # Rounds once, from the integer to the bits of the mantissa.
  defp integer_to_float(n, to) do
    mantissa = if to == :f32, do: 24, else: 53
    magnitude = abs(n)
    shift = max(bit_length(magnitude) - mantissa, 0)
    rounded = half_even(magnitude, shift) <<< shift
    if n < 0, do: -rounded * 1.0, else: rounded * 1.0
  end

  defp bit_length(n), do: n |> Integer.digits(2) |> length()

  defp half_even(n, 0), do: n

  defp half_even(n, shift) do
    half = 1 <<< (shift - 1)
    rest = n &&& (1 <<< shift) - 1
    whole = n >>> shift
    if rest > half or (rest == half and (whole &&& 1) == 1), do: whole + 1, else: whole
  end

  @doc "The 64 bits of a cell that holds a value."
  def to_cell(x, dtype) when dtype in [:f32, :f64] do
    case x do
      :nan ->
        @nan_bits

      :infinity ->
        @infinity_bits

      :neg_infinity ->
        @neg_infinity_bits

      x ->
        <<bits::64>> = <<x::float-64>>
        bits
    end
  end

  def to_cell(n, _dtype), do: n

  @doc "The value of a cell."
  def from_cell(bits, dtype) when dtype in [:f32, :f64] do
    case <<bits::64>> do
      <<x::float-64>> -> x
      <<@infinity_bits::64>> -> :infinity
      <<@neg_infinity_bits::64>> -> :neg_infinity
      _ -> :nan
    end
  end

  def from_cell(n, _dtype), do: n

  @doc "A function of two elements, for the dtype of the operands."
  def binary(op, dtype) do
    case op do
      :equal -> &equal?/2
      :not_equal -> &(not equal?(&1, &2))
      :less -> &less?/2
      :less_equal -> &(less?(&1, &2) or equal?(&1, &2))
      :greater -> &less?(&2, &1)
      :greater_equal -> &(less?(&2, &1) or equal?(&1, &2))
      :min -> &lesser/2
      :max -> &greater/2
      op -> if Types.float?(dtype), do: float_binary(op, dtype), else: integer_binary(op, dtype)
    end
  end

  defp float_binary(op, :f64), do: fn a, b -> apply(FloatMath, op, [a, b]) end
  defp float_binary(op, :f32), do: fn a, b -> round_to(apply(FloatMath, op, [a, b]), :f32) end

  defp integer_binary(op, dtype) do
    {_, bits} = Types.parts(dtype)

    case op do
      :add -> &wrap(&1 + &2, dtype)
      :subtract -> &wrap(&1 - &2, dtype)
      :multiply -> &wrap(&1 * &2, dtype)
      :quotient -> &wrap(div(&1, &2), dtype)
      :remainder -> &rem/2
      :bitwise_and -> &band/2
      :bitwise_or -> &bor/2
      :bitwise_xor -> &bxor/2
      :left_shift -> &if(&2 in 0..(bits - 1), do: wrap(&1 <<< &2, dtype), else: 0)
      :right_shift -> &(&1 >>> if(&2 in 0..(bits - 1), do: &2, else: bits))
    end
  end

  @doc "A function of one element, for the dtype of the operand."
  def unary(op, dtype) do
    case op do
      :not -> &not/1
      :is_nan -> &(&1 == :nan)
      op -> if Types.float?(dtype), do: float_unary(op, dtype), else: integer_unary(op, dtype)
    end
  end

  defp float_unary(op, dtype), do: fn x -> round_to(apply(FloatMath, op, [x]), dtype) end

  defp integer_unary(op, dtype) do
    {_, bits} = Types.parts(dtype)
    mask = (1 <<< bits) - 1

    case op do
      :negate -> &wrap(-&1, dtype)
      :abs -> &wrap(abs(&1), dtype)
      :bitwise_not -> &wrap(bnot(&1), dtype)
      :population_count -> &((&1 &&& mask) |> Integer.digits(2) |> Enum.sum())
      :count_leading_zeros -> &if(&1 == 0, do: bits, else: bits - bit_length(&1 &&& mask))
      :count_trailing_zeros -> &if(&1 == 0, do: bits, else: bit_length(&1 &&& -&1) - 1)
    end
  end

  @doc "True if both are one number. NaN equals nothing."
  def equal?(:nan, _b), do: false
  def equal?(a, b), do: a == b

  @doc "True if a is below b."
  def less?(a, b) when is_number(a) and is_number(b), do: a < b
  def less?(:nan, _b), do: false
  def less?(_a, :nan), do: false
  def less?(a, b), do: rank(a) < rank(b)

  defp rank(:neg_infinity), do: -1
  defp rank(:infinity), do: 1
  defp rank(_finite), do: 0

  defp lesser(:nan, _b), do: :nan
  defp lesser(a, b), do: if(less?(a, b), do: a, else: b)
  defp greater(:nan, _b), do: :nan
  defp greater(a, b), do: if(less?(b, a), do: a, else: b)
end
