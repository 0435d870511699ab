defmodule Outrigger.Server do
  @moduledoc false
  # The part of a server that runs in its callers. A caller draws numbers from shared counters,
  # encodes its frames, and sends finished bytes to the connection.

  alias Outrigger.{ConnectionError, Counters, Error, Keeper, Protocol, Request, Sessions}
  require Request

  @enforce_keys [:key, :connection, :counters, :meta]
  defstruct [
    :key,
    :connection,
    :counters,
    :meta,
    :direct,
    :direct?,
    :ender,
    :leases,
    :tokens,
    :timeout,
    :start_timeout,
    :queue_max,
    :queue_bytes_max,
    :chunk_bytes
  ]

  @type t :: %__MODULE__{}
  @type ref :: t | atom | pid | {:global, term} | {:via, module, term}

  # The frame limit of a daemon is never below this.
  @large_bytes 65_536
  # The number of handles in one request that releases.
  @released_handles_max 8192
  # Slightly below the limit of the VM's timers: 49 days.
  @deadline_max_ms 0xFFFF_0000

  defguard is_ref(term)
           when is_struct(term, __MODULE__) or (is_atom(term) and not is_nil(term)) or
                  is_pid(term) or
                  (is_tuple(term) and tuple_size(term) in 2..3 and
                     (elem(term, 0) == :via or elem(term, 0) == :global))

  @doc "Registers a server under its name and pid."
  def put(%__MODULE__{key: keys, counters: counters} = server) do
    for key <- keys do
      with %__MODULE__{counters: other} = old when other != counters <- lookup(key),
           do: await_end(old)

      :persistent_term.put({__MODULE__, key}, server)
    end

    :ok
  end

  # The end of an earlier server of the same name must not erase the new entry.
  defp await_end(%{ender: ender}) do
    ref = Process.monitor(ender)

    receive do
      {:DOWN, ^ref, _, _, _} -> :ok
    end
  end

  @doc """
  Starts the process that marks a server as closed after any end of its supervisor. Each later call
  returns `:closed`.
  """
  @spec end_with(pid, [ref], Counters.t()) :: pid
  def end_with(supervisor, keys, counters) do
    spawn(fn ->
      ref = Process.monitor(supervisor)

      receive do
        {:DOWN, ^ref, _, _, _} -> :ok
      end

      Counters.close(counters)

      for key <- keys,
          match?(%{counters: ^counters}, lookup(key)),
          do: :persistent_term.erase({__MODULE__, key})
    end)
  end

  defp lookup(ref), do: :persistent_term.get({__MODULE__, ref}, nil)

  @doc "The server of a name or pid; raises if there is none."
  def fetch!(ref) do
    case fetch(ref) do
      {:ok, server} -> server
      {:error, error} -> raise error
    end
  end

  @doc "The server of a name or pid. Raises ArgumentError for any other term."
  @spec fetch(t | ref) :: {:ok, t} | {:error, ConnectionError.t()}
  def fetch(%__MODULE__{counters: counters} = server) do
    if Counters.closed?(counters), do: {:error, closed(nil)}, else: {:ok, server}
  end

  def fetch(ref) do
    case lookup(ref) do
      nil -> {:error, not_running(ref)}
      server -> fetch(server)
    end
  end

  @doc "The name or the pid of a server, for error texts."
  def label(%__MODULE__{key: keys}), do: keys |> List.last() |> inspect()

  defp not_running(ref) when is_ref(ref) do
    %ConnectionError{reason: :closed, detail: "there is no Outrigger server #{inspect(ref)}"}
  end

  defp not_running(other) do
    raise ArgumentError,
          "expected an Outrigger server (its name or pid), got: #{inspect(other)}"
  end

  def epoch(%{counters: counters}), do: Counters.epoch(counters)
  def last_handle(%{counters: counters}), do: Counters.last_handle(counters)
  def request_id(%{counters: counters}), do: Counters.request_id(counters)
  def program_id(%{counters: counters}), do: Counters.program_id(counters)
  def in_flight(%{counters: counters}), do: Counters.in_flight(counters)

  @doc """
  The current epoch. If there is no daemon, waits for one: at most `timeout` milliseconds, and at
  most the `:start_timeout`. Raises ConnectionError.
  """
  def epoch!(server, timeout \\ :infinity) do
    case ready(server, timeout) do
      {:ok, epoch} -> epoch
      {:error, error} -> raise error
    end
  end

  # In the order of terms, the atom :infinity is larger than each number.
  def ready(%{start_timeout: start_timeout} = server, timeout \\ :infinity) do
    if timeout < start_timeout,
      do: await_ready(server, timeout, :deadline),
      else: await_ready(server, start_timeout)
  end

  @doc "As `ready/2`, but waits for the whole `timeout`. The error has `reason`."
  def await_ready(server, timeout, reason \\ :not_connected) do
    with none when none <= 0 <- epoch(server),
         {:error, %ConnectionError{reason: :deadline}} <- wait_for(server, :ready, timeout) do
      {:error, %ConnectionError{reason: reason, detail: no_daemon(server, timeout)}}
    else
      epoch when is_integer(epoch) -> {:ok, epoch}
      reply -> reply
    end
  end

  defp no_daemon(server, timeout) do
    case Sessions.last_failure(server.meta) do
      nil -> "no daemon within #{timeout} ms"
      text -> "no daemon within #{timeout} ms; the last attempt: #{text}"
    end
  end

  @doc """
  A new handle and its token. A process draws handles in blocks, and keeps the rest of its block in
  its dictionary. An ETS operation for each handle would be the largest cost of an op.
  """
  def handle(%{tokens: nil} = server), do: {Counters.draw_handles(server.counters, 1), nil}

  # A block is valid only for the leases whose keepers watch it.
  def handle(%{tokens: table, leases: leases} = server) do
    case Process.get({__MODULE__, table}) do
      {^leases, handle, [token | tokens]} ->
        Process.put({__MODULE__, table}, {leases, handle + 1, tokens})
        {handle, token}

      _used_up ->
        {handle, [token | tokens]} = block(server)
        Process.put({__MODULE__, table}, {leases, handle + 1, tokens})
        {handle, token}
    end
  end

  defp block(%{counters: counters, tokens: table, leases: leases} = server) do
    first = Counters.draw_handles(counters, Keeper.block()) - Keeper.block() + 1
    if Keeper.first?(first), do: send(leases, {:opened, Keeper.batch(first)})

    case :ets.take(table, first) do
      [block] ->
        block

      # The keepers have made no tokens yet: they get those of this caller.
      [] ->
        tokens = Keeper.tokens(first)
        send(leases, {:late, first, tokens})
        {first, tokens}
    end
  rescue
    ArgumentError -> reraise table_error(server), __STACKTRACE__
  end

  @doc "The error for an ArgumentError of a server's table, which ends with the server."
  def table_error(server) do
    if :ets.info(server.meta) == :undefined, do: closed(nil), else: %ArgumentError{}
  end

  @doc """
  Sends a finished frame. `want` is the use of the reply (see Request). This function waits while
  too many requests are under way.

  While other requests are under way, the frame goes through the connection, which writes several at
  once. Otherwise the caller writes to the port, and saves the wait for another process. It does so
  only if all earlier requests are written, because a frame must not overtake them. No caller writes
  to a socket.
  """
  def send_frame(server, epoch, id, frame, size, want, program \\ nil, deadline \\ nil) do
    sent = deliver(server, epoch, id, frame, size, want, program, deadline)
    if sent == :handed_on, do: hold_back(server, id, size, deadline)
    :ok
  end

  defp deliver(server, epoch, id, frame, size, want, program, deadline) do
    if size > @large_bytes, do: check_frame(server, size)

    with true <- server.direct?,
         nil <- deadline,
         true <- Counters.idle?(server.counters),
         true <- known_to_connection?(server),
         true <- sent_directly?(server, epoch, id, frame, size, want, program) do
      :written
    else
      _ ->
        request =
          Request.request(
            epoch: epoch,
            id: id,
            frame: frame,
            size: size,
            want: want,
            pid: self(),
            program: program,
            deadline: deadline
          )

        hand_on(server, request, size)
        :handed_on
    end
  end

  # The entry is in the table before the caller takes the turn and looks up the port. So the
  # connection sees the call when it withdraws the port, and when this process dies. The process
  # that takes the entry out of the table answers the request.
  defp sent_directly?(%{counters: counters} = server, epoch, id, frame, size, want, program) do
    program_id = program && elem(program, 0)
    :ets.insert(server.direct, {id, want, size, self(), program_id})

    with true <- Counters.take_turn(counters, id),
         [{_, ^epoch, port}] <- :ets.lookup(server.meta, {:port, program_id}) do
      if command(port, frame),
        do: Counters.wrote(counters, id),
        else: hand_on(server, {:unsent, epoch, id, frame}, size)

      if epoch(server) != epoch, do: direct_too_late(server, id)
      true
    else
      _ ->
        entry = :ets.take(server.direct, id)
        Counters.end_turn(counters, id)
        entry == []
    end
  rescue
    ArgumentError -> reraise table_error(server), __STACKTRACE__
  end

  # The daemon died during the write. The process that takes the entry answers the request.
  defp direct_too_late(server, id) do
    case :ets.take(server.direct, id) do
      [{_, want, _, _, _}] ->
        Counters.end_turn(server.counters, id)
        error = {:error, %ConnectionError{reason: {:daemon_exited, :unknown}}}
        if ref = Request.ref(want), do: send(self(), {ref, error})
        :ok

      [] ->
        :ok
    end
  end

  defp hand_on(server, message, size) do
    send(server.connection, message)
    Counters.issue(server.counters, size)
  end

  @doc "Releases handles before the later requests of this process."
  def release(server, epoch, handles) do
    for some <- release_batches(handles), do: hand_on(server, {:hand_back, epoch, some}, 0)
    :ok
  end

  @doc "Splits handles into lists, each for one request."
  def release_batches(handles), do: Enum.chunk_every(handles, @released_handles_max)

  # The first request of a process goes through the connection, which then monitors the process.
  defp known_to_connection?(%{direct: direct, connection: connection}) do
    known? = Process.get({__MODULE__, direct}) == connection
    unless known?, do: Process.put({__MODULE__, direct}, connection)
    known?
  end

  @doc "For the connection: see `Outrigger.Traffic.offer_port/2`."
  def offer_port(meta, epoch, port, program_id),
    do: :ets.insert(meta, {{:port, program_id}, epoch, port})

  def withdraw_port(meta, program_id), do: :ets.delete(meta, {:port, program_id})

  # A closed port takes no frame. The connection then fails the request, as all others.
  defp command(port, frame) do
    Port.command(port, frame, [:nosuspend])
  rescue
    ArgumentError -> true
  end

  defp check_frame(server, size) do
    with {:error, error} <- fits(server, size), do: raise(error)
  end

  @doc "An error if a request is too long for a frame: the daemon would close the connection."
  def fits(server, size) do
    limit = Counters.frame_max(server.counters)

    if limit > 0 and size - 4 > limit do
      message =
        "a request of #{size} bytes, but a frame has #{limit} bytes at most; " <>
          "give the request fewer tensors, for instance joined by Outrigger.Op.concatenate"

      {:error, %Error{code: :limit_exceeded, message: message}}
    else
      :ok
    end
  end

  @doc "An error if a program of `size` bytes in msgpack is too long for the daemon."
  def program_fits(_server, size) when size <= @large_bytes, do: :ok

  def program_fits(server, size) do
    case program_max(server) do
      [{_, limit}] when size > limit ->
        message =
          "a program of #{size} bytes in msgpack, at most #{limit} are allowed; split it into " <>
            "several programs, or write repeated ops as a loop (Outrigger.Op.while)"

        {:error, %Error{code: :limit_exceeded, message: message}}

      _ ->
        :ok
    end
  end

  # If the server has ended, the next step returns the error.
  defp program_max(server) do
    :ets.lookup(server.meta, :program_bytes_max)
  rescue
    ArgumentError -> []
  end

  @doc "For the connection: sets the limit of `program_fits/2`."
  def put_program_max(meta, bytes), do: :ets.insert(meta, {:program_bytes_max, bytes})

  @doc "For the connection: the rights that the daemon gives to the token."
  def put_rights(meta, rights), do: :ets.insert(meta, {:rights, rights})

  @doc "False if the token of this session does not have the right."
  @spec may?(t, String.t()) :: boolean
  def may?(server, right) do
    case :ets.lookup(server.meta, :rights) do
      [{_, rights}] when is_list(rights) -> right in rights
      _ -> true
    end
  rescue
    ArgumentError -> true
  end

  # Waits until there is room for more requests. The connection has the request, also after the
  # death of this process. If no room comes in time, the connection takes the request back.
  defp hold_back(server, id, size, deadline) do
    if Counters.full?(server.counters, size, server.queue_max, server.queue_bytes_max) do
      case wait_for(server, :room, min(deadline || :infinity, server.timeout)) do
        {:ok, _} ->
          :ok

        {:error, %ConnectionError{reason: :deadline} = error} ->
          case exchange(server, &{:take_back, id, &1}, :infinity) do
            {:ok, false} -> :ok
            {:ok, true} -> raise %{error | reason: :queue_full}
            {:error, error} -> raise error
          end

        {:error, error} ->
          raise error
      end
    end
  end

  @doc "Checks a deadline, and limits it to the range of timers. Raises ArgumentError."
  def deadline!(:infinity), do: :infinity
  def deadline!(ms) when is_integer(ms) and ms >= 0, do: min(ms, @deadline_max_ms)

  def deadline!(other) do
    raise ArgumentError,
          ":deadline must be a number of milliseconds or :infinity, got: #{inspect(other)}"
  end

  @doc "The milliseconds until the moment that `until/1` returned."
  def left(:infinity), do: :infinity
  def left(until), do: max(until - System.monotonic_time(:millisecond), 0)

  @doc "The moment after `ms` milliseconds."
  def until(:infinity), do: :infinity
  def until(ms), do: System.monotonic_time(:millisecond) + ms

  @doc "Sends a request and waits for its reply: `{:ok, map}` or `{:error, exception}`."
  def request(server, kind, fields, options \\ []) do
    timeout = deadline!(options[:deadline] || server.timeout)
    until = until(timeout)

    with {:ok, epoch} <- if(e = options[:epoch], do: {:ok, e}, else: ready(server, timeout)) do
      id = request_id(server)
      frame = IO.iodata_to_binary(Protocol.request(id, kind, fields))
      want = options[:want] || :reply
      call(server, epoch, id, frame, &{want, &1}, nil, nil, left(until))
    end
  end

  @doc """
  Sends a frame and waits for its reply. `want` is a function of the reference of the reply.

  This function makes the reference itself. So the VM knows that no older message can be the reply,
  and a long mailbox costs no time.
  """
  def call(server, epoch, id, frame, want, program, deadline, timeout) do
    ref = :erlang.monitor(:process, server.connection, alias: :reply_demonitor)
    deliver(server, epoch, id, frame, byte_size(frame), want.(ref), program, deadline)

    receive do
      {^ref, reply} -> reply
      {:DOWN, ^ref, _, _, reason} -> {:error, closed(reason)}
    after
      timeout -> give_up(server, ref, {:give_up, id}, timeout)
    end
  end

  @doc """
  Sends a frame whose reply `await/4` takes. This function does not wait for room: the caller awaits
  a reply before it sends more.
  """
  def async(server, epoch, id, frame, size, want) do
    ref = :erlang.monitor(:process, server.connection, alias: :reply_demonitor)
    deliver(server, epoch, id, frame, size, {want, ref}, nil, nil)
    ref
  end

  def await(server, ref, id, timeout) do
    receive do
      {^ref, reply} -> reply
      {:DOWN, ^ref, _, _, reason} -> {:error, closed(reason)}
    after
      timeout -> give_up(server, ref, {:give_up, id}, timeout)
    end
  end

  defp give_up(server, ref, message, timeout) do
    Process.demonitor(ref, [:flush])

    receive do
      {^ref, reply} -> reply
    after
      0 ->
        send(server.connection, message)
        {:error, %ConnectionError{reason: :deadline, detail: "after #{timeout} ms"}}
    end
  end

  @doc "Asks the connection, which always answers. `message` is a function of the reference."
  def exchange(server, message, timeout) do
    ref = :erlang.monitor(:process, server.connection, alias: :reply_demonitor)
    send(server.connection, message.(ref))

    receive do
      {^ref, reply} -> reply
      {:DOWN, ^ref, _, _, reason} -> {:error, closed(reason)}
    after
      timeout -> give_up(server, ref, {:wait_no_more, ref}, timeout)
    end
  end

  @doc "Waits for a key of Outrigger.Waits: a handle's tensor, a daemon, or room."
  def wait_for(server, key, timeout), do: exchange(server, &{:wait, key, &1, self()}, timeout)

  @doc false
  def closed(reason) do
    %ConnectionError{
      reason: :closed,
      detail: if(reason not in [nil, :noproc, :shutdown], do: inspect(reason))
    }
  end
end
