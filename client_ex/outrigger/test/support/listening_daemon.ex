defmodule Outrigger.ListeningDaemon do
  @moduledoc false
  # An outriggerd that listens on a socket, for one test. It is started again at the same address
  # when it dies, as a service manager would do. It ends with the VM.

  use GenServer
  alias Outrigger.FakeServer

  @token String.duplicate("0123456789abcdef", 2)

  # The daemon lives on without its parent. This shell ends it when the VM closes the pipe.
  @script """
  exec 3<&0 4>&2
  "$@" </dev/null 2>&4 &
  pid=$!
  exec 2>/dev/null
  { cat <&3; kill -9 $pid; } >/dev/null 4>&- &
  watcher=$!
  wait $pid
  status=$?
  kill $watcher 2>/dev/null
  exit $status
  """

  # The options of Outrigger.start_link/1 that are for the daemon.
  @own [:daemon, :args, :env, :log, :memory_limit, :threads]

  @doc """
  Starts a daemon over `kind`, :unix, :tcp or :tls, for the options of a server. Returns the options
  of a client of it. `tokens:` is the list of tokens of the daemon.
  """
  def start_supervised!(kind, options) do
    {own, client} = Keyword.split(options, [:tokens | @own])
    id = {__MODULE__, options[:name]}
    daemon = ExUnit.Callbacks.start_supervised!({__MODULE__, {kind, own}}, id: id)
    client ++ GenServer.call(daemon, :client, 60_000)
  end

  @doc "As `start_supervised!/2`, for all tests."
  def start_link!(kind, options) do
    {own, client} = Keyword.split(options, @own)
    {:ok, daemon} = GenServer.start_link(__MODULE__, {kind, own})
    client ++ GenServer.call(daemon, :client, 60_000)
  end

  def child_spec(argument) do
    %{
      id: __MODULE__,
      start: {GenServer, :start_link, [__MODULE__, argument]},
      shutdown: 5_000
    }
  end

  @impl true
  def init({kind, own}) do
    Process.flag(:trap_exit, true)
    folder = Path.join(System.tmp_dir!(), "outrigger_#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)
    File.chmod!(folder, 0o700)
    secured = secure(kind, folder, own[:tokens] || "test all #{@token}\n")
    {:ok, path} = Outrigger.Daemon.executable(%{daemon: own[:daemon]})

    state = %{
      path: path,
      folder: folder,
      own: own,
      args: secured.args,
      client: secured.client,
      address: secured.address,
      port: nil,
      waiting: []
    }

    {:ok, start(state)}
  end

  defp secure(:unix, folder, _tokens),
    do: %{address: "unix:#{folder}/socket", args: [], client: []}

  defp secure(:tcp, folder, list) do
    tokens = Path.join(folder, "tokens")
    File.write!(tokens, list)
    File.chmod!(tokens, 0o600)
    args = ["--token-file", tokens]
    %{address: "tcp://127.0.0.1:0", args: args, client: [token: @token]}
  end

  defp secure(:tls, folder, list) do
    %{server: server, authorities: authorities} = FakeServer.certificates()
    [certificate, key] = for name <- ["cert.pem", "key.pem"], do: Path.join(folder, name)
    File.write!(certificate, pem([{:Certificate, server[:cert], :not_encrypted}]))
    {type, der} = server[:key]
    File.write!(key, pem([{type, der, :not_encrypted}]))
    tcp = secure(:tcp, folder, list)
    args = tcp.args ++ ["--tls-cert", certificate, "--tls-key", key]
    client = [ssl: [cacerts: authorities]] ++ tcp.client
    %{address: "tls://127.0.0.1:0", args: args, client: client}
  end

  defp pem(entries), do: :public_key.pem_encode(entries)

  defp start(%{own: own} = state) do
    options = struct!(Outrigger.Options.new!([]), Keyword.drop(own, [:daemon, :tokens]))
    args = Outrigger.Daemon.args(%{options | log: :stderr})
    args = ["--listen", state.address, "--files", "/"] ++ state.args ++ log(own[:log]) ++ args

    port =
      Port.open({:spawn_executable, System.find_executable("sh")}, [
        :binary,
        :exit_status,
        :stderr_to_stdout,
        line: 4_000,
        args: ["-c", @script, "sh", state.path | args],
        env: for({key, value} <- options.env, do: {to_charlist(key), to_charlist(value)})
      ])

    %{state | port: port}
  end

  defp log(:none), do: ["--log-level", "off"]
  defp log(_other), do: []

  @impl true
  def handle_call(:client, _from, %{waiting: :ready} = state),
    do: {:reply, client(state), state}

  def handle_call(:client, from, state),
    do: {:noreply, %{state | waiting: [from | state.waiting]}}

  defp client(state), do: [connect: state.address] ++ state.client

  @impl true
  def handle_info({port, {:data, {_, line}}}, %{port: port} = state) do
    case Regex.run(~r/listening on (\S+)$/, line) do
      [_, address] -> {:noreply, ready(%{state | address: address})}
      nil -> log_line(line, state)
    end
  end

  # Somebody has killed the daemon.
  def handle_info({port, {:exit_status, status}}, %{port: port, waiting: :ready} = state)
      when status != 1 and status != 2,
      do: {:noreply, start(state)}

  def handle_info({port, {:exit_status, status}}, %{port: port} = state),
    do: {:stop, {:daemon_exited, status}, state}

  def handle_info(_other, state), do: {:noreply, state}

  defp log_line(line, state) do
    if state.own[:log] != :none, do: IO.puts(:stderr, line)
    {:noreply, state}
  end

  defp ready(%{waiting: :ready} = state), do: state

  defp ready(state) do
    for from <- state.waiting, do: GenServer.reply(from, client(state))
    %{state | waiting: :ready}
  end

  @impl true
  def terminate(_reason, state) do
    if state.port && Port.info(state.port), do: Port.close(state.port)
    File.rm_rf!(state.folder)
  end
end
