defmodule Outrigger.HostileTest do
  @moduledoc "Daemons that behave badly, each in one way."
  use Outrigger.DaemonCase, async: false

  @moduletag :own_daemon

  defp start(mode, options \\ []) do
    Process.flag(:trap_exit, true)
    Outrigger.start_link([daemon: fake(), args: ["--mode", mode]] ++ options)
  end

  test "a daemon that does not exist" do
    Process.flag(:trap_exit, true)
    assert {:error, error} = Outrigger.start_link(daemon: "/nowhere/outriggerd")
    assert %ConnectionError{reason: :daemon_not_found} = error
    assert Exception.message(error) =~ "/nowhere/outriggerd does not exist"
  end

  test "a daemon that is no program" do
    Process.flag(:trap_exit, true)
    assert {:error, %ConnectionError{reason: reason}} = Outrigger.start_link(daemon: __ENV__.file)
    assert reason in [:daemon_not_found, :handshake]
  end

  test "a daemon that exits at once" do
    assert {:error, %ConnectionError{reason: :handshake} = error} = start("exits")
    assert Exception.message(error) =~ "exited with status 7 before it answered"
  end

  test "a daemon that sends nothing" do
    {ms, result} = timed(fn -> start("silent", start_timeout: 300) end)
    assert {:error, %ConnectionError{reason: :handshake} = error} = result
    assert Exception.message(error) =~ "no answer to hello within 300 ms"
    assert ms < 2000
  end

  test "a daemon of another protocol" do
    assert {:error, %ConnectionError{reason: :handshake} = error} = start("old")
    assert Exception.message(error) =~ "not a hello of protocol 1"
  end

  test "a daemon that dies: each call gets one error, then another daemon starts" do
    server = start_fake("dies")
    first = Outrigger.info!(server).starts
    parent = self()

    pids =
      for n <- 1..20 do
        spawn(fn -> send(parent, {:answer, n, Outrigger.ping(server)}) end)
      end

    answers = for n <- 1..20, do: receive_answer(n)
    failed = Enum.filter(answers, &match?({:error, _}, &1))
    assert failed != []

    for {:error, error} <- failed do
      # A write to a daemon that has just died ends the port before its exit status comes.
      assert %ConnectionError{reason: {:daemon_exited, status}} = error
      assert status in [3, :unknown]
    end

    assert pids |> Enum.map(&Process.monitor/1) |> length() == 20
    refute_received {:answer, _, _}
    assert Outrigger.await_ready(server) == :ok
    assert Outrigger.info!(server).starts > first
  end

  defp receive_answer(n) do
    assert_receive {:answer, ^n, answer}, 5000
    answer
  end

  # A stray printf in the daemon: the connection neither waits for a frame nor allocates one.
  for mode <- ["garbage", "huge"] do
    test "a daemon whose output is not the protocol (#{mode})" do
      memory = :erlang.memory(:total)

      case start(unquote(mode)) do
        {:ok, pid} ->
          result = Outrigger.ping(pid, deadline: 1000)
          assert {:error, %ConnectionError{reason: reason}} = result
          # A request that was under way when the connection gave up gets the daemon's end.
          assert reason in [:protocol, :not_connected, :deadline] or
                   match?({:daemon_exited, _}, reason)

          Supervisor.stop(pid)

        {:error, error} ->
          assert %ConnectionError{reason: :protocol} = error
          assert Exception.message(error) =~ "is declared"
      end

      assert :erlang.memory(:total) - memory < 50_000_000
    end
  end

  test "a daemon whose limits are not numbers" do
    assert {:error, %ConnectionError{reason: :handshake}} = start("limitless")
  end

  test "a daemon whose results are not results ends, and another daemon follows" do
    for kind <- 0..5 do
      server = start_fake("malformed#{kind}", start_timeout: 60_000)
      connection = Outrigger.Server.fetch!(server).connection

      # More often than a supervisor would start the connection again.
      for _ <- 1..4 do
        :ok = Outrigger.await_ready(server)
        tensor = Op.iota(server, {2})
        assert {:error, %ConnectionError{reason: reason}} = Outrigger.await(tensor)
        assert reason in [:protocol, :stale_epoch]
      end

      assert Outrigger.Server.fetch!(server).connection == connection
      assert Process.alive?(connection)
    end
  end

  test "a daemon that stops reading: senders wait, others go on, the end is prompt" do
    server = start_fake("deaf", queue_max: 50, queue_bytes_max: 1_000_000, timeout: 400)
    data = :binary.copy(<<0>>, 200_000)

    # Some go into the pipe and the queue; then there is an error, and no memory without bound.
    error =
      Enum.find_value(1..500, fn _ ->
        try do
          Outrigger.from_binary(server, data, :u8, {200_000})
          nil
        rescue
          error in ConnectionError -> error
        end
      end)

    assert %ConnectionError{reason: :queue_full} = error
    {ms, result} = timed(fn -> Outrigger.ping(server, deadline: 100) end)
    assert {:error, %ConnectionError{}} = result
    assert ms < 1000
    {ms, :ok} = timed(fn -> stop_supervised(server) end)
    assert ms < 2000
  end

  test "a daemon that never answers: deadlines hold, and late answers are dropped" do
    server = start_fake("mute")

    for deadline <- [0, 1, 50, 150] do
      {ms, result} = timed(fn -> Outrigger.ping(server, deadline: deadline) end)
      assert {:error, %ConnectionError{reason: :deadline}} = result
      assert ms <= deadline + 500
    end

    tensor = Outrigger.tensor(server, 1)
    {ms, result} = timed(fn -> Outrigger.to_number(tensor, deadline: 50) end)
    assert {:error, %ConnectionError{reason: :deadline}} = result
    assert ms <= 600
    assert inspect(tensor) == "#Outrigger.Tensor<pending>"

    program = Outrigger.program(fn x -> Op.add(x, 1) end)
    result = Outrigger.run(server, program, [tensor], deadline: 50)
    {ms, outcome} = timed(fn -> Outrigger.await(result) end)
    assert {:error, %ConnectionError{reason: :deadline}} = outcome
    assert ms <= 1500
    assert {:messages, []} = Process.info(self(), :messages)
  end

  test "a daemon that sends replies without a request" do
    server = start_fake("floods")
    for _ <- 1..20, do: assert(Outrigger.ping(server) == :ok)
    assert Outrigger.tensor(server, 2.5) |> Outrigger.to_number!() == 2.5
    connection = Outrigger.Server.fetch!(server).connection
    assert {:message_queue_len, 0} = Process.info(connection, :message_queue_len)
  end

  test "a daemon that ignores SIGTERM and the end of its input is killed" do
    server = start_fake("stubborn")
    os_pid = Outrigger.Server.exchange(Outrigger.Server.fetch!(server), &{:hello, &1}, 1000)
    {:ok, %{"os_pid" => os_pid}} = os_pid
    {ms, :ok} = timed(fn -> stop_supervised(server) end)
    assert ms < 2000
    assert_os_pid_exited(os_pid, 200)
  end

  test "a killed connection process takes its daemon along, and a new one serves" do
    server = start_fake("obedient")
    os_pid = os_pid(server)
    tensor = Outrigger.tensor(server, 1)
    Outrigger.await!(tensor)
    Process.exit(Outrigger.Server.fetch!(server).connection, :kill)
    assert_os_pid_exited(os_pid)
    assert eventually(fn -> match?({:ok, _}, try_info(server)) end)
    assert os_pid(server) != os_pid
    assert {:error, %ConnectionError{reason: :stale_epoch}} = Outrigger.to_list(tensor)
  end

  defp try_info(server) do
    Outrigger.info(server, deadline: 100)
  rescue
    error in ConnectionError -> {:error, error}
  end

  test "programs that the daemon no longer keeps are prepared again" do
    server = start_fake("obedient")
    tensor = Outrigger.tensor(server, 1.0)
    # The fake says that it keeps 8.
    prepared = for n <- 1..20, do: Outrigger.prepare!(server, Outrigger.program(&Op.add(&1, n)))

    for p <- prepared ++ Enum.reverse(prepared) do
      assert Outrigger.to_number!(Outrigger.call(p, [tensor])) == 0.0
    end
  end

  test "a program whose call is on its way is not forgotten for another one" do
    server = start_server()
    slow = Outrigger.prepare!(server, slow())

    others =
      for n <- 2..programs_max(server),
          do: Outrigger.prepare!(server, Outrigger.program(&Op.add(&1, n)))

    x = Outrigger.tensor(server, 1)
    for prepared <- [slow | others], _ <- 1..2, do: Outrigger.call_and_wait!(prepared, [x])

    # The caller writes this one to the port itself; the oldest program is now in use.
    sum = Outrigger.call(slow, [x])

    more =
      Task.async(fn -> Outrigger.prepare!(server, Outrigger.program(&Op.multiply(&1, 2))) end)

    assert Outrigger.to_number!(sum) == 1_000_001
    assert Outrigger.to_number!(Outrigger.call(Task.await(more), [x])) == 2

    for prepared <- [slow, hd(others), List.last(others), slow] do
      assert {:ok, _} = Outrigger.call_and_wait(prepared, [x])
    end
  end

  test "a program that is forgotten before the daemon has answered for it is prepared again" do
    server = start_server()
    x = Outrigger.tensor(server, 1)
    # Until this one is done, the daemon answers for no program.
    Outrigger.run(server, slow(), [x])

    prepared =
      for n <- 1..(programs_max(server) + 10) do
        prepared =
          Outrigger.Prepared.new(
            Outrigger.Server.fetch!(server),
            Outrigger.program(&Op.add(&1, n))
          )

        Outrigger.call(prepared, [x])
        prepared
      end

    assert Outrigger.sync(server) == :ok

    for {prepared, n} <- prepared |> Enum.take(10) |> Enum.with_index(2) do
      assert Outrigger.to_number!(Outrigger.call(prepared, [x])) == n
    end
  end

  defp programs_max(server), do: Outrigger.info!(server).limits.programs_max

  # One million turns.
  defp slow do
    Outrigger.program(fn x ->
      Op.add(x, Op.while(0, &Op.less(&1, 1_000_000), &Op.add(&1, 1)))
    end)
  end

  test "counts come back to zero" do
    server = start_fake("obedient")
    for _ <- 1..500, do: Outrigger.tensor(server, 1.0)
    assert Outrigger.sync(server) == :ok
    struct = Outrigger.Server.fetch!(server)
    assert eventually(fn -> Outrigger.Server.in_flight(struct) == {0, 0} end)
    assert Outrigger.Counters.all_written?(struct.counters)
  end
end
