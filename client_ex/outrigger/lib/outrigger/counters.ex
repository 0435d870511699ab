defmodule Outrigger.Counters do
  @moduledoc false
  # Numbers that the callers of a server and its connection share, in an :atomics array.
  #
  # A caller can be killed between any two steps, so no number waits for a step of a caller. The
  # callers' number (`issued`) only grows. A caller counts a message after it has sent the message.
  # The connection sets the numbers under way (`requests`, `bytes`) from its own state. If the
  # connection reads `issued` and then finds its mailbox empty, it has taken all messages that were
  # issued until then. When it has written them to the port, that number becomes `written`.
  #
  # So `written` = `issued` means that a frame that a caller writes to the port overtakes no request
  # that another process has handed on.

  @request_id 1
  @handle 2
  @program_id 3
  # 0 without a daemon, -1 after the end of the server
  @epoch 4
  @frame_max 5
  # handed to the connection: the messages, and the bytes of the weighed messages
  @issued 6
  @issued_bytes 7
  # the issued messages that the connection has taken from its mailbox, and written to the port
  @taken 8
  @taken_bytes 9
  @written 10
  # requests and bytes under way between the connection and the daemon
  @requests 11
  @bytes 12
  # the id of the request that its caller may write to the port; negative after the caller has
  @turn 13
  @slots 13

  # Requests below this size are not weighed: their bytes do not count in the mailbox.
  @weighed_bytes 2048

  @type t :: :atomics.atomics_ref()

  @spec new() :: t
  def new do
    counters = :atomics.new(@slots, signed: true)
    :atomics.put(counters, @handle, 255)
    counters
  end

  @doc "Resets for a new connection, which has no requests. The handles and request ids go on."
  @spec reset(t) :: :ok
  def reset(counters) do
    put_epoch(counters, 0)
    {issued, bytes} = issued(counters)
    taken(counters, issued, bytes)
    written(counters, issued)
    on_their_way(counters, 0, 0)
    :atomics.put(counters, @turn, 0)
  end

  def epoch(counters), do: :atomics.get(counters, @epoch)
  def put_epoch(counters, epoch), do: :atomics.put(counters, @epoch, epoch)

  @doc "Marks the server as ended. Another server of that name has other counters."
  def close(counters), do: put_epoch(counters, -1)
  def closed?(counters), do: epoch(counters) == -1

  def frame_max(counters), do: :atomics.get(counters, @frame_max)
  def put_frame_max(counters, bytes), do: :atomics.put(counters, @frame_max, bytes)

  def request_id(counters), do: :atomics.add_get(counters, @request_id, 1)
  def program_id(counters), do: :atomics.add_get(counters, @program_id, 1)
  def last_handle(counters), do: :atomics.get(counters, @handle)

  @doc "Draws handles, and returns the last of them."
  def draw_handles(counters, count), do: :atomics.add_get(counters, @handle, count)

  ## Requests under way

  @doc "For callers: counts a message that was sent to the connection."
  @spec issue(t, non_neg_integer) :: :ok
  def issue(counters, size) do
    if size >= @weighed_bytes, do: :atomics.add(counters, @issued_bytes, size)
    :atomics.add(counters, @issued, 1)
  end

  @doc "The messages and bytes that callers have issued."
  def issued(counters),
    do: {:atomics.get(counters, @issued), :atomics.get(counters, @issued_bytes)}

  @doc "For the connection: counts a message that was taken from the mailbox."
  @spec take(t, non_neg_integer) :: :ok
  def take(counters, size) do
    if size >= @weighed_bytes, do: :atomics.add(counters, @taken_bytes, size)
    :atomics.add(counters, @taken, 1)
  end

  @doc "Notes that the connection has taken the first `issued` messages."
  def taken(counters, issued, bytes) do
    :atomics.put(counters, @taken_bytes, bytes)
    :atomics.put(counters, @taken, issued)
  end

  @doc "Notes that the first `issued` messages are written to the port, or never will be."
  def written(counters, issued), do: :atomics.put(counters, @written, issued)

  def all_written?(counters),
    do: :atomics.get(counters, @written) == :atomics.get(counters, @issued)

  @doc "True if all issued messages are written, and no caller has the turn."
  def settled?(counters), do: all_written?(counters) and turn(counters) == 0

  @doc "Sets the requests between the connection and the daemon, and their bytes."
  @spec on_their_way(t, non_neg_integer, non_neg_integer) :: :ok
  def on_their_way(counters, requests, bytes) do
    :atomics.put(counters, @bytes, bytes)
    :atomics.put(counters, @requests, requests)
  end

  @doc "An estimate of the requests without an answer, and of their bytes."
  @spec in_flight(t) :: {non_neg_integer, non_neg_integer}
  def in_flight(counters) do
    turn = if turn(counters) == 0, do: 0, else: 1
    {requests(counters) + turn, bytes(counters)}
  end

  defp requests(counters) do
    waiting = :atomics.get(counters, @issued) - :atomics.get(counters, @taken)
    max(waiting, 0) + :atomics.get(counters, @requests)
  end

  defp bytes(counters) do
    waiting = :atomics.get(counters, @issued_bytes) - :atomics.get(counters, @taken_bytes)
    max(waiting, 0) + :atomics.get(counters, @bytes)
  end

  @doc "True if a request of that size exceeds a limit of the requests or bytes under way."
  @spec full?(t, non_neg_integer, pos_integer, pos_integer) :: boolean
  def full?(counters, size, requests_max, bytes_max) do
    requests(counters) > requests_max or
      (size >= @weighed_bytes and bytes(counters) > bytes_max)
  end

  ## The turn: the right of one caller to write its request to the port

  @doc "True if no request is under way, so that a frame of a caller overtakes none."
  @spec idle?(t) :: boolean
  def idle?(counters) do
    :atomics.get(counters, @requests) == 0 and turn(counters) == 0 and all_written?(counters)
  end

  @doc "The id of the request that has the turn, negative after its write; 0 for none."
  def turn(counters), do: :atomics.get(counters, @turn)

  @spec take_turn(t, pos_integer) :: boolean
  def take_turn(counters, id), do: :atomics.compare_exchange(counters, @turn, 0, id) == :ok

  @doc "Notes that the request with the turn is written, or that the connection will write it."
  def wrote(counters, id), do: :atomics.compare_exchange(counters, @turn, id, -id)

  @doc "Ends the turn of a request. Returns whether its caller has noted the write."
  @spec end_turn(t, pos_integer) :: :wrote | :unsure
  def end_turn(counters, id) do
    with written when written == -id <- :atomics.compare_exchange(counters, @turn, id, 0) do
      :atomics.compare_exchange(counters, @turn, -id, 0)
      :wrote
    else
      _ -> :unsure
    end
  end
end
