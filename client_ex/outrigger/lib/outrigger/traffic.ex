defmodule Outrigger.Traffic do
  @moduledoc false
  # The requests of one connection, between their callers and the link: requests that wait, requests
  # that were sent, and the daemon's windows. Only the connection process uses this module.
  #
  # Invariant: each counted request is in `pending` (it has been written, or is in `out`) or in
  # `waiting` (for the daemon's windows). finish/4 or Withdrawal takes it out and answers its owner,
  # exactly once. A request that its caller wrote to the port is in the table `direct` instead.
  # `bytes` and `waiting_bytes` are the sums of the sizes. check!/1 checks this invariant, in tests.
  #
  # Outrigger.Outcome answers the owners. Outrigger.Withdrawal ends requests that no process wants
  # any more.

  alias Outrigger.{
    ConnectionError,
    Counters,
    KeptPrograms,
    Link,
    Orphans,
    Outcome,
    Protocol,
    Request,
    Server,
    Sessions,
    Subscriptions,
    Waits
  }

  import Outrigger.Request, only: [entry: 1, request: 1, results: 1]
  require Subscriptions
  require Waits

  # A port command runs on the scheduler of this process, so it must be short.
  @flush_bytes 128 * 1024
  @retry_ms 2
  # The daemon has this much more time to answer before the local deadline ends a request.
  @deadline_grace_ms 20

  # A caller may have this many items before the ended ones are removed.
  @items_min 32

  # The struct has at most 32 keys with __struct__. Larger maps are trees, whose updates cost
  # several times more.
  defstruct [
    :counters,
    :meta,
    :direct,
    :leases,
    :name,
    link: nil,
    epoch: 0,
    limits: %{
      requests_window: 1,
      bytes_window: 1,
      programs_max: 1,
      part_bytes: 1,
      kept: 1,
      room: {1, 1},
      memory: 0,
      poll_bytes: 0
    },
    # id => entry
    pending: %{},
    bytes: 0,
    # ids in order; some of their requests may have left `waiting`
    queue: :queue.new(),
    # id => {frame, entry, program}
    waiting: %{},
    waiting_bytes: 0,
    out: [],
    out_bytes: 0,
    blocked?: false,
    # id of a program that the daemon keeps, or {:kernel, id} => {tick of its last use, bytes}
    programs: %{},
    # bytes of all of them
    kept: 0,
    tick: 0,
    waits: %Waits{},
    subscriptions: %Subscriptions{},
    # pid => {number, limit, items}: ids and references that the caller has sent. Some have ended
    callers: %{},
    # the caller of the last request, and its items. They enter `callers` at the first request of
    # another caller
    last: {nil, {0, 0, []}},
    # pid of a caller => the first error since its last sync/2
    errors: %{},
    orphans: %Orphans{},
    write_errors?: false,
    live_bytes: 0,
    created_bytes: 0,
    # why the last session ended
    end_reason: :not_connected
  ]

  @type t :: %__MODULE__{
          counters: Counters.t(),
          link: Link.t() | nil,
          epoch: non_neg_integer,
          pending: %{pos_integer => Request.entry()},
          bytes: non_neg_integer,
          queue: :queue.queue(pos_integer),
          waiting: %{pos_integer => {iodata, Request.entry(), tuple | nil}},
          waiting_bytes: non_neg_integer,
          waits: Waits.t(),
          subscriptions: Subscriptions.t()
        }

  ## From callers

  @doc "Takes a request that a caller has handed on."
  def submit(t, request(epoch: epoch, want: want)) when epoch != t.epoch do
    error = %ConnectionError{reason: t.end_reason}
    Outcome.tell(t, want, nil, {:error, error})
  end

  def submit(t, request(id: id, frame: frame, size: size, want: want, pid: pid) = request) do
    request(program: program, deadline: deadline) = request
    t = note(t, pid, id)
    timer = deadline && Process.send_after(self(), {:deadline, id}, deadline + @deadline_grace_ms)
    entry = entry(want: want, size: size, pid: pid, timer: timer)

    if at_once?(want) or (map_size(t.waiting) == 0 and open?(t, size)),
      do: forward(t, id, frame, entry, program),
      else: enqueue(t, id, frame, entry, program)
  end

  # The daemon answers these requests while it reads, so they take no place in its windows.
  defp at_once?({:at_once, _ref}), do: true
  defp at_once?(_want), do: false

  @doc "Takes a request whose caller could not write to the port, because the port is busy."
  def unsent(t, {:unsent, epoch, _, _}) when epoch != t.epoch, do: t

  def unsent(t, {:unsent, _, id, frame}) do
    Counters.wrote(t.counters, id)
    %{t | out: [t.out | frame], out_bytes: t.out_bytes + IO.iodata_length(frame)}
  end

  @doc "Notes an item of a process. At its first item, monitors the process."
  def note(%{last: {pid, {count, limit, items}}} = t, pid, item) when count < limit,
    do: %{t | last: {pid, {count + 1, limit, [item | items]}}}

  def note(%{last: {pid, {_, _, items}}} = t, pid, item) do
    items = Enum.filter(items, &going_on?(t, &1))
    count = length(items)
    %{t | last: {pid, {count + 1, max(2 * count, @items_min), [item | items]}}}
  end

  def note(%{last: {other, items}, callers: callers} = t, pid, item) do
    callers = if other, do: %{callers | other => items}, else: callers

    case callers do
      %{^pid => items} ->
        note(%{t | callers: callers, last: {pid, items}}, pid, item)

      _ ->
        Process.monitor(pid)
        items = {1, @items_min, [item]}
        %{t | callers: Map.put(callers, pid, items), last: {pid, items}}
    end
  end

  defp going_on?(t, item),
    do:
      is_map_key(t.pending, item) or is_map_key(t.waiting, item) or
        Waits.is_waiting(t.waits, item) or Subscriptions.is_subscribed(t.subscriptions, item)

  @doc "Forgets a process that has ended, and returns its items."
  def forget_caller(%{last: {pid, {_, _, items}}} = t, pid),
    do: {items, %{t | last: {nil, {0, 0, []}}, callers: Map.delete(t.callers, pid)}}

  def forget_caller(t, pid) do
    case Map.pop(t.callers, pid) do
      {nil, _} -> {[], t}
      {{_, _, items}, callers} -> {items, %{t | callers: callers}}
    end
  end

  defp open?(%{limits: %{requests_window: requests, bytes_window: bytes}} = t, size) do
    pending = map_size(t.pending)
    not t.blocked? and pending < requests and (t.bytes + size <= bytes or pending == 0)
  end

  defp enqueue(t, id, frame, entry(size: size) = entry, program) do
    # If no request waits, all ids in the queue are those of withdrawn requests.
    queue = if map_size(t.waiting) == 0, do: :queue.new(), else: t.queue

    %{
      t
      | queue: :queue.in(id, queue),
        waiting: Map.put(t.waiting, id, {frame, entry, program}),
        waiting_bytes: t.waiting_bytes + size
    }
  end

  @doc "Removes a waiting request: `{entry, t}`, or nil."
  def unqueue(t, id) do
    case Map.pop(t.waiting, id) do
      {nil, _} ->
        nil

      {{_frame, entry(size: size) = entry, _program}, waiting} ->
        {entry, %{t | waiting: waiting, waiting_bytes: t.waiting_bytes - size}}
    end
  end

  # Each update copies the whole struct, so this is one update.
  defp forward(t, id, frame, entry(size: size) = entry, nil) do
    %{pending: pending, bytes: bytes, out: out, out_bytes: out_bytes} = t
    out_bytes = out_bytes + size

    t = %{
      t
      | pending: Map.put(pending, id, entry),
        bytes: bytes + size,
        out: [out | frame],
        out_bytes: out_bytes
    }

    if out_bytes >= @flush_bytes, do: write(t), else: t
  end

  # The daemon keeps this program for one call only.
  defp forward(t, id, frame, entry, {:once, {program_id, _, _} = program}) do
    t
    |> forward(id, frame, entry, program)
    |> KeptPrograms.drop_program(program_id)
    |> KeptPrograms.forget(program_id)
  end

  # A call of a prepared program. The client decides which programs the daemon keeps.
  defp forward(t, id, frame, entry, program),
    do: t |> KeptPrograms.keep(program) |> forward(id, frame, entry, nil)

  @doc """
  Lets callers write frames to the port of the link, if it has one. With `program_id`, these are the
  calls of a program that the daemon keeps.
  """
  def offer_port(t, program_id \\ nil) do
    if port = Link.port(t.link), do: Server.offer_port(t.meta, t.epoch, port, program_id)
  end

  @doc "True if a caller has a call of the program under way that it wrote itself."
  def called_directly?(t, program_id),
    do: :ets.select_count(t.direct, [{{:_, :_, :_, :_, program_id}, [], [true]}]) > 0

  @doc "Sends a request of the connection, which overtakes the waiting requests."
  def own(t, kind, fields, want) do
    {id, frame, entry} = own_request(t, kind, fields, want)
    forward(t, id, frame, entry, nil)
  end

  @doc "As `own/4`, but in turn: the release of a handle follows the request that makes the handle."
  def in_turn(t, kind, fields, want) do
    {id, frame, entry} = own_request(t, kind, fields, want)

    if map_size(t.waiting) == 0,
      do: forward(t, id, frame, entry, nil),
      else: enqueue(t, id, frame, entry, nil)
  end

  defp own_request(t, kind, fields, want) do
    id = Counters.request_id(t.counters)
    frame = IO.iodata_to_binary(Protocol.request(id, kind, fields))
    {id, frame, entry(want: want, size: byte_size(frame), pid: self())}
  end

  @doc "Writes the gathered frames, and publishes the numbers of requests under way."
  def flush(t), do: t |> write() |> publish()

  defp write(%{out_bytes: 0} = t), do: t

  defp write(t) do
    if Link.command(t.link, t.out, t.out_bytes) do
      %{t | out: [], out_bytes: 0, blocked?: false}
    else
      # The daemon does not read. Its windows bound the bytes in `out`.
      unless t.blocked?, do: Process.send_after(self(), :retry, @retry_ms)
      %{t | blocked?: true}
    end
  end

  @doc "Writes again to a link that was busy."
  def retry(%{blocked?: true} = t) do
    t = write(%{t | blocked?: false})
    if t.blocked?, do: t, else: pump(t)
  end

  def retry(t), do: t

  defp pump(%{waiting: waiting} = t) when map_size(waiting) == 0, do: t

  defp pump(t) do
    {{:value, id}, queue} = :queue.out(t.queue)

    case t.waiting do
      %{^id => {frame, entry(size: size) = entry, program}} ->
        if open?(t, size) do
          waiting = Map.delete(t.waiting, id)
          bytes = t.waiting_bytes - size
          t = %{t | queue: queue, waiting: waiting, waiting_bytes: bytes}
          t |> forward(id, frame, entry, program) |> pump()
        else
          t
        end

      _taken_out ->
        pump(%{t | queue: queue})
    end
  end

  @doc "Publishes the numbers of requests and bytes under way to the callers."
  def publish(t) do
    requests = map_size(t.pending) + map_size(t.waiting)
    Counters.on_their_way(t.counters, requests, t.bytes + t.waiting_bytes)
    t
  end

  @doc "True if all requests that the connection has taken are written."
  def all_written?(t), do: map_size(t.waiting) == 0 and t.out_bytes == 0

  @doc """
  The mailbox was empty after the connection had read `issued`. So all requests that were issued
  until then have been taken and written. The turn of a caller that was killed ends here.
  """
  def settled(t, {issued, bytes}) do
    Counters.taken(t.counters, issued, bytes)
    if all_written?(t), do: Counters.written(t.counters, issued)
    check_turn(t, abs(Counters.turn(t.counters)))
  end

  defp check_turn(t, 0), do: t

  defp check_turn(t, id) do
    case :ets.lookup(t.direct, id) do
      [] -> Counters.end_turn(t.counters, id)
      _ -> :ok
    end

    t
  end

  ## From the daemon

  @doc "Takes a terminal reply."
  def reply(t, id, reply) do
    case t.pending do
      %{^id => entry} -> t |> finish(id, entry, reply) |> pump()
      _ -> reply_direct(t, id, reply)
    end
  end

  # A request that its caller wrote, or a reply without a request.
  defp reply_direct(t, id, reply) do
    case :ets.take(t.direct, id) do
      [{_, want, _size, pid, program_id}] ->
        t = if is_map_key(t.programs, program_id), do: KeptPrograms.used(t, program_id), else: t
        Counters.end_turn(t.counters, id)
        t |> Outcome.tell(want, pid, reply) |> admit()

      [] ->
        t
    end
  end

  # The numbers are published before the owner gets its answer, because it may send more at once.
  defp finish(t, id, entry(want: want, size: size, pid: pid, timer: timer), reply) do
    if timer, do: Process.cancel_timer(timer)
    t = publish(%{t | pending: Map.delete(t.pending, id), bytes: t.bytes - size})
    t |> ended(id, want) |> Outcome.tell(want, pid, reply) |> admit()
  end

  @doc "Notes that a request has ended, or that no process wants its results."
  def ended(%{orphans: orphans} = t, id, results(handles: handles))
      when is_map_key(orphans.left, id),
      do: %{t | orphans: Orphans.drop(orphans, id, handles)}

  def ended(t, _id, _want), do: t

  @doc "Ends a request that the daemon never got."
  def never_arrived(t, id) do
    case t.pending do
      %{^id => entry(want: :unsure) = entry} -> t |> finish(id, entry, {:ok, %{}}) |> pump()
      _ -> t
    end
  end

  @doc "Lets callers that wait for room go on, if there is room."
  def admit(t) when not Waits.is_awaited(t.waits, :room), do: t

  def admit(%{limits: %{room: {requests_max, bytes_max}}} = t) do
    {requests, bytes} = Counters.in_flight(t.counters)

    if requests <= requests_max and bytes <= bytes_max,
      do: Outcome.answer_all(t, :room, {:ok, :room}),
      else: t
  end

  # The requests that callers have written: `{id, entry}`. They are few.
  def direct(t) do
    for {id, want, size, pid, _} <- :ets.tab2list(t.direct),
        do: {id, entry(want: want, size: size, pid: pid)}
  end

  @doc "The ids of the requests that a caller has written, or was about to write."
  def direct(t, pid), do: :ets.select(t.direct, [{{:"$1", :_, :_, pid, :_}, [], [:"$1"]}])

  @doc """
  Takes over a request that its caller wrote, as one that the connection sent. Returns `:wrote` if
  the caller said that it is written, `:unsure` if not, and `:gone` if there is no such request.
  """
  def adopt(t, id) do
    case :ets.take(t.direct, id) do
      [{_, want, size, pid, _}] ->
        entry = entry(want: want, size: size, pid: pid)
        t = publish(%{t | pending: Map.put(t.pending, id, entry), bytes: t.bytes + size})
        {Counters.end_turn(t.counters, id), t}

      [] ->
        {:gone, t}
    end
  end

  ## The end of an epoch

  @doc "Answers each request, once, after the end of the daemon."
  def fail_all(t, error) do
    t = for({id, _} <- direct(t), do: id) |> Enum.reduce(t, &elem(adopt(&2, &1), 1))
    entries = Map.values(t.pending) ++ for({_, {_, entry, _}} <- t.waiting, do: entry)

    for entry(want: want, timer: timer) <- entries do
      if timer, do: Process.cancel_timer(timer)
      if ref = Request.ref(want), do: Outcome.answer(ref, {:error, error})
    end

    t = Enum.reduce(Waits.handles(t.waits), t, &Outcome.answer_all(&2, &1, {:error, error}))
    t = Outcome.answer_all(t, :room, {:ok, :room})

    lost =
      for entry(want: results(ref: nil), pid: pid) <- entries,
          is_map_key(t.callers, pid),
          into: %{},
          do: {pid, error}

    delete_all(t.meta)

    publish(%{
      t
      | link: nil,
        epoch: 0,
        pending: %{},
        bytes: 0,
        queue: :queue.new(),
        waiting: %{},
        waiting_bytes: 0,
        out: [],
        out_bytes: 0,
        blocked?: false,
        programs: %{},
        kept: 0,
        orphans: %Orphans{},
        subscriptions: Subscriptions.broken(t.subscriptions),
        write_errors?: false,
        errors: Map.merge(lost, t.errors),
        live_bytes: 0,
        created_bytes: 0
    })
  end

  # The tensors of the session, and what belongs to its daemon.
  defp delete_all(meta) do
    kept = Enum.flat_map(Sessions.keys(), &:ets.lookup(meta, &1))
    :ets.delete_all_objects(meta)
    :ets.insert(meta, kept)
  end

  @doc "Raises if the invariant does not hold. Tests call it in the connection's process."
  def check!(t) do
    sizes = for {_, entry(size: size)} <- t.pending, do: size
    true = Enum.sum(sizes) == t.bytes
    sizes = for {_, {_, entry(size: size), _}} <- t.waiting, do: size
    true = Enum.sum(sizes) == t.waiting_bytes
    queue = :queue.to_list(t.queue)
    true = Enum.all?(Map.keys(t.waiting), &(&1 in queue))
    true = Enum.all?(Map.keys(t.waiting), &(not is_map_key(t.pending, &1)))
    true = Enum.all?(Map.keys(t.errors), &is_map_key(t.callers, &1))
    true = map_size(t) <= 32
    t
  end
end
