defmodule Outrigger.Connection do
  @moduledoc false
  # Owns the link to the daemon: opens it, shakes hands, forwards requests, and opens another link
  # after the end of one. The connection never waits for the daemon, and does little work for a
  # message.

  use GenServer

  alias Outrigger.{
    Backoff,
    Catalogue,
    ConnectionError,
    Counters,
    Daemon,
    Frames,
    Hello,
    KeptPrograms,
    Leases,
    Link,
    Outcome,
    Protocol,
    Server,
    Sessions,
    Telemetry
  }

  alias Outrigger.{Subscriptions, Traffic, Withdrawal}
  import Outrigger.Request, only: [request: 1]
  require Logger

  # The number of messages that are taken from the mailbox before a write to the link.
  @batch 128
  # The longest frame before the handshake, which tells the daemon's limit.
  @handshake_frame_max 65_536
  # The time that a dialer has to report its own timeout.
  @dialer_grace_ms 500

  defstruct [
    :options,
    :server,
    :watcher,
    :link,
    # the ids of the requests of the handshake
    :needs,
    :opened_at,
    :timer,
    :hello,
    # why the last attempt failed, until one succeeds
    :refusal,
    # the error that the daemon sent before it closed the link
    :last_frame,
    # :down, :asleep (until a call needs the daemon), :opening, :starting (the handshake is
    # written), :ready, or {:failed, error}
    status: :down,
    # whether start_link/1 waits for the outcome of the first attempt
    first?: true,
    frame_max: @handshake_frame_max,
    frames: %Frames{},
    # the links that ended soon after they were ready, and the attempts that failed since then
    ends: 0,
    failures: 0,
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
      direct?: options.connect == nil,
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
    first? = options.sync_connect
    state = %__MODULE__{options: options, server: server, traffic: traffic, first?: first?}
    state = open(%{state | watcher: watcher})

    case if(first?, do: first_handshake(state), else: state) do
      %{status: {:failed, error}} ->
        {:stop, error}

      state ->
        Server.put(server)
        {:ok, %{state | first?: false}}
    end
  end

  # start_link/1 returns an error of the first start to its caller.
  defp first_handshake(%{status: status} = state) when status in [:opening, :starting] do
    receive do
      :handshake_timeout = message ->
        message |> event(state) |> first_handshake()

      {_, _} = message ->
        message |> event(state) |> first_handshake()

      {tag, _, _} = message when tag in [:tcp, :tcp_error, :ssl, :ssl_error, :EXIT] ->
        message |> event(state) |> first_handshake()
    end
  end

  defp first_handshake(state), do: state

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

  defp event({:wait, :ready, ref, _pid}, %{status: :ready} = state) do
    Outcome.answer(ref, {:ok, state.traffic.epoch})
    state
  end

  defp event({:wait, :ready, _ref, _pid} = message, %{status: :asleep} = state),
    do: open(%{state | traffic: traffic(message, state.traffic)})

  # No wait helps if the server will refuse the next attempt, too.
  defp event({:wait, :ready, ref, _pid} = message, %{refusal: refusal} = state)
       when refusal != nil do
    if Link.Failure.lasting?(refusal) do
      Outcome.answer(ref, {:error, refusal})
      state
    else
      %{state | traffic: traffic(message, state.traffic)}
    end
  end

  defp event({:hello, ref}, state) do
    Outcome.answer(ref, {:ok, state.hello})
    state
  end

  defp event(:start, %{status: :down} = state), do: open(state)

  defp event(:handshake_timeout, %{status: status} = state) when status in [:opening, :starting],
    do: abort(state, Link.timed_out(state.link, state.options.start_timeout))

  defp event(message, %{link: link} = state) do
    case Link.event(link, message) do
      :unknown -> %{state | traffic: traffic(message, state.traffic)}
      {:data, data} -> receive_data(state, data)
      {:going, link} -> %{state | link: link}
      {:opened, link, data} -> receive_data(%{state | link: link, status: :starting}, data)
      {:down, error} -> down(state, error)
    end
  end

  defp traffic({:DOWN, _, :process, pid, _}, t), do: Withdrawal.caller_down(t, pid)
  defp traffic({:release, handles}, t), do: Withdrawal.release(t, handles)
  defp traffic({:wait, key, ref, pid}, t), do: Withdrawal.wait(t, key, ref, pid)
  defp traffic({:wait_no_more, ref}, t), do: Withdrawal.wait_no_more(t, ref)
  defp traffic({:give_up, id}, t), do: Withdrawal.give_up(t, id)
  defp traffic({:take_back, id, ref}, t), do: Withdrawal.take_back(t, id, ref)
  defp traffic({:deadline, id}, t), do: Withdrawal.deadline(t, id)
  defp traffic(:polled, t), do: Withdrawal.cancel_orphans(t)
  defp traffic(:retry, t), do: Traffic.retry(t)
  defp traffic({:prepare, program, ref}, t), do: KeptPrograms.prepare(t, program, ref)
  defp traffic({:cancel_handle, handle, ref}, t), do: Withdrawal.cancel_handle(t, handle, ref)
  defp traffic({:subscribe, _, _, _, _, _} = message, t), do: Subscriptions.subscribe(t, message)
  defp traffic({:unsubscribe, ref}, t), do: Subscriptions.unsubscribe(t, ref)
  # For instance messages of older ports, or of a daemon that closed its pipe without an exit.
  defp traffic(_other, t), do: t

  ## Frames

  defp receive_data(state, data) do
    with {:ok, payloads, frames} <- Frames.take(state.frames, data, state.frame_max),
         {:ok, state} <- replies(payloads, state) do
      # Most messages end with a frame.
      if frames.bytes == 0 and state.frames.bytes == 0,
        do: state,
        else: %{state | frames: frames}
    else
      {:error, text} -> abort(state, %ConnectionError{reason: :protocol, detail: text})
      {:error, text, state} -> abort(state, %ConnectionError{reason: :protocol, detail: text})
      {:refused, error} -> abort(state, Link.Failure.refused(error, state.options.connect))
    end
  end

  defp replies([_ | _] = payloads, %{status: :ready} = state) do
    case ready_replies(payloads, state.traffic) do
      %Traffic{} = traffic -> {:ok, %{state | traffic: traffic}}
      {:last_frame, error, traffic} -> {:ok, %{state | traffic: traffic, last_frame: error}}
      {:error, text, traffic} -> {:error, text, %{state | traffic: traffic}}
    end
  end

  defp replies([payload | rest], %{status: :starting, needs: needs} = state) do
    case Protocol.reply(payload) do
      {:ok, id, {:ok, hello}} when id == needs.hello -> replies(rest, ready(state, hello))
      {:ok, id, {:ok, auth}} when id == needs.auth -> replies(rest, authorized(state, auth))
      {:ok, _id, {:ok, _}} -> {:error, "a reply that is none to hello"}
      {:ok, _id, {:error, error}} -> {:refused, error}
      {:event, _id, _event} -> {:error, "an event before the answer to hello"}
      {:error, text} -> {:error, text}
    end
  end

  defp replies([], state), do: {:ok, state}
  defp replies(_payloads, state), do: {:ok, state}

  defp ready_replies([payload | rest], traffic) do
    case Protocol.reply(payload) do
      # No request has this id: the daemon says why it closes the link.
      {:ok, 0, {:error, error}} -> {:last_frame, error, traffic}
      {:ok, id, reply} -> ready_replies(rest, Traffic.reply(traffic, id, reply))
      {:event, id, event} -> ready_replies(rest, Subscriptions.event(traffic, id, event))
      {:error, text} -> {:error, text, traffic}
    end
  end

  defp ready_replies([], traffic), do: traffic

  ## Start and end of the link

  defp open(%{options: options, server: server} = state) do
    needs = %{
      watcher: state.watcher,
      auth: Server.request_id(server),
      hello: Server.request_id(server)
    }

    now = System.monotonic_time(:millisecond)
    state = %{state | needs: needs, opened_at: now, frames: %Frames{}, last_frame: nil}

    case Link.module(options).open(options, needs) do
      {:error, error} -> down(%{state | status: :opening}, error)
      {status, link} -> %{start_timer(state) | link: link, status: status(status)}
    end
  end

  defp status(:opening), do: :opening
  defp status(:opened), do: :starting

  # A dialer ends its attempt at the timeout by itself, and knows more.
  defp start_timer(%{options: options} = state) do
    grace = if options.connect, do: @dialer_grace_ms, else: 0
    ms = options.start_timeout + grace
    %{state | timer: Process.send_after(self(), :handshake_timeout, ms)}
  end

  defp authorized(state, auth) do
    Server.put_rights(state.server.meta, auth["rights"])
    state
  end

  defp ready(state, hello) do
    if Hello.good?(hello) do
      begin(cancel_timer(state), hello)
    else
      detail = "not a hello of protocol 1: #{inspect(hello, limit: 5)}"
      abort(state, %ConnectionError{reason: :handshake, detail: detail})
    end
  end

  defp begin(%{options: options} = state, %{"limits" => limits} = hello) do
    epoch = System.unique_integer([:positive, :monotonic])
    restart? = state.starts > 0
    limits_kept = Hello.limits(hello, options)
    traffic = %{state.traffic | link: state.link, epoch: epoch, limits: limits_kept}
    counters = state.server.counters
    Counters.put_frame_max(counters, limits["frame_bytes_max"])
    Server.put_program_max(state.server.meta, limits["program_bytes_max"])
    Sessions.began(state.server.meta, state.hello, hello)
    Traffic.offer_port(traffic)
    Counters.put_epoch(counters, epoch)
    traffic = Outcome.answer_all(Subscriptions.renew(traffic), :ready, {:ok, epoch})

    Telemetry.execute(
      [:daemon, :up],
      %{duration_ms: System.monotonic_time(:millisecond) - state.opened_at},
      %{
        server: options.name,
        os_pid: hello["os_pid"],
        epoch: hello["epoch"],
        session: hello["session"],
        restart: restart?
      }
    )

    check_catalogue(hello, state.hello)
    if restart? and options.on_restart, do: Daemon.on_restart(options, state.server)
    starts = state.starts + 1
    state = %{state | frame_max: Hello.reply_max(hello), hello: Map.put(hello, "starts", starts)}
    %{state | status: :ready, traffic: traffic, starts: starts, refusal: nil, failures: 0}
  end

  # Each op still works, or is refused by its name. But the versions differ.
  defp check_catalogue(%{"catalogue" => same}, %{"catalogue" => same}), do: :ok

  defp check_catalogue(hello, _before) do
    if hello["catalogue"] != Catalogue.hash() do
      Logger.warning(
        "outriggerd has another op catalogue (#{hello["catalogue"]}) than this library was " <>
          "compiled with (#{Catalogue.hash()})"
      )
    end
  end

  # Ends a link whose daemon breaks the protocol, refuses the client, or does not answer.
  defp abort(state, error) do
    Link.close(state.link)

    if state.status == :ready or (state.options.connect == nil and not state.first?),
      do: Logger.error("outriggerd: " <> Exception.message(error))

    down(state, error)
  end

  defp down(%{first?: true, status: status} = state, error) when status != :ready,
    do: %{cancel_timer(state) | status: {:failed, before_answer(error)}, link: nil}

  defp down(%{status: :ready} = state, error) do
    error = Link.Failure.with_last_frame(error, state.last_frame)
    Counters.put_epoch(state.server.counters, 0)
    pending = map_size(state.traffic.pending) + map_size(state.traffic.waiting)

    Telemetry.execute([:daemon, :down], %{pending: pending}, %{
      server: state.options.name,
      os_pid: state.hello["os_pid"],
      status: with({:daemon_exited, status} <- error.reason, do: status),
      error: error
    })

    ended = state.traffic.epoch
    traffic = Traffic.fail_all(%{state.traffic | end_reason: error.reason}, error)
    if state.options.connect, do: Sessions.ended(state.server.meta, ended, error)
    lived = System.monotonic_time(:millisecond) - state.opened_at
    ends = if Backoff.settled?(lived), do: 0, else: state.ends
    state = %{state | traffic: traffic, ends: ends + 1}

    cond do
      # The server ends idle connections, so it gets no new one before there is a call.
      idle?(error, traffic) -> closed(state, :asleep)
      state.options.connect -> schedule_start(state, :link, ends)
      true -> schedule_start(state, :daemon, ends)
    end
  end

  defp down(state, error) do
    error = before_answer(error)
    state = cancel_timer(state)
    metadata = %{server: state.options.name, error: error}
    Telemetry.execute([:restart, :failed], %{count: 1}, metadata)
    Sessions.failed(state.server.meta, error)
    report(error, state)
    failures = state.failures
    state = %{state | refusal: error, failures: failures + 1}

    if Link.Failure.lasting?(error) do
      traffic = Outcome.answer_all(state.traffic, :ready, {:error, error})
      schedule_start(%{state | traffic: traffic}, :lasting, failures)
    else
      schedule_start(state, kind(error, state), failures)
    end
  end

  defp idle?(error, traffic),
    do:
      error.reason == {:disconnected, :timeout} and not Subscriptions.any?(traffic.subscriptions)

  defp kind(%{reason: :too_many_clients}, _state), do: :full
  defp kind(_error, %{options: %{connect: nil}}), do: :start
  defp kind(_error, _state), do: :server

  defp before_answer(%{reason: {:daemon_exited, status}}) do
    detail = "outriggerd exited with status #{status} before it answered"
    %ConnectionError{reason: :handshake, detail: detail}
  end

  defp before_answer(%{reason: {:disconnected, _}} = error), do: %{error | reason: :handshake}
  defp before_answer(error), do: error

  # One report for all attempts that fail in the same way.
  defp report(%{reason: reason}, %{refusal: %{reason: reason}}), do: :ok

  defp report(error, %{options: %{connect: address}}) when address != nil,
    do: Logger.warning("Outrigger is not connected: " <> Exception.message(error))

  defp report(_error, _state), do: :ok

  # A message of the timer must not end the next attempt.
  defp cancel_timer(%{timer: nil} = state), do: state

  defp cancel_timer(%{timer: timer} = state) do
    unless Process.cancel_timer(timer) do
      receive do
        :handshake_timeout -> :ok
      after
        0 -> :ok
      end
    end

    %{state | timer: nil}
  end

  defp schedule_start(state, kind, count) do
    Process.send_after(self(), :start, Backoff.delay(kind, count))
    closed(state, :down)
  end

  defp closed(state, status),
    do: %{state | status: status, link: nil, frame_max: @handshake_frame_max, frames: %Frames{}}

  @impl true
  def terminate(_reason, state) do
    Counters.put_epoch(state.server.counters, 0)
    Traffic.fail_all(state.traffic, %ConnectionError{reason: :closed})

    if state.link do
      frame = Protocol.request(Server.request_id(state.server), "bye")
      Link.say_goodbye(state.link, frame)
    end
  end

  @doc false
  def poll_leases(%{leases: nil}, _pids), do: :ok
  def poll_leases(%{leases: leases}, pids), do: Leases.poll_and_wait(leases, pids)
end
