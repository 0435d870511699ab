defmodule Outrigger.DaemonCase do
  @moduledoc false
  # Starts real and fake servers for tests, and checks that they leave nothing behind.
  #
  # The environment variable OUTRIGGER_TRANSPORT is port (the default), unix, tcp or tls. With the
  # last three, the daemons of start_server/1 listen, and the servers connect to them. A test with
  # the tag :own_daemon needs a daemon that the server itself starts. One with the tag
  # :own_transport chooses its transports, and runs once.

  use ExUnit.CaseTemplate

  @fake Path.expand("fake_daemon.py", __DIR__)

  using do
    quote do
      import Outrigger.DaemonCase
      alias Outrigger.{ConnectionError, Error, InPlace, Op}
    end
  end

  @doc "The transport of this run of the tests."
  def transport do
    name = System.get_env("OUTRIGGER_TRANSPORT", "port")
    name in ["port", "unix", "tcp", "tls"] || raise "OUTRIGGER_TRANSPORT: #{name}"
    String.to_atom(name)
  end

  @doc "The tags of tests that do not run over this transport."
  def excluded, do: if(transport() == :port, do: [], else: [:own_daemon, :own_transport])

  @doc "Starts a server that ends with the test."
  def start_server(options \\ []) do
    options = server_options(options)
    start_supervised!({Outrigger, options})
    options[:name]
  end

  @doc "The options of a server with a real daemon, which ends with the test."
  def server_options(options) do
    name = :"server_#{System.unique_integer([:positive])}"
    options = Keyword.merge([name: name, threads: 1], options)

    case transport() do
      :port -> options
      kind -> Outrigger.ListeningDaemon.start_supervised!(kind, options)
    end
  end

  @doc "Starts a server whose daemon behaves as the mode says (see fake_daemon.py)."
  def start_fake(mode, options \\ []) do
    name = :"fake_#{System.unique_integer([:positive])}"
    options = [name: name, daemon: @fake, args: ["--mode", mode]] ++ options
    start_supervised!({Outrigger, options})
    name
  end

  def fake, do: @fake

  @doc "The processes of a server."
  def child(server, module) do
    children = Supervisor.which_children(server)
    {_, pid, _, _} = Enum.find(children, &(elem(&1, 0) == module))
    pid
  end

  @doc """
  Asserts that no count, no entry and no waiting caller is left. Also checks the invariant of the
  requests in the state.
  """
  def assert_nothing_left(server) do
    struct = Outrigger.Server.fetch!(server)
    connection = struct.connection

    left = fn ->
      traffic = Outrigger.Traffic.check!(:sys.get_state(connection).traffic)

      %{
        in_flight: Outrigger.Server.in_flight(struct),
        turn: Outrigger.Counters.turn(struct.counters),
        unwritten: not Outrigger.Counters.all_written?(struct.counters),
        direct: :ets.tab2list(struct.direct),
        pending: traffic.pending,
        waiting: traffic.waiting,
        waits: map_size(traffic.waits.refs) + map_size(traffic.waits.keys),
        orphans: map_size(traffic.orphans.left) + map_size(traffic.orphans.handles),
        subscriptions: traffic.subscriptions.ids,
        errors: traffic.errors,
        dead_callers: Enum.reject(Map.keys(traffic.callers), &Process.alive?/1)
      }
    end

    none = %{
      in_flight: {0, 0},
      turn: 0,
      unwritten: false,
      direct: [],
      pending: %{},
      waiting: %{},
      waits: 0,
      orphans: 0,
      subscriptions: %{},
      errors: %{},
      dead_callers: []
    }

    unless eventually(fn -> left.() == none end, 10_000),
      do: ExUnit.Assertions.flunk("there is left: #{inspect(left.())}")
  end

  @doc "True for the reason of pending requests after the death of their daemon."
  def died?({:daemon_exited, _status}), do: transport() == :port
  def died?({:disconnected, _why}), do: transport() != :port
  def died?(_other), do: false

  def os_pid(server), do: Outrigger.info!(server).os_pid
  def kill(os_pid, signal), do: :os.cmd(~c"kill -#{signal} #{os_pid}")
  def alive?(os_pid), do: Outrigger.Daemon.identity(os_pid) != nil

  def assert_os_pid_exited(os_pid, ms \\ 1000) do
    unless eventually(fn -> not alive?(os_pid) end, ms) do
      ExUnit.Assertions.flunk("process #{os_pid} is still there after #{ms} ms")
    end
  end

  def eventually(fun, ms \\ 2000) do
    cond do
      fun.() -> true
      ms <= 0 -> false
      true -> Process.sleep(10) && eventually(fun, ms - 10)
    end
  end

  # An answer goes through several processes, and may have this many delays of the machine.
  @lags 10

  @doc """
  The milliseconds and the result of a function. The delay of the machine does not count: a witness
  asks an echo process again and again, and ten times its slowest answer is subtracted. On an idle
  machine that is a few milliseconds. On a machine where every process waits for a processor, it
  tells an answer in time from a hang.
  """
  def timed(fun) do
    parent = self()
    witness = Task.async(fn -> witness(parent) end)
    receive do: (:witness_ready -> :ok)
    {us, result} = :timer.tc(fun)
    send(witness.pid, :stop)
    lag_us = Task.await(witness, 60_000)
    {max(div(us - @lags * lag_us, 1000), 0), result}
  end

  # The slowest echo, in microseconds, until it is told to stop.
  defp witness(parent) do
    cat = System.find_executable("cat")
    port = Port.open({:spawn_executable, cat}, [:binary, :stream])
    echo(port)
    send(parent, :witness_ready)
    slowest = slowest_echo(port, 0)
    Port.close(port)
    slowest
  end

  defp slowest_echo(port, slowest) do
    {us, _} = :timer.tc(fn -> echo(port) end)
    slowest = max(slowest, us)

    receive do
      :stop -> slowest
    after
      2 -> slowest_echo(port, slowest)
    end
  end

  defp echo(port) do
    Port.command(port, "x")
    receive do: ({^port, {:data, _}} -> :ok)
  end

  @doc "A program that computes for many seconds on any machine."
  def endless do
    Outrigger.program(fn x ->
      Outrigger.Op.while(x, &Outrigger.Op.greater(&1, -1.0), &Outrigger.Op.multiply(&1, 1.0))
    end)
  end
end
