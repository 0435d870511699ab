defmodule Outrigger.Kernel.FloatMath do
  @moduledoc false
  # IEEE's arithmetic of 64 bits, on Elixir's floats and :nan, :infinity, :neg_infinity. Elixir
  # raises where IEEE has an infinity or NaN.

  import Kernel, except: [abs: 1, ceil: 1, floor: 1, trunc: 1]

  @infinities [:infinity, :neg_infinity]

  def add(a, b) when is_float(a) and is_float(b) do
    a + b
  rescue
    ArithmeticError -> infinity(sign(a))
  end

  def add(:nan, _b), do: :nan
  def add(_a, :nan), do: :nan
  def add(a, b) when a in @infinities and b in @infinities and a != b, do: :nan
  def add(a, _b) when a in @infinities, do: a
  def add(_a, b), do: b

  def subtract(a, b), do: add(a, negate(b))

  def multiply(a, b) when is_float(a) and is_float(b) do
    a * b
  rescue
    ArithmeticError -> infinity(sign(a) * sign(b))
  end

  def multiply(:nan, _b), do: :nan
  def multiply(_a, :nan), do: :nan
  def multiply(a, b) when a == 0 or b == 0, do: :nan
  def multiply(a, b), do: infinity(sign(a) * sign(b))

  def divide(:nan, _b), do: :nan
  def divide(_a, :nan), do: :nan
  def divide(a, b) when a in @infinities and b in @infinities, do: :nan
  def divide(a, b) when a in @infinities, do: infinity(sign(a) * sign(b))
  def divide(a, b) when b in @infinities, do: zero(sign(a) * sign(b))
  def divide(a, b) when a == 0 and b == 0, do: :nan
  def divide(a, b) when b == 0, do: infinity(sign(a) * sign(b))

  def divide(a, b) do
    a / b
  rescue
    ArithmeticError -> infinity(sign(a) * sign(b))
  end

  def negate(:nan), do: :nan
  def negate(:infinity), do: :neg_infinity
  def negate(:neg_infinity), do: :infinity
  # 0.0 - x would lose the sign of zero.
  def negate(x), do: x * -1.0

  def abs(:nan), do: :nan
  def abs(x), do: if(sign(x) < 0, do: negate(x), else: x)

  def sqrt(x) when is_float(x) and x < 0, do: :nan
  def sqrt(x) when is_float(x), do: :math.sqrt(x)
  def sqrt(:infinity), do: :infinity
  def sqrt(_x), do: :nan

  def floor(x) when is_atom(x), do: x
  def floor(x), do: :math.floor(x)
  def ceil(x) when is_atom(x), do: x
  def ceil(x), do: :math.ceil(x)
  def trunc(x), do: if(is_float(x) and x < 0, do: ceil(x), else: floor(x))

  def exp(:neg_infinity), do: 0.0
  def exp(x), do: grows(x, &:math.exp/1, fn _ -> :infinity end)
  def cosh(:neg_infinity), do: :infinity
  def cosh(x), do: grows(x, &:math.cosh/1, fn _ -> :infinity end)
  def sinh(x), do: grows(x, &:math.sinh/1, &infinity(sign(&1)))
  def asinh(x), do: grows(x, &:math.asinh/1, &infinity(sign(&1)))

  # A function without a largest value: an infinity stays, and an overflow is one.
  defp grows(x, _f, _overflow) when is_atom(x), do: x

  defp grows(x, f, overflow) do
    f.(x)
  rescue
    ArithmeticError -> overflow.(x)
  end

  def log(:infinity), do: :infinity
  def log(x) when is_float(x) and x > 0, do: :math.log(x)
  def log(x) when x == 0, do: :neg_infinity
  def log(_x), do: :nan

  def acosh(:infinity), do: :infinity
  def acosh(x) when is_float(x) and x >= 1, do: :math.acosh(x)
  def acosh(_x), do: :nan

  def atanh(x) when x == 1, do: :infinity
  def atanh(x) when x == -1, do: :neg_infinity
  def atanh(x) when is_float(x) and x > -1 and x < 1, do: :math.atanh(x)
  def atanh(_x), do: :nan

  for f <- [:sin, :cos, :tan] do
    def unquote(f)(x) when is_float(x), do: :math.unquote(f)(x)
    def unquote(f)(_x), do: :nan
  end

  for f <- [:asin, :acos] do
    def unquote(f)(x) when is_float(x) and x >= -1 and x <= 1, do: :math.unquote(f)(x)
    def unquote(f)(_x), do: :nan
  end

  def atan(:nan), do: :nan
  def atan(x) when x in @infinities, do: sign(x) * :math.pi() / 2
  def atan(x), do: :math.atan(x)

  def tanh(:nan), do: :nan
  def tanh(x) when x in @infinities, do: sign(x) * 1.0
  def tanh(x), do: :math.tanh(x)

  def atan2(:nan, _x), do: :nan
  def atan2(_y, :nan), do: :nan

  def atan2(y, x) when y in @infinities or x in @infinities do
    # The angle of a direction: finite parts do not matter beside infinite ones.
    part = fn v -> if v in @infinities, do: sign(v) * 1.0, else: zero(sign(v)) end
    :math.atan2(part.(y), part.(x))
  end

  def atan2(y, x), do: :math.atan2(y, x)

  def pow(_x, y) when y == 0, do: 1.0
  def pow(x, _y) when x == 1, do: 1.0
  def pow(:nan, _y), do: :nan
  def pow(_x, :nan), do: :nan
  def pow(x, y) when x == -1 and y in @infinities, do: 1.0

  def pow(x, y) when y in @infinities do
    large = x in @infinities or Kernel.abs(x) > 1
    if large == (y == :infinity), do: :infinity, else: 0.0
  end

  def pow(x, y) when x in @infinities do
    size = if y > 0, do: :infinity, else: 0.0
    if x == :neg_infinity and odd?(y), do: negate(size), else: size
  end

  def pow(x, y) when x == 0 do
    size = if y > 0, do: 0.0, else: :infinity
    if sign(x) < 0 and odd?(y), do: negate(size), else: size
  end

  def pow(x, y) do
    if x < 0 and :math.floor(y) != y do
      :nan
    else
      try do
        :math.pow(x, y)
      rescue
        ArithmeticError -> infinity(if x < 0 and odd?(y), do: -1, else: 1)
      end
    end
  end

  defp odd?(y), do: :math.floor(y) == y and :math.fmod(y, 2.0) != 0

  defp sign(:infinity), do: 1
  defp sign(:neg_infinity), do: -1

  defp sign(x) do
    case <<x::float-64>> do
      <<0::1, _::63>> -> 1
      _ -> -1
    end
  end

  defp infinity(1), do: :infinity
  defp infinity(-1), do: :neg_infinity
  defp zero(1), do: 0.0
  defp zero(-1), do: negate(0.0)
end
