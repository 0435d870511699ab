defmodule Outrigger.CrashTest do
  use Outrigger.DaemonCase, async: false
  alias Outrigger.Server

  @moments 100

  test "kill -9 in #{@moments} random moments: one typed error for each pending call, at once" do
    seed = ExUnit.configuration()[:seed]
    :rand.seed(:exsss, seed)
    server = start_server()
    processes = length(Process.list())

    {worst_error, worst_ready} =
      Enum.reduce(1..@moments, {0, 0}, fn moment, {worst_error, worst_ready} ->
        {error_ms, ready_ms} = crash(server, moment, seed)
        {max(worst_error, error_ms), max(worst_ready, ready_ms)}
      end)

    IO.puts(
      "\n#{@moments} kills (seed #{seed}): last error after #{worst_error} ms, " <>
        "new daemon after #{worst_ready} ms at worst"
    )

    assert worst_error <= 1000
    assert eventually(fn -> length(Process.list()) <= processes + 20 end)
    struct = Server.fetch!(server)
    assert eventually(fn -> Server.in_flight(struct) == {0, 0} end)
    assert Outrigger.Counters.all_written?(struct.counters)
    assert {:message_queue_len, 0} = Process.info(struct.connection, :message_queue_len)
  end

  defp crash(server, moment, seed) do
    os_pid = os_pid(server)
    parent = self()

    callers =
      for n <- 1..8 do
        spawn(fn ->
          :rand.seed(:exsss, {seed, moment, n})
          send(parent, {:outcome, self(), start_work(server, parent)})
        end)
      end

    for pid <- callers, do: assert_receive({:started, ^pid}, 5000)
    Process.sleep(:rand.uniform(15) - 1)
    kill(os_pid, "KILL")
    {error_ms, _} = timed(fn -> for pid <- callers, do: assert_outcome(pid) end)
    for pid <- callers, do: refute_received({:outcome, ^pid, _})
    {ready_ms, :ok} = timed(fn -> Outrigger.await_ready(server) end)
    assert eventually(fn -> os_pid(server) != os_pid end)
    refute alive?(os_pid)
    {error_ms, ready_ms}
  end

  defp assert_outcome(pid) do
    error =
      receive do
        {:outcome, ^pid, error} -> error
      after
        5000 ->
          flunk("no answer: #{inspect(Process.info(pid, [:current_stacktrace, :messages]))}")
      end

    case error do
      %ConnectionError{reason: :stale_epoch} -> :ok
      %ConnectionError{reason: reason} -> assert died?(reason)
      other -> flunk("unexpected outcome: #{inspect(other)}")
    end
  end

  # Goes on until an error comes, and gives it.
  defp start_work(server, parent) do
    tensor = Outrigger.await!(Outrigger.iota(server, {200_000}, type: :f32))
    send(parent, {:started, self()})
    work(server, tensor)
  rescue
    error in ConnectionError -> error
  end

  defp work(server, tensor) do
    result =
      case :rand.uniform(6) do
        1 ->
          tensor |> Op.multiply(2) |> Op.sum() |> Outrigger.to_number()

        2 ->
          Outrigger.to_binary(tensor)

        3 ->
          Outrigger.shape(Op.add(tensor, 1))

        4 ->
          tensor |> InPlace.add(1) |> Outrigger.peek(3)

        5 ->
          Outrigger.to_binary(
            Outrigger.from_binary(server, :binary.copy(<<1>>, 900_000), :u8, {900_000})
          )

        6 ->
          Outrigger.info(tensor)
      end

    case result do
      {:ok, _} -> work(server, tensor)
      {:error, error} -> error
    end
  end

  test "after the death of a daemon, old tensors are stale without a round trip" do
    server = start_server()
    tensor = Outrigger.tensor(server, [1, 2, 3])
    prepared = Outrigger.prepare!(server, Outrigger.program(&Op.add(&1, 1)))
    twice = Outrigger.program(&Op.call(prepared, [Op.call(prepared, [&1])]))
    prepared_twice = Outrigger.prepare!(server, twice)
    Outrigger.await!(tensor)
    kill(os_pid(server), "KILL")
    assert eventually(fn -> inspect(tensor) == "#Outrigger.Tensor<stale>" end)
    assert {:error, %ConnectionError{reason: :stale_epoch}} = Outrigger.to_list(tensor)
    assert {:error, %ConnectionError{reason: :stale_epoch}} = Outrigger.shape(tensor)
    assert {:error, %ConnectionError{reason: :stale_epoch}} = Outrigger.info(tensor)
    assert Outrigger.release(tensor) == :ok
    refute Outrigger.cancel(tensor)
    assert_raise ConnectionError, ~r/that is gone/, fn -> Op.add(tensor, 1) end
    assert_raise ConnectionError, fn -> InPlace.add(tensor, 1) end
    assert_raise ConnectionError, fn -> Outrigger.call(prepared, [tensor]) end

    # The next call finds the new daemon, and prepared programs have survived.
    fresh = Outrigger.tensor(server, [1, 2, 3])
    assert Outrigger.to_list!(Outrigger.run(server, twice, [fresh])) == [3, 4, 5]
    assert Outrigger.to_list!(Outrigger.call(prepared_twice, [fresh])) == [3, 4, 5]
    assert Outrigger.to_list!(Outrigger.call(prepared, [fresh])) == [2, 3, 4]
    assert {:error, %ConnectionError{reason: :stale_epoch}} = Outrigger.to_list(tensor)
  end

  test "on_restart is called once for each new daemon" do
    parent = self()

    server =
      start_server(
        on_restart: fn name -> send(parent, {:restarted, name, Outrigger.ping(name)}) end
      )

    refute_received {:restarted, _, _}

    for _ <- 1..3 do
      kill(os_pid(server), "SEGV")
      assert_receive {:restarted, ^server, :ok}, 5000
    end

    refute_receive {:restarted, _, _}, 100
  end

  @tag :own_daemon
  test "the error tells the signal" do
    server = start_server()
    task = Task.async(fn -> Outrigger.to_number(run_endless(server)) end)
    Process.sleep(50)
    kill(os_pid(server), "ABRT")
    assert {:error, %ConnectionError{reason: {:daemon_exited, status}} = error} = Task.await(task)
    assert status in [134, 6]
    assert Exception.message(error) =~ "daemon"
  end

  defp run_endless(server, options \\ []) do
    Outrigger.run(server, endless(), [Outrigger.tensor(server, 1.0)], options)
  end

  @tag :own_daemon
  test "SIGSTOP: callers get their deadline, the server stays responsive, the stop is prompt" do
    server = start_server()
    tensor = Outrigger.tensor(server, [1.0])
    Outrigger.await!(tensor)
    os_pid = os_pid(server)
    kill(os_pid, "STOP")

    for deadline <- [10, 100] do
      {ms, result} = timed(fn -> Outrigger.to_list(tensor, deadline: deadline) end)
      assert {:error, %ConnectionError{reason: :deadline}} = result
      assert ms <= deadline + 500
    end

    slow = Outrigger.run(server, Outrigger.program(&Op.add(&1, 1)), [tensor], deadline: 100)
    {ms, result} = timed(fn -> Outrigger.to_list(slow) end)
    assert {:error, %ConnectionError{reason: :deadline}} = result
    assert ms <= 600
    {ms, true} = timed(fn -> inspect(Op.add(tensor, 1)) == "#Outrigger.Tensor<pending>" end)
    assert ms <= 100

    # The daemon goes on, and so does all else.
    kill(os_pid, "CONT")
    assert Outrigger.to_list(tensor) == {:ok, [1.0]}
    kill(os_pid, "STOP")
    {ms, :ok} = timed(fn -> stop_supervised(server) end)
    assert ms <= 2000
    assert_os_pid_exited(os_pid, 500)
  end

  test "a deadline and a cancel stop a running program, and the daemon goes on" do
    server = start_server()
    slow = run_endless(server, deadline: 200)
    {us, {ms, result}} = :timer.tc(fn -> timed(fn -> Outrigger.to_number(slow) end) end)
    assert {:error, %{__struct__: struct} = error} = result
    assert (struct == Error and error.code == :deadline_exceeded) or struct == ConnectionError
    assert us >= 150_000 and ms <= 1000

    slow = run_endless(server)
    Process.sleep(50)
    assert Outrigger.cancel(slow)
    {ms, result} = timed(fn -> Outrigger.to_number(slow) end)
    assert {:error, %Error{code: :cancelled}} = result
    assert ms <= 600
    refute Outrigger.cancel(slow)
    assert Outrigger.ping(server) == :ok
    assert Outrigger.tensor(server, 3) |> Outrigger.to_number!() == 3
  end

  test "the death of a caller cancels the requests for which no other process waits" do
    server = start_server()
    prepared = Outrigger.prepare!(server, endless())

    {pid, monitor} =
      spawn_monitor(fn ->
        Outrigger.call_and_wait(prepared, [Outrigger.tensor(server, 1.0)])
      end)

    assert eventually(fn -> Outrigger.info!(server).running != nil end)
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^monitor, _, _, _}
    assert eventually(fn -> Outrigger.info!(server).running == nil end, 1000)

    # The same when it does not wait, but nobody else holds the result.
    {pid, _} =
      spawn_monitor(fn ->
        slow = run_endless(server)
        Process.sleep(:infinity)
        slow
      end)

    assert eventually(fn -> Outrigger.info!(server).running != nil end)
    Process.exit(pid, :kill)
    assert eventually(fn -> Outrigger.info!(server).running == nil end, 2000)
  end

  test "results of a dead caller that others hold are finished, with all their operands" do
    server = start_server()
    parent = self()

    # Some tenths of a second: the caller is long dead when its programs run.
    slow =
      Outrigger.program(fn x ->
        Op.while(x, &Op.less(&1, 200_000.0), &Op.add(&1, 1.0))
      end)

    caller =
      spawn(fn ->
        x = Outrigger.tensor(server, 0.0)
        first = Outrigger.run(server, slow, [x])
        last = first |> Op.multiply(2.0) |> Op.add(1.0)
        send(parent, {:last, last})
      end)

    monitor = Process.monitor(caller)
    assert_receive {:last, last}
    assert_receive {:DOWN, ^monitor, _, _, _}
    # The tensors that only the caller held are released now.
    :ok = Outrigger.collect(server)
    assert Outrigger.to_number(last) == {:ok, 400_001.0}
  end

  test "ping and info are answered during a long program" do
    server = start_server()
    slow = run_endless(server)
    assert eventually(fn -> Outrigger.info!(server).running != nil end)

    for _ <- 1..10 do
      {ms, :ok} = timed(fn -> Outrigger.ping(server) end)
      assert ms < 500
    end

    Outrigger.cancel(slow)
  end

  test "ping and info overtake the requests that wait for the daemon's windows" do
    server = start_server(timeout: 10_000)
    slow = run_endless(server)
    window = Outrigger.info!(server).limits.requests_window
    for _ <- 1..(window + 100), do: Op.add(slow, 1.0)
    traffic = :sys.get_state(Server.fetch!(server).connection).traffic
    assert map_size(traffic.waiting) > 0
    assert Outrigger.ping(server) == :ok
    assert Outrigger.info!(server).running != nil
    Outrigger.cancel(slow)
  end

  @tag :own_daemon
  test "kill -9 of a whole BEAM with a long op running leaves no daemon after 1 s" do
    script = """
    {:ok, _} = Outrigger.start_link(name: Doomed, threads: 1)
    endless = Outrigger.program(fn x ->
      Outrigger.Op.while(x, &Outrigger.Op.greater(&1, -1.0), &Outrigger.Op.multiply(&1, 1.0))
    end)
    Outrigger.run(Doomed, endless, [Outrigger.tensor(Doomed, 1.0)])
    Process.sleep(100)
    IO.puts("daemon \#{Outrigger.info!(Doomed).os_pid} beam \#{System.pid()}")
    Process.sleep(:infinity)
    """

    for _ <- 1..3 do
      port =
        Port.open({:spawn_executable, System.find_executable("elixir")}, [
          :binary,
          {:line, 1000},
          args: ["-pa", Path.join(Mix.Project.build_path(), "lib/outrigger/ebin"), "-e", script]
        ])

      assert_receive {^port, {:data, {:eol, "daemon " <> line}}}, 20_000
      [daemon, "beam", beam] = String.split(line)
      assert alive?(daemon)
      kill(beam, "KILL")
      assert_os_pid_exited(String.to_integer(daemon), 1000)
    end
  end
end
