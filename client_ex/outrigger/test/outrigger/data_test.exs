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

  test "groups of eight elements and what is left of them" do
    for type <- Dtype.all(), count <- 0..19 do
      values = for i <- 1..count//1, do: if(Dtype.float?(type), do: i / 4, else: i)
      one_by_one = for x <- values, do: Data.encode(x, type)
      binary = IO.iodata_to_binary(Data.encode(values, type))
      assert binary == IO.iodata_to_binary(one_by_one)
      assert Data.decode(binary, type) == values
    end

    for type <- [:f32, :f64],
        count <- 1..19,
        at <- 0..(count - 1),
        odd <- [:nan, :neg_infinity] do
      values = List.replace_at(List.duplicate(2.5, count), at, odd)
      assert values |> Data.encode(type) |> IO.iodata_to_binary() |> Data.decode(type) == values
    end

    assert IO.iodata_to_binary(Data.encode(Enum.to_list(-300..-292), :u8)) ==
             for(x <- -300..-292, into: <<>>, do: <<x>>)

    assert Data.decode(<<255, 1>>, :s16) == [511]
    assert Data.decode(:binary.copy(<<255>>, 72), :u64) == List.duplicate(2 ** 64 - 1, 9)
  end

  test "a long list, in a heap made for it" do
    values = Enum.to_list(1..150_003)
    {:min_heap_size, min} = Process.info(self(), :min_heap_size)
    assert values |> Data.encode(:s32) |> IO.iodata_to_binary() |> Data.decode(:s32) == values
    assert Process.info(self(), :min_heap_size) == {:min_heap_size, min}

    binary = :binary.copy(<<1>>, 150_000)

    limited = fn ->
      Process.flag(:max_heap_size, 5_000_000)
      exit({:shutdown, length(Data.decode(binary, :u8))})
    end

    {_pid, ref} = spawn_monitor(limited)
    assert_receive {:DOWN, ^ref, _, _, {:shutdown, 150_000}}, 5_000
  end

  test "a bad element anywhere is named" do
    for at <- 0..17 do
      list = List.replace_at(Enum.to_list(1..18), at, 1.5)
      assert_raise ArgumentError, "1.5 is no s64", fn -> Data.encode(list, :s64) end
      list = List.replace_at(Enum.to_list(1..18), at, 10 ** 400)
      assert_raise ArgumentError, ~r/^1000+ is no f64$/, fn -> Data.encode(list, :f64) end
      list = List.replace_at(Enum.to_list(1..18), at, :infinity)
      assert_raise ArgumentError, ":infinity is no u8", fn -> Data.encode(list, :u8) end
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
