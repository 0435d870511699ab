defmodule Outrigger.Link.OwnDaemon do
  @moduledoc false
  # A daemon that the connection starts. The link is its standard input and output, as a Port.

  @behaviour Outrigger.Link
  alias Outrigger.{ConnectionError, Daemon, Protocol, Watcher}

  @enforce_keys [:port, :os_pid, :watcher]
  defstruct [:port, :os_pid, :watcher]

  @impl true
  def open(options, needs) do
    with {:ok, path} <- Daemon.executable(options) do
      port = Daemon.open(path, options)

      case Port.info(port, :os_pid) do
        {:os_pid, os_pid} ->
          :ok = Watcher.watch(needs.watcher, os_pid)
          Port.command(port, Protocol.hello(needs.hello))
          {:opened, %__MODULE__{port: port, os_pid: os_pid, watcher: needs.watcher}}

        nil ->
          {:error, %ConnectionError{reason: :handshake, detail: "the daemon exited at once"}}
      end
    end
  rescue
    error in [ErlangError, ArgumentError] ->
      detail = "the executable cannot be started: #{cause(error)}"
      {:error, %ConnectionError{reason: :daemon_not_found, detail: detail}}
  end

  # A port's error is a POSIX code.
  defp cause(%ErlangError{original: code}) when is_atom(code), do: :file.format_error(code)
  defp cause(error), do: Exception.message(error)

  @impl true
  def event(%{port: port}, {port, {:data, data}}), do: {:data, data}

  def event(%{port: port} = link, {port, {:exit_status, status}}) do
    Watcher.gone(link.watcher, link.os_pid)
    exited(status)
  end

  # Writing to a daemon that has just died ends the port with :epipe, and no exit status follows.
  def event(%{port: port} = link, {:EXIT, port, _reason}) do
    Watcher.kill(link.watcher, link.os_pid)
    exited(:unknown)
  end

  def event(_link, _message), do: :unknown

  defp exited(status), do: {:down, %ConnectionError{reason: {:daemon_exited, status}}}

  @impl true
  def command(%{port: port}, data, _bytes) do
    Port.command(port, data, [:nosuspend])
  rescue
    # The port is closed, and its exit status follows.
    ArgumentError -> true
  end

  @impl true
  def port(%{port: port}), do: port

  @impl true
  def close(link) do
    Daemon.close(link.port)
    Watcher.kill(link.watcher, link.os_pid)
  end

  @impl true
  def say_goodbye(link, frame), do: Daemon.say_goodbye(link.port, frame)

  @impl true
  def timed_out(_link, ms),
    do: %ConnectionError{reason: :handshake, detail: "no answer to hello within #{ms} ms"}
end
