defmodule Outrigger.DataTest do
  use ExUnit.Case, async: true
  alias Outrigger.{Data, Dtype, Options}
  doctest Data
  doctest Dtype

  test "every type there and back" do
    for type <- Dtype.all() do
      values = if Dtype.float?(type), do: [0.0, -1.5, 1.0e10, 0.25], else: [0, 1, 100, 127]
      values = if type == :f32, do: [0.0, -1.5, 0.25], else: values
      binary = IO.iodata_to_binary(Data.encode(values, type))
      assert byte_size(binary) == length(values) * Dtype.bytes(type)
      assert Data.decode(binary, type) == values
    end
  end

  test "floats that Elixir cannot hold, among others" do
    for type <- [:f32, :f64] do
      values = [1.0, :nan, :infinity, -2.0, :neg_infinity]
      assert values |> Data.encode(type) |> IO.iodata_to_binary() |> Data.decode(type) == values
    end
  end

  test "nesting" do
    assert Data.nest(Enum.to_list(1..8), {2, 2, 2}) == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert Data.nest([], {0}) == []
    assert Data.nest([], {2, 0}) == [[], []]
    assert Data.nest([], {0, 2}) == []
    assert Data.shape([[], []]) == {2, 0}
    assert Data.shape([]) == {0}
    assert Data.shape(5) == {}
  end

  test "bad lists" do
    for ragged <- [[[1], [1, 2]], [[1], 2], [1, [2]]] do
      assert_raise ArgumentError, ~r/ragged/, fn -> Data.shape(ragged) end
    end

    assert_raise ArgumentError, ~r/:nan is no s32/, fn -> Data.encode([1, :nan], :s32) end
    assert_raise ArgumentError, ~r/1.5 is no u8/, fn -> Data.encode([1.5], :u8) end
    assert_raise ArgumentError, ~r/is no f32/, fn -> Data.encode(["1"], :f32) end
  end

  test "options are checked" do
    assert Options.new!(memory_limit: "2GiB").memory_limit == 2 * 1024 ** 3
    assert Options.new!(memory_limit: "1.5 MB").memory_limit == 1_500_000
    assert Options.new!(memory_limit: "50%").memory_limit == "50%"

    for {option, text} <- [
          {{:name, "x"}, ~r/:name must be an atom/},
          {{:memory_limit, "2 apples"}, ~r/:memory_limit must be a number of bytes/},
          {{:memory_limit, -1}, ~r/:memory_limit/},
          {{:threads, 0}, ~r/:threads must be a positive number of threads, got: 0/},
          {{:daemon, :x}, ~r/:daemon must be the path/},
          {{:args, ["a", 1]}, ~r/:args must be a list of strings/},
          {{:env, [{"A", 1}]}, ~r/:env must be pairs of strings/},
          {{:log, :loud}, ~r/:log must be/},
          {{:on_restart, fn -> 1 end}, ~r/:on_restart must be a function of one argument/},
          {{:timeout, 0}, ~r/:timeout/},
          {{:thread, 1}, ~r/unknown option :thread; the options are :name/}
        ] do
      assert_raise ArgumentError, text, fn -> Options.new!([option]) end
    end
  end
end
