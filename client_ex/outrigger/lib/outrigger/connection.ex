defmodule Outrigger.Connection do
  @moduledoc false
  # Owns the port: starts the daemon, shakes hands, forwards, and starts another daemon when one
  # dies. It never waits for the daemon, and does as little as possible per message.

  use GenServer

  alias Outrigger.{
    Catalogue,
    ConnectionError,
    Daemon,
    Leases,
    Outcome,
    Protocol,
    Server,
    Telemetry
  }

  alias Outrigger.{Traffic, Watcher, Withdrawal}
  require Logger

  # Requests taken from the mailbox before the port is written to.
  @batch 128
  @backoff_max_ms 5_000
  @backoff_ready_max_ms 100
  # A daemon that lived this long did not die of being started.
  @settled_ms 1_000
  # After so much was created, dropped tensors are looked for: their memory is warm, new memory is not.
  @poll_bytes_max 64 * 1024 * 1024
  # Until the handshake tells, no frame may be longer than this.
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
    ready: [],
    traffic: nil
  ]

  # Thousands of pending requests make a heap that the VM collects on another scheduler: rather
  # seldom, then. The heap is 3 MB, and the binaries that it may keep alive meanwhile are 4 MB.
  @heap [min_heap_size: 400_000, min_bin_vheap_size: 500_000, message_queue_data: :off_heap]

  def start_link({options, shared}) do
    GenServer.start_link(__MODULE__, {options, shared}, spawn_opt: @heap)
  end

  @impl true
  def init({options, shared}) do
    Process.flag(:trap_exit, true)
    [{_, leases, works?}] = :ets.lookup(shared.tokens, :leases)

    server = %Server{
      key: Enum.reject([shared.supervisor, options.name], &is_nil/1),
      connection: self(),
      counters: shared.counters,
      meta: shared.meta,
      direct: shared.direct,
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

    Server.put_epoch(shared.counters, 0)
    :atomics.put(shared.counters, 5, 0)
    :atomics.put(shared.counters, 6, 0)
    :atomics.put(shared.counters, 8, 0)
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

  # The first start is the caller's business: what is wrong with it, start_link/1 returns.
  defp first_handshake(%{status: :ready} = state), do: {:ok, state}
  defp first_handshake(%{status: {:failed, error}}), do: {:error, error}

  defp first_handshake(state) do
    receive do
      {port, _} = message when port == state.port -> continue(message, state)
      {:EXIT, port, _} = message when port == state.port -> continue(message, state)
      :handshake_timeout = message -> continue(message, state)
    end
  end

  defp continue(message, state) do
    {:noreply, state} = handle_info(message, state)
    first_handshake(state)
  end

  ## Messages

  # What callers hand on, which must not overtake each other.
  defguardp is_handed_on(message)
            when is_tuple(message) and elem(message, 0) in [:request, :unsent, :hand_back]

  @impl true
  def handle_info(message, state) when is_handed_on(message) do
    traffic(state, &(&1 |> take(message) |> drain(@batch)))
  end

  def handle_info({port, {:data, data}}, %{port: port} = state) when is_port(port) do
    {:noreply, receive_data(state, data)}
  end

  def handle_info({port, {:exit_status, status}}, %{port: port} = state) when is_port(port) do
    Watcher.gone(state.watcher, state.os_pid)
    {:noreply, down(state, status)}
  end

  # Writing to a daemon that has just died ends the port with :epipe, and no exit status follows.
  def handle_info({:EXIT, port, _reason}, %{port: port} = state) when is_port(port) do
    Watcher.kill(state.watcher, state.os_pid)
    {:noreply, down(state, :unknown)}
  end

  def handle_info({:await_handle, handle, ref}, state) do
    {:noreply, put_in(state.traffic, Withdrawal.await_handle(state.traffic, handle, ref))}
  end

  def handle_info({:release, handles}, state),
    do: traffic(state, &Withdrawal.release(&1, handles))

  def handle_info({:await_room, ref}, state), do: traffic(state, &Traffic.await_room(&1, ref))
  def handle_info({:give_up, id}, state), do: traffic(state, &Withdrawal.give_up(&1, id))
  def handle_info({:deadline, id}, state), do: traffic(state, &Withdrawal.deadline(&1, id))
  def handle_info(:retry, state), do: traffic(state, &Traffic.retry/1)

  def handle_info({:prepare, program, ref}, state),
    do: traffic(state, &Traffic.prepare(&1, program, ref))

  def handle_info({:cancel_handle, handle, ref}, state) do
    traffic(state, &Withdrawal.cancel_handle(&1, handle, ref))
  end

  def handle_info({:await_ready, ref}, %{status: :ready} = state) do
    Outcome.answer(ref, {:ok, state.traffic.epoch})
    {:noreply, state}
  end

  def handle_info({:await_ready, ref}, state),
    do: {:noreply, %{state | ready: [ref | state.ready]}}

  def handle_info({:hello, ref}, state) do
    Outcome.answer(ref, {:ok, state.hello})
    {:noreply, state}
  end

  def handle_info(:start, %{status: :down} = state) do
    case open(state) do
      {:ok, state} -> {:noreply, state}
      {:error, error} -> {:noreply, start_failed(state, error)}
    end
  end

  def handle_info(:handshake_timeout, %{status: :starting} = state) do
    error = %ConnectionError{
      reason: :handshake,
      detail: "no answer to hello within #{state.options.start_timeout} ms"
    }

    {:noreply, abort(state, error)}
  end

  def handle_info({:DOWN, _, :process, pid, _}, state) do
    traffic(state, &Withdrawal.caller_down(&1, pid))
  end

  # A daemon that closed its end without exiting, messages of older ports, and the like.
  def handle_info(_other, state), do: {:noreply, state}

  defp traffic(state, fun), do: {:noreply, %{state | traffic: Traffic.flush(fun.(state.traffic))}}

  defp take(traffic, {:hand_back, epoch, handles}),
    do: Withdrawal.hand_back(traffic, epoch, handles)

  defp take(traffic, {:unsent, _, _, _} = request), do: Traffic.unsent(traffic, request)
  defp take(traffic, request), do: Traffic.submit(traffic, request)

  # Several requests leave in one write.
  defp drain(traffic, 0), do: traffic

  defp drain(traffic, left) do
    receive do
      message when is_handed_on(message) -> traffic |> take(message) |> drain(left - 1)
    after
      0 -> traffic
    end
  end

  ## Frames

  # A frame that is still short stays in pieces: joining them each time would be quadratic.
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
      flush(keep(state, rest))
    else
      {:error, text} ->
        abort(state, %ConnectionError{reason: :protocol, detail: text})
    end
  end

  # An update copies the whole state: not for nothing.
  defp flush(%{traffic: %{out_bytes: 0}} = state), do: state
  defp flush(state), do: %{state | traffic: Traffic.flush(state.traffic)}

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

  ## The daemon's life

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
      detail = "cannot be started: #{Exception.message(error)}"
      {:error, %ConnectionError{reason: :daemon_not_found, detail: detail}}
  end

  defp ready(state, %{"protocol" => 1, "limits" => limits} = hello) do
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
          room_below: max(div(options.queue_max, 2), 1),
          memory: limit,
          poll_bytes:
            if(limit > 0, do: min(div(limit, 16), @poll_bytes_max), else: @poll_bytes_max)
        }
    }

    Server.put_frame_max(state.server.counters, limits["frame_bytes_max"])
    Server.offer_port(state.server.meta, epoch, state.port)
    Server.put_epoch(state.server.counters, epoch)
    for ref <- state.ready, do: Outcome.answer(ref, {:ok, epoch})

    Telemetry.execute(
      [:daemon, :up],
      %{duration_ms: System.monotonic_time(:millisecond) - state.started_at},
      %{server: options.name, os_pid: state.os_pid, epoch: hello["epoch"], restart: restart?}
    )

    check_catalogue(hello, state.starts)
    if restart? and options.on_restart, do: Daemon.on_restart(options, state.server)
    frame_max = limits["frame_bytes_max"] + 1024
    hello = Map.put(hello, "starts", state.starts)
    %{state | status: :ready, traffic: traffic, frame_max: frame_max, hello: hello, ready: []}
  end

  defp ready(state, hello) do
    detail = "not a hello of protocol 1: #{inspect(hello, limit: 5)}"
    abort(state, %ConnectionError{reason: :handshake, detail: detail})
  end

  # Each op still works or is refused by name; but somebody has mixed versions.
  defp check_catalogue(hello, 1) do
    if hello["catalogue"] != Catalogue.hash() do
      Logger.warning(
        "outriggerd has another op catalogue (#{hello["catalogue"]}) than this library was " <>
          "compiled with (#{Catalogue.hash()})"
      )
    end
  end

  defp check_catalogue(_hello, _starts), do: :ok

  # The daemon misbehaves: end it, as if it had died.
  defp abort(state, error) do
    Daemon.close(state.port)
    Watcher.kill(state.watcher, state.os_pid)

    if state.starts == 1 and state.status == :starting do
      %{state | status: {:failed, error}}
    else
      Logger.error("outriggerd: " <> Exception.message(error))
      down(state, :unknown, error)
    end
  end

  defp down(state, status, error \\ nil)

  defp down(%{status: :starting, starts: 1} = state, status, _error) do
    detail = "outriggerd exited with status #{status} before it answered"
    %{state | status: {:failed, %ConnectionError{reason: :handshake, detail: detail}}}
  end

  defp down(state, status, error) do
    error = error || %ConnectionError{reason: {:daemon_exited, status}}
    Server.put_epoch(state.server.counters, 0)
    if state.timer, do: Process.cancel_timer(state.timer)
    pending = map_size(state.traffic.pending) + state.traffic.queued

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

  # At once, then ever later: up to a tenth of a second if daemons come up and die, up to five
  # seconds if they do not even come up.
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
    Server.put_epoch(state.server.counters, 0)
    Server.delete(state.server)
    Traffic.fail_all(state.traffic, %ConnectionError{reason: :closed})
    if state.port, do: Daemon.say_goodbye(state.port, Server.request_id(state.server))
  end

  @doc false
  def poll_leases(%{leases: nil}, _pids), do: :ok
  def poll_leases(%{leases: leases}, pids), do: Leases.poll_and_wait(leases, pids)
end
