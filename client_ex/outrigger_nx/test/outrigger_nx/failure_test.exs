defmodule Outrigger.Nx.FailureTest do
  use ExUnit.Case, async: true
  import Nx.Defn
  alias Outrigger.Nx.{Backend, Lookup}

  setup do
    Nx.Defn.default_options(compiler: Outrigger.Nx)
    name = :"failure_#{System.unique_integer([:positive])}"
    start_supervised!({Outrigger, name: name, threads: 1, memory_limit: "64MiB"})
    Nx.default_backend({Backend, server: name})
    %{server: name}
  end

  defp refused(fun) do
    error = assert_raise Outrigger.Error, fun
    {error, Exception.message(error)}
  end

  defn loop(table, index) do
    {found, _, _, _} =
      while {found = 0, table, index, i = 0}, i < 3 do
        {found + Nx.take(table, index + i), table, index, i + 1}
      end

    found
  end

  test "an operation of its own: the function of Nx" do
    {error, message} = refused(fn -> Nx.to_binary(Nx.take(Nx.tensor([1, 2]), Nx.tensor([7]))) end)
    assert {error.code, error.op} == {:bad_index, "take"}
    assert message =~ ~r/^Nx\.take: .*7/
    refute message =~ "instruction"
    {_, message} = refused(fn -> Nx.to_binary(Nx.LinAlg.cholesky(Nx.tensor([[-1.0]]))) end)
    assert message =~ ~r/^Nx\.LinAlg\.cholesky: /
  end

  test "a defn of a file: the function of Nx, the defn and its line" do
    {error, message} =
      refused(fn -> Nx.to_binary(Lookup.row(Nx.tensor([1, 2]), Nx.tensor([7]))) end)

    assert {error.code, error.op} == {:bad_index, "take"}
    assert message =~ "Nx.take in Outrigger.Nx.Lookup.row/2 (test/support/lookup.ex:10): "
    {_, message} = refused(fn -> Outrigger.Nx.profile(&Lookup.row/2, [Nx.tensor([1]), 7]) end)
    assert message =~ "Nx.take in Outrigger.Nx.Lookup.row/2 (test/support/lookup.ex:10): "
  end

  test "a defn that is compiled in memory: its file" do
    {_, message} = refused(fn -> Nx.to_number(loop(Nx.tensor([1, 2]), 0)) end)

    assert message =~
             "Nx.take in #{inspect(__MODULE__)}.loop/2 (test/outrigger_nx/failure_test.exs): "
  end

  test "an anonymous function: where it is" do
    {_, message} = refused(fn -> Nx.to_number(Nx.Defn.jit(&Nx.take(&1, 5)).(Nx.tensor([1]))) end)

    assert message =~
             ~r/^Nx\.take in anonymous fn\/1 in #{inspect(__MODULE__)}.*failure_test.exs\): /
  end

  test "each result of a defn tells, in whatever process it is read" do
    {a, b} = Nx.Defn.jit(&{Nx.take(&1, 5), Nx.add(&1, 1)}).(Nx.tensor([1]))

    for t <- [a, b] do
      task = Task.async(fn -> refused(fn -> Nx.to_binary(t) end) end)
      assert {_, "Nx.take in anonymous fn/1" <> _} = Task.await(task)
      assert inspect(t) =~ "Nx.take in anonymous fn/1"
    end
  end

  test "a tensor that is computed from a failed one names the first cause" do
    lost = Lookup.row(Nx.tensor([1, 2]), Nx.tensor([7]))
    {error, message} = refused(fn -> Nx.to_binary(Nx.add(lost, 1)) end)
    assert error.code == :failed_operand
    assert message =~ "take"
  end

  test "where a function is called twice: the line of the defn" do
    {_, message} = refused(fn -> Nx.to_binary(Lookup.both(Nx.tensor([1, 2]), Nx.tensor([7]))) end)
    assert message =~ "Nx.take in Outrigger.Nx.Lookup.both/2 (test/support/lookup.ex:13): "
  end

  test "a program over the budget is refused with its sizes, and the next one runs" do
    sum = Nx.Defn.jit(fn x -> Nx.sum(Nx.sort(Nx.iota({10_000_000}, type: :f64) |> Nx.add(x))) end)
    {error, message} = refused(fn -> Nx.to_number(sum.(1)) end)
    assert error.code == :out_of_memory
    assert message =~ "anonymous fn/1 in #{inspect(__MODULE__)}"
    assert Nx.to_number(Nx.Defn.jit(&Nx.sum/1).(Nx.iota({3}))) == 3
  end

  test "a dead daemon raises ConnectionError, the next call works, old tensors are stale",
       %{server: server} do
    double = Nx.Defn.jit(&Nx.multiply(&1, 2))
    held = Nx.tensor([1, 2, 3])
    assert Nx.to_flat_list(double.(held)) == [2, 4, 6]
    os_pid = Outrigger.info!(server).os_pid

    # Stopped, the daemon cannot answer: what is sent now is pending when it dies.
    {"", 0} = System.cmd("kill", ["-STOP", "#{os_pid}"])
    {pending, eager} = {double.(held), Nx.add(held, 1)}
    {"", 0} = System.cmd("kill", ["-KILL", "#{os_pid}"])

    for t <- [pending, eager] do
      assert_raise Outrigger.ConnectionError, fn -> Nx.to_binary(t) end
    end

    assert Outrigger.await_ready(server) == :ok
    assert Nx.to_flat_list(double.(Nx.tensor([4, 5, 6]))) == [8, 10, 12]

    for stale <- [
          fn -> double.(held) end,
          fn -> Nx.add(held, 1) end,
          fn -> Nx.to_binary(held) end
        ] do
      error = assert_raise Outrigger.ConnectionError, stale
      assert error.reason == :stale_epoch
      assert Exception.message(error) =~ "make the tensor again"
    end
  end
end
