defmodule Outrigger.KilledCallersTest do
  @moduledoc "Processes that are killed at any step of a request."
  use Outrigger.DaemonCase, async: true
  alias Outrigger.{Counters, Protocol, Server, Traffic}

  @rounds 40
  @callers 25

  # Readers, writers and callers, some held back, some by the direct way.
  defp work(server, tensor, prepared) do
    case :rand.uniform(6) do
      1 -> Outrigger.to_binary(tensor)
      2 -> Outrigger.from_binary(server, :binary.copy(<<1>>, 30_000), :u8, {30_000})
      3 -> Outrigger.to_number(Op.sum(Op.add(tensor, 1)))
      4 -> for _ <- 1..20, do: Op.add(tensor, 1)
      5 -> Outrigger.call_and_wait(prepared, [tensor])
      6 -> Outrigger.release(Op.multiply(tensor, 2))
    end

    work(server, tensor, prepared)
  end

  test "kills at random leave nothing behind" do
    seed = String.to_integer(System.get_env("OUTRIGGER_SEED", "#{ExUnit.configuration()[:seed]}"))
    :rand.seed(:exsss, seed)
    IO.puts("\nkilled callers: seed #{seed}")
    server = start_server(queue_max: 100, queue_bytes_max: 200_000, timeout: 20_000)
    tensor = Outrigger.await!(Outrigger.iota(server, {10_000}, type: :f32))
    prepared = Outrigger.prepare!(server, Outrigger.program(&Op.add(&1, 1)))

    for round <- 1..@rounds do
      # One at a time takes the direct way, many are held back.
      count = if rem(round, 2) == 0, do: 1, else: @callers

      callers =
        for n <- 1..count do
          spawn_monitor(fn ->
            :rand.seed(:exsss, {seed, round, n})
            work(server, tensor, prepared)
          end)
        end

      Process.sleep(:rand.uniform(10) - 1)
      for {pid, _} <- callers, do: Process.exit(pid, :kill)
      for {_, ref} <- callers, do: assert_receive({:DOWN, ^ref, _, _, :killed}, 5000)
    end

    Outrigger.collect(server)
    assert_nothing_left(server)
    # There is room, also for what is weighed.
    for _ <- 1..10, do: assert({:ok, _} = Outrigger.to_binary(tensor))
    assert Outrigger.from_binary(server, :binary.copy(<<1>>, 5000), :u8, {5000})
    assert_nothing_left(server)
  end

  # The steps of Server.send_frame/8 by the direct way: killed after each of them.
  for {step, number} <- Enum.with_index([:entry, :turn, :command, :written]) do
    @tag :own_daemon
    test "killed on the direct way after the step #{step}" do
      server = start_server()
      struct = Server.fetch!(server)
      tensor = Outrigger.await!(Outrigger.iota(server, {3}))
      parent = self()

      {pid, monitor} =
        spawn_monitor(fn ->
          # The connection knows this process.
          Outrigger.sync!(server)
          send(parent, :known)
          receive do: (:go -> :ok)
          id = Server.request_id(struct)
          fields = [{"handle", tensor.handle}, {"offset", 0}, {"length", 12}]
          frame = IO.iodata_to_binary(Protocol.request(id, "download", fields))
          want = {:reply, make_ref()}

          steps = [
            fn -> :ets.insert(struct.direct, {id, want, byte_size(frame), self(), nil}) end,
            fn -> true = Counters.take_turn(struct.counters, id) end,
            fn ->
              [{_, _, port}] = :ets.lookup(struct.meta, {:port, nil})
              # The daemon does not answer before the end of this process.
              kill(os_pid(server), "STOP")
              Port.command(port, frame)
            end,
            fn -> Counters.wrote(struct.counters, id) end
          ]

          steps |> Enum.take(unquote(number) + 1) |> Enum.each(& &1.())
        end)

      assert_receive :known, 5000
      {:ok, %{"os_pid" => daemon}} = Server.exchange(struct, &{:hello, &1}, 5000)
      send(pid, :go)
      assert_receive {:DOWN, ^monitor, _, _, :normal}, 5000
      kill(daemon, "CONT")
      assert_nothing_left(server)
      assert Outrigger.to_list(tensor) == {:ok, [0, 1, 2]}
    end
  end

  test "a turn without an entry ends with the next request" do
    server = start_server()
    struct = Server.fetch!(server)
    tensor = Outrigger.await!(Outrigger.iota(server, {3}))
    assert Counters.take_turn(struct.counters, Server.request_id(struct))
    assert Outrigger.to_list(tensor) == {:ok, [0, 1, 2]}
    assert_nothing_left(server)
  end

  test "callers that wait for room and are killed are forgotten, others go on" do
    server = start_server(queue_max: 4, queue_bytes_max: 100_000)
    tensor = Outrigger.await!(Outrigger.iota(server, {10}))
    daemon = os_pid(server)
    connection = Server.fetch!(server).connection
    kill(daemon, "STOP")

    callers = for _ <- 1..50, do: spawn(fn -> for _ <- 1..20, do: Op.add(tensor, 1) end)

    waits = fn ->
      traffic = Traffic.check!(:sys.get_state(connection).traffic)
      map_size(Map.get(traffic.waits.refs, :room, %{}))
    end

    assert eventually(fn -> waits.() > 0 end)
    for pid <- callers, do: Process.exit(pid, :kill)
    assert eventually(fn -> waits.() == 0 end)
    kill(daemon, "CONT")
    Outrigger.collect(server)
    assert_nothing_left(server)
    # More than half of the requests that may wait, so that no caller blocks others.
    1..50
    |> Task.async_stream(fn _ -> for _ <- 1..20, do: Op.add(tensor, 1) end, timeout: 60_000)
    |> Enum.each(fn {:ok, _} -> :ok end)

    assert_nothing_left(server)
  end

  test "more callers than there is room for bytes all go on" do
    server = start_server(queue_bytes_max: 100_000)
    data = :binary.copy(<<1>>, 90_000)

    sums =
      1..40
      |> Task.async_stream(
        fn _ ->
          tensor = Outrigger.from_binary(server, data, :u8, {90_000})
          Outrigger.to_number!(Op.sum(tensor))
        end,
        max_concurrency: 40,
        timeout: 60_000
      )
      |> Enum.map(fn {:ok, sum} -> sum end)

    assert Enum.uniq(sums) == [90_000]
    assert_nothing_left(server)
  end

  test "callers that give up waiting for a tensor or a daemon are forgotten" do
    server = start_server()
    slow = Outrigger.run(server, endless(), [Outrigger.tensor(server, 1.0)])

    for _ <- 1..20,
        do: {:error, %ConnectionError{reason: :deadline}} = Outrigger.await(slow, deadline: 1)

    pids = for _ <- 1..20, do: spawn(fn -> Outrigger.await(slow) end)
    connection = Server.fetch!(server).connection
    waiting = fn -> map_size(:sys.get_state(connection).traffic.waits.keys) end
    assert eventually(fn -> waiting.() == 20 end)
    for pid <- pids, do: Process.exit(pid, :kill)
    assert eventually(fn -> waiting.() == 0 end)
    assert Outrigger.cancel(slow)
  end

  # Steps of a process, in reductions: a ratio, whatever the machine.
  defp steps(pid) do
    {:reductions, steps} = Process.info(pid, :reductions)
    steps
  end

  # The server's work for the deaths of this many callers with eight requests each.
  defp cost_of_deaths(callers) do
    server = start_server()
    connection = child(server, Outrigger.Connection)
    leases = child(server, Outrigger.Leases)
    tensor = Outrigger.await!(Outrigger.iota(server, {10}))
    # Nothing is answered meanwhile.
    kill(os_pid(server), "STOP")
    parent = self()

    pids =
      for _ <- 1..callers do
        spawn(fn ->
          for _ <- 1..8, do: Op.add(tensor, 1)
          send(parent, {:sent, self()})
          Process.sleep(:infinity)
        end)
      end

    for pid <- pids, do: assert_receive({:sent, ^pid}, 20_000)
    traffic = fn -> :sys.get_state(connection, 60_000).traffic end
    on_their_way = fn t -> map_size(t.pending) + map_size(t.waiting) end
    assert eventually(fn -> on_their_way.(traffic.()) >= 8 * callers end, 20_000)
    Traffic.check!(traffic.())
    before = steps(connection) + steps(leases)
    for pid <- pids, do: Process.exit(pid, :kill)
    assert eventually(fn -> map_size(traffic.().callers) <= 2 end, 60_000)
    Outrigger.collect(server)
    assert eventually(fn -> map_size(traffic.().orphans.left) == 0 end, 60_000)
    spent = steps(connection) + steps(leases) - before
    Traffic.check!(traffic.())
    stop_supervised!(server)
    spent
  end

  test "deaths of callers with requests pending cost in proportion to them" do
    # In proportion is 8, by the square 64.
    [few, many] = for callers <- [200, 1600], do: cost_of_deaths(callers)
    assert many / few < 24, "8 times the callers cost #{many / few} times as much"
  end

  test "tensors of dead processes that only sent are released within one poll" do
    server = start_server()

    for _ <- 1..3 do
      pids = for _ <- 1..2000, do: spawn_monitor(fn -> Outrigger.tensor(server, [1]) end)
      for {_, ref} <- pids, do: assert_receive({:DOWN, ^ref, _, _, _}, 60_000)
      Outrigger.collect(server)
      Outrigger.sync!(server)
      assert Outrigger.info!(server).tensors == 0
    end

    assert_nothing_left(server)
  end
end
