defmodule Outrigger.Counters do
  @moduledoc false
  # Numbers that the callers of a server and its connection share, in an :atomics array.
  #
  # A caller can be killed between any two steps, so no number waits for a step that only that
  # caller could make. What callers count (`issued`) only grows, and is counted after the message
  # has been sent. What is on its way (`requests`, `bytes`) the connection writes down from its own
  # state. The connection reads `issued`, finds its mailbox empty, and then knows: all that was
  # issued until then has been taken; if it is written to the port, too, that number becomes
  # `written`.
  #
  # So `written` = `issued` means that nothing that any process has handed on, and could have told
  # others of, can be overtaken by a frame that a caller writes to the port itself.

  @request_id 1
  @handle 2
  @program_id 3
  # 0 without a daemon, -1 if the server is gone for good
  @epoch 4
  @frame_max 5
  # handed to the connection: messages, and bytes of those that are weighed
  @issued 6
  @issued_bytes 7
  # of these, taken from its mailbox, and written to the port
  @taken 8
  @taken_bytes 9
  @written 10
  # on their way between the connection and the daemon
  @requests 11
  @bytes 12
  # the id of the request that its caller may write to the port itself; negative once it has
  @turn 13
  @slots 13

  # Requests below this size are not weighed while they wait in the mailbox.
  @weighed_bytes 2048

  @type t :: :atomics.atomics_ref()

  @spec new() :: t
  def new do
    counters = :atomics.new(@slots, signed: true)
    :atomics.put(counters, @handle, 255)
    counters
  end

  @doc "A new connection: what was on its way is lost. Numbers of handles and requests go on."
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

  @doc "The server is gone, and comes back by another one only."
  def close(counters), do: put_epoch(counters, -1)
  def closed?(counters), do: epoch(counters) == -1

  def frame_max(counters), do: :atomics.get(counters, @frame_max)
  def put_frame_max(counters, bytes), do: :atomics.put(counters, @frame_max, bytes)

  def request_id(counters), do: :atomics.add_get(counters, @request_id, 1)
  def program_id(counters), do: :atomics.add_get(counters, @program_id, 1)
  def last_handle(counters), do: :atomics.get(counters, @handle)

  @doc "Draws handles; gives the last of them."
  def draw_handles(counters, count), do: :atomics.add_get(counters, @handle, count)

  ## What is on its way

  @doc "A caller's side: a message has been sent to the connection."
  @spec issue(t, non_neg_integer) :: :ok
  def issue(counters, size) do
    if size >= @weighed_bytes, do: :atomics.add(counters, @issued_bytes, size)
    :atomics.add(counters, @issued, 1)
  end

  @doc "Messages and bytes that have been issued."
  def issued(counters),
    do: {:atomics.get(counters, @issued), :atomics.get(counters, @issued_bytes)}

  @doc "The connection's side: one message has been taken from the mailbox."
  @spec take(t, non_neg_integer) :: :ok
  def take(counters, size) do
    if size >= @weighed_bytes, do: :atomics.add(counters, @taken_bytes, size)
    :atomics.add(counters, @taken, 1)
  end

  @doc "All messages that had been issued then have been taken."
  def taken(counters, issued, bytes) do
    :atomics.put(counters, @taken_bytes, bytes)
    :atomics.put(counters, @taken, issued)
  end

  @doc "All messages that had been issued then have been written to the port, or never will be."
  def written(counters, issued), do: :atomics.put(counters, @written, issued)

  def all_written?(counters),
    do: :atomics.get(counters, @written) == :atomics.get(counters, @issued)

  @doc "Nothing is to be told to callers, who may write to the port themselves as far as that goes."
  def settled?(counters), do: all_written?(counters) and turn(counters) == 0

  @doc "Requests that are on their way from the connection to the daemon and back, and their bytes."
  @spec on_their_way(t, non_neg_integer, non_neg_integer) :: :ok
  def on_their_way(counters, requests, bytes) do
    :atomics.put(counters, @bytes, bytes)
    :atomics.put(counters, @requests, requests)
  end

  @doc "All requests that have been sent and not been answered, and their bytes. An estimate."
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

  @doc "Is more on its way than may be, after a request of that size?"
  @spec full?(t, non_neg_integer, pos_integer, pos_integer) :: boolean
  def full?(counters, size, requests_max, bytes_max) do
    requests(counters) > requests_max or
      (size >= @weighed_bytes and bytes(counters) > bytes_max)
  end

  ## The turn: one request at a time may be written by its caller

  @doc "Nothing is on its way, and a frame that is written now overtakes nothing."
  @spec idle?(t) :: boolean
  def idle?(counters) do
    :atomics.get(counters, @requests) == 0 and turn(counters) == 0 and all_written?(counters)
  end

  @doc "The id of the request whose turn it is, negative once it is written, or 0."
  def turn(counters), do: :atomics.get(counters, @turn)

  @spec take_turn(t, pos_integer) :: boolean
  def take_turn(counters, id), do: :atomics.compare_exchange(counters, @turn, 0, id) == :ok

  @doc "The request whose turn it is has been written, or will be by the connection."
  def wrote(counters, id), do: :atomics.compare_exchange(counters, @turn, id, -id)

  @doc "Ends the turn of a request, if it has it. Says whether its caller told that it is written."
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
