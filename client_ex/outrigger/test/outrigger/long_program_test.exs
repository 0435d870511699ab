defmodule Outrigger.LongProgramTest do
  @moduledoc "Programs longer than a frame, and nested deeper than most: nobody loses a tensor."
  use Outrigger.DaemonCase, async: true

  @many 100_000

  setup do
    server = start_server(memory_limit: "2GiB")
    %{server: server, witness: Outrigger.tensor(server, [4, 5, 6]), os_pid: os_pid(server)}
  end

  # The session that all processes share goes on.
  defp goes_on(%{server: server, witness: witness, os_pid: os_pid}) do
    assert Outrigger.to_list!(witness) == [4, 5, 6]
    assert os_pid(server) == os_pid
  end

  defp increments(count) do
    Outrigger.program(fn x -> Enum.reduce(1..count, x, fn _, x -> Op.add(x, 1) end) end)
  end

  defp conds(depth) do
    Outrigger.program(fn x ->
      Enum.reduce(1..depth, fn -> Op.add(x, 1) end, fn _, inner ->
        fn -> Op.cond(x, inner, fn -> Op.multiply(x, 1) end) end
      end).()
    end)
  end

  test "100,000 operands of one op", %{server: server} = context do
    {a, b} = {Outrigger.tensor(server, [1, 2], type: :s32), Outrigger.tensor(server, [3])}

    program =
      Outrigger.program(fn a, b ->
        Op.concatenate(for i <- 1..@many, do: if(rem(i, 2) == 0, do: a, else: b))
      end)

    long = Outrigger.run(server, program, [a, b])
    assert long |> Op.slice([0], {6}) |> Outrigger.to_list!() == [3, 1, 2, 3, 1, 2]
    assert Outrigger.to_number!(Op.sum(long)) == 3 * @many

    stack = Outrigger.program(fn x -> Op.stack(List.duplicate(x, @many)) end)
    assert Outrigger.shape!(Outrigger.run(server, stack, [a])) == {@many, 2}
    goes_on(context)
  end

  test "100,000 tensors as operands", %{server: server} = context do
    tensors = for i <- 1..@many, do: Outrigger.tensor(server, [i], type: :s64)
    assert Outrigger.to_number!(Op.sum(Op.concatenate(tensors))) == div(@many * (@many + 1), 2)
    assert Outrigger.to_number!(Op.sum(Op.stack(tensors))) == div(@many * (@many + 1), 2)
    goes_on(context)
  end

  test "one tensor many times", %{server: server} = context do
    x = Outrigger.tensor(server, [7], type: :u8)

    for times <- [8_300, @many] do
      joined = Op.concatenate(List.duplicate(x, times))
      assert Outrigger.to_binary!(joined) == String.duplicate(<<7>>, times)
    end

    goes_on(context)
  end

  test "100,000 ops, at once and prepared, also after the daemon's death", context do
    %{server: server, os_pid: os_pid} = context
    program = increments(@many)
    x = Outrigger.tensor(server, 5)
    assert Outrigger.to_number!(Outrigger.run(server, program, [x])) == 5 + @many

    {:ok, prepared} = Outrigger.prepare(server, program)
    assert Outrigger.to_number!(Outrigger.call(prepared, [x])) == 5 + @many
    goes_on(context)

    kill(os_pid, "KILL")
    assert_os_pid_exited(os_pid)
    assert eventually(fn -> match?({:ok, %{}}, Outrigger.info(server)) end)

    assert Outrigger.to_number!(Outrigger.call(prepared, [Outrigger.tensor(server, 6)])) ==
             6 + @many
  end

  test "a program that is run once leaves nothing behind", %{server: server} = context do
    before = Outrigger.info!(server)
    x = Outrigger.tensor(server, 5)
    y = Outrigger.run(server, increments(10_000), [x])
    assert Outrigger.to_number!(y) == 10_005
    after_it = Outrigger.info!(server)
    assert after_it.programs == before.programs
    assert after_it.tensors == before.tensors + 2
    goes_on(context)
  end

  test "a long program calls prepared programs of any length", %{server: server} = context do
    inner = Outrigger.prepare!(server, increments(10_000))

    outer =
      Outrigger.program(fn x ->
        Enum.reduce(1..5_000, Op.call(inner, [x]), fn _, x -> Op.add(x, 1) end)
      end)

    assert Outrigger.to_number!(Outrigger.run(server, outer, [Outrigger.tensor(server, 1)])) ==
             15_001

    goes_on(context)
  end

  test "100,000 results", %{server: server} = context do
    program = Outrigger.program(fn x -> for i <- 1..@many, do: Op.add(x, i) end)
    results = Outrigger.run(server, program, [Outrigger.tensor(server, 1)])
    assert length(results) == @many
    assert Outrigger.to_number!(hd(results)) == 2
    assert Outrigger.to_number!(List.last(results)) == 1 + @many
    goes_on(context)
  end

  test "conditions inside each other", %{server: server} = context do
    x = Outrigger.tensor(server, 1)

    for depth <- [63, 128] do
      assert Outrigger.to_number!(Outrigger.run(server, conds(depth), [x])) == 2
      prepared = Outrigger.prepare!(server, conds(depth))
      assert Outrigger.to_number!(Outrigger.call(prepared, [x])) == 2
    end

    assert_raise ArgumentError, ~r/nest deeper than 128.*group them/, fn -> conds(129) end

    # The callees count, too. Only the daemon adds them up.
    deep = Outrigger.prepare!(server, conds(100))

    outer =
      Outrigger.program(fn x ->
        Enum.reduce(1..100, fn -> Op.call(deep, [x]) end, fn _, inner ->
          fn -> Op.cond(x, inner, fn -> Op.multiply(x, 1) end) end
        end).()
      end)

    assert {:error, %Error{code: :limit_exceeded}} = Outrigger.prepare(server, outer)
    goes_on(context)
  end

  test "a program that is too long is refused before it is sent, with advice", context do
    %{server: server} = context
    data = :binary.copy(<<0>>, 17 * 1024 * 1024)

    program =
      Outrigger.program(fn x ->
        Op.add(x, Op.from_binary(data, :u8, {byte_size(data)}))
      end)

    x = Outrigger.tensor(server, 1)
    error = assert_raise Error, fn -> Outrigger.run(server, program, [x]) end
    assert error.code == :limit_exceeded
    assert error.message =~ "split it into several"
    assert {:error, ^error} = Outrigger.prepare(server, program)

    # Handles have no other way than the frame.
    args = List.duplicate(x, 400_000)
    program = Outrigger.Program.build(Enum.to_list(0..399_999), [], [], nil, [])
    error = assert_raise Error, fn -> Outrigger.run(server, program, args) end
    assert error.code == :limit_exceeded
    assert error.message =~ "fewer tensors"
    goes_on(context)
  end

  test "memory for a long program is within the daemon's limit" do
    server = start_server(memory_limit: "16MiB")
    x = Outrigger.tensor(server, 5)
    program = increments(@many)
    assert {:error, %Error{code: :out_of_memory}} = Outrigger.prepare(server, program)
    result = Outrigger.run(server, program, [x])
    assert {:error, %Error{code: :out_of_memory}} = Outrigger.to_list(result)
    assert Outrigger.to_number!(x) == 5
    assert Outrigger.to_number!(Outrigger.run(server, increments(3), [x])) == 8
  end
end
