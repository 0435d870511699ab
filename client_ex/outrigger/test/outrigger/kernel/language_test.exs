Code.require_file("../../support/kernel_examples.exs", __DIR__)

defmodule Outrigger.Kernel.LanguageTest do
  use ExUnit.Case, async: true

  import ExUnit.CaptureIO
  import Outrigger.Kernel, only: [interpret: 2, interpret: 3, unit: 1]

  defmodule Macros do
    defmacro twice(x), do: quote(do: unquote(x) + unquote(x))

    defmacro swap(a, b) do
      quote do
        t = unquote(a)
        unquote(a) = unquote(b)
        unquote(b) = t
      end
    end
  end

  defmodule Other do
    use Outrigger.Kernel
    defkernel(square(x :: s64) :: s64, do: x * x)
    defkernel(divide(a :: s64, b :: s64) :: {s64, s64}, do: return({div(a, b), rem(a, b)}))
    defkernel(fill(row :: mut(s64[n]), x :: s64), do: for(i <- 0..(n - 1), do: row[i] = x))
  end

  defmodule Language do
    use Outrigger.Kernel
    import Macros
    import Other, only: [square: 1]
    alias Outrigger.Kernel.LanguageTest.Other, as: Aliased

    @weights [3, 0, -1]
    @half 0.5
    @limit 10

    defkernel macros(x :: s64, y :: s64) :: {s64, s64} do
      t = 100
      swap(x, y)
      x = x |> twice()
      if t != 100, do: raise("a variable of the macro is another one")
      {x, y + @limit}
    end

    defkernel(table(i :: s64) :: s64, do: @weights[i])
    defkernel(half(x :: f32) :: f32, do: x * @half)

    defkernel calls(a :: mut(s64[h][w]), x :: s64) :: s64 do
      {q, r} = Aliased.divide(x, 3)
      for i <- 0..(h - 1), do: Other.fill(a[i], i * 10)
      square(q) + r + Other.square(2)
    end

    defkernel swap_values(a :: s64, b :: s64) :: {s64, s64} do
      {a, b} = {b, a}
      {a, b} = {a + b, a - b}
      {a, b}
    end

    defkernel order(a :: mut(s64[n])) :: s64 do
      i = 0

      before =
        a[i] +
          if n > 0 do
            a[0] = 7
            i = 1
            a[0]
          else
            0
          end

      before * 100 + i
    end

    defkernel short(a :: s64[n], i :: s64) :: s64 do
      if i >= 0 and i < n and a[i] > 0, do: 1, else: 0
    end

    defkernel short_with_lines(a :: s64[n], i :: s64) :: s64 do
      ok =
        i < n and
          if i >= 0 do
            x = a[i]
            x > 0
          else
            false
          end

      if ok, do: 1, else: 0
    end

    defkernel sign(x :: s64) :: s64 do
      cond do
        x > 0 -> 1
        x < 0 -> -1
        true -> 0
      end
    end

    defkernel cond_value(x :: s64) :: s64 do
      y =
        cond do
          x > 100 -> raise("large", x)
          x > 10 -> return(-1)
          x > 5 -> x * 2
          true -> 0
        end

      y + 1
    end

    defkernel forever(n :: s64) :: s64 do
      i = 0

      while true do
        i = i + 1
        if rem(i, 2) == 0, do: continue
        found = i

        unless i < n do
          break
        end
      end

      found
    end

    defkernel turns(a :: s64, b :: s64, step :: s64) :: {s64, s64} do
      {count, last} = {0, 99}

      for i <- a..b//step do
        count = count + 1
        last = i
      end

      return({count, last})
    end

    defkernel nested(n :: s64) :: s64 do
      sum = 0

      for i <- 0..(n - 1), rem(i, 2) == 0, j <- 0..i do
        if j == 3, do: break
        sum = sum + 1
      end

      sum
    end

    defkernel shadow(n :: s64) :: s64 do
      i = 5
      for i <- 0..n, do: for(i <- 0..1, do: n = n + i)
      i * 1000 + n
    end

    defkernel parts(a :: f32[h][w][2]) :: {s64, s64, s64} do
      return({size(a, 0), w, size(a, 2)})
    end

    defkernel fresh(a :: u8[n], twice :: new(u16[n]), one_more :: new(s64[n + 1])) do
      for i <- 0..(n - 1), do: twice[i] = u16(a[i]) * 2
      one_more[n] = n
    end

    defkernel nothing(a :: s64[n]) do
      if n == 0, do: return()
      if a[0] < 0, do: raise("negative")
    end

    defkernelp count_up(a :: mut(s64[n])) do
      t = local(s64[2])
      u = scratch(s64[n])
      t[0] = t[0] + 1
      u[0] = u[0] + 1
      a[0] = a[0] + t[0] + u[0]
    end

    defkernel fresh_arrays(a :: mut(s64[n])) do
      for _ <- 1..3, do: count_up(a)
    end

    defkernel(divide(a :: s64, b :: s64) :: s64, do: div(a, b))

    defkernelp(pair(a :: s64[2]) :: s64, do: a[0] + a[1])
    defkernel(pair_of(a :: s64[n]) :: s64, do: pair(a))

    defkernel types(a :: u8[n], b :: s32, c :: f32) :: {s32, s64, f64, u16, s16, f32} do
      meets = 0
      meets = meets + 1
      s = b + meets
      alone = 1
      float = 0.5
      wide = a[0] + 256
      signed = a[0] - 1 + -1
      mixed = a[0] * c
      return({s, alone, float, wide, signed, mixed})
    end
  end

  test "macros, with variables of their own, and module attributes" do
    assert interpret(&Language.macros/2, [3, 4]) == {8, 13}
    assert for(i <- 0..2, do: interpret(&Language.table/1, [i])) == [3, 0, -1]
    assert interpret(&Language.half/1, [3.0]) == 1.5
    error = assert_raise Outrigger.Error, fn -> interpret(&Language.table/1, [3]) end
    assert error.message == "index 3 of @weights is outside of 0..2"
  end

  test "calls of other modules, by import, alias and name; parts of tensors" do
    assert interpret(&Language.calls/2, [[[1, 2], [3, 4], [5, 6]], 7]) ==
             {9, [[0, 0], [10, 10], [20, 20]]}

    unit = unit(&Language.calls/2)
    assert Enum.map(unit.kernels, & &1.name) |> List.last() =~ "LanguageTest.Language.calls/2"
    assert length(unit.kernels) == 4
  end

  test "the right side is evaluated first" do
    assert interpret(&Language.swap_values/2, [1, 5]) == {6, 4}
  end

  test "operands are evaluated from left to right, also before lines of a value" do
    assert interpret(&Language.order/1, [[2, 3]]) == {901, [7, 3]}
  end

  test "`and` does not evaluate what it need not" do
    for f <- [&Language.short/2, &Language.short_with_lines/2] do
      assert for(i <- [-1, 0, 1, 2], do: interpret(f, [[0, 5], i])) == [0, 0, 1, 0]
    end
  end

  test "cond, as the last line and as a value with jumps" do
    assert for(x <- [-4, 0, 9], do: interpret(&Language.sign/1, [x])) == [-1, 0, 1]
    assert for(x <- [0, 6, 11], do: interpret(&Language.cond_value/1, [x])) == [1, 13, -1]

    assert_raise Outrigger.Error, ~r/large: 101 /, fn ->
      interpret(&Language.cond_value/1, [101])
    end
  end

  test "while true is left by break, which binds" do
    assert interpret(&Language.forever/1, [6]) == 7
  end

  test "ranges" do
    assert interpret(&Language.turns/3, [0, -1, 1]) == {0, 99}
    assert interpret(&Language.turns/3, [3, 3, 1]) == {1, 3}
    assert interpret(&Language.turns/3, [0, 10, 4]) == {3, 8}
    assert interpret(&Language.turns/3, [10, 0, -4]) == {3, 2}
    assert interpret(&Language.turns/3, [0, 10, -1]) == {0, 99}
    {lo, hi} = {-0x8000000000000000, 0x7FFFFFFFFFFFFFFF}
    assert interpret(&Language.turns/3, [hi - 1, hi, 1]) == {2, hi}
    assert interpret(&Language.turns/3, [lo, hi, hi]) == {3, hi - 1}
    error = assert_raise Outrigger.Error, fn -> interpret(&Language.turns/3, [0, 1, 0]) end
    assert {error.code, error.message} == {:bad_value, "the step of the range is 0"}
  end

  test "several generators are loops inside each other; break leaves the inner one" do
    # i is 0, 2 and 4: 1, 3 and 3 turns.
    assert interpret(&Language.nested/1, [6]) == 7
  end

  test "the variable of a loop hides one of the same name" do
    assert interpret(&Language.shadow/1, [2]) == 5005
  end

  test "sizes" do
    assert interpret(&Language.parts/1, [[[[1.0, 2.0]], [[3.0, 4.0]]]]) == {2, 1, 2}

    assert_raise Outrigger.Error, ~r/axis 2 of a has the size 1, not 2/, fn ->
      interpret(&Language.parts/1, [[[[1.0]]]])
    end
  end

  test "new tensors are results, zero at first" do
    assert interpret(&Language.fresh/1, [[200, 3]]) == {[400, 6], [0, 0, 2]}
    assert interpret(&Language.fresh/1, [[]]) == {[], [0]}
    assert interpret(&Language.nothing/1, [[1]]) == :ok
    assert interpret(&Language.nothing/1, [[]]) == :ok
  end

  test "local and scratch are zero in each call" do
    assert interpret(&Language.fresh_arrays/1, [[0]]) == [6]
  end

  test "division by zero" do
    error = assert_raise Outrigger.Error, fn -> interpret(&Language.divide/2, [1, 0]) end
    assert {error.code, error.message} == {:bad_value, "division by zero"}
    assert {"test/outrigger/kernel/language_test.exs", line} = error.at
    assert is_integer(line)
    lowest = -0x8000000000000000
    assert interpret(&Language.divide/2, [lowest, -1]) == lowest
    assert interpret(&Language.divide/2, [-7, 2]) == -3
  end

  test "a callee's shapes are checked, with the line of the call" do
    assert interpret(&Language.pair_of/1, [[3, 4]]) == 7
    error = assert_raise Outrigger.Error, fn -> interpret(&Language.pair_of/1, [[3]]) end
    assert error.code == :bad_shape
    assert error.op =~ "pair_of/1"
    assert error.message =~ "pair/1: axis 0 of a has the size 1, not 2"
    assert error.at
  end

  test "types: variables of literals take the type that they meet" do
    %{kernels: [kernel]} = unit(&Language.types/3)
    assert kernel.slots == [:s32, :f32, :s32, :s32, :s64, :f64, :u16, :s16, :f32]

    assert interpret(&Language.types/3, [[200], -3, 0.1]) ==
             {-2, 1, 0.5, 456, 198, 20.0}
  end

  test "trace prints each write with its line" do
    text = capture_io(fn -> interpret(&Language.fresh/1, [[7]], trace: true) end)

    assert text =~
             ~r"^test/.*/language_test.exs:\d+: twice\[0\] = 14\n.*: one_more\[1\] = 1\n$"
  end

  test "operands that are none" do
    for {args, text} <- [
          {[[300]], "300 is no u8"},
          {[[1.5]], "1.5 is no u8"},
          {[[[1]]], "takes a tensor of rank 1, not a list of rank 2"},
          {[3], "takes a list for a tensor of u8 with 1 axes, not 3"}
        ] do
      assert_raise ArgumentError, ~r/#{text}/, fn -> interpret(&Language.fresh/1, args) end
    end

    assert_raise ArgumentError, ~r/is no kernel/, fn -> interpret(&Enum.sum/1, [[1]]) end
    assert_raise ArgumentError, ~r/is no kernel/, fn -> interpret(&(&1 + 1), [1]) end
  end

  test "a unit is msgpack of depth 5 and comes back" do
    for kernel <- [&Language.calls/2, &Outrigger.KernelExamples.shortest/4] do
      wire = IO.iodata_to_binary(Outrigger.Codec.encode(unit(kernel)))
      assert {:ok, decoded, ""} = Outrigger.Codec.decode(wire)
      assert %{"files" => [_ | _], "kernels" => [_ | _]} = decoded
    end
  end
end
