defmodule Outrigger.LinearTest do
  # The client's work for a program is linear in its operands and instructions: eight times as many
  # take at most 24 times as many reductions, of which garbage collections are a part. Quadratic
  # work takes 64 times as many.
  use Outrigger.DaemonCase, async: true

  alias Outrigger.{Files, Prepared, Program, Scope, Server, Tensor}

  @sizes [{1_250, 10_000}]
  # Sizes for operands and instructions, of which users have so many.
  @large [{1_250, 10_000}, {12_500, 100_000}]
  @ratio_max 24

  setup_all do
    server = Server.fetch!(start_server(log: :none))
    %{server: server}
  end

  # Handles without tensors, because only the client's work counts here.
  defp tensors(server, count) do
    epoch = Server.epoch!(server)
    for handle <- 1..count, do: %Tensor{server: server, epoch: epoch, handle: handle}
  end

  # The reductions of the function that `prepare` returns. It runs in a new process, so that the
  # test's heap does not count.
  defp reductions(prepare) do
    Task.await(
      Task.async(fn ->
        fun = prepare.()
        {:reductions, before} = Process.info(self(), :reductions)
        fun.()
        {:reductions, after_it} = Process.info(self(), :reductions)
        after_it - before
      end),
      :infinity
    )
  end

  # `prepare` gives, for a size, the function that is measured.
  defp assert_linear(sizes \\ @sizes, prepare) do
    for {small, large} <- sizes do
      # The VM's garbage collections count as reductions: the cheaper of two runs.
      [few, many] =
        for count <- [small, large],
            do: Enum.min(for _ <- 1..2, do: reductions(fn -> prepare.(count) end))

      assert many <= @ratio_max * few,
             "#{small}: #{few} reductions, #{large}: #{many}, which is #{many / few} times as many"
    end
  end

  # A request may be too long for one frame: that is told after it was encoded.
  defp sent(fun) do
    fun.()
  rescue
    error in Error -> assert error.code == :limit_exceeded
  end

  defp program(count, body, outputs, template, captures \\ [], callees \\ []) do
    params = Enum.to_list(0..(count - 1)//1)
    Program.build(params, body, outputs, template, captures, callees)
  end

  defp instruction(op, ins, outs, more \\ %{}),
    do: Map.merge(%{op: op, in: ins, out: outs, attrs: [], regions: [], in_place: nil}, more)

  test "operands of an eager op", %{server: server} do
    for op <- [&Op.concatenate/1, &Op.stack/1] do
      assert_linear(@large, fn count ->
        tensors = tensors(server, count)
        fn -> sent(fn -> op.(tensors ++ tensors) end) end
      end)
    end
  end

  test "a long op leaves nothing in the dictionary of its process", %{server: server} do
    tensors = tensors(server, 1_000)
    Op.concatenate(tensors)
    Op.concatenate(Enum.take(tensors, 2))
    {_, remembered} = Enum.find(Process.get(), &match?({{Outrigger.Trace, "concatenate"}, _}, &1))
    assert :erts_debug.flat_size(remembered) < 1_000
  end

  test "tensors that a program captures", %{server: server} do
    assert_linear(@large, fn count ->
      tensors = tensors(server, count)
      fn -> Outrigger.program(fn -> Op.concatenate(tensors ++ tensors) end) end
    end)

    assert_linear(fn count ->
      tensors = tensors(server, count)
      fn -> Outrigger.program(fn x -> Enum.reduce(tensors, x, &Op.add/2) end) end
    end)
  end

  test "instructions, in regions too" do
    assert_linear(@large, fn count ->
      fn -> Outrigger.program(fn x -> Enum.reduce(1..count, x, &Op.add(&2, &1)) end) end
    end)

    assert_linear(fn count ->
      fn ->
        Outrigger.program(fn x ->
          Op.cond(x, fn -> Enum.reduce(1..count, x, &Op.add(&2, &1)) end, fn -> x end)
        end)
      end
    end)

    assert_linear(fn count ->
      fn ->
        Outrigger.program(fn x ->
          Enum.reduce(1..count, x, fn _, x -> Op.cond(x, fn -> x end, fn -> Op.negate(x) end) end)
        end)
      end
    end)
  end

  test "outputs: values, arguments and captured tensors", %{server: server} do
    assert_linear(fn count ->
      tensors = tensors(server, count)

      fn ->
        Outrigger.program(fn x ->
          values = for i <- 1..count, do: Op.add(x, i)
          values ++ [x] ++ values ++ tensors
        end)
      end
    end)
  end

  test "writes in place, of captured tensors and by programs that are called", %{server: server} do
    assert_linear(fn count ->
      tensors = tensors(server, count)
      fn -> Outrigger.program(fn -> Enum.map(tensors, &InPlace.add(&1, 1)) end) end
    end)

    writes_all = fn count ->
      body = for i <- 0..(count - 1), do: instruction("negate", [i], [count + i], %{in_place: 0})
      program(count, body, [], nil)
    end

    assert_linear(fn count ->
      prepared = Prepared.new(server, writes_all.(count))
      tensors = tensors(server, count)
      fn -> Outrigger.program(fn -> Op.call(prepared, tensors) || [] end) end
    end)

    assert_linear(fn count ->
      program = writes_all.(count)
      tensors = tensors(server, count)
      fn -> sent(fn -> Outrigger.run(server, program, tensors) end) end
    end)
  end

  test "calls of prepared programs", %{server: server} do
    step = Outrigger.program(&Op.add(&1, 1))

    assert_linear(fn count ->
      prepared = Prepared.new(server, step)

      fn ->
        Outrigger.program(fn x ->
          Enum.reduce(1..count, x, fn _, x -> Op.call(prepared, [x]) end)
        end)
      end
    end)

    assert_linear(fn count ->
      all = for _ <- 1..count, do: Prepared.new(server, step)
      fn -> Outrigger.program(fn x -> Enum.reduce(all, x, &Op.call(&1, [&2])) end) end
    end)
  end

  # With what each of them calls written out, the last of these programs holds 2^levels others.
  test "programs that share callees" do
    server = Server.fetch!(start_server(log: :none))

    last = fn levels ->
      Enum.reduce(1..levels, {nil, nil}, fn _, {one, two} ->
        program =
          Outrigger.program(fn x ->
            for prepared <- [one, two], prepared, reduce: Op.add(x, 1) do
              x -> Op.call(prepared, [x])
            end
          end)

        {Prepared.new(server, program), one}
      end)
      |> elem(0)
    end

    [few, many] =
      for levels <- [6, 24] do
        reductions(fn ->
          prepared = last.(levels)
          fn -> Program.kept(server, prepared.program, prepared.id) end
        end)
      end

    assert many <= @ratio_max * few
    # Each level is one addition more than both before it.
    x = Outrigger.tensor(server, 0)
    assert last.(12) |> Outrigger.call([x]) |> Outrigger.to_number!() == 376
  end

  test "arguments and results of a call, and the container that they come in", %{server: server} do
    for container <- [:tuple, :list] do
      assert_linear(@large, fn count ->
        body = for i <- 0..(count - 1), do: instruction("negate", [i], [count + i])
        entries = for i <- 0..(count - 1), entry <- [:param, :result], do: {entry, i}
        outputs = Enum.to_list(count..(2 * count - 1))
        program = program(count, body, outputs, {container, entries})
        tensors = tensors(server, count)
        fn -> sent(fn -> Outrigger.run(server, program, tensors, donated: tensors) end) end
      end)
    end
  end

  test "scopes, releases and files", %{server: server} do
    epoch = Server.epoch!(server)

    assert_linear(fn count ->
      fn ->
        Scope.run(fn ->
          for _ <- 1..count,
              do: Enum.take(Scope.run(fn -> for(_ <- 1..2, do: Tensor.new(server, epoch)) end), 1)
        end)
      end
    end)

    assert_linear(fn count ->
      tensors = tensors(server, count)
      fn -> Outrigger.release(tensors) end
    end)

    assert_linear(fn count ->
      named = for {t, i} <- Enum.with_index(tensors(server, count)), do: {"t#{i}", t}
      fn -> Files.npz(named, "/tmp/x.npz", false) end
    end)
  end
end
