defmodule Outrigger.DataTest do
  use ExUnit.Case, async: true
  alias Outrigger.{Data, Dtype, Options}
  import Bitwise
  doctest Data
  doctest Dtype

  test "every type there and back" do
    for type <- Dtype.all(), Dtype.plain?(type) do
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

  test "groups of eight elements and the remaining elements" do
    for type <- Dtype.all(), Dtype.plain?(type), count <- 0..19 do
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

  test "every pattern of the small floats there and back" do
    for {type, size} <- [f8: 8, f8_e4m3fn: 8, f16: 16, bf16: 16] do
      binary = for bits <- 0..((1 <<< size) - 1), into: <<>>, do: <<bits::little-size(size)>>
      values = Data.decode(binary, type)

      for {value, bits} <- Enum.with_index(values), value != :nan do
        assert Data.encode(value, type) == <<bits::little-size(size)>>, "#{type} #{bits}"
      end

      nans = Enum.count(values, &(&1 == :nan))
      assert nans == %{f8: 6, f8_e4m3fn: 2, f16: 2046, bf16: 254}[type]
      assert [:nan] == :nan |> Data.encode(type) |> Data.decode(type)
    end

    assert Data.decode(<<0x3C, 0x7B, 0xFC>>, :f8) == [1.0, 57344.0, :neg_infinity]
    assert Data.decode(<<0x38, 0x7E, 0x01>>, :f8_e4m3fn) == [1.0, 448.0, 0.001953125]
    assert Data.decode(<<0x00, 0x3C, 0xFF, 0x7B, 0x01, 0x00>>, :f16) == [1.0, 65504.0, 2.0 ** -24]
    assert Data.decode(<<0x80, 0x3F, 0x49, 0x40>>, :bf16) == [1.0, 3.140625]
  end

  test "numbers between two small floats go to the nearer one, or the even one" do
    assert Data.encode([1.125, 1.375, 1.1251, -1.125], :f8) == <<0x3C, 0x3E, 0x3D, 0xBC>>
    assert Data.encode([1.0625, 1.1875, 1.0626], :f8_e4m3fn) == <<0x38, 0x3A, 0x39>>

    assert Data.encode([2049, 2051, 2049.0001], :f16) ==
             <<0x6800::little-16, 0x6802::little-16, 0x6801::little-16>>

    assert Data.encode([257, 259], :bf16) == <<0x4380::little-16, 0x4382::little-16>>
    assert Data.encode([1.0e-300, -1.0e-300], :f16) == <<0, 0, 0, 0x80>>
    # Just above a tie: f32 on the way would make it one.
    assert Data.encode([1 + 2.0 ** -11 + 2.0 ** -40], :f16) == <<0x3C01::little-16>>
    # Saturates, as in Nx; the others have infinities, which are written so.
    assert Data.encode([1000, :infinity, -1.0e9], :f8_e4m3fn) == <<0x7E, 0x7E, 0xFE>>
    assert Data.encode([65519.9], :f16) == <<0x7BFF::little-16>>

    for {number, type} <- [{65520, :f16}, {61440.0, :f8}, {1.0e39, :bf16}, {10 ** 400, :f16}] do
      assert_raise ArgumentError, ~r/ is no #{type}/, fn -> Data.encode([number], type) end
    end
  end

  test "integers below eight bits are packed across rows" do
    assert Data.encode([[1, 2, 3], [4, 5, 6]], :u4) == <<0x12, 0x34, 0x56>>
    assert Data.encode([[1], [2], [3]], :u2) == <<0b01101100>>
    assert Data.encode([-1, 7, -8, 17], :s4) == <<0xF7, 0x81>>
    assert Data.decode(<<0b01101100>>, :u2) == [1, 2, 3, 0]
    assert <<0b10110001>> |> Data.decode(:s2) |> Data.without_padding(:s2, 3) == [-2, -1, 0]
    assert Data.encode(3, :u2) == <<0b11000000>>
    assert Dtype.byte_size(:u2, {3, 3}) == 3
    assert_raise ArgumentError, "1.5 is no u4", fn -> Data.encode([1, 1.5], :u4) end
    assert_raise ArgumentError, ":nan is no s2", fn -> Data.encode([:nan], :s2) end
  end

  test "complex numbers" do
    list = [[{1.0, -2.5}, {:nan, :infinity}], [{0.0, 0.25}, {:neg_infinity, 1.0}]]

    for type <- [:c64, :c128] do
      binary = Data.encode(list, type)
      assert byte_size(binary) == Dtype.byte_size(type, {2, 2})
      assert binary |> Data.decode(type) |> Data.nest({2, 2}) == list
    end

    assert Data.decode(Data.encode([1, 2.5, :nan], :c64), :c64) == [
             {1.0, 0.0},
             {2.5, 0.0},
             {:nan, 0.0}
           ]

    # The struct of Nx, if the library is there.
    assert Data.encode([%{__struct__: Complex, re: 1, im: 2}], :c64) ==
             Data.encode([{1, 2}], :c64)

    assert Data.infer([[1.5], [{1, 2}]]) == {:c64, {2, 1}}
    assert Data.shape({1, 2}) == {}
    assert Data.literal({1, :nan}) == {:ok, %{"re" => 1, "im" => :nan}}
    assert Data.literal({1, {2, 3}}) == :error
    assert_raise ArgumentError, ~r/is no f32/, fn -> Data.encode([{1, 2}], :f32) end
    assert_raise ArgumentError, ~r/is no c64/, fn -> Data.encode([{1, 2, 3}], :c64) end
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
    assert Options.new!(memory_limit: "2gib").memory_limit == 2 * 1024 ** 3
    assert Options.new!(memory_limit: 0).memory_limit == 0

    for text <- ["1%", "50%", "100%"],
        do: assert(Options.new!(memory_limit: text).memory_limit == text)

    for {option, text} <- [
          {{:name, "x"}, ~r/:name must be an atom/},
          {{:memory_limit, "2 apples"}, ~r/:memory_limit must be a number of bytes/},
          {{:memory_limit, -1}, ~r/:memory_limit/},
          {{:memory_limit, "101%"}, ~r/:memory_limit/},
          {{:threads, 0}, ~r/:threads must be from 1 to 1024 threads, got: 0/},
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
