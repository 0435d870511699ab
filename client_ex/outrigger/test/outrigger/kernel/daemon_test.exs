Code.require_file("../../support/kernel_golden.exs", __DIR__)
Code.require_file("../../support/kernel_plain.exs", __DIR__)

defmodule Outrigger.Kernel.DaemonTest do
  # Kernels in a daemon: the same bits and errors as in Elixir, in place and as values, eager and in
  # programs.
  use Outrigger.DaemonCase, async: true

  alias Outrigger.{Codec, Data, Kernel, KernelGolden, Program}
  alias Outrigger.Kernel.Unit
  alias Outrigger.KernelExamples, as: Examples
  alias Outrigger.KernelPlain.{Kernels, Lists}

  defmodule Own do
    use Outrigger.Kernel

    defkernel endless(a :: mut(s64[n])) do
      i = 0

      while i == 0 do
        a[0] = a[0] + 1
      end
    end

    defkernel add_until(a :: mut(s64[n]), x :: s64) :: s64 do
      for i <- 0..(n - 1) do
        if a[i] == 13, do: raise("unlucky", i)
        a[i] = a[i] + x
      end

      n
    end

    defkernel nothing(a :: s64[n]) do
      if a[0] < 0, do: raise("negative")
    end

    defkernel waves(a :: f64[n], out :: new(f64[n])) do
      for i <- 0..(n - 1), do: out[i] = exp(sin(a[i])) + pow(abs(a[i]), 0.3)
    end

    defkernel both(kept :: mut(s64[n]), taken) do
      kept[0] = 5
      List.replace_at(taken, 0, 7)
    end
  end

  setup do
    [server: start_server()]
  end

  defp longs(server, list), do: Outrigger.tensor(server, list, type: :s64)
  defp list(tensor), do: Outrigger.to_list!(tensor)
  defp number(tensor), do: Outrigger.to_number!(tensor)

  describe "the golden kernels" do
    test "give the bits and the errors of the file", %{server: server} do
      {:ok, cases} = Codec.decode_whole(File.read!(KernelGolden.path()))
      assert length(cases) > 20

      for one <- cases,
          do: assert({one["name"], outcome(server, one)} == {one["name"], wanted(one)})
    end

    defp wanted(%{"error" => code} = one) do
      at = with %{"file" => file, "line" => line} <- one["at"], do: {file, line}
      {:error, code, "#{one["op"]}: #{one["message"]}", one["op"], at}
    end

    defp wanted(one),
      do:
        for(
          %{"dtype" => dtype, "shape" => shape, "data" => data} <- one["out"],
          do: {dtype, shape, data}
        )

    # As values, in the order of the file.
    defp outcome(server, one) do
      unit = Unit.from_wire(one["unit"])
      kernel = List.last(unit.kernels)
      modes = for [mode | _] <- kernel.params, do: mode
      count = length(kernel.results) + Enum.count(modes, &(&1 in [:new, :mut]))
      encoded = Unit.encode(unit)
      ids = Enum.to_list(0..(length(one["in"]) - 1)//1)
      outs = Enum.map(0..(count - 1)//1, &(length(ids) + &1))

      call = %{
        op: "kernel",
        in: ids,
        out: outs,
        attrs: [{"kernel_id", 7}],
        regions: [],
        in_place: nil
      }

      template = {:tuple, for(i <- 0..(count - 1)//1, do: {:result, i})}
      program = Program.build(ids, [call], outs, template, [], [], [{7, encoded}])
      # Another unit takes the id.
      {:ok, _} =
        Outrigger.Server.request(Outrigger.Server.fetch!(server), "forget_kernel", [
          {"kernel_id", 7}
        ])

      :sys.replace_state(Outrigger.Server.fetch!(server).connection, fn state ->
        %{state | traffic: Outrigger.KeptPrograms.drop_programs(state.traffic)}
      end)

      args =
        for %{"dtype" => dtype, "shape" => shape, "data" => data} <- one["in"],
            do: Outrigger.from_binary(server, data, String.to_atom(dtype), List.to_tuple(shape))

      results = Outrigger.run(server, program, args)

      with :ok <- Outrigger.sync(server) do
        for result <- Tuple.to_list(results) do
          {:ok, %{type: type, shape: shape}} = Outrigger.info(result)
          {Atom.to_string(type), Tuple.to_list(shape), Outrigger.to_binary!(result)}
        end
      else
        {:error, %Error{} = error} ->
          {:error, Atom.to_string(error.code), error.message, error.op, error.at}
      end
    end

    test "in both implementations on random operands", %{server: server} do
      :rand.seed(:exsss, seed = System.unique_integer([:positive]))

      for turn <- 1..20 do
        n = :rand.uniform(40)
        data = for _ <- 1..n, do: :rand.uniform(1000) - 500
        edges = for _ <- 1..(2 * n), do: [:rand.uniform(n) - 1, :rand.uniform(n) - 1]
        parent = List.duplicate(0, n)

        floats =
          for _ <- 1..n, do: Enum.random([:nan, :infinity, :neg_infinity, -0.0, 0.25, 1.0e300])

        flags = for _ <- 1..n, do: :rand.uniform(2) - 1

        for {kernel, args, types} <- [
              {&Examples.merge_sort/1, [data], [:s64]},
              {&Examples.components/2, [edges, parent], [:s32, :s32]},
              {&Examples.segmented_scan/2, [floats, flags], [:f64, :u8]},
              {&Examples.join/2, [data, data], [:s64, :s64]}
            ] do
          tensors =
            for {arg, type} <- Enum.zip(args, types),
                do: Outrigger.tensor(server, arg, type: type)

          expected = kernel |> Kernel.interpret(args) |> results() |> Enum.map(&bits/1)
          given = kernel |> apply(tensors) |> results() |> Enum.map(&(&1 |> plain() |> bits()))
          assert {seed, turn, kernel, given} == {seed, turn, kernel, expected}
        end
      end
    end

    defp results(tuple) when is_tuple(tuple), do: Tuple.to_list(tuple)
    defp results(one), do: [one]

    defp plain(tensor) do
      case Outrigger.info!(tensor) do
        %{shape: {}} -> number(tensor)
        _ -> list(tensor)
      end
    end

    # -0.0 and 0.0 are equal numbers.
    defp bits(list) when is_list(list), do: Enum.map(list, &bits/1)
    defp bits(x) when is_float(x), do: <<x::float>>
    defp bits(other), do: other
  end

  describe "results" do
    test "are the declared ones, then the written operands", %{server: server} do
      composite = Outrigger.tensor(server, List.duplicate(0, 1000), type: :u8)
      {count, written} = Examples.sieve(composite)
      assert number(count) == Lists.primes(1000)
      assert written == composite
      assert Enum.count(list(composite), &(&1 == 0)) - 2 == Lists.primes(1000)
    end

    test "every holder sees a write; values that were made before do not", %{server: server} do
      t = longs(server, [3, 1, 2])
      before = Op.reverse(t)
      view = InPlace.slice(t, [1], [2])
      assert Examples.merge_sort(t) == t
      assert list(t) == [1, 2, 3]
      assert list(before) == [2, 1, 3]
      assert list(view) == [2, 3]
    end

    test "with in_place: false the operands stay", %{server: server} do
      t = longs(server, [3, 1, 2])
      sorted = Kernel.call(&Examples.merge_sort/1, [t], in_place: false)
      assert {list(t), list(sorted)} == {[3, 1, 2], [1, 2, 3]}
    end

    test "new tensors, numbers as operands, and none", %{server: server} do
      glider = [[0, 1, 0], [0, 0, 1], [1, 1, 1]]
      world = Outrigger.tensor(server, glider, type: :u8)
      assert list(Examples.life(world)) == Kernel.interpret(&Examples.life/1, [glider])
      t = longs(server, [3, -1, 2])
      assert number(Examples.minimum(t, 10)) == -1
      assert number(Examples.minimum(t, Outrigger.tensor(server, 10, type: :s64))) == -1
      assert Own.nothing(longs(server, [1])) == :ok
      assert Outrigger.sync(server) == :ok
    end

    test "functions of floats are those of the ops", %{server: server} do
      data = for i <- -20..20, do: i / 7
      x = Outrigger.tensor(server, data, type: :f64)
      expected = x |> Op.sin() |> Op.exp() |> Op.add(Op.pow(Op.abs(x), 0.3))
      assert Outrigger.to_binary!(Own.waves(x)) == Outrigger.to_binary!(expected)
    end

    test "an operand that plain Elixir consumes stays; a mut one is written", %{server: server} do
      kept = longs(server, [1, 2])
      taken = longs(server, [3, 4])
      assert list(Own.both(kept, taken)) == [7, 4]
      assert {list(kept), list(taken)} == {[5, 2], [3, 4]}
    end
  end

  describe "plain Elixir" do
    test "the scatter of the forum", %{server: server} do
      source = for i <- 1..200, do: i * 3
      indices = for _ <- 1..200, do: :rand.uniform(120) - 20
      destination = Enum.to_list(1..100)
      [s, i, d] = Enum.map([source, indices, destination], &longs(server, &1))
      assert list(Kernels.scatter(s, i, d)) == Lists.scatter(source, indices, destination)
      assert list(d) == destination
      # Another dtype is another unit.
      f = Outrigger.tensor(server, Enum.map(source, &(&1 / 1)), type: :f32)
      g = Outrigger.tensor(server, Enum.map(destination, &(&1 / 1)), type: :f32)

      assert list(Kernels.scatter(f, i, g)) ==
               Lists.scatter(Enum.map(source, &(&1 / 1)), indices, list(g))
    end

    test "a ledger", %{server: server} do
      balances = for _ <- 1..50, do: :rand.uniform(1000)
      from = for _ <- 1..500, do: :rand.uniform(50) - 1
      amount = for _ <- 1..500, do: :rand.uniform(100)

      {refused, rest} =
        apply(Kernels, :ledger, Enum.map([balances, from, amount], &longs(server, &1)))

      assert {number(refused), list(rest)} == Lists.ledger(balances, from, amount)
    end

    test "sieve, edit distance and union-find", %{server: server} do
      {count, _} = Examples.sieve(Outrigger.tensor(server, List.duplicate(0, 5000), type: :u8))
      assert number(count) == Lists.primes(5000)
      a = String.duplicate("kitten", 7)
      b = String.duplicate("sitting", 6)
      bytes = &Outrigger.from_binary(server, &1, :u8, {byte_size(&1)})
      assert number(Examples.edit_distance(bytes.(a), bytes.(b))) == Lists.distance(a, b)
      edges = for _ <- 1..150, do: [:rand.uniform(200) - 1, :rand.uniform(200) - 1]
      parent = Outrigger.tensor(server, List.duplicate(0, 200), type: :s32)
      {count, _} = Examples.components(Outrigger.tensor(server, edges, type: :s32), parent)
      assert number(count) == Lists.components(edges, 200)
    end

    test "a program needs types", %{server: _server} do
      assert_raise ArgumentError, ~r/write the types of all parameters/, fn ->
        Outrigger.program(fn s, i, d -> Kernels.scatter(s, i, d) end)
      end
    end
  end

  describe "in programs" do
    test "a kernel is an instruction", %{server: server} do
      program =
        Outrigger.program(fn a, x ->
          {n, a} = Own.add_until(a, x)
          {Op.add(n, 100), a, Op.sum(a)}
        end)

      a = longs(server, [1, 2, 3])
      {n, written, sum} = Outrigger.run(server, program, [a, longs(server, 10)])
      assert {number(n), number(sum), written} == {103, 36, a}
      assert list(a) == [11, 12, 13]
      prepared = Outrigger.prepare!(server, program)
      assert {:error, error} = Outrigger.call_and_wait(prepared, [a, longs(server, 1)])
      assert %{code: :raised, index: [0]} = error
      b = longs(server, [5])
      {:ok, {_, ^b, sum}} = Outrigger.call_and_wait(prepared, [b, longs(server, 1)])
      assert number(sum) == 6
    end

    test "in a loop, and called by another program", %{server: server} do
      program =
        Outrigger.program(fn map ->
          {_, map} =
            Op.while({Op.constant(0, :s64, {}), map}, fn {i, _} -> Op.less(i, 3) end, fn {i, map} ->
              {Op.add(i, 1), Kernel.call(&Examples.relax/2, [map, 1], in_place: false)}
            end)

          map
        end)

      data = for i <- 0..3, do: for(j <- 0..4, do: i * 1.5 + j)
      map = Outrigger.tensor(server, data, type: :f32)
      expected = Kernel.interpret(&Examples.relax/2, [data, 3])
      inner = Outrigger.prepare!(server, program)

      outer =
        Outrigger.program(fn map ->
          map |> List.wrap() |> then(&Op.call(inner, &1)) |> Op.add(1.0)
        end)

      assert list(Outrigger.run(server, outer, [map])) ==
               Enum.map(expected, fn row -> Enum.map(row, &(&1 + 1.0)) end)

      assert list(map) == data
    end
  end

  describe "errors" do
    test "name the line of the source, and what is written", %{server: server} do
      a = longs(server, [1, 13, 3])
      Own.add_until(a, 100)
      assert {:error, %Error{} = error} = Outrigger.sync(server)
      {file, line} = error.at
      assert Path.basename(file) == "daemon_test.exs"
      source = __ENV__.file |> File.read!() |> String.split("\n") |> Enum.at(line - 1)
      assert source =~ "unlucky"
      assert error.code == :raised
      assert error.written == [a.handle]

      assert Exception.message(error) ==
               "Outrigger.Kernel.DaemonTest.Own.add_until/2: unlucky: 1 (instruction 0) " <>
                 "(#{file}:#{line}) [raised]"

      # The next read of the operand returns the error, once.
      assert {:error, %Error{code: :raised}} = Outrigger.to_list(a)
      assert list(a) == [101, 13, 3]
    end

    test "an atomic program leaves nothing half done", %{server: server} do
      program =
        Outrigger.program(fn a -> a |> InPlace.add(1) |> Own.add_until(100) |> elem(1) end)

      a = longs(server, [1, 12, 3])
      prepared = Outrigger.prepare!(server, program)

      assert {:error, %Error{code: :raised, written: []}} =
               Outrigger.call_and_wait(prepared, [a], atomic: true)

      assert list(a) == [1, 12, 3]
      assert {:error, %Error{written: [_]}} = Outrigger.call_and_wait(prepared, [a])
      assert list(a) == [102, 13, 4]
    end

    test "operands of another dtype, rank or kind", %{server: server} do
      s32 = Outrigger.tensor(server, [1, 2], type: :s32)
      Own.add_until(s32, 1)
      assert {:error, %Error{code: :bad_dtype, message: text}} = Outrigger.sync(server)
      assert text =~ "a must be a tensor of s64 with 1 axis, got s32[2]: cast it before"
      Own.add_until(longs(server, [[1]]), 1)
      assert {:error, %Error{code: :bad_shape}} = Outrigger.sync(server)
      Own.add_until(longs(server, [1]), 0.5)
      assert {:error, %Error{code: :bad_dtype}} = Outrigger.sync(server)

      assert_raise ArgumentError, ~r/make one with Outrigger.tensor/, fn ->
        Examples.edit_distance("abc", Outrigger.tensor(server, [1], type: :u8))
      end

      assert_raise ArgumentError, ~r/kernels have no f16/, fn ->
        f16 = Outrigger.tensor(server, [1.0], type: :f16)
        Kernels.scatter(f16, longs(server, [0]), f16)
      end
    end
  end

  describe "the end of a kernel that never ends" do
    # On a busy machine the client's own deadline may come first.
    test "by a deadline, and the daemon goes on", %{server: server} do
      a = longs(server, [0, 0])
      prepared = Outrigger.prepare!(server, Outrigger.program(fn a -> Own.endless(a) end))

      for options <- [[deadline: 50], [deadline: 50, atomic: true]] do
        assert {:error, error} = Outrigger.call_and_wait(prepared, [a], options)

        assert match?(%Error{code: :deadline_exceeded}, error) or
                 match?(%ConnectionError{reason: :deadline}, error)

        assert Outrigger.ping(server) == :ok
        assert eventually(fn -> Outrigger.info!(server).running == nil end)
      end

      assert number(Op.sum(longs(server, [1, 2]))) == 3
    end

    test "by the death of a caller that waits", %{server: server} do
      a = longs(server, [0, 0])
      prepared = Outrigger.prepare!(server, Outrigger.program(fn a -> Own.endless(a) end))
      pid = spawn(fn -> Outrigger.call_and_wait(prepared, [a], deadline: :infinity) end)
      assert eventually(fn -> Outrigger.info!(server).running end)
      Process.exit(pid, :kill)
      assert eventually(fn -> Outrigger.info!(server).running == nil end)
      assert number(Op.sum(longs(server, [1, 2]))) == 3
      assert_nothing_left(server)
    end
  end

  describe "definitions" do
    test "are sent once", %{server: server} do
      for i <- 1..5, do: Own.add_until(longs(server, [i]), 1)
      assert Outrigger.sync(server) == :ok
      assert %{kernels: 1} = info = Outrigger.info!(server)
      assert info.kernel_code =~ ~r/^(interpreted|llvm 19)/
      Examples.merge_sort(longs(server, [2, 1]))
      assert Outrigger.sync(server) == :ok
      assert Outrigger.info!(server).kernels == 2
    end

    test "are sent again when the daemon has none", %{server: server} do
      a = longs(server, [1])
      Own.add_until(a, 1)
      assert Outrigger.sync(server) == :ok
      {:ok, unit} = Own.__kernel__(:add_until, 2)
      {id, _} = unit.wire

      {:ok, _} =
        Outrigger.Server.request(Outrigger.Server.fetch!(server), "forget_kernel", [
          {"kernel_id", id}
        ])

      Own.add_until(a, 1)
      assert {:error, %Error{code: :unknown_kernel}} = Outrigger.sync(server)
      _ = Outrigger.to_list(a)
      Own.add_until(a, 1)
      assert list(a) == [3]
      assert_nothing_left(server)
    end

    @tag :own_daemon
    test "are sent again to a new daemon", %{server: server} do
      program = Outrigger.program(fn a -> a |> Own.add_until(1) |> elem(1) end)
      prepared = Outrigger.prepare!(server, program)
      a = longs(server, [1])
      assert {:ok, _} = Outrigger.call_and_wait(prepared, [a])
      kill(os_pid(server), "KILL")
      assert eventually(fn -> match?({:error, _}, Outrigger.to_list(a)) end)
      :ok = Outrigger.await_ready(server)
      b = longs(server, [1])
      assert {:ok, _} = Outrigger.call_and_wait(prepared, [b])
      {_, c} = Own.add_until(longs(server, [5]), 2)
      assert {list(b), list(c)} == {[2], [7]}
    end

    test "several processes at once", %{server: server} do
      1..8
      |> Enum.map(fn i ->
        Task.async(fn ->
          for j <- 1..20 do
            {_, t} = Own.add_until(longs(server, [i]), j)
            assert list(t) == [i + j]
          end
        end)
      end)
      |> Task.await_many()

      assert Outrigger.info!(server).kernels == 1
      assert_nothing_left(server)
    end
  end

  test "data beyond the exact range of floats keeps its bits", %{server: server} do
    big = [9_223_372_036_854_775_807, -9_223_372_036_854_775_808]
    {_, t} = Own.add_until(longs(server, big), 1)

    assert Outrigger.to_binary!(t) ==
             IO.iodata_to_binary(
               Data.encode([-9_223_372_036_854_775_808, -9_223_372_036_854_775_807], :s64)
             )
  end
end
