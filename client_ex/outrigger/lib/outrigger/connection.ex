defmodule Outrigger.Connection do
  @moduledoc false
  # Owns the port: starts the daemon, shakes hands, forwards requests, and starts another daemon
  # after the death of one. The connection never waits for the daemon, and does little work for a
  # message.

  use GenServer

  alias Outrigger.{
    Catalogue,
    ConnectionError,
    Counters,
    Daemon,
    Leases,
    Outcome,
    Protocol,
    Server,
    Telemetry
  }

  alias Outrigger.{Traffic, Watcher, Withdrawal}
  import Outrigger.Request, only: [request: 1]
  require Logger

  # The number of messages that are taken from the mailbox before a write to the port.
  @batch 128
  @backoff_max_ms 5_000
  @backoff_ready_max_ms 100
  # If a daemon has lived this long, its start is not the cause of its death.
  @settled_ms 1_000
  # After this many created bytes, a poll looks for dropped tensors. Their memory is in the caches
  # of the processor, new memory is not.
  @poll_bytes_max 64 * 1024 * 1024
  # The longest frame before the handshake, which tells the daemon's limit.
  @handshake_frame_max 65_536

  defstruct [
    :options,
    :server,
    :port,
    :os_pid,
    :started_at,
    :timer,
    :hello,
    :watcher,
    status: :down,
    frame_max: @handshake_frame_max,
    buffer: [],
    buffered: 0,
    needed: 4,
    backoff: 0,
    starts: 0,
    traffic: nil
  ]

  # Thousands of pending requests make a large heap, which the VM collects on another scheduler. A
  # large minimum makes collections rare. The heap is 3 MB, and it may keep 4 MB of binaries alive.
  @heap [min_heap_size: 400_000, min_bin_vheap_size: 500_000, message_queue_data: :off_heap]

  def start_link({options, shared}) do
    GenServer.start_link(__MODULE__, {options, shared}, spawn_opt: @heap)
  end

  @impl true
  def init({options, shared}) do
    Process.flag(:trap_exit, true)
    [{_, leases, works?}] = :ets.lookup(shared.tokens, :leases)

    server = %Server{
      key: shared.keys,
      connection: self(),
      counters: shared.counters,
      meta: shared.meta,
      direct: shared.direct,
      ender: shared.ender,
      leases: if(works?, do: leases),
      tokens: if(works?, do: shared.tokens),
      timeout: options.timeout,
      start_timeout: options.start_timeout,
      queue_max: options.queue_max,
      queue_bytes_max: options.queue_bytes_max,
      chunk_bytes: options.chunk_bytes
    }

    traffic = %Traffic{
      counters: shared.counters,
      meta: shared.meta,
      direct: shared.direct,
      leases: server.leases,
      name: options.name
    }

    # A connection that was killed leaves its numbers behind.
    Counters.reset(shared.counters)
    :ets.delete_all_objects(shared.direct)
    :ets.delete_all_objects(shared.meta)
    :ok = GenServer.call(leases, {:connect, self(), Server.last_handle(server) + 1})
    [{_, watcher}] = :ets.lookup(shared.tokens, :watcher)
    state = %__MODULE__{options: options, server: server, traffic: traffic}
    state = %{state | watcher: watcher}

    with {:ok, state} <- open(state), {:ok, state} <- first_handshake(state) do
      Server.put(server)
      {:ok, state}
    else
      {:error, error} -> {:stop, error}
    end
  end

  # start_link/1 returns an error of the first start to its caller.
  defp first_handshake(%{status: :ready} = state), do: {:ok, state}
  defp first_handshake(%{status: {:failed, error}}), do: {:error, error}

  defp first_handshake(state) do
    receive do
      {port, _} = message when port == state.port -> message |> event(state) |> first_handshake()
      {:EXIT, port, _} = m when port == state.port -> m |> event(state) |> first_handshake()
      :handshake_timeout = message -> message |> event(state) |> first_handshake()
    end
  end

  ## Messages

  # GenServer itself takes the end of the supervisor, and system messages.
  defguardp is_theirs(message)
            when is_tuple(message) and
                   (elem(message, 0) in [:system, :"$gen_call", :"$gen_cast"] or
                      (elem(message, 0) == :EXIT and is_pid(elem(message, 1))))

  @impl true
  def handle_info(message, state), do: {:noreply, message |> event(state) |> batch(@batch)}

  # Takes the messages that have come, in order. Several requests then leave in one write, and a
  # long mailbox is read once.
  defp batch(state, 0), do: write(state)

  defp batch(state, left) do
    receive do
      message when not is_theirs(message) -> message |> event(state) |> batch(left - 1)
    after
      0 -> state |> write() |> settle(left)
    end
  end

  # An update copies the whole state, so a state without change is not updated.
  defp write(%{traffic: %{out_bytes: 0} = traffic} = state) do
    Traffic.publish(traffic)
    state
  end

  defp write(%{traffic: traffic} = state), do: %{state | traffic: Traffic.flush(traffic)}

  # Tells callers which of their requests are taken and written. A caller may count a request
  # late. If this function misses that count, the reply to the request calls it again.
  defp settle(%{traffic: %{counters: counters}} = state, left) do
    if Counters.settled?(counters) do
      state
    else
      issued = Counters.issued(counters)

      receive do
        message when not is_theirs(message) -> message |> event(state) |> batch(left - 1)
      after
        0 -> %{state | traffic: Traffic.settled(state.traffic, issued)}
      end
    end
  end

  defp event(request(size: size) = message, state) do
    Counters.take(state.traffic.counters, size)
    %{state | traffic: Traffic.submit(state.traffic, message)}
  end

  defp event({:unsent, _, _, frame} = message, state) do
    Counters.take(state.traffic.counters, IO.iodata_length(frame))
    %{state | traffic: Traffic.unsent(state.traffic, message)}
  end

  defp event({:hand_back, epoch, handles}, state) do
    Counters.take(state.traffic.counters, 0)
    %{state | traffic: Withdrawal.hand_back(state.traffic, epoch, handles)}
  end

  defp event({port, {:data, data}}, %{port: port} = state) when is_port(port),
    do: receive_data(state, data)

  defp event({port, {:exit_status, status}}, %{port: port} = state) when is_port(port) do
    Watcher.gone(state.watcher, state.os_pid)
    down(state, status)
  end

  # Writing to a daemon that has just died ends the port with :epipe, and no exit status follows.
  defp event({:EXIT, port, _reason}, %{port: port} = state) when is_port(port) do
    Watcher.kill(state.watcher, state.os_pid)
    down(state, :unknown)
  end

  defp event({:wait, :ready, ref, _pid}, %{status: :ready} = state) do
    Outcome.answer(ref, {:ok, state.traffic.epoch})
    state
  end

  defp event({:hello, ref}, state) do
    Outcome.answer(ref, {:ok, state.hello})
    state
  end

  defp event(:start, %{status: :down} = state) do
    case open(state) do
      {:ok, state} -> state
      {:error, error} -> start_failed(state, error)
    end
  end

  defp event(:handshake_timeout, %{status: :starting} = state) do
    error = %ConnectionError{
      reason: :handshake,
      detail: "no answer to hello within #{state.options.start_timeout} ms"
    }

    abort(state, error)
  end

  defp event(message, state), do: %{state | traffic: traffic(message, state.traffic)}

  defp traffic({:DOWN, _, :process, pid, _}, t), do: Withdrawal.caller_down(t, pid)
  defp traffic({:release, handles}, t), do: Withdrawal.release(t, handles)
  defp traffic({:wait, key, ref, pid}, t), do: Withdrawal.wait(t, key, ref, pid)
  defp traffic({:wait_no_more, ref}, t), do: Withdrawal.wait_no_more(t, ref)
  defp traffic({:give_up, id}, t), do: Withdrawal.give_up(t, id)
  defp traffic({:take_back, id, ref}, t), do: Withdrawal.take_back(t, id, ref)
  defp traffic({:deadline, id}, t), do: Withdrawal.deadline(t, id)
  defp traffic(:polled, t), do: Withdrawal.cancel_orphans(t)
  defp traffic(:retry, t), do: Traffic.retry(t)
  defp traffic({:prepare, program, ref}, t), do: Traffic.prepare(t, program, ref)
  defp traffic({:cancel_handle, handle, ref}, t), do: Withdrawal.cancel_handle(t, handle, ref)
  # For instance messages of older ports, or of a daemon that closed its pipe without an exit.
  defp traffic(_other, t), do: t

  ## Frames

  # An incomplete frame stays in pieces: a join at each message would take quadratic time.
  @dialyzer {:no_improper_lists, receive_data: 2}
  defp receive_data(%{buffered: 0} = state, data), do: parse(state, data)

  defp receive_data(state, data) do
    buffered = state.buffered + byte_size(data)

    if buffered < state.needed do
      %{state | buffer: [state.buffer | data], buffered: buffered}
    else
      parse(state, IO.iodata_to_binary([state.buffer | data]))
    end
  end

  defp parse(state, data) do
    with {:ok, payloads, rest} <- Protocol.frames(data, state.frame_max),
         {:ok, state} <- replies(payloads, state) do
      keep(state, rest)
    else
      {:error, text} ->
        abort(state, %ConnectionError{reason: :protocol, detail: text})
    end
  end

  defp keep(%{buffered: 0} = state, <<>>), do: state
  defp keep(state, <<>>), do: %{state | buffer: [], buffered: 0, needed: 4}

  defp keep(state, <<size::32, _::binary>> = rest),
    do: %{state | buffer: rest, buffered: byte_size(rest), needed: size + 4}

  defp keep(state, rest), do: %{state | buffer: rest, buffered: byte_size(rest), needed: 4}

  defp replies([_ | _] = payloads, %{status: :ready} = state) do
    with %Traffic{} = traffic <- ready_replies(payloads, state.traffic),
         do: {:ok, %{state | traffic: traffic}}
  end

  defp replies([payload | rest], %{status: :starting} = state) do
    case Protocol.reply(payload) do
      {:ok, _id, {:ok, hello}} -> replies(rest, ready(state, hello))
      {:ok, _id, {:error, error}} -> {:error, Exception.message(error)}
      {:error, text} -> {:error, text}
    end
  end

  defp replies([], state), do: {:ok, state}
  defp replies(_payloads, state), do: {:ok, state}

  defp ready_replies([payload | rest], traffic) do
    case Protocol.reply(payload) do
      {:ok, id, reply} -> ready_replies(rest, Traffic.reply(traffic, id, reply))
      {:error, text} -> {:error, text}
    end
  end

  defp ready_replies([], traffic), do: traffic

  ## Start and end of the daemon

  defp open(state) do
    with {:ok, path} <- Daemon.executable(state.options) do
      port = Daemon.open(path, state.options)

      case Port.info(port, :os_pid) do
        {:os_pid, os_pid} ->
          :ok = Watcher.watch(state.watcher, os_pid)
          Port.command(port, Protocol.hello(Server.request_id(state.server)))
          timer = Process.send_after(self(), :handshake_timeout, state.options.start_timeout)
          now = System.monotonic_time(:millisecond)
          state = %{state | port: port, os_pid: os_pid, timer: timer, started_at: now}
          {:ok, %{state | status: :starting, buffer: [], buffered: 0, starts: state.starts + 1}}

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

  defguardp is_limit(limits, name)
            when is_map_key(limits, name) and is_integer(:erlang.map_get(name, limits)) and
                   :erlang.map_get(name, limits) > 0

  defp ready(state, %{"protocol" => 1, "limits" => limits} = hello)
       when is_limit(limits, "requests_window") and is_limit(limits, "bytes_window") and
              is_limit(limits, "programs_max") and is_limit(limits, "frame_bytes_max") do
    Process.cancel_timer(state.timer)
    epoch = System.unique_integer([:positive, :monotonic])
    options = state.options
    restart? = state.starts > 1
    limit = hello["memory_limit"] || 0

    traffic = %{
      state.traffic
      | port: state.port,
        epoch: epoch,
        limits: %{
          requests_window: limits["requests_window"],
          bytes_window: limits["bytes_window"],
          programs_max: max(limits["programs_max"], 1),
          part_bytes: div(limits["frame_bytes_max"], 4),
          kept: hello["kept_limit"] || :infinity,
          room: {div(options.queue_max, 2), div(options.queue_bytes_max, 2)},
          memory: limit,
          poll_bytes:
            if(limit > 0, do: min(div(limit, 16), @poll_bytes_max), else: @poll_bytes_max)
        }
    }

    counters = state.server.counters
    Counters.put_frame_max(counters, limits["frame_bytes_max"])
    Server.put_program_max(state.server.meta, limits["program_bytes_max"])
    Server.offer_port(state.server.meta, epoch, state.port)
    Counters.put_epoch(counters, epoch)
    traffic = Outcome.answer_all(traffic, :ready, {:ok, epoch})

    Telemetry.execute(
      [:daemon, :up],
      %{duration_ms: System.monotonic_time(:millisecond) - state.started_at},
      %{server: options.name, os_pid: state.os_pid, epoch: hello["epoch"], restart: restart?}
    )

    check_catalogue(hello, state.starts)
    if restart? and options.on_restart, do: Daemon.on_restart(options, state.server)
    frame_max = max(limits["frame_bytes_max"], limits["reply_bytes_max"]) + 1024
    hello = Map.put(hello, "starts", state.starts)
    %{state | status: :ready, traffic: traffic, frame_max: frame_max, hello: hello}
  end

  defp ready(state, hello) do
    detail = "not a hello of protocol 1: #{inspect(hello, limit: 5)}"
    abort(state, %ConnectionError{reason: :handshake, detail: detail})
  end

  # Each op still works, or is refused by its name. But the versions differ.
  defp check_catalogue(hello, 1) do
    if hello["catalogue"] != Catalogue.hash() do
      Logger.warning(
        "outriggerd has another op catalogue (#{hello["catalogue"]}) than this library was " <>
          "compiled with (#{Catalogue.hash()})"
      )
    end
  end

  defp check_catalogue(_hello, _starts), do: :ok

  # Ends a daemon that breaks the protocol, as if it had died.
  defp abort(state, error) do
    Daemon.close(state.port)
    Watcher.kill(state.watcher, state.os_pid)

    if state.starts == 1 and state.status == :starting do
      %{state | status: {:failed, error}, port: nil}
    else
      Logger.error("outriggerd: " <> Exception.message(error))
      down(state, :unknown, error)
    end
  end

  defp down(state, status, error \\ nil)

  defp down(%{status: :starting, starts: 1} = state, status, _error) do
    detail = "outriggerd exited with status #{status} before it answered"
    %{state | status: {:failed, %ConnectionError{reason: :handshake, detail: detail}}, port: nil}
  end

  defp down(state, status, error) do
    error = error || %ConnectionError{reason: {:daemon_exited, status}}
    Counters.put_epoch(state.server.counters, 0)
    if state.timer, do: Process.cancel_timer(state.timer)
    pending = map_size(state.traffic.pending) + map_size(state.traffic.waiting)

    Telemetry.execute([:daemon, :down], %{pending: pending}, %{
      server: state.options.name,
      os_pid: state.os_pid,
      status: status
    })

    traffic = Traffic.fail_all(%{state.traffic | last_exit: status}, error)
    schedule_start(%{state | traffic: traffic, port: nil, frame_max: @handshake_frame_max})
  end

  defp start_failed(state, error) do
    Telemetry.execute([:restart, :failed], %{count: 1}, %{
      server: state.options.name,
      error: error
    })

    schedule_start(state)
  end

  # The first restart is at once, and each next one later. The longest delay is a tenth of a
  # second if daemons start and die, and five seconds if they do not start.
  defp schedule_start(state) do
    lived = System.monotonic_time(:millisecond) - state.started_at
    backoff = if lived > @settled_ms, do: 0, else: state.backoff
    Process.send_after(self(), :start, backoff)
    backoff_max = if state.status == :ready, do: @backoff_ready_max_ms, else: @backoff_max_ms
    next = min(max(backoff * 2, 10), backoff_max)
    %{state | status: :down, backoff: next, buffer: [], buffered: 0}
  end

  @impl true
  def terminate(_reason, state) do
    Counters.put_epoch(state.server.counters, 0)
    Traffic.fail_all(state.traffic, %ConnectionError{reason: :closed})
    if state.port, do: Daemon.say_goodbye(state.port, Server.request_id(state.server))
  end

  @doc false
  def poll_leases(%{leases: nil}, _pids), do: :ok
  def poll_leases(%{leases: leases}, pids), do: Leases.poll_and_wait(leases, pids)
end
