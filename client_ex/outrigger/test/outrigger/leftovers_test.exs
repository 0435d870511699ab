defmodule Outrigger.LeftoversTest do
  @moduledoc "The entries of tensors and processes end with them."
  use Outrigger.DaemonCase, async: true
  alias Outrigger.{Server, Traffic}

  defp traffic(server), do: :sys.get_state(Server.fetch!(server).connection).traffic

  # The entries of tensors, without those of ports and of the server.
  defp known(server) do
    for entry <- :ets.tab2list(Server.fetch!(server).meta),
        not match?({{:port, _}, _, _}, entry) and not is_atom(elem(entry, 0)),
        do: entry
  end

  defp assert_nothing_known(server) do
    assert eventually(fn -> known(server) == [] end), "known: #{inspect(known(server))}"
    assert traffic(server).live_bytes == 0
    assert_nothing_left(server)
  end

  test "tensors that are released before their op has been answered" do
    server = start_server()
    daemon = os_pid(server)

    for _ <- 1..5 do
      kill(daemon, "STOP")
      tensors = for n <- 1..200, do: Outrigger.iota(server, {n})
      sums = for t <- tensors, do: Op.add(t, 1)
      failing = for t <- tensors, do: Op.reshape(t, {0, 7})
      Outrigger.release([tensors, sums, failing])
      kill(daemon, "CONT")
      # The first failure: the reshape of a tensor.
      assert {:error, %Error{}} = Outrigger.sync(server)
    end

    assert_nothing_known(server)
    assert Outrigger.info!(server).tensors == 0
  end

  test "a write that fails after its tensor has been released" do
    server = start_server()
    daemon = os_pid(server)
    tensors = for _ <- 1..20, do: Outrigger.await!(Outrigger.iota(server, {3}))
    wrong = Outrigger.await!(Outrigger.iota(server, {2}))
    kill(daemon, "STOP")
    for t <- tensors, do: InPlace.add(t, wrong)
    Outrigger.release(tensors)
    kill(daemon, "CONT")
    assert {:error, %Error{code: :bad_shape}} = Outrigger.sync(server)
    Outrigger.release(wrong)
    assert Outrigger.sync(server) == :ok
    assert_nothing_known(server)
  end

  test "a write that fails before its tensor is released" do
    server = start_server()
    tensor = Outrigger.await!(Outrigger.iota(server, {3}))
    InPlace.add(tensor, Outrigger.iota(server, {2}))
    assert {:error, %Error{code: :bad_shape}} = Outrigger.sync(server)
    assert {:error, %Error{code: :bad_shape}} = Outrigger.to_list(tensor)
    InPlace.add(tensor, Outrigger.iota(server, {2}))
    assert {:error, %Error{code: :bad_shape}} = Outrigger.sync(server)
    Outrigger.release(tensor)
    Outrigger.collect(server)
    assert_nothing_known(server)
  end

  test "tasks that run out of time" do
    server = start_server()
    daemon = os_pid(server)
    x = Outrigger.await!(Outrigger.iota(server, {50, 50}, type: :f32))

    job = fn ->
      sum = Enum.reduce(1..4, x, fn _, a -> Op.dot(a, x) end)
      Outrigger.to_number(Op.sum(sum))
    end

    for round <- 1..4 do
      if rem(round, 2) == 0, do: kill(daemon, "STOP")

      1..100
      |> Task.async_stream(fn _ -> job.() end,
        max_concurrency: 50,
        timeout: 5,
        on_timeout: :kill_task
      )
      |> Stream.run()

      kill(daemon, "CONT")
    end

    Outrigger.sync(server)
    Outrigger.collect(server)
    assert_nothing_left(server)
    Outrigger.collect(server)
    assert eventually(fn -> Outrigger.info!(server).tensors == 1 end)
    assert eventually(fn -> [{x.handle, {:f32, {50, 50}}}] == known(server) end)
    assert traffic(server).live_bytes == 10_000
    Outrigger.release(x)
    assert Outrigger.sync(server) == :ok
    assert_nothing_known(server)
  end

  test "errors of processes that are dead when they come" do
    server = start_server()
    daemon = os_pid(server)
    x = Outrigger.await!(Outrigger.iota(server, {3}))
    y = Outrigger.await!(Outrigger.iota(server, {2}))
    kill(daemon, "STOP")

    pids =
      for _ <- 1..50 do
        spawn_monitor(fn ->
          InPlace.add(x, y)
          Op.add(x, y)
        end)
      end

    for {_, ref} <- pids, do: assert_receive({:DOWN, ^ref, _, _, :normal}, 5000)
    kill(daemon, "CONT")
    # These are not ours.
    assert Outrigger.sync(server) == :ok
    assert traffic(server).errors == %{}
    assert {:error, %Error{code: :bad_shape}} = Outrigger.to_list(x)
    Outrigger.collect(server)
    assert_nothing_left(server)
  end

  test "errors of the end of a daemon belong to the living only" do
    server = start_server()
    daemon = os_pid(server)
    x = Outrigger.await!(Outrigger.iota(server, {3}))
    kill(daemon, "STOP")
    {_, ref} = spawn_monitor(fn -> Op.add(x, 1) end)
    assert_receive {:DOWN, ^ref, _, _, :normal}, 5000
    Op.add(x, 2)
    assert eventually(fn -> map_size(traffic(server).callers) == 1 end)
    kill(daemon, "KILL")
    assert eventually(fn -> Map.keys(traffic(server).errors) == [self()] end)
    assert Outrigger.await_ready(server) == :ok
    assert {:error, %ConnectionError{reason: reason}} = Outrigger.sync(server)
    assert died?(reason)
    assert_nothing_left(server)
  end

  test "the state stays a small map, which is quick to update" do
    assert map_size(%Traffic{}) <= 32
  end
end
