defmodule Outrigger.TensorTest do
  use Outrigger.DaemonCase, async: true
  alias Outrigger.Dtype

  @server MyApp.Compute

  test "lists, numbers, binaries and ranges, there and back" do
    for value <- [5, 1.5, [1, 2, 3], [[1.0, 2.0], [3.0, :nan]], [], [[], []], [:infinity]] do
      assert Outrigger.tensor(@server, value) |> Outrigger.to_list!() == value
    end

    assert Outrigger.type!(Outrigger.tensor(@server, [1])) == :s32
    assert Outrigger.type!(Outrigger.tensor(@server, [1, 2.0])) == :f32
    assert Outrigger.type!(Outrigger.tensor(@server, [1], type: {:u, 8})) == :u8
    assert Outrigger.from_range(@server, 3..9//3) |> Outrigger.to_list!() == [3, 6, 9]
    assert Outrigger.from_range(@server, 3..1//1) |> Outrigger.to_list!() == []

    assert Outrigger.tensor(@server, {1.0, 2.0}) |> Outrigger.to_list!() == {1.0, 2.0}

    for range <- [-3..3, 5..1//-2, 250..260], type <- [:u8, :s8, :s32, :u64, :f32, :bf16, :c64] do
      from_range = Outrigger.from_range(@server, range, type: type)
      from_list = Outrigger.tensor(@server, Enum.to_list(range), type: type)
      assert Outrigger.type!(from_range) == type
      assert Outrigger.to_list!(from_range) == Outrigger.to_list!(from_list)
    end
  end

  test "programs call prepared programs" do
    step = Outrigger.prepare!(@server, Outrigger.program(&InPlace.add(&1, 1)))
    scale = Outrigger.tensor(@server, 10)
    scaled = Outrigger.prepare!(@server, Outrigger.program(&Op.multiply(&1, scale)))

    program =
      Outrigger.program(fn x ->
        turns =
          Op.while({x, 0}, fn {_, i} -> Op.less(i, 3) end, fn {x, i} ->
            {Op.call(step, [x]), Op.add(i, 1)}
          end)

        {Op.call(scaled, [elem(turns, 0)]), Op.call(step, [x])}
      end)

    x = Outrigger.tensor(@server, [1, 2])
    assert {sum, same} = Outrigger.run(@server, program, [x])
    assert Outrigger.to_list!(sum) == [40, 50]
    assert same == x and Outrigger.to_list!(x) == [2, 3]
    prepared = Outrigger.prepare!(@server, program)
    assert {sum, _} = Outrigger.call(prepared, [x])
    assert Outrigger.to_list!(sum) == [50, 60]
    assert Outrigger.to_list!(Op.call(step, [x])) == [4, 5]
  end

  test "a program that calls another belongs to its server" do
    other = start_server()
    step = Outrigger.prepare!(other, Outrigger.program(&Op.add(&1, 1)))
    program = Outrigger.program(fn x -> Op.call(step, [x]) end)
    x = Outrigger.tensor(@server, 1)
    message = ~r/prepared on another server/
    assert_raise ArgumentError, message, fn -> Outrigger.run(@server, program, [x]) end
    assert_raise ArgumentError, message, fn -> Outrigger.prepare(@server, program) end

    assert_raise ArgumentError, ~r/Op.call/, fn ->
      Outrigger.program(fn x -> Outrigger.call(step, [x]) end)
    end
  end

  test "every type that the daemon has" do
    data = :binary.copy(<<0x12, 0x34, 0x56, 0x38>>, 12)

    for type <- Dtype.all(), rem(bit_size(data), Dtype.bits(type)) == 0 do
      count = div(bit_size(data), Dtype.bits(type))
      tensor = Outrigger.from_binary(@server, data, type, {count})
      assert {:ok, ^data} = Outrigger.to_binary(tensor)
    end
  end

  test "lists of every type there and back" do
    for type <- Dtype.all() do
      values = if type in [:u2, :s2], do: [0, 1, 1, 0, 1], else: [0, 1, 3, 2, 1]

      values =
        cond do
          Dtype.float?(type) -> Enum.map(values, &(&1 / 2))
          Dtype.complex?(type) -> Enum.map(values, &{&1 / 2, &1 * -1.0})
          true -> values
        end

      tensor = Outrigger.tensor(@server, [values, values], type: type)
      assert Outrigger.to_list!(tensor) == [values, values]
      assert Outrigger.peek!(tensor, 3) == Enum.take(values, 3)

      assert Outrigger.to_list!(Op.reverse(tensor, axes: [1])) ==
               List.duplicate(Enum.reverse(values), 2)
    end
  end

  test "complex numbers as operands, attributes and results" do
    z = Outrigger.tensor(@server, [{1.0, 2.0}, {0.0, -1.0}])
    assert Outrigger.type!(z) == :c64
    assert Outrigger.to_list!(Op.multiply(z, {0, 1})) == [{-2.0, 1.0}, {1.0, 0.0}]
    assert Outrigger.to_list!(Op.imag(z)) == [2.0, -1.0]
    assert Outrigger.to_number!(Op.sum(z)) == {1.0, 1.0}
    i = Op.constant(@server, {0, 1}, :c128, {2})
    assert Outrigger.to_list!(i) == [{0.0, 1.0}, {0.0, 1.0}]
    assert {:error, %Error{code: :bad_dtype, message: text}} = Outrigger.to_list(Op.less(z, 1))
    assert text =~ "c64[2]"
  end

  test "sizes around the chunks'" do
    chunk = 256 * 1024

    for size <- [1, chunk - 1, chunk, chunk + 1, 3 * chunk, 20 * chunk + 7] do
      data = :rand.bytes(size)
      tensor = Outrigger.from_binary(@server, data, :u8, {size})
      assert Outrigger.to_binary!(tensor) == data
    end
  end

  test "long lists, there and back in chunks" do
    # No multiple of eight elements fits such a chunk.
    server = start_server(chunk_bytes: 4100)

    for type <- [:u8, :s16, :f32, :f64], count <- [512, 4095, 4096, 4097, 50_003] do
      list = for i <- 1..count, do: rem(i * 7, 251)
      list = if type in [:f32, :f64], do: Enum.map(list, &(&1 / 4)), else: list
      tensor = Outrigger.tensor(server, list, type: type)
      assert Outrigger.to_list!(tensor) == list
      assert Outrigger.peek!(tensor, count - 3) == Enum.take(list, count - 3)
    end

    special = List.duplicate([:nan, :infinity, 1.5], 5000) |> List.flatten()
    assert Outrigger.tensor(server, special) |> Outrigger.to_list!() == special
    rows = for i <- 1..100, do: Enum.to_list(i..(i + 99))
    assert Outrigger.tensor(server, rows) |> Outrigger.to_list!() == rows
  end

  test "a bad element late in a long list" do
    server = start_server(chunk_bytes: 4096)
    good = Enum.to_list(1..100_000)
    before = Outrigger.info!(server).memory.used

    for bad <- [List.insert_at(good, 90_000, 1.5), good ++ [:nan], good ++ ["text"]] do
      assert_raise ArgumentError, ~r/is no s32$/, fn ->
        Outrigger.tensor(server, bad, type: :s32)
      end
    end

    assert :ok = Outrigger.sync(server)
    assert Outrigger.info!(server).memory.used == before
    # No late reply comes to this process.
    refute_received _
  end

  test "a call finds its reply behind a long mailbox" do
    for i <- 1..10_000, do: send(self(), {:noise, i})
    double = Outrigger.prepare!(@server, Outrigger.program(&Op.multiply(&1, 2)))
    x = Outrigger.tensor(@server, 21)
    assert double |> Outrigger.call_and_wait!([x]) |> Outrigger.to_number!() == 42
    for i <- 1..10_000, do: assert_received({:noise, ^i})
  end

  test "large transfers from many processes at once, and small requests between them" do
    tasks =
      for seed <- 1..4 do
        Task.async(fn ->
          data = :binary.copy(<<seed>>, 8_000_000)
          tensor = Outrigger.from_binary(@server, data, :u8, {8_000_000})
          Outrigger.to_binary!(tensor) == data
        end)
      end

    times = for _ <- 1..50, do: elem(timed(fn -> Outrigger.ping(@server) end), 0)
    assert Enum.all?(Task.await_many(tasks, 60_000))
    assert Enum.max(times) < 3000
  end

  test "a large read has the elements of one moment, while others write" do
    n = 2_000_000
    tensor = Outrigger.from_binary(@server, :binary.copy(<<0>>, n), :u8, {n})
    Outrigger.await!(tensor)

    writer =
      Task.async(fn ->
        for _ <- 1..40, do: InPlace.add(tensor, 1)
        Outrigger.sync!(@server)
      end)

    for _ <- 1..10 do
      <<first, _::binary>> = data = Outrigger.to_binary!(tensor)
      assert data == :binary.copy(<<first>>, n)
    end

    Task.await(writer)
    assert Outrigger.peek!(tensor, 1) == [40]
  end

  test "inspecting asks for nothing" do
    tensor = Outrigger.iota(@server, {344, 403}, type: :f32)
    Outrigger.await!(tensor)
    assert inspect(tensor) == "#Outrigger.Tensor<f32[344][403]>"

    assert inspect(tensor, custom_options: [values: 3]) ==
             "#Outrigger.Tensor<f32[344][403] 0.0, 1.0, 2.0, …>"

    scalar = Outrigger.await!(Outrigger.tensor(@server, 3))
    assert inspect(scalar, custom_options: [values: 3]) == "#Outrigger.Tensor<s32 3>"
    failed = Op.reshape(scalar, {2})
    assert {:error, _} = Outrigger.await(failed)
    assert inspect(failed) =~ "#Outrigger.Tensor<failed: "
  end

  test "eager ops pipeline, functional and in place" do
    tensor = Outrigger.tensor(@server, [1.0, 2.0])
    sum = Enum.reduce(1..1000, tensor, fn _, acc -> Op.add(acc, 1) end)
    assert Outrigger.to_list!(sum) == [1001.0, 1002.0]
    for _ <- 1..1000, do: InPlace.add(tensor, 1)
    assert Outrigger.to_list!(tensor) == [1001.0, 1002.0]
    assert tensor |> Op.add(tensor) |> Outrigger.to_list!() == [2002.0, 2004.0]
  end

  test "the sign of a zero is not lost" do
    one = Outrigger.tensor(@server, 1.0)
    # The compiler takes the literals for one.
    [plus, minus] = for bits <- [0, 0x8000000000000000], do: from_bits(<<bits::64>>)
    assert Outrigger.to_number!(Op.divide(one, plus)) == :infinity
    assert Outrigger.to_number!(Op.divide(one, minus)) == :neg_infinity
  end

  defp from_bits(<<x::float>>), do: x

  test "in place and functional do not mix up" do
    x = Outrigger.tensor(@server, [3, 1, 2])
    y = Op.sort(x)
    same = InPlace.put_slice(x, [1], Outrigger.tensor(@server, [9]))
    assert same == x
    assert Outrigger.to_list!(x) == [3, 9, 2]
    assert Outrigger.to_list!(y) == [1, 2, 3]
    indices = Outrigger.tensor(@server, [[0], [0]])
    InPlace.indexed_add(x, indices, Outrigger.tensor(@server, [10, 10]))
    assert Outrigger.to_list!(x) == [23, 9, 2]
  end

  test "programs, prepared and not, with captured tensors and containers" do
    x = Outrigger.tensor(@server, [1.0, 2.0])
    scale = Outrigger.tensor(@server, 10.0)

    program =
      Outrigger.program(fn a ->
        {Op.multiply(a, scale), [Op.sum(a)] |> hd(), InPlace.add(a, 1)}
      end)

    assert {scaled, sum, same} = Outrigger.run(@server, program, [x])
    assert same == x
    assert Outrigger.to_list!(scaled) == [10.0, 20.0]
    assert Outrigger.to_number!(sum) == 3.0
    assert Outrigger.to_list!(x) == [2.0, 3.0]

    prepared = Outrigger.prepare!(@server, Outrigger.program(fn a, b -> Op.subtract(a, b) end))
    assert Outrigger.call(prepared, [scale, x]) |> Outrigger.to_list!() == [8.0, 7.0]
    assert {:ok, result} = Outrigger.call_and_wait(prepared, [x, x])
    assert Outrigger.to_list!(result) == [0.0, 0.0]

    for _ <- 1..1000, do: Outrigger.call(prepared, [x, x])
    assert Outrigger.sync(@server) == :ok
  end

  test "while and cond, eagerly too" do
    x = Outrigger.tensor(@server, 5)
    assert Op.while(x, &Op.greater(&1, 0), &Op.subtract(&1, 2)) |> Outrigger.to_number!() == -1
    y = Op.cond(Op.greater(x, 3), fn -> Op.add(x, 1) end, fn -> x end)
    assert Outrigger.to_number!(y) == 6
  end

  @tag :tmp_dir
  test "files", %{tmp_dir: dir} do
    path = Path.join(dir, "t.npy")
    tensor = Outrigger.iota(@server, {3, 4}, type: :f64)
    assert Outrigger.save_npy(tensor, path) == :ok
    loaded = Outrigger.load_npy(@server, path)
    assert Outrigger.info!(loaded) |> Map.take([:type, :shape]) == %{type: :f64, shape: {3, 4}}
    assert Outrigger.to_list!(loaded) == Outrigger.to_list!(tensor)

    assert {:error, %Error{code: code}} =
             Outrigger.await(Outrigger.load_npy(@server, path <> "x"))

    assert code in [:io_error, :bad_file]
    File.write!(path, "not numpy")
    bad = Outrigger.load_npy(@server, path)
    assert {:error, %Error{code: :bad_file}} = Outrigger.await(bad)
    assert {:error, %Error{code: :io_error}} = Outrigger.save_npy(tensor, "/nowhere/t.npy")

    path = Path.join(dir, "t.npz")
    other = Outrigger.tensor(@server, [{1.0, -2.0}], type: :c64)

    for compress <- [false, true] do
      assert Outrigger.save_npz(%{"größe" => other, x: tensor}, path, compress: compress) == :ok
      loaded = Outrigger.load_npz(@server, path, "größe")
      assert Outrigger.to_list!(loaded) == [{1.0, -2.0}]
      loaded = Outrigger.load_npz(@server, path, :x)
      assert Outrigger.to_list!(loaded) == Outrigger.to_list!(tensor)
    end

    assert {:error, %Error{code: :bad_request}} =
             Outrigger.save_npz([{"x", tensor}, {"x", other}], path)

    assert_raise ArgumentError, ~r/needs tensors/, fn -> Outrigger.save_npz(%{}, path) end
  end

  describe "files of numbers" do
    setup do
      dir = Path.join(System.tmp_dir!(), "outrigger_#{System.unique_integer([:positive])}")
      File.mkdir_p!(dir)
      on_exit(fn -> File.rm_rf!(dir) end)
      %{path: Path.join(dir, "numbers")}
    end

    test "raw bytes are mapped, and never written", %{path: path} do
      data = for i <- 0..9, into: "", do: <<i::32-little>>
      File.write!(path, data)
      tensor = Outrigger.load_raw(@server, path, :s32, {2, 4}, offset: 8)
      assert Outrigger.to_list!(tensor) == [[2, 3, 4, 5], [6, 7, 8, 9]]
      InPlace.fill(tensor, 7)
      assert Outrigger.to_list!(Op.sum(tensor)) == 56
      assert File.read!(path) == data

      short = Outrigger.load_raw(@server, path, :s32, {11})
      assert {:error, %Error{code: :bad_file, message: text}} = Outrigger.await(short)
      assert text =~ "40 bytes" and text =~ "44"
      assert Outrigger.to_list!(Outrigger.load_raw(@server, path, :u4, {4})) == [0, 0, 0, 0]

      assert_raise ArgumentError, ~r/:offset/, fn ->
        Outrigger.load_raw(@server, path, :u8, {1}, offset: -1)
      end
    end

    test "a mapped file that is cut short is an error, and the daemon lives", %{path: path} do
      File.write!(path, String.duplicate(<<1>>, 1_000_000))
      tensor = Outrigger.load_raw(@server, path, :u8, {1_000_000})
      assert {:ok, _} = Outrigger.await(tensor)
      File.write!(path, "gone")
      assert {:error, %Error{code: :io_error, message: text}} = Outrigger.to_list(Op.sum(tensor))
      assert text =~ "shorter"
      assert {:error, %Error{message: text}} = Outrigger.to_binary(tensor)
      assert text =~ "shorter"
      assert Outrigger.ping(@server) == :ok
    end

    test "CSV", %{path: path} do
      File.write!(path, "a;b\n1;2.5\r\n\n \"-3\" ; \n")
      table = Outrigger.load_csv(@server, path, separator: ";", header: true)
      assert Outrigger.to_list!(table) == [[1.0, 2.5], [-3.0, :nan]]

      whole = Outrigger.load_csv(@server, path, separator: ";", header: true, type: :s32)
      assert {:error, %Error{code: :bad_file, message: text}} = Outrigger.await(whole)
      assert text =~ "line 2, column 2" and text =~ "2.5"

      assert {:error, %Error{code: :bad_request}} =
               Outrigger.await(Outrigger.load_csv(@server, path, separator: "ab"))
    end
  end

  test "another server's tensors are refused" do
    other = start_server()
    tensor = Outrigger.tensor(other, 1)
    mine = Outrigger.tensor(@server, 1)
    assert_raise ConnectionError, ~r/another Outrigger server/, fn -> Op.add(mine, tensor) end
  end

  test "a stopped server, and none at all" do
    server = start_server()
    tensor = Outrigger.tensor(server, 1)
    Outrigger.await!(tensor)
    stop_supervised!(server)
    assert {:error, %ConnectionError{}} = Outrigger.to_list(tensor)
    assert inspect(tensor) == "#Outrigger.Tensor<stale>"
    assert_raise ConnectionError, ~r/not running/, fn -> Outrigger.tensor(server, 1) end
    assert_raise ArgumentError, ~r/expected an Outrigger server/, fn -> Outrigger.ping("x") end
  end

  test "windows and types stand where Nx has them" do
    t = Outrigger.tensor(@server, [[1, 2, 3], [4, 5, 6]])
    assert Op.window_sum(t, {2, 2}) |> Outrigger.to_list!() == [[12, 16]]
    assert Op.window_max(t, [1, 2], strides: [1, 2]) |> Outrigger.to_list!() == [[2], [5]]
    assert Op.bitcast(t, :f32) |> Outrigger.type!() == :f32
    source = Outrigger.tensor(@server, [[1]])

    assert Op.window_scatter_max(t, source, 0, {2, 3}) |> Outrigger.to_list!() ==
             [[0, 0, 0], [0, 0, 1]]
  end

  test "donated arguments are released, others stay" do
    add = Outrigger.program(&Outrigger.Op.add/2)
    prepared = Outrigger.prepare!(@server, add)

    for call <- [&Outrigger.run(@server, add, &1, &2), &Outrigger.call(prepared, &1, &2)] do
      [a, b] = for _ <- 1..2, do: Outrigger.iota(@server, {3})
      sum = call.([a, b], donated: [a])
      assert Outrigger.to_list(sum) == {:ok, [0, 2, 4]}
      assert {:error, %Outrigger.Error{code: :bad_handle}} = Outrigger.to_list(a)
      assert Outrigger.to_list(b) == {:ok, [0, 1, 2]}
      assert_raise ArgumentError, ~r/:donated/, fn -> call.([b, b], donated: b) end
      # A refused request takes no memory.
      refused = call.([b, Outrigger.iota(@server, {2})], donated: [b])
      assert {:error, %Outrigger.Error{code: :bad_shape}} = Outrigger.to_list(refused)
      assert Outrigger.to_list(b) == {:ok, [0, 1, 2]}
    end
  end
end
