defmodule Outrigger.Kernel.ArithmeticTest do
  # The operations beside definitions by whole numbers and by bits.
  use ExUnit.Case, async: true

  import Bitwise
  alias Outrigger.Kernel.{Arithmetic, Types}

  @integers [:u8, :u16, :u32, :u64, :s8, :s16, :s32, :s64]

  setup do
    :rand.seed(:exsss, ExUnit.configuration()[:seed])
    :ok
  end

  # Through the bits of a binary.
  defp wrapped(n, dtype) do
    {kind, bits} = Types.parts(dtype)
    <<unsigned::unsigned-size(bits)>> = <<n::size(bits)>>
    <<signed::signed-size(bits)>> = <<n::size(bits)>>
    if kind == :u, do: unsigned, else: signed
  end

  defp corners(dtype) do
    {lo, hi} = Types.range(dtype)
    inner = for _ <- 1..6, do: Enum.random(lo..hi)
    Enum.uniq([lo, lo + 1, hi, hi - 1, 0, 1, 2, 7, max(lo, -1), max(lo, -2)] ++ inner)
  end

  defp bits(dtype), do: dtype |> Types.parts() |> elem(1)

  test "integers wrap around, like their bits" do
    exact = [
      add: &+/2,
      subtract: &-/2,
      multiply: &*/2,
      bitwise_and: &band/2,
      bitwise_or: &bor/2,
      bitwise_xor: &bxor/2
    ]

    for dtype <- @integers, a <- corners(dtype), b <- corners(dtype) do
      for {op, f} <- exact,
          do: assert(Arithmetic.binary(op, dtype).(a, b) == wrapped(f.(a, b), dtype))

      if b != 0 do
        quotient = Arithmetic.binary(:quotient, dtype).(a, b)
        assert quotient == wrapped(div(a, b), dtype)
        assert Arithmetic.binary(:remainder, dtype).(a, b) == wrapped(a - quotient * b, dtype)
      end

      assert Arithmetic.binary(:min, dtype).(a, b) == min(a, b)
      assert Arithmetic.binary(:max, dtype).(a, b) == max(a, b)
      assert Arithmetic.binary(:less_equal, dtype).(a, b) == a <= b
      shift = if b in 0..(bits(dtype) - 1), do: b, else: 100
      assert Arithmetic.binary(:left_shift, dtype).(a, b) == wrapped(a <<< shift, dtype)
      assert Arithmetic.binary(:right_shift, dtype).(a, b) == a >>> shift
    end
  end

  test "one integer" do
    for dtype <- @integers, a <- corners(dtype) do
      digits = for <<(bit::1 <- <<a::size(bits(dtype))>>)>>, do: bit
      zeros = fn digits -> digits |> Enum.take_while(&(&1 == 0)) |> length() end
      assert Arithmetic.unary(:negate, dtype).(a) == wrapped(-a, dtype)
      assert Arithmetic.unary(:abs, dtype).(a) == wrapped(abs(a), dtype)
      assert Arithmetic.unary(:bitwise_not, dtype).(a) == wrapped(bnot(a), dtype)
      assert Arithmetic.unary(:population_count, dtype).(a) == Enum.sum(digits)
      assert Arithmetic.unary(:count_leading_zeros, dtype).(a) == zeros.(digits)
      assert Arithmetic.unary(:count_trailing_zeros, dtype).(a) == zeros.(Enum.reverse(digits))
    end
  end

  test "casts of integers" do
    for from <- @integers,
        to <- @integers,
        a <- corners(from),
        do: assert(Arithmetic.cast(a, from, to) == wrapped(a, to))
  end

  test "an integer is rounded once to a float" do
    # 2^24 + 1 and 2^24 + 3 are ties. The last number, rounded to 53 bits and then to 24, would be
    # wrong.
    for {n, to, x} <- [
          {0, :f32, 0.0},
          {16_777_217, :f32, 16_777_216.0},
          {16_777_219, :f32, 16_777_220.0},
          {-16_777_219, :f32, -16_777_220.0},
          {9_007_199_254_740_993, :f64, 9_007_199_254_740_992.0},
          {9_007_199_254_740_995, :f64, 9_007_199_254_740_996.0},
          {0xFFFFFFFFFFFFFFFF, :f64, 18_446_744_073_709_551_616.0},
          {0xFFFFFFFFFFFFFFFF, :f32, 18_446_744_073_709_551_616.0},
          {0x4000_0040_0000_0001, :f32, 4_611_686_568_183_201_792.0}
        ] do
      assert Arithmetic.cast(n, :u64, to) == x
    end
  end

  test "a float is truncated, then wraps around" do
    for {x, to, n} <- [
          {:nan, :s32, 0},
          {:infinity, :u8, 255},
          {:neg_infinity, :u8, 0},
          {:infinity, :s64, 0x7FFFFFFFFFFFFFFF},
          {:neg_infinity, :s8, -128},
          {-1.9, :s8, -1},
          {-1.9, :u8, 255},
          {300.7, :u8, 44},
          {1.0e300, :s64, 0},
          {9_223_372_036_854_775_808.0, :s64, -0x8000000000000000}
        ] do
      assert Arithmetic.cast(x, :f64, to) == n
    end

    assert Arithmetic.cast(1.0e300, :f64, :f32) == :infinity
    assert Arithmetic.cast(-1.0e300, :f64, :f32) == :neg_infinity
    assert Arithmetic.cast(0.1, :f64, :f32) == 0.10000000149011612
    assert Arithmetic.cast(:nan, :f64, :f32) == :nan
  end

  test "floats of IEEE where Elixir raises" do
    [add, subtract, multiply, divide, least, most] =
      for op <- [:add, :subtract, :multiply, :divide, :min, :max], do: Arithmetic.binary(op, :f64)

    huge = 1.0e308
    minus_zero = Arithmetic.unary(:negate, :f64).(0.0)
    assert add.(huge, huge) == :infinity
    assert subtract.(-huge, huge) == :neg_infinity
    assert subtract.(:infinity, :infinity) == :nan
    assert add.(:infinity, -1.0) == :infinity
    assert multiply.(huge, -10.0) == :neg_infinity
    assert multiply.(:infinity, 0.0) == :nan
    assert multiply.(:neg_infinity, -2.0) == :infinity
    assert divide.(1.0, 0.0) == :infinity
    assert divide.(1.0, minus_zero) == :neg_infinity
    assert divide.(0.0, 0.0) == :nan
    assert divide.(huge, 1.0e-10) == :infinity
    assert divide.(1.0, divide.(-1.0, :infinity)) == :neg_infinity
    assert divide.(:infinity, :infinity) == :nan

    for f <- [add, subtract, multiply, divide, least, most], x <- [1.0, :infinity, :nan] do
      assert f.(:nan, x) == :nan
      assert f.(x, :nan) == :nan
    end

    assert least.(1.0, :neg_infinity) == :neg_infinity
    assert most.(1.0, :neg_infinity) == 1.0

    for {op, expected} <- [less: false, less_equal: false, equal: false, not_equal: true],
        {a, b} <- [{:nan, :nan}, {:nan, 1.0}, {:infinity, :nan}],
        do: assert(Arithmetic.binary(op, :f64).(a, b) == expected)

    assert Arithmetic.binary(:less, :f64).(:neg_infinity, -1.0e300)
    assert Arithmetic.binary(:equal, :f64).(:infinity, :infinity)
  end

  test "f32 rounds at each operation" do
    assert Arithmetic.binary(:add, :f32).(16_777_216.0, 1.0) == 16_777_216.0
    assert Arithmetic.binary(:multiply, :f32).(3.0e38, 2.0) == :infinity
    assert Arithmetic.binary(:divide, :f32).(1.0, 3.0) == 0.3333333432674408
    assert Arithmetic.unary(:sqrt, :f32).(2.0) == 1.4142135381698608
  end

  test "functions beyond their domain" do
    for {op, x, y} <- [
          {:sqrt, -1.0, :nan},
          {:sqrt, :infinity, :infinity},
          {:log, 0.0, :neg_infinity},
          {:log, -1.0, :nan},
          {:log, :infinity, :infinity},
          {:exp, 1000.0, :infinity},
          {:exp, :neg_infinity, 0.0},
          {:sin, :infinity, :nan},
          {:asin, 2.0, :nan},
          {:atan, :infinity, :math.pi() / 2},
          {:tanh, :neg_infinity, -1.0},
          {:sinh, -1000.0, :neg_infinity},
          {:cosh, :neg_infinity, :infinity},
          {:acosh, 0.5, :nan},
          {:atanh, 1.0, :infinity},
          {:floor, -0.5, -1.0},
          {:ceil, 1.2, 2.0},
          {:trunc, -1.7, -1.0},
          {:trunc, :infinity, :infinity},
          {:abs, :neg_infinity, :infinity}
        ] do
      assert {op, x, Arithmetic.unary(op, :f64).(x)} == {op, x, y}
      assert Arithmetic.unary(op, :f64).(:nan) == :nan
    end

    pow = Arithmetic.binary(:pow, :f64)

    for {x, y, z} <- [
          {:nan, 0.0, 1.0},
          {1.0, :nan, 1.0},
          {0.0, -1.0, :infinity},
          {-2.0, 3.0, -8.0},
          {-2.0, 0.5, :nan},
          {0.5, :infinity, 0.0},
          {-1.0, :infinity, 1.0},
          {:neg_infinity, 3.0, :neg_infinity},
          {:infinity, -1.0, 0.0},
          {-10.0, 309.0, :neg_infinity}
        ] do
      assert {x, y, pow.(x, y)} == {x, y, z}
    end

    assert Arithmetic.unary(:is_nan, :f64).(:nan)
    refute Arithmetic.unary(:is_nan, :f64).(:infinity)
    assert Arithmetic.binary(:atan2, :f64).(:infinity, :infinity) == :math.pi() / 4
    assert Arithmetic.binary(:atan2, :f64).(1.0, :neg_infinity) == :math.pi()
  end

  test "cells keep each value" do
    for {x, dtype} <-
          [{-1, :s8}, {0xFFFFFFFFFFFFFFFF, :u64}, {1.5, :f32}, {:nan, :f64}] ++
            [{:infinity, :f32}, {:neg_infinity, :f64}] do
      assert x |> Arithmetic.to_cell(dtype) |> Arithmetic.from_cell(dtype) == x
    end
  end
end
