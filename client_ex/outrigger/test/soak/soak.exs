# Random faults in real daemons, for some minutes: ./run soak [MINUTES]. OUTRIGGER_SEED=… repeats
# the choices of a run. Before and after, and between rounds, the script counts processes, ports,
# file descriptors, table entries, requests, tensors and memory: a round must leave nothing behind.

defmodule Outrigger.Soak do
  alias Outrigger.{ConnectionError, Error, InPlace, Op, Server}

  @rounds_per_check 20
  # Allocators keep some memory; a leak of each round grows beyond this.
  @rss_slack 160 * 1024 * 1024
  @beam_slack 64 * 1024 * 1024
  @limit 192 * 1024 * 1024

  def run(minutes, seed) do
    IO.puts("soak: #{minutes} minutes, OUTRIGGER_SEED=#{seed}")
    :rand.seed(:exsss, {seed, seed, seed})
    Process.flag(:trap_exit, true)
    folder = Path.join(System.tmp_dir!(), "outrigger_soak_#{System.pid()}")
    File.mkdir_p!(folder)
    servers = for name <- [:soak_a, :soak_b], do: start(name)
    state = %{servers: servers, folder: folder, counts: %{}}
    # Caches and pools fill up first.
    state = Enum.reduce(scenarios(), state, &round(&2, &1))
    before = settled(state)
    until = System.monotonic_time(:second) + round(minutes * 60)
    {state, rounds} = loop(state, before, until, 0)
    check(state, before, "at the end")
    for server <- servers, do: Outrigger.stop(server)
    File.rm_rf!(folder)

    IO.puts(
      "#{rounds} rounds: " <> Enum.map_join(state.counts, ", ", fn {k, n} -> "#{k} #{n}" end)
    )

    rounds
  end

  defp start(name) do
    {:ok, _} =
      Outrigger.start_link(
        name: name,
        threads: 1,
        memory_limit: @limit,
        log: :none,
        timeout: 20_000
      )

    name
  end

  defp loop(state, before, until, rounds) do
    if System.monotonic_time(:second) >= until do
      {state, rounds}
    else
      state = round(state, Enum.random(scenarios()))

      if rem(rounds + 1, @rounds_per_check) == 0,
        do: check(state, before, "after #{rounds + 1} rounds")

      loop(state, before, until, rounds + 1)
    end
  end

  defp round(state, scenario) do
    server = Enum.random(state.servers)
    # The end of the process frees all that the scenario holds.
    {pid, monitor} = spawn_monitor(fn -> apply(__MODULE__, scenario, [server, state]) end)

    receive do
      {:DOWN, ^monitor, :process, ^pid, :normal} ->
        :ok

      {:DOWN, ^monitor, :process, ^pid, reason} ->
        fail("#{scenario}: #{Exception.format_exit(reason)}")
    after
      120_000 ->
        stack = inspect(Process.info(pid, :current_stacktrace))
        fail("#{scenario} has not ended after two minutes: #{stack}")
    end

    %{state | counts: Map.update(state.counts, scenario, 1, &(&1 + 1))}
  end

  defp fail(text), do: raise("soak: " <> text)

  ## Scenarios

  def scenarios do
    [
      :computes,
      :callers_die,
      :daemon_dies,
      :daemon_stops,
      :memory_full,
      :queue_full,
      :two_servers
    ] ++
      [:atomic_fails, :deadlines, :files, :saving_dies, :node_dies, :uploads_die]
  end

  @doc "Values are right after any other scenario."
  def computes(server, _state) do
    list = for _ <- 1..200, do: :rand.uniform(1000)
    x = Outrigger.tensor(server, list, type: :s64)
    InPlace.put_slice(x, [0], Outrigger.tensor(server, [7], type: :s64))
    expected = [7 | tl(list)]
    true = Outrigger.to_list!(x) == expected
    true = Outrigger.to_number!(Op.sum(Op.multiply(x, 3))) == 3 * Enum.sum(expected)
  end

  @doc "Processes die at any point of their requests."
  def callers_die(server, _state) do
    pids = for _ <- 1..100, do: spawn(fn -> endless_work(server) end)
    Process.sleep(:rand.uniform(20))
    kill_all(pids)
  end

  defp endless_work(server) do
    x = Outrigger.iota(server, {:rand.uniform(2000)}, type: :f32)
    y = x |> Op.add(1) |> Op.multiply(x)
    if :rand.uniform(3) == 1, do: Outrigger.to_list(y)
    endless_work(server)
  end

  @doc "Processes die while they send long data."
  def uploads_die(server, _state) do
    data = :binary.copy(<<1>>, 4_000_000)

    pids =
      for _ <- 1..8,
          do:
            spawn(fn ->
              Outrigger.from_binary(server, data, :u8, {4_000_000}) |> Outrigger.to_binary()
            end)

    Process.sleep(:rand.uniform(40))
    kill_all(pids)
  end

  @doc "The daemon dies in the middle of calls: each gets one typed error, the next daemon works."
  def daemon_dies(server, _state) do
    parent = self()
    pids = for _ <- 1..20, do: spawn(fn -> send(parent, {self(), until_error(server)}) end)
    Process.sleep(:rand.uniform(20))
    signal(server, Enum.random(~w[KILL SEGV ABRT]))

    # A caller without a request at that moment goes on with the next daemon.
    Process.sleep(100)
    for pid <- pids, do: send(pid, :stop)

    for pid <- pids do
      receive do
        {^pid, %ConnectionError{}} -> :ok
        {^pid, %Error{code: :stale_epoch}} -> :ok
        {^pid, :stopped} -> :ok
      after
        20_000 -> fail("a caller of a killed daemon has no answer")
      end
    end

    :ok = Outrigger.await_ready(server)
    computes(server, nil)
  end

  defp until_error(server) do
    Outrigger.to_number!(Op.sum(Outrigger.iota(server, {1000})))

    receive do
      :stop -> :stopped
    after
      0 -> until_error(server)
    end
  rescue
    error in [ConnectionError, Error] -> error
  end

  @doc "A stopped daemon: callers keep their deadlines."
  def daemon_stops(server, _state) do
    os_pid = os_pid(server)
    x = Outrigger.iota(server, {10})
    kill(os_pid, "STOP")
    {:error, %ConnectionError{reason: :deadline}} = Outrigger.to_list(Op.add(x, 1), deadline: 50)
    pids = for _ <- 1..50, do: spawn(fn -> endless_work(server) end)
    Process.sleep(20)
    kill(os_pid, "CONT")
    Process.sleep(:rand.uniform(10))
    kill_all(pids)
    true = Outrigger.to_number!(Op.sum(x)) == 45
  end

  @doc "More than the limit: a typed error, and nothing is left."
  def memory_full(server, _state) do
    held = for _ <- 1..10, do: Outrigger.iota(server, {4_000_000}, type: :f64)
    errors = for x <- held, {:error, error} <- [Outrigger.await(x)], do: error
    if errors == [], do: fail("320 MB fit a limit of #{@limit} bytes")
    for error <- errors, do: %Error{code: :out_of_memory} = error
    Outrigger.release(held)
  end

  @doc "A daemon that does not read, and callers that die while they wait for room."
  def queue_full(server, _state) do
    os_pid = os_pid(server)
    data = :binary.copy(<<0>>, 200_000)
    kill(os_pid, "STOP")

    pids =
      for _ <- 1..40 do
        spawn(fn -> for _ <- 1..40, do: Outrigger.from_binary(server, data, :u8, {200_000}) end)
      end

    Process.sleep(30 + :rand.uniform(30))
    kill_all(pids)
    kill(os_pid, "CONT")
    true = Outrigger.to_number!(Op.sum(Outrigger.iota(server, {5}))) == 10
  end

  @doc "A tensor of one server is refused by the other."
  def two_servers(_server, %{servers: [a, b]}) do
    x = Outrigger.tensor(a, [1, 2, 3])
    y = Outrigger.tensor(b, [10, 20, 30])

    reason =
      try do
        Op.add(x, y)
      rescue
        error in ConnectionError -> error.reason
      end

    :foreign_tensor = reason
    true = Outrigger.to_list!(x) == [1, 2, 3]
  end

  @doc "An atomic program that fails changes nothing."
  def atomic_fails(server, _state) do
    x = Outrigger.tensor(server, [1, 2, 3], type: :s64)

    program =
      Outrigger.program(fn x, at ->
        x = InPlace.add(x, 1)
        Op.take(x, at)
      end)

    bad = Outrigger.tensor(server, [9], type: :s64)
    result = Outrigger.run(server, program, [x, bad], atomic: true)
    {:error, %Error{code: :bad_index}} = Outrigger.await(result)
    # The next read of the operand returns the error, once.
    {:error, %Error{code: :bad_index}} = Outrigger.to_list(x)
    true = Outrigger.to_list!(x) == [1, 2, 3]
  end

  @doc "Endless programs end at their deadline, or when they are cancelled."
  def deadlines(server, _state) do
    endless =
      Outrigger.program(fn x ->
        Op.while(x, &Op.greater(&1, -1.0), &Op.multiply(&1, 1.0))
      end)

    x = Outrigger.tensor(server, 1.0)

    if :rand.uniform(2) == 1 do
      {:error, _} = Outrigger.await(Outrigger.run(server, endless, [x], deadline: 30))
    else
      y = Outrigger.run(server, endless, [x])
      Outrigger.cancel(y)
      {:error, %Error{code: :cancelled}} = Outrigger.await(y)
    end
  end

  @doc "Files are written and read again, and no other file is left."
  def files(server, %{folder: folder}) do
    path = Path.join(folder, "x.npy")
    x = Outrigger.iota(server, {1000}, type: :f32)
    :ok = Outrigger.save_npy(x, path)
    true = Outrigger.to_list!(Outrigger.load_npy(server, path)) == Outrigger.to_list!(x)
    File.rm!(path)
  end

  @doc "The daemon is killed while it saves: no half file, and no temporary file, is left."
  def saving_dies(server, %{folder: folder}) do
    path = Path.join(folder, "large.npy")
    x = Outrigger.iota(server, {10_000_000}, type: :f32)
    Outrigger.await!(x)
    pid = spawn(fn -> Outrigger.save_npy(x, path) end)
    Process.sleep(:rand.uniform(30))
    os_pid = os_pid(server)
    kill(os_pid, "KILL")
    kill_all([pid])

    restarted? = fn ->
      match?({:ok, %{os_pid: new}} when new != os_pid, Outrigger.info(server))
    end

    unless eventually(restarted?), do: fail("no daemon has followed the one that was killed")
    # A file that is there is whole.
    if File.exists?(path) do
      {:ok, {10_000_000}} = Outrigger.shape(Outrigger.load_npy(server, path))
    end

    File.rm(path)
    Outrigger.sync!(server)
  end

  # The script of a node that has no copy of this module.
  @serve """
  parent = self()

  spawn(fn ->
    {:ok, _} = Outrigger.start_link(name: :soak_peer, daemon: daemon, log: :none)
    send(parent, {:os_pid, Outrigger.info!(:soak_peer).os_pid})
    Process.sleep(:infinity)
  end)

  receive do: ({:os_pid, os_pid} -> os_pid)
  """

  @doc "A node with a daemon of its own is killed: the daemon goes with it."
  def node_dies(_server, _state) do
    paths = for path <- :code.get_path(), argument <- [~c"-pa", path], do: argument
    {:ok, peer, _} = :peer.start(%{connection: :standard_io, args: paths})
    {:ok, _} = :peer.call(peer, Application, :ensure_all_started, [:elixir])
    {:ok, _} = :peer.call(peer, Application, :ensure_all_started, [:logger])
    node_pid = :peer.call(peer, System, :pid, [])
    binding = [daemon: System.get_env("OUTRIGGERD")]
    {os_pid, _} = :peer.call(peer, Code, :eval_string, [@serve, binding], 30_000)
    System.cmd("kill", ["-KILL", node_pid])

    unless eventually(fn -> not File.dir?("/proc/#{os_pid}") end),
      do: fail("a daemon outlived its node")

    eventually(fn -> not Process.alive?(peer) end)
  end

  ## Leaks

  defp check(state, before, when?) do
    # Requests under way may take a moment to end. A leak stays.
    ok? = eventually(fn -> breaches(before, settled(state)) == [] end, 15_000)
    unless ok?, do: fail("#{when?}: " <> Enum.join(breaches(before, settled(state)), "; "))
  end

  defp breaches(before, now) do
    for {key, value} <- now, text = breach(key, Map.fetch!(before, key), value), do: text
  end

  defp breach({:rss, _} = key, before, now), do: above(key, before, now, @rss_slack)
  defp breach(:beam_memory = key, before, now), do: above(key, before, now, @beam_slack)
  # Keepers come and go with the handles that were drawn; their number is bounded.
  defp breach(:processes = key, before, now), do: above(key, before, now, 64)
  defp breach(_key, same, same), do: nil
  defp breach(key, before, now), do: "#{inspect(key)} was #{inspect(before)}, is #{inspect(now)}"

  defp above(_key, before, now, slack) when now <= before + slack, do: nil

  defp above(key, before, now, slack),
    do: "#{inspect(key)} was #{before}, is #{now}, more than #{slack} above"

  defp settled(state) do
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    for server <- state.servers, do: Outrigger.collect(server)
    for server <- state.servers, do: Outrigger.sync!(server)

    shared = %{
      processes: length(Process.list()),
      ports: length(Port.list()),
      descriptors: length(File.ls!("/proc/self/fd")),
      tables: length(:ets.all()),
      beam_memory: :erlang.memory(:total),
      files: File.ls!(state.folder)
    }

    Enum.reduce(state.servers, shared, &Map.merge(&2, server_state(&1)))
  end

  defp server_state(name) do
    server = Server.fetch!(name)
    info = Outrigger.info!(name)

    %{
      {:in_flight, name} => Server.in_flight(server),
      {:direct, name} => :ets.info(server.direct, :size),
      {:tensors, name} => info.tensors,
      {:used, name} => info.memory.used,
      {:queue, name} => info.queue,
      {:rss, name} => rss(info.os_pid)
    }
  end

  defp rss(os_pid) do
    [_, kib] = Regex.run(~r/VmRSS:\s+(\d+)/, File.read!("/proc/#{os_pid}/status"))
    String.to_integer(kib) * 1024
  end

  ## Tools

  defp kill_all(pids) do
    monitors = for pid <- pids, do: {pid, Process.monitor(pid)}
    for pid <- pids, do: Process.exit(pid, :kill)
    for {pid, monitor} <- monitors, do: receive(do: ({:DOWN, ^monitor, _, ^pid, _} -> :ok))
  end

  defp os_pid(server), do: Outrigger.info!(server).os_pid
  defp signal(server, name), do: server |> os_pid() |> kill(name)

  defp kill(os_pid, name),
    do: System.cmd("kill", ["-#{name}", to_string(os_pid)], stderr_to_stdout: true)

  defp eventually(fun, ms \\ 5_000) do
    cond do
      fun.() -> true
      ms <= 0 -> false
      true -> Process.sleep(50) && eventually(fun, ms - 50)
    end
  end
end

{minutes, ""} = Float.parse(List.first(System.argv()) || "5")
seed = String.to_integer(System.get_env("OUTRIGGER_SEED") || to_string(:rand.uniform(1_000_000)))
Outrigger.Soak.run(minutes, seed)
