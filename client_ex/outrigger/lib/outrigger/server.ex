defmodule Outrigger.Server do
  @moduledoc false
  # What a caller needs to talk to a connection without asking it: numbers are drawn from shared
  # counters, frames are encoded in the caller, and only finished bytes are sent on.

  alias Outrigger.{ConnectionError, Counters, Error, Keeper, Protocol, Request}
  require Request

  @enforce_keys [:key, :connection, :counters, :meta]
  defstruct [
    :key,
    :connection,
    :counters,
    :meta,
    :direct,
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

  @doc "Makes a server known by its name and pid."
  def put(%__MODULE__{key: keys, counters: counters} = server) do
    for key <- keys do
      with %__MODULE__{counters: other} = old when other != counters <- lookup(key),
           do: await_end(old)

      :persistent_term.put({__MODULE__, key}, server)
    end

    :ok
  end

  # One of the same name that has just ended: its end must not take our entry away.
  defp await_end(%{ender: ender}) do
    ref = Process.monitor(ender)

    receive do
      {:DOWN, ^ref, _, _, _} -> :ok
    end
  end

  @doc """
  Starts the process that marks a server as gone when its supervisor is, however that ended: each
  call then tells so.
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

  @doc "The server of a name or pid. Raises ArgumentError for what cannot be one."
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

  @doc "How error texts call it: its name, or its pid."
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
  The current epoch; waits for a daemon if there is none, for `timeout` milliseconds at most and not
  longer than a start may take. Raises ConnectionError.
  """
  def epoch!(server, timeout \\ :infinity) do
    case ready(server, timeout) do
      {:ok, epoch} -> epoch
      {:error, error} -> raise error
    end
  end

  # Atoms come after numbers: :infinity is the larger one.
  def ready(%{start_timeout: start_timeout} = server, timeout \\ :infinity) do
    if timeout < start_timeout,
      do: await_ready(server, timeout, :deadline),
      else: await_ready(server, start_timeout)
  end

  @doc "The same, and waits as long as it is told to. `reason` is that of the error."
  def await_ready(server, timeout, reason \\ :not_connected) do
    with none when none <= 0 <- epoch(server),
         {:error, %ConnectionError{reason: :deadline}} <- wait_for(server, :ready, timeout) do
      {:error, %ConnectionError{reason: reason, detail: "no daemon within #{timeout} ms"}}
    else
      epoch when is_integer(epoch) -> {:ok, epoch}
      reply -> reply
    end
  end

  @doc """
  A new handle and its token. A process draws them in blocks, and keeps the rest of its block in
  its dictionary: an ETS operation each would cost more than all else.
  """
  def handle(%{tokens: nil} = server), do: {Counters.draw_handles(server.counters, 1), nil}

  # What is left of a block is worth nothing without the keepers that watch it.
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

      # Faster than the keepers: they get what we make.
      [] ->
        tokens = Keeper.tokens(first)
        send(leases, {:late, first, tokens})
        {first, tokens}
    end
  rescue
    ArgumentError -> reraise table_error(server), __STACKTRACE__
  end

  @doc "What an ArgumentError of one of a server's tables means: they go with the server."
  def table_error(server) do
    if :ets.info(server.meta) == :undefined, do: closed(nil), else: %ArgumentError{}
  end

  @doc """
  Hands over a finished frame. `want` says what becomes of the reply (see Request). A caller that
  does not wait for the reply is held back while too much is on its way.

  While many requests are on their way, frames go through the connection, which writes several at
  once. When nothing is, the caller writes to the port itself and saves the wait for another
  process: unless something handed on has not been written yet, which must not be overtaken.
  """
  def send_frame(server, epoch, id, frame, size, want, program \\ nil, deadline \\ nil) do
    sent = deliver(server, epoch, id, frame, size, want, program, deadline)
    if sent == :handed_on, do: hold_back(server, id, size, deadline)
    :ok
  end

  defp deliver(server, epoch, id, frame, size, want, program, deadline) do
    if size > @large_bytes, do: check_frame(server, size)

    with nil <- deadline,
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

  # The entry stands in the table before the turn is taken and the port is looked up: the connection
  # then sees the call when it withdraws the port, and finds it when this process dies. Whoever
  # takes the entry is in charge.
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

  # The daemon died meanwhile. Whoever takes the entry tells of it.
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

  @doc "Releases handles before anything happens that this process asks for from now on."
  def release(server, epoch, handles) do
    for some <- release_batches(handles), do: hand_on(server, {:hand_back, epoch, some}, 0)
    :ok
  end

  @doc "Handles in lists that a request each can release."
  def release_batches(handles), do: Enum.chunk_every(handles, @released_handles_max)

  # The first request of a process goes through the connection, which then knows of its death.
  defp known_to_connection?(%{direct: direct, connection: connection}) do
    known? = Process.get({__MODULE__, direct}) == connection
    unless known?, do: Process.put({__MODULE__, direct}, connection)
    known?
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
    limit = Counters.frame_max(server.counters)

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

  # The request has been handed on: it belongs to the connection, whatever becomes of this process,
  # which waits here until there is room for more. If nothing moves, the request is taken back.
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

  @doc "A deadline as timers take it; raises ArgumentError."
  def deadline!(:infinity), do: :infinity
  def deadline!(ms) when is_integer(ms) and ms >= 0, do: min(ms, @deadline_max_ms)

  def deadline!(other) do
    raise ArgumentError,
          ":deadline must be a number of milliseconds or :infinity, got: #{inspect(other)}"
  end

  @doc "What is left of a deadline: give `until/1`."
  def left(:infinity), do: :infinity
  def left(until), do: max(until - System.monotonic_time(:millisecond), 0)

  @doc "The moment when a time of so many milliseconds is over."
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
  Sends a frame and waits for its reply. `want` is given the reference that the reply comes with.

  The reference is made here and not by `monitor/1`: then the VM knows that no older message can
  be the reply, and a long mailbox costs nothing.
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
  Sends a frame whose reply `await/4` fetches. The caller is not held back: it waits for a reply
  before it asks for more.
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

  @doc "Asks the connection itself, which always answers; `message` is given the reference."
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

  @doc "Waits for what an Outrigger.Waits key stands for: a handle's tensor, a daemon, room."
  def wait_for(server, key, timeout), do: exchange(server, &{:wait, key, &1, self()}, timeout)

  @doc false
  def closed(reason) do
    %ConnectionError{
      reason: :closed,
      detail: if(reason not in [nil, :noproc, :shutdown], do: inspect(reason))
    }
  end
end
