defmodule Outrigger.Server do
  @moduledoc false
  # What a caller needs to talk to a connection without asking it: numbers are drawn from shared
  # counters, frames are encoded in the caller, and only finished bytes are sent on.

  alias Outrigger.{ConnectionError, Error, Keeper, Protocol}

  @enforce_keys [:key, :connection, :counters, :meta]
  defstruct [
    :key,
    :connection,
    :counters,
    :meta,
    :direct,
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

  @request_id 1
  @handle 2
  @program_id 3
  @epoch 4
  @requests 5
  @bytes 6
  @frame_max 7
  # Requests handed to the connection that the port has not got yet.
  @handed_on 8
  @slots 8

  # Requests below this size are counted, not weighed.
  @weighed_bytes 2048
  # No daemon's frame limit is below this.
  @large_bytes 65_536
  # Of one request that releases.
  @released_handles_max 8192
  # What the VM's timers take, and some room for what is added: 49 days.
  @deadline_max_ms 0xFFFF_0000

  defguard is_ref(term)
           when is_struct(term, __MODULE__) or (is_atom(term) and not is_nil(term)) or
                  is_pid(term) or
                  (is_tuple(term) and tuple_size(term) in 2..3 and
                     (elem(term, 0) == :via or elem(term, 0) == :global))

  def new_counters do
    counters = :atomics.new(@slots, signed: true)
    :atomics.put(counters, @handle, 255)
    counters
  end

  def put(%__MODULE__{key: keys} = server) do
    for key <- keys, do: :persistent_term.put({__MODULE__, key}, server)
    :ok
  end

  def delete(%__MODULE__{key: keys}) do
    for key <- keys, do: :persistent_term.erase({__MODULE__, key})
    :ok
  end

  @doc "The server of a name or pid; raises if there is none."
  def fetch!(%__MODULE__{} = server), do: server

  def fetch!(ref) do
    :persistent_term.get({__MODULE__, ref})
  rescue
    ArgumentError -> reraise not_running(ref), __STACKTRACE__
  end

  @doc "How error texts call it: its name, or its pid."
  def label(%__MODULE__{key: keys}), do: keys |> List.last() |> inspect()

  defp not_running(ref) when is_ref(ref) do
    %ConnectionError{reason: :not_connected, detail: "no Outrigger server #{inspect(ref)}"}
  end

  defp not_running(other) do
    ArgumentError.exception(
      "expected an Outrigger server (its name or pid), got: #{inspect(other)}"
    )
  end

  def epoch(%{counters: counters}), do: :atomics.get(counters, @epoch)
  def put_epoch(counters, epoch), do: :atomics.put(counters, @epoch, epoch)
  def put_frame_max(counters, bytes), do: :atomics.put(counters, @frame_max, bytes)
  def last_handle(%{counters: counters}), do: :atomics.get(counters, @handle)
  def request_id(%{counters: counters}), do: :atomics.add_get(counters, @request_id, 1)
  def program_id(%{counters: counters}), do: :atomics.add_get(counters, @program_id, 1)

  def in_flight(%{counters: counters}) do
    {:atomics.get(counters, @requests), :atomics.get(counters, @bytes)}
  end

  @doc "The current epoch; waits for a daemon if there is none. Raises ConnectionError."
  def epoch!(server) do
    case ready(server) do
      {:ok, epoch} -> epoch
      {:error, error} -> raise error
    end
  end

  def ready(server) do
    case epoch(server) do
      0 -> await_ready(server, server.start_timeout)
      epoch -> {:ok, epoch}
    end
  end

  def await_ready(server, timeout) do
    with {:error, %ConnectionError{reason: :deadline}} <-
           exchange(server, &{:await_ready, &1}, timeout) do
      {:error, %ConnectionError{reason: :not_connected, detail: "after #{timeout} ms"}}
    end
  end

  @doc """
  A new handle and its token. A process draws them in blocks, and keeps the rest of its block in
  its dictionary: an ETS operation each would cost more than all else.
  """
  def handle(%{tokens: nil} = server), do: {:atomics.add_get(server.counters, @handle, 1), nil}

  def handle(%{tokens: table} = server) do
    case Process.get({__MODULE__, table}) do
      {handle, [token | tokens]} ->
        Process.put({__MODULE__, table}, {handle + 1, tokens})
        {handle, token}

      _used_up ->
        {handle, [token | tokens]} = block(server)
        Process.put({__MODULE__, table}, {handle + 1, tokens})
        {handle, token}
    end
  end

  defp block(%{counters: counters, tokens: table, leases: leases}) do
    first = :atomics.add_get(counters, @handle, Keeper.block()) - Keeper.block() + 1
    if Keeper.first?(first), do: send(leases, {:opened, Keeper.batch(first)})

    case :ets.take(table, first) do
      [block] ->
        block

      # Faster than the keepers: they get what we make.
      [] ->
        tokens = Keeper.tokens(first)
        send(leases, {:late, first, tokens})
        {first, tokens}
    end
  end

  @doc """
  Hands over a finished frame. `want` says what becomes of the reply: `results/4`, `{:reply, ref}`,
  `{:sync, ref}` or `:drop`.

  While many requests are on their way, frames go through the connection, which writes several at
  once. When nothing is, the caller writes to the port itself and saves the wait for another
  process: unless something handed on has not been written yet, which must not be overtaken.
  """
  def send_frame(server, epoch, id, frame, size, want, program \\ nil, deadline \\ nil) do
    if size > @large_bytes, do: check_frame(server, size)

    with 1 <- reserve(server, size),
         0 <- :atomics.get(server.counters, @handed_on),
         nil <- deadline,
         true <- known_to?(server.connection),
         true <- sent_directly?(server, epoch, id, frame, size, want, program) do
      :ok
    else
      _ ->
        request = {:request, epoch, id, frame, size, want, self(), program, deadline}
        hand_on(server, request)
        :ok
    end
  end

  # The entry stands in the table before the port is looked up: the connection, which withdraws it
  # when the daemon shall forget a program, then sees the call. Whoever takes the entry is in charge.
  defp sent_directly?(server, epoch, id, frame, size, want, program) do
    program_id = program && elem(program, 0)
    :ets.insert(server.direct, {id, want, size, self(), program_id})

    case :ets.lookup(server.meta, {:port, program_id}) do
      [{_, ^epoch, port}] ->
        unless command(port, frame), do: hand_on(server, {:unsent, epoch, id, frame})
        if epoch(server) != epoch, do: direct_too_late(server, id)
        true

      _ ->
        :ets.take(server.direct, id) == []
    end
  end

  # The daemon died meanwhile. Whoever takes the entry tells of it.
  defp direct_too_late(server, id) do
    case :ets.take(server.direct, id) do
      [{_, want, size, _, _}] ->
        done(server.counters, 1, weight(size))
        error = {:error, %ConnectionError{reason: {:daemon_exited, :unknown}}}

        case want do
          {kind, ref} when kind in [:reply, :sync] -> send(self(), {ref, error})
          {:results, _, _, ref} -> send(self(), {ref, error})
          _ -> :ok
        end

      [] ->
        :ok
    end
  end

  defp hand_on(server, message) do
    :atomics.add(server.counters, @handed_on, 1)
    send(server.connection, message)
  end

  @doc """
  What is wanted of a request that makes tensors, under `handles`: it uses the handles `args`, writes
  in place into those in `written`, and releases those in `donated`.
  """
  def results(handles, args \\ [], written \\ [], donated \\ []),
    do: {:results, handles, {args, written, donated}}

  @doc "Releases handles before anything happens that this process asks for from now on."
  def release(server, epoch, handles) do
    for some <- release_batches(handles), do: hand_on(server, {:hand_back, epoch, some})
    :ok
  end

  @doc "Handles in lists that a request each can release."
  def release_batches(handles), do: Enum.chunk_every(handles, @released_handles_max)

  @doc "The connection's side: requests that were handed on have been written, or never will be."
  def written(counters, count), do: :atomics.sub(counters, @handed_on, count)

  # The first request of a process goes through the connection, which then knows of its death.
  defp known_to?(connection) do
    known = Process.get({__MODULE__, connection}, false)
    unless known, do: Process.put({__MODULE__, connection}, true)
    known
  end

  @doc """
  The connection's side: callers may write frames to the port; those that call a program only while
  the daemon has it.
  """
  def offer_port(meta, epoch, port, program_id \\ nil),
    do: :ets.insert(meta, {{:port, program_id}, epoch, port})

  def withdraw_port(meta, program_id), do: :ets.delete(meta, {:port, program_id})

  # A port that is gone takes nothing; the connection then fails the request with all others.
  defp command(port, frame) do
    Port.command(port, frame, [:nosuspend])
  rescue
    ArgumentError -> true
  end

  defp check_frame(server, size) do
    with {:error, error} <- fits(server, size), do: raise(error)
  end

  @doc "Is a request short enough for a frame? The daemon would hang up."
  def fits(server, size) do
    limit = :atomics.get(server.counters, @frame_max)

    if limit > 0 and size - 4 > limit do
      message =
        "a request of #{size} bytes, but a frame has #{limit} bytes at most; " <>
          "give it fewer tensors at once, for instance joined by Outrigger.Op.concatenate"

      {:error, %Error{code: :limit_exceeded, message: message}}
    else
      :ok
    end
  end

  @doc "Is a program, of so many bytes in msgpack, short enough for the daemon?"
  def program_fits(_server, size) when size <= @large_bytes, do: :ok

  def program_fits(server, size) do
    case program_max(server) do
      [{_, limit}] when size > limit ->
        message =
          "a program of #{size} bytes in msgpack, at most #{limit} are allowed; split it into " <>
            "several, or write what repeats as a loop (Outrigger.Op.while)"

        {:error, %Error{code: :limit_exceeded, message: message}}

      _ ->
        :ok
    end
  end

  # Where no server is left, the next step tells.
  defp program_max(server) do
    :ets.lookup(server.meta, :program_bytes_max)
  rescue
    ArgumentError -> []
  end

  @doc "The connection's side: what program_fits/2 goes by."
  def put_program_max(meta, bytes), do: :ets.insert(meta, {:program_bytes_max, bytes})

  @doc "Counts a request; gives what is on its way now."
  def count(counters, size) do
    requests = :atomics.add_get(counters, @requests, 1)
    bytes = if size >= @weighed_bytes, do: :atomics.add_get(counters, @bytes, size), else: 0
    {requests, bytes}
  end

  defp reserve(%{counters: counters} = server, size) do
    {requests, bytes} = count(counters, size)

    if requests > server.queue_max or bytes > server.queue_bytes_max,
      do: wait_for_room(server, size)

    requests
  end

  # Everything that this process sent before has arrived when the connection sees this request, so
  # the caller is held back until its own requests have moved on.
  defp wait_for_room(server, size) do
    case exchange(server, &{:await_room, &1}, server.timeout) do
      {:ok, _} ->
        :ok

      {:error, error} ->
        done(server.counters, 1, weight(size))
        error = if error.reason == :deadline, do: %{error | reason: :queue_full}, else: error
        raise error
    end
  end

  def weight(size) when size >= @weighed_bytes, do: size
  def weight(_size), do: 0

  @doc "The connection's side of the count: requests that ended."
  def done(counters, requests, bytes) do
    :atomics.sub(counters, @requests, requests)
    if bytes > 0, do: :atomics.sub(counters, @bytes, bytes)
    :ok
  end

  @doc "A deadline as timers take it; raises ArgumentError."
  def deadline!(:infinity), do: :infinity
  def deadline!(ms) when is_integer(ms) and ms >= 0, do: min(ms, @deadline_max_ms)

  def deadline!(other) do
    raise ArgumentError,
          ":deadline must be a number of milliseconds or :infinity, got: #{inspect(other)}"
  end

  @doc "Sends a request and waits for its reply: `{:ok, map}` or `{:error, exception}`."
  def request(server, kind, fields, options \\ []) do
    epoch = options[:epoch] || epoch!(server)
    timeout = deadline!(options[:deadline] || server.timeout)
    id = request_id(server)
    frame = IO.iodata_to_binary(Protocol.request(id, kind, fields))
    want = options[:want] || :reply
    call(server, epoch, id, frame, &{want, &1}, nil, nil, timeout)
  end

  @doc """
  Sends a frame and waits for its reply. `want` is given the reference that the reply comes with.

  The reference is made here and not by `monitor/1`: then the VM knows that no older message can
  be the reply, and a long mailbox costs nothing.
  """
  def call(server, epoch, id, frame, want, program, deadline, timeout) do
    ref = :erlang.monitor(:process, server.connection, alias: :reply_demonitor)
    send_frame(server, epoch, id, frame, byte_size(frame), want.(ref), program, deadline)

    receive do
      {^ref, reply} -> reply
      {:DOWN, ^ref, _, _, reason} -> {:error, closed(reason)}
    after
      timeout -> give_up(server, ref, id, timeout)
    end
  end

  @doc "Sends a frame whose reply `await/4` fetches."
  def async(server, epoch, id, frame, size, want) do
    ref = monitor(server)
    send_frame(server, epoch, id, frame, size, {want, ref})
    ref
  end

  defp monitor(server), do: :erlang.monitor(:process, server.connection, alias: :reply_demonitor)

  def await(server, ref, id, timeout) do
    receive do
      {^ref, reply} -> reply
      {:DOWN, ^ref, _, _, reason} -> {:error, closed(reason)}
    after
      timeout -> give_up(server, ref, id, timeout)
    end
  end

  defp give_up(server, ref, id, timeout) do
    Process.demonitor(ref, [:flush])

    receive do
      {^ref, reply} -> reply
    after
      0 ->
        send(server.connection, {:give_up, id})
        {:error, %ConnectionError{reason: :deadline, detail: "after #{timeout} ms"}}
    end
  end

  @doc "Asks the connection itself."
  def exchange(server, message, timeout) do
    ref = :erlang.monitor(:process, server.connection, alias: :reply_demonitor)
    send(server.connection, message.(ref))

    receive do
      {^ref, reply} -> reply
      {:DOWN, ^ref, _, _, reason} -> {:error, closed(reason)}
    after
      timeout -> give_up(server, ref, 0, timeout)
    end
  end

  defp closed(reason) do
    %ConnectionError{reason: :closed, detail: if(reason != :noproc, do: inspect(reason))}
  end
end
