defmodule Outrigger.ExecutionTest do
  # Arguments that are numbers, which outrigger_nx passes.
  use Outrigger.DaemonCase, async: true

  setup_all do
    %{server: start_server()}
  end

  test "numbers take the place of tensors", %{server: server} do
    program = Outrigger.program(fn x, a, b -> x |> Op.multiply(a) |> Op.add(b) end)
    prepared = Outrigger.prepare!(server, program)
    x = Outrigger.tensor(server, [1, 2], type: :f32)
    numbers = fn a, b -> [x, {:number, a}, {:number, b}] end

    for {a, b, due} <- [
          {0.5, 1, [1.5, 2.0]},
          {3, -2, [1.0, 4.0]},
          {:infinity, 0, [:infinity, :infinity]}
        ] do
      assert Outrigger.to_list!(Outrigger.call(prepared, numbers.(a, b))) == due
      assert Outrigger.to_list!(Outrigger.run(server, program, numbers.(a, b))) == due
      {:ok, result} = Outrigger.call_and_wait(prepared, numbers.(a, b))
      assert Outrigger.to_list!(result) == due
    end

    y = Outrigger.tensor(server, [10, 20], type: :f32)
    mixed = Outrigger.call(prepared, [x, {:number, 2}, y])
    assert Outrigger.to_list!(mixed) == [12.0, 24.0]
  end

  test "a complex number", %{server: server} do
    program = Outrigger.program(&Op.add/2)
    x = Outrigger.tensor(server, [1.0], type: :c64)
    sum = Outrigger.run(server, program, [x, {:number, %{"re" => 1.5, "im" => -2}}])
    assert Outrigger.type!(sum) == :c64
    assert Outrigger.to_number!(Op.imag(Op.sum(sum))) == -2.0
  end

  test "a number cannot be written", %{server: server} do
    program = Outrigger.program(fn x, y -> InPlace.add(x, y) end)
    prepared = Outrigger.prepare!(server, program)
    x = Outrigger.tensor(server, [1.0])
    refused = Outrigger.call_and_wait(prepared, [{:number, 1.0}, x])
    assert {:error, %Outrigger.Error{code: :bad_program}} = refused
    assert Outrigger.to_list!(x) == [1.0]
  end

  test "numbers count as arguments", %{server: server} do
    program = Outrigger.program(&Op.add/2)

    assert_raise ArgumentError, ~r/takes 2 arguments, got 1/, fn ->
      Outrigger.run(server, program, [{:number, 1}])
    end
  end
end
