defmodule Outrigger.ProgramTest do
  use ExUnit.Case, async: true
  alias Outrigger.{Codec, InPlace, Op}

  defp wire(program) do
    {:ok, value} = Codec.decode_whole(program.encoded)
    value
  end

  test "ops in the order of their calls" do
    program = Outrigger.program(fn x, y -> x |> Op.multiply(y) |> Op.add(1.5) |> Op.tanh() end)

    assert wire(program) == %{
             "params" => [0, 1],
             "body" => [
               %{"op" => "multiply", "in" => [0, 1], "out" => [2]},
               %{"op" => "add", "in" => [2, %{"number" => 1.5}], "out" => [3]},
               %{"op" => "tanh", "in" => [3], "out" => [4]}
             ],
             "outputs" => [4]
           }
  end

  test "attributes, spread operands and creations" do
    program =
      Outrigger.program(fn x ->
        y = Op.slice(x, [0, 1], {2, 2}, strides: [1, 1])
        z = Op.iota({2, 2}, type: :f32)
        Op.concatenate([y, z], axis: 0) |> Op.put_slice([0, 0], y)
      end)

    assert [slice, iota, concatenate, put_slice] = wire(program)["body"]
    assert slice["in"] == [0, %{"number" => 0}, %{"number" => 1}]
    assert slice["attrs"] == %{"lengths" => [2, 2], "strides" => [1, 1]}
    assert iota["attrs"] == %{"shape" => [2, 2], "type" => "f32"}
    assert concatenate["in"] == [1, 2]
    assert put_slice["in"] == [3, 1, %{"number" => 0}, %{"number" => 0}]
  end

  test "an op with several results gives a tuple" do
    program =
      Outrigger.program(fn x ->
        {p, l, u} = Op.lu(x)
        {Op.add(l, u), p}
      end)

    assert [lu, add] = wire(program)["body"]
    assert lu["out"] == [1, 2, 3]
    assert add["in"] == [2, 3]
    assert wire(program)["outputs"] == [4, 1]
  end

  test "numbers that Elixir has no floats for" do
    program = Outrigger.program(fn x -> Op.max(x, :neg_infinity) end)
    assert [%{"in" => [0, %{"number" => "neg_infinity"}]}] = wire(program)["body"]
  end

  test "regions" do
    program =
      Outrigger.program(fn n, step ->
        {last, _} =
          Op.while({n, step}, fn {n, _} -> Op.greater(n, 0) end, fn {n, s} ->
            {Op.subtract(n, s), s}
          end)

        Op.cond(last, fn -> Op.negate(last) end, fn -> last end)
      end)

    assert [loop, cond] = wire(program)["body"]
    assert loop["in"] == [0, 1]
    assert [test, body] = loop["regions"]
    assert length(test["params"]) == 2 and length(test["outputs"]) == 1
    assert length(body["params"]) == 2 and length(body["outputs"]) == 2
    assert [%{"op" => "greater"}] = test["body"]
    assert cond["in"] == [hd(loop["out"])]
    assert [%{"params" => []}, %{"body" => [], "outputs" => outputs}] = cond["regions"]
    assert outputs == [hd(loop["out"])]
  end

  test "a call of a prepared program returns that program's results" do
    inner = Outrigger.program(fn x, y -> {InPlace.add(x, y), Op.sum(x)} end)
    prepared = %Outrigger.Prepared{server: nil, id: 7, head: "", program: inner}

    program =
      Outrigger.program(fn x ->
        doubled = Op.multiply(x, 2)
        {written, sum} = Op.call(prepared, [doubled, x])
        assert written == doubled
        {same, _} = Op.call(prepared, [x, 1])
        {written, sum, same}
      end)

    assert [_, first, second] = wire(program)["body"]

    assert first == %{
             "op" => "call",
             "in" => [1, 0],
             "out" => [2],
             "attrs" => %{"program_id" => 7}
           }

    assert second["in"] == [0, %{"number" => 1}]
    assert wire(program)["outputs"] == [1, 2]
    assert program.template == {:tuple, [{:result, 0}, {:result, 1}, {:param, 0}]}
    assert program.callees == [prepared]

    assert_raise ArgumentError, ~r/takes 2 operands, got 1/, fn ->
      Outrigger.program(fn x -> Op.call(prepared, [x]) end)
    end
  end

  test "a value that is written in place into a parameter is returned as the argument" do
    program = Outrigger.program(fn x, y -> {InPlace.add(x, y), Op.sum(x), y} end)
    assert program.template == {:tuple, [{:param, 0}, {:result, 0}, {:param, 1}]}
    assert [%{"in_place" => true}, %{"op" => "sum"}] = wire(program)["body"]
    assert length(wire(program)["outputs"]) == 1
  end

  test "a mutable view is a tensor of its own" do
    program = Outrigger.program(fn x -> InPlace.reshape(x, {4}) end)
    assert program.template == {:result, 0}
  end

  test "the same value twice is one output" do
    program =
      Outrigger.program(fn x ->
        y = Op.add(x, 1)
        [y, y]
      end)

    assert program.template == {:list, [{:result, 0}, {:result, 0}]}
  end

  test "mistakes are named" do
    assert_raise ArgumentError, ~r/has no option :axis; it has: :axes/, fn ->
      Outrigger.program(fn x -> Op.sum(x, axis: 0) end)
    end

    assert_raise ArgumentError, ~r/:keep_axes of sum must be true or false, got: 1/, fn ->
      Outrigger.program(fn x -> Op.sum(x, keep_axes: 1) end)
    end

    assert_raise ArgumentError, ~r/takes tensors, values of the program and numbers/, fn ->
      Outrigger.program(fn x -> Op.add(x, "1") end)
    end

    assert_raise ArgumentError, ~r/unknown type :f33/, fn ->
      Outrigger.program(fn x -> Op.as_type(x, :f33) end)
    end

    assert_raise ArgumentError, ~r/returned the number 1/, fn ->
      Outrigger.program(fn _ -> 1 end)
    end

    assert_raise ArgumentError, ~r/body returns 1 values for 2/, fn ->
      Outrigger.program(fn x -> Op.while({x, x}, fn {a, _} -> a end, fn {a, _} -> a end) end)
    end

    assert_raise ArgumentError, ~r/InPlace.add writes into a tensor, got: 1/, fn ->
      Outrigger.program(fn x -> InPlace.add(1, x) end)
    end

    assert_raise ArgumentError, ~r/do not nest/, fn ->
      Outrigger.program(fn _ -> Outrigger.program(fn y -> y end) end)
    end

    assert_raise ArgumentError, ~r/needs a tensor among its operands/, fn -> Op.add(1, 2) end
  end

  # A chain whose branch i is taken for x = i. The innermost instruction has the deepest literal.
  defp chain(x, [last]), do: Op.add(Op.multiply(x, 0.0), Op.imag(Op.multiply(last, {0, 1})))

  defp chain(x, [i | rest]) do
    Op.cond(Op.equal(x, i), fn -> Op.constant(i, :f32, {}) end, fn -> chain(x, rest) end)
  end

  test "programs that exceed the daemon's budget are prepared again when they are called" do
    server = Outrigger.DaemonCase.start_server(memory_limit: "128MiB")
    x = Outrigger.tensor(server, 1.0)

    # 16 MiB for programs and plans: a few of these fill them.
    prepared =
      for n <- 1..12 do
        steps = fn x -> Enum.reduce(1..8_000, x, fn _, x -> Op.add(x, n) end) end
        Outrigger.prepare!(server, Outrigger.program(steps))
      end

    for _ <- 1..2, {program, n} <- Enum.with_index(prepared, 1) do
      assert program |> Outrigger.call([x]) |> Outrigger.to_number!() == 1.0 + 8_000 * n
    end

    assert %{kept: kept, kept_limit: limit} = Outrigger.info!(server).memory
    assert kept <= limit
  end

  test "conditions nest 128 deep, and a longer chain says what to do" do
    x = Outrigger.tensor(MyApp.Compute, 60.0)
    program = Outrigger.program(&chain(&1, Enum.to_list(1..129)))
    assert Outrigger.run(MyApp.Compute, program, [x]) |> Outrigger.to_number!() == 60.0

    error =
      assert_raise ArgumentError, ~r/nest deeper than 128/, fn ->
        Outrigger.program(&chain(&1, Enum.to_list(1..130)))
      end

    # The advice of the error works for many more.
    assert error.message =~ "A condition of 10 branches, each of them a condition of 10"

    grouped = fn x ->
      Enum.chunk_every(0..99, 10)
      |> Enum.reverse()
      |> Enum.reduce(nil, fn group, otherwise ->
        one = fn -> chain(x, Enum.to_list(group)) end

        if otherwise,
          do: fn -> Op.cond(Op.less(x, List.last(group) + 1), one, otherwise) end,
          else: one
      end)
      |> then(& &1.())
    end

    program = Outrigger.program(grouped)

    for i <- [0, 9, 10, 55, 99] do
      x = Outrigger.tensor(MyApp.Compute, i * 1.0)
      assert Outrigger.run(MyApp.Compute, program, [x]) |> Outrigger.to_number!() == i * 1.0
    end

    # Regions beside each other do not count.
    Outrigger.program(fn x ->
      Enum.reduce(1..100, x, fn _, x -> Op.cond(x, fn -> x end, fn -> Op.negate(x) end) end)
    end)
  end

  test "a value does not outlive its program, and a failed trace leaves nothing behind" do
    parent = self()

    Outrigger.program(fn x ->
      send(parent, {:value, x})
      Op.add(x, 1)
    end)

    assert_received {:value, value}
    assert_raise ArgumentError, ~r/only inside the function/, fn -> Op.add(value, 1) end

    assert_raise ArgumentError, ~r/only inside the function/, fn ->
      Outrigger.program(fn x -> Op.add(x, value) end)
    end

    refute Outrigger.Trace.active?()
  end
end
