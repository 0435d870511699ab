defmodule Outrigger.Daemon do
  @moduledoc false
  # The OS process of the daemon: its executable, its start and its end.

  alias Outrigger.{ConnectionError, FileName, Protocol, Telemetry}
  require Logger

  @bye_ms 200
  # The queued bytes below which the port takes data again, and above which it takes no more.
  @busy_bytes {1024 * 1024, 4 * 1024 * 1024}

  @doc """
  The path of the executable, from the option, OUTRIGGERD, the application environment, or priv.
  """
  def executable(%{daemon: path}) do
    path =
      path || from_environment() || Application.get_env(:outrigger, :daemon) ||
        FileName.from_vm(Application.app_dir(:outrigger, "priv/outriggerd/bin/outriggerd"))

    cond do
      File.regular?(path) ->
        {:ok, FileName.expand(path)}

      found = System.find_executable(path) ->
        {:ok, FileName.from_vm(found)}

      true ->
        detail =
          "#{path} does not exist. Install CMake and run `mix compile`, set the environment " <>
            "variable OUTRIGGERD, or give the option :daemon"

        {:error, %ConnectionError{reason: :daemon_not_found, detail: detail}}
    end
  end

  defp from_environment do
    with path when is_binary(path) <- System.get_env("OUTRIGGERD"), do: FileName.from_vm(path)
  end

  @doc "Starts the daemon. The calling process owns the port."
  def open(path, options) do
    Port.open({:spawn_executable, path}, [
      :binary,
      :exit_status,
      :use_stdio,
      :hide,
      # The default limit of a busy port is 8 KiB, which is much less than one chunk.
      busy_limits_port: @busy_bytes,
      args: args(options),
      env: for({key, value} <- options.env, do: {FileName.to_vm(key), env_value(value)})
    ])
  end

  defp env_value(nil), do: false
  defp env_value(value), do: FileName.to_vm(value)

  @doc "The arguments of the daemon."
  def args(options) do
    List.flatten([
      if(options.memory_limit, do: ["--memory-limit", "#{options.memory_limit}"], else: []),
      if(options.threads, do: ["--threads", "#{options.threads}"], else: []),
      case options.log do
        :stderr -> []
        :none -> ["--log-level", "off"]
        path -> ["--log-file", path]
      end,
      options.args
    ])
  end

  @doc "Identifies an OS process beyond its pid, which the system may reuse. nil if it has ended."
  def identity(os_pid) do
    case File.read("/proc/#{os_pid}/stat") do
      {:ok, stat} ->
        # The name of the command may have spaces and brackets, so the fields count from its end.
        [state | fields] = stat |> String.split(") ") |> List.last() |> String.split(" ")
        if state not in ["Z", "X"], do: {os_pid, Enum.at(fields, 18)}

      {:error, _} ->
        if File.dir?("/proc/self"), do: nil, else: portable_identity(os_pid)
    end
  end

  defp portable_identity(os_pid) do
    case :os.cmd(~c"kill -0 #{os_pid} 2>&1 || echo gone") do
      [] -> {os_pid, nil}
      _ -> nil
    end
  end

  @doc "Sends a signal, if the pid still belongs to the same process."
  def signal({os_pid, _} = identity, name) do
    if alive?(identity), do: :os.cmd(~c"kill -#{name} #{os_pid} 2>/dev/null")
    :ok
  end

  def alive?({os_pid, _} = identity), do: identity(os_pid) == identity

  @doc "Sends SIGTERM, then SIGKILL if the process has not ended. Takes half a second at most."
  def kill(identity) do
    unless gone_within?(identity, 50) do
      signal(identity, "TERM")

      unless gone_within?(identity, 150) do
        signal(identity, "KILL")
        gone_within?(identity, 300)
      end
    end

    :ok
  end

  defp gone_within?(identity, ms) do
    cond do
      not alive?(identity) ->
        true

      ms <= 0 ->
        false

      true ->
        Process.sleep(10)
        gone_within?(identity, ms - 10)
    end
  end

  @doc "Asks the daemon to end, and closes its pipes."
  def say_goodbye(port, request_id) do
    Port.command(port, Protocol.request(request_id, "bye"), [:nosuspend])

    receive do
      {^port, {:exit_status, _}} -> :ok
    after
      @bye_ms -> close(port)
    end
  rescue
    ArgumentError -> :ok
  end

  @doc "Closes the pipes at once. Port.close/1 leaves them open while bytes are queued."
  def close(port) do
    Process.unlink(port)
    Process.exit(port, :kill)
  end

  @doc "Calls the user's callback in a new process."
  def on_restart(options, server) do
    name = options.name || hd(server.key)

    spawn(fn ->
      Process.put(:"$callers", [server.connection])

      try do
        case options.on_restart do
          {module, function, args} -> apply(module, function, args)
          fun -> fun.(name)
        end
      catch
        kind, reason ->
          metadata = %{server: options.name, error: reason}
          Telemetry.execute([:restart, :failed], %{count: 1}, metadata)
          Logger.error("on_restart: " <> Exception.format(kind, reason, __STACKTRACE__))
      end
    end)
  end
end
