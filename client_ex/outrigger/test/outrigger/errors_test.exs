defmodule Outrigger.ErrorsTest do
  @moduledoc "Each bad input gives a typed error that says what is wrong, and changes nothing."
  use Outrigger.DaemonCase, async: true

  @server MyApp.Compute

  defp refused(tensor) do
    assert {:error, %Error{} = error} = Outrigger.to_list(tensor)
    assert Outrigger.ping(@server) == :ok
    error
  end

  setup do
    %{
      a: Outrigger.tensor(@server, [[1.0, 2.0], [3.0, 4.0]]),
      b: Outrigger.tensor(@server, [1.0, 2.0, 3.0]),
      i: Outrigger.tensor(@server, [[1, 2], [3, 4]])
    }
  end

  test "shapes", %{a: a, b: b} do
    error = refused(Op.add(a, b))
    assert error.code == :bad_shape
    assert error.op == "add"
    assert error.index == [0]
    assert error.message =~ "2" and error.message =~ "3"
    assert refused(Op.reshape(a, {3})).code == :bad_shape
    assert refused(Op.dot(a, b)).code == :bad_shape
  end

  test "dtypes, axes, attributes, indices", %{a: a, b: b} do
    assert refused(Op.bitwise_and(a, a)).code == :bad_dtype
    assert refused(Op.sum(a, axes: [2])).code == :bad_axis
    assert refused(Op.sum(a, axes: [-3])).code == :bad_axis
    assert refused(Op.transpose(a, axes: [0, 0])).code in [:bad_axis, :bad_attr]
    index = Outrigger.tensor(@server, [[7]])
    error = refused(Op.gather(b, index))
    assert error.code == :bad_index
    assert error.message =~ "7"
    assert refused(Op.slice(b, [0], [0])).code in [:bad_attr, :bad_shape]
  end

  test "a failed write in place is told by the next read, once, and by sync", %{i: i} do
    InPlace.add(i, 0.5)
    assert {:error, %Error{op: "add", written: []}} = Outrigger.to_list(i)
    assert Outrigger.to_list(i) == {:ok, [[1, 2], [3, 4]]}
    assert {:error, %Error{op: "add"}} = Outrigger.sync(@server)
    assert Outrigger.sync(@server) == :ok
  end

  test "a read reports a failed write in place, but no other failure, in each way to read" do
    add = Outrigger.program(fn x, y -> {InPlace.add(x, y), Op.sum(y)} end)

    view =
      Outrigger.program(fn x, y -> x |> InPlace.slice([0], [1]) |> InPlace.add(y) && Op.sum(y) end)

    inner = Outrigger.prepare!(@server, add)
    call = Outrigger.program(fn y, x -> Op.call(inner, [x, y]) |> elem(1) end)
    path = Path.join(System.tmp_dir!(), "outrigger_write_error.npy")

    reads = [
      &Outrigger.to_list/1,
      &Outrigger.peek(&1, 1),
      &Outrigger.save_npy(&1, path),
      &Outrigger.save_npz([x: &1], path)
    ]

    for {program, swapped?} <- [{add, false}, {view, false}, {call, true}], read <- reads do
      [x, y] = [Outrigger.tensor(@server, [1, 2]), Outrigger.tensor(@server, [0.5, 1.0, 1.5])]
      Outrigger.run(@server, program, if(swapped?, do: [y, x], else: [x, y]))
      assert {:error, %Error{op: "add"}} = read.(x)
      assert Outrigger.to_list(x) == {:ok, [1, 2]}
      assert Outrigger.to_list(y) == {:ok, [0.5, 1.0, 1.5]}
    end

    # The caller that waits for the answer gets the error.
    [x, y] = [Outrigger.tensor(@server, [1, 2]), Outrigger.tensor(@server, [0.5, 1.0, 1.5])]
    assert {:error, %Error{op: "add"}} = Outrigger.call_and_wait(inner, [x, y])
    assert Outrigger.to_list(x) == {:ok, [1, 2]}
    Outrigger.sync(@server)
  after
    File.rm(Path.join(System.tmp_dir!(), "outrigger_write_error.npy"))
  end

  test "deadlines", %{i: i} do
    ages = 4_000_000_000_000_000_000
    assert Outrigger.to_list(i, deadline: ages) == {:ok, [[1, 2], [3, 4]]}
    assert Outrigger.to_list(i, deadline: :infinity) == {:ok, [[1, 2], [3, 4]]}
    program = Outrigger.program(&Op.add(&1, 1))

    for deadline <- [ages, :infinity] do
      sum = Outrigger.run(@server, program, [i], deadline: deadline)
      assert Outrigger.to_list(sum) == {:ok, [[2, 3], [4, 5]]}
    end

    for wrong <- [-1, 1.5, :x, "1"] do
      message = ~r/:deadline must be a number of milliseconds or :infinity, got: /
      assert_raise ArgumentError, message, fn -> Outrigger.to_list(i, deadline: wrong) end
      assert_raise ArgumentError, message, fn -> Outrigger.ping(@server, deadline: wrong) end

      assert_raise ArgumentError, message, fn ->
        Outrigger.run(@server, program, [i], deadline: wrong)
      end
    end

    assert Outrigger.to_list(i) == {:ok, [[1, 2], [3, 4]]}
  end

  test "a call without a deadline outlasts the server's timeout", %{} do
    server = start_server(timeout: 200)
    increment = Outrigger.prepare!(server, Outrigger.program(&Op.add(&1, 1)))
    x = Outrigger.await!(Outrigger.iota(server, {2}))
    os_pid = os_pid(server)
    kill(os_pid, "STOP")

    calls =
      for call <- [&Outrigger.call_and_wait/3, &Outrigger.profile/3],
          do: Task.async(fn -> call.(increment, [x], deadline: :infinity) end)

    Process.sleep(500)
    kill(os_pid, "CONT")
    for reply <- Task.await_many(calls), do: assert(elem(reply, 0) == :ok)
  end

  test "the first cause travels along a chain", %{a: a, b: b} do
    failed = Op.add(a, b)
    assert refused(failed).cause == nil
    last = Enum.reduce(1..200, failed, fn _, x -> Op.multiply(x, 2) end)
    error = refused(last)
    assert error.code == :failed_operand
    assert %Error{code: :bad_shape, op: "add", index: [0], cause: nil} = error.cause
    assert error.message =~ error.cause.message
  end

  test "the place in a program", %{a: a} do
    program =
      Outrigger.program(fn x ->
        y = Op.multiply(x, 2)
        Op.cond(Op.all(y), fn -> Op.reshape(y, {3}) end, fn -> Op.sum(y) end)
      end)

    error = refused(Outrigger.run(@server, program, [a]))
    assert error.op == "reshape"
    assert error.index == [2, 0, 0]
    assert Exception.message(error) =~ "instruction 2.0.0"
  end

  test "atomic or not: what had been written", %{a: a} do
    program =
      Outrigger.program(fn x, index ->
        InPlace.add(x, 1)
        InPlace.indexed_put(x, index, Op.constant(0.0, :f32, {1}))
      end)

    index = Outrigger.tensor(@server, [[9, 9]])
    Outrigger.run(@server, program, [a, index], atomic: true)
    assert {:error, %Error{code: :bad_index, written: []}} = Outrigger.to_list(a)
    assert Outrigger.to_list!(a) == [[1.0, 2.0], [3.0, 4.0]]
    Outrigger.run(@server, program, [a, index])
    assert {:error, %Error{code: :bad_index, written: written}} = Outrigger.to_list(a)
    assert written == [a.handle]
    assert Outrigger.to_list!(a) == [[2.0, 3.0], [4.0, 5.0]]
    Outrigger.sync(@server)
  end

  test "over the budget" do
    server = start_server(memory_limit: "64MiB")
    error = server |> Outrigger.iota({100_000_000}, type: :f32) |> Outrigger.await() |> elem(1)
    assert %Error{code: :out_of_memory} = error
    assert Outrigger.ping(server) == :ok
  end

  test "errors before anything is sent", %{a: a} do
    assert_raise ArgumentError, ~r/ragged/, fn -> Outrigger.tensor(@server, [[1], [1, 2]]) end
    assert_raise ArgumentError, ~r/a nested list/, fn -> Outrigger.tensor(@server, "x") end

    assert_raise ArgumentError, ~r/takes 8 bytes, got 3/, fn ->
      Outrigger.from_binary(@server, <<1, 2, 3>>, :f32, {2})
    end

    assert_raise ArgumentError, ~r/expected a shape/, fn -> Op.reshape(a, {-1}) end
    program = Outrigger.program(&Op.add(&1, 1))

    assert_raise ArgumentError, ~r/takes 1 arguments, got 2/, fn ->
      Outrigger.run(@server, program, [a, a])
    end

    assert_raise ArgumentError, ~r/arguments are tensors, got: 1/, fn ->
      Outrigger.run(@server, program, [1])
    end

    assert_raise ArgumentError, ~r/unknown or bad option {:dedline, 1}/, fn ->
      Outrigger.run(@server, program, [a], dedline: 1)
    end

    assert_raise ArgumentError, ~r/unknown option :typ/, fn ->
      Outrigger.tensor(@server, 1, typ: :f32)
    end

    assert_raise ArgumentError, ~r/has not one element/, fn -> Outrigger.to_number(a) end
    prepared = Outrigger.prepare!(@server, program)

    for {text, fun} <- [
          {~r/expected options, a keyword list, got: :f32/,
           fn -> Outrigger.tensor(@server, [1], :f32) end},
          {~r/the options of sum are a keyword list, got: :u32/, fn -> Op.sum(a, :u32) end},
          {~r/count must be a positive number of elements, got: 0/,
           fn -> Outrigger.peek(a, 0) end},
          {~r/limit must be a positive number/, fn -> Outrigger.to_binary(a, limit: -1) end},
          {~r/is called by Outrigger.call/, fn -> Outrigger.run(@server, prepared, [a]) end},
          {~r/is run by Outrigger.run/, fn -> Outrigger.call(program, [a]) end},
          {~r/the first argument is a server: Op.iota/, fn -> Op.iota({3}) end},
          {~r/returned the number 1; return a value/, fn -> Outrigger.program(fn -> 1 end) end},
          {~r/returns a value, or a tuple or list of values, got: nil/,
           fn -> Outrigger.program(fn -> nil end) end},
          {~r/expected tensors, or a container of them, got: :foo/,
           fn -> Outrigger.release(:foo) end},
          {~r/expected tensors, or a container of them, got: 1/,
           fn -> Outrigger.await(%{a: [a, 1]}) end}
        ] do
      assert_raise ArgumentError, text, fun
    end
  end

  test "an unsigned index is named as it was written" do
    x = Outrigger.tensor(@server, [1.0, 2.0, 3.0])
    last = 0xFFFFFFFFFFFFFFFF
    picks = Outrigger.tensor(@server, [last], type: :u64)
    places = Op.reshape(picks, {1, 1})
    one = Outrigger.tensor(@server, [1.0])

    for result <- [
          Op.take(x, picks),
          Op.take(x, last),
          Op.take_along_axis(x, picks),
          Op.gather(x, places),
          Op.indexed_put(x, places, one),
          Op.indexed_add(x, places, one)
        ] do
      assert {:error, %Error{code: :bad_index, message: text}} = Outrigger.to_list(result)
      assert text =~ "index #{last} in row 0"
    end

    # In bounds, it picks.
    picks = Outrigger.tensor(@server, [2, 0], type: :u64)
    assert x |> Op.take(picks) |> Outrigger.to_list!() == [3.0, 1.0]
    assert x |> Op.gather(Op.reshape(picks, {2, 1})) |> Outrigger.to_list!() == [3.0, 1.0]
  end

  test "the error of a tensor from its external form names the causes" do
    server = start_server()

    written =
      Task.await(
        Task.async(fn ->
          tensor = Outrigger.await!(Outrigger.tensor(server, [1, 2]))
          :erlang.term_to_binary(tensor)
        end)
      )

    assert eventually(fn ->
             Outrigger.collect(server)
             Outrigger.info!(server).tensors == 0
           end)

    tensor = :erlang.binary_to_term(written)

    for read <- [
          fn -> Outrigger.to_list(tensor) end,
          fn -> Outrigger.shape(tensor) end,
          fn -> Outrigger.info(tensor) end,
          fn -> Outrigger.to_list(Op.add(tensor, 1)) end,
          fn -> Outrigger.save_npy(tensor, "/tmp/outrigger_written.npy") end
        ] do
      assert {:error, %Error{code: :bad_handle, message: text}} = read.()
      assert text =~ "term_to_binary/1" and text =~ "store the bytes of Outrigger.to_binary/2"
    end
  end
end
