defmodule Outrigger.Traffic do
  @moduledoc false
  # The requests of one connection between their callers and the port: what waits, what was sent,
  # what the windows allow, who is told of the outcome. Used by the connection process only.
  #
  # Invariant: each request counted in the server's counters is in `pending` or in `queue`, until
  # finish/4 takes it out, tells its owner exactly once, and uncounts it. What callers wrote to the
  # port themselves is in the table `direct` instead.
  #
  # Outrigger.Outcome tells the owners; Outrigger.Withdrawal is about requests that nobody wants
  # any more.

  alias Outrigger.{ConnectionError, Outcome, Protocol, Server}

  # One port command runs on our scheduler: keep it short.
  @flush_bytes 128 * 1024
  @retry_ms 2
  # The bytes of a long program become a tensor under this handle; callers' begin at 256.
  @program_handle 1
  # A local deadline leaves the daemon this much to answer by itself.
  @deadline_grace_ms 20

  # At most 32 keys with __struct__: larger maps are trees, and each update costs several times more.
  defstruct [
    :counters,
    :meta,
    :direct,
    :leases,
    :name,
    port: nil,
    epoch: 0,
    limits: %{
      requests_window: 1,
      bytes_window: 1,
      programs_max: 1,
      part_bytes: 1,
      room_below: 1,
      memory: 0,
      poll_bytes: 0
    },
    pending: %{},
    bytes: 0,
    queue: :queue.new(),
    queued: 0,
    out: [],
    out_bytes: 0,
    # handed-on requests in `out`
    out_count: 0,
    blocked?: false,
    programs: %{},
    tick: 0,
    waiters: %{},
    room: [],
    callers: %{},
    last_caller: nil,
    errors: %{},
    dead: MapSet.new(),
    write_errors?: false,
    live_bytes: 0,
    created_bytes: 0,
    last_exit: :unknown
  ]

  @type t :: %__MODULE__{}

  ## From callers

  @doc "Takes a request message of Server.send_frame/8."
  def submit(t, {:request, epoch, _, _, size, want, _, _, _}) when epoch != t.epoch do
    Server.written(t.counters, 1)
    gone(t, want, size)
  end

  def submit(t, {:request, _, id, frame, size, want, pid, program, deadline}) do
    t = if pid == t.last_caller, do: t, else: watch(t, pid)
    timer = deadline && Process.send_after(self(), {:deadline, id}, deadline + @deadline_grace_ms)
    request = {id, frame, {want, size, pid, timer}, program}

    if t.queued == 0 and open?(t, size) do
      handed_on(t, request)
    else
      %{t | queue: :queue.in(request, t.queue), queued: t.queued + 1}
    end
  end

  @doc "A caller wanted to write to the port itself, but it is busy."
  def unsent(t, {:unsent, epoch, _, _}) when epoch != t.epoch do
    Server.written(t.counters, 1)
    t
  end

  def unsent(t, {:unsent, _, _id, frame}) do
    size = IO.iodata_length(frame)
    %{t | out: [t.out | frame], out_bytes: t.out_bytes + size, out_count: t.out_count + 1}
  end

  # Sent to a daemon that was gone when we heard of it.
  defp gone(t, want, size) do
    Server.done(t.counters, 1, Server.weight(size))
    Outcome.tell(t, want, nil, {:error, %ConnectionError{reason: {:daemon_exited, t.last_exit}}})
  end

  defp watch(t, pid) do
    callers = t.callers

    callers =
      if is_map_key(callers, pid), do: callers, else: Map.put(callers, pid, Process.monitor(pid))

    %{t | callers: callers, last_caller: pid}
  end

  defp open?(%{limits: %{requests_window: requests, bytes_window: bytes}} = t, size) do
    pending = map_size(t.pending)
    not t.blocked? and pending < requests and (t.bytes + size <= bytes or pending == 0)
  end

  defp handed_on(t, {id, frame, entry, :own}), do: forward(t, {id, frame, entry, nil})
  defp handed_on(t, {_, _, _, nil} = request), do: forward(t, request, 1)
  defp handed_on(t, request), do: forward(%{t | out_count: t.out_count + 1}, request)

  defp forward(t, request, handed_on \\ 0)

  # Each update copies all of `t`: one will do.
  defp forward(t, {id, frame, {_, size, _, _} = entry, nil}, handed_on) do
    %{pending: pending, bytes: bytes, out: out, out_bytes: out_bytes, out_count: out_count} = t
    out_bytes = out_bytes + size

    t = %{
      t
      | pending: Map.put(pending, id, entry),
        bytes: bytes + size,
        out: [out | frame],
        out_bytes: out_bytes,
        out_count: out_count + handed_on
    }

    if out_bytes >= @flush_bytes, do: flush(t), else: t
  end

  # Its program is for this call only.
  defp forward(t, {id, frame, entry, {:once, {program_id, _, _} = program}}, handed_on) do
    t = forward(t, {id, frame, entry, program}, handed_on)
    t = %{t | programs: Map.delete(t.programs, program_id)}
    own(t, "forget", [{"program_id", program_id}], :drop)
  end

  # A call of a prepared program. The client decides what the daemon keeps, and so always knows.
  defp forward(t, {id, frame, entry, program}, handed_on),
    do: t |> keep(program) |> forward({id, frame, entry, nil}, handed_on)

  # A program that is run at once is not kept, what it calls is.
  defp keep(t, {0, _encoded, callees}), do: keep_all(t, callees)

  defp keep(t, {program_id, _encoded, _callees} = program) do
    t = if is_map_key(t.programs, program_id), do: t, else: prepare(t, program, nil)
    used(t, program_id)
  end

  defp keep_all(t, programs), do: Enum.reduce(programs, t, &keep(&2, &1))

  # The same as last time: no change.
  defp used(%{programs: programs, tick: tick} = t, program_id)
       when :erlang.map_get(program_id, programs) == tick,
       do: t

  defp used(t, program_id) do
    tick = t.tick + 1
    %{t | tick: tick, programs: Map.put(t.programs, program_id, tick)}
  end

  @doc "Prepares a program of Program.kept/3 for a caller that waits for the verdict."
  def prepare(%{epoch: 0} = t, _program, ref) do
    Outcome.answer(ref, {:error, %ConnectionError{reason: :not_connected}})
    t
  end

  # What it calls must be there before it.
  def prepare(t, {program_id, encoded, callees}, ref) do
    t = keep_all(t, callees)
    t = if map_size(t.programs) >= t.limits.programs_max, do: evict(t), else: t
    want = {:prepare, program_id, ref}

    t =
      if byte_size(encoded) > t.limits.part_bytes,
        do: prepare_in_parts(t, program_id, encoded, want),
        else: own(t, "prepare", [{"program_id", program_id}, {"program", {:raw, encoded}}], want)

    used(t, program_id)
  end

  # Nothing is waited for: what is wrong with a part, the daemon says of the program.
  defp prepare_in_parts(t, program_id, encoded, want) do
    size = byte_size(encoded)
    part = t.limits.part_bytes
    constant = [{"handle", @program_handle}, {"dtype", "u8"}, {"shape", [size]}]

    t =
      Enum.reduce(0..(size - 1)//part, t, fn offset, t ->
        data = {:bin, binary_part(encoded, offset, min(part, size - offset))}
        own(t, "upload", constant ++ [{"offset", offset}, {"data", data}], :drop)
      end)

    t
    |> own("prepare", [{"program_id", program_id}, {"handle", @program_handle}], want)
    |> own("release", [{"handles", [@program_handle]}], :drop)
  end

  # A call that its caller has written, or is about to write, counts as a use: the daemon must not
  # forget the program before. Once the port is withdrawn, there will be no further ones.
  defp evict(t, busy \\ 0) do
    {oldest, _} = Enum.min_by(t.programs, fn {_, tick} -> tick end)
    Server.withdraw_port(t.meta, oldest)

    if called_directly?(t, oldest) and busy < map_size(t.programs) do
      Server.offer_port(t.meta, t.epoch, t.port, oldest)
      t |> used(oldest) |> evict(busy + 1)
    else
      t = %{t | programs: Map.delete(t.programs, oldest)}
      own(t, "forget", [{"program_id", oldest}], :drop)
    end
  end

  defp called_directly?(t, program_id),
    do: :ets.select_count(t.direct, [{{:_, :_, :_, :_, program_id}, [], [true]}]) > 0

  @doc "A request of the connection itself, which overtakes those that wait for the window."
  def own(t, kind, fields, want) do
    {request, t} = own_request(t, kind, fields, want)
    forward(t, request)
  end

  @doc """
  One that must not overtake: a handle is released after the request that makes it. `origin` is nil
  if a caller has handed it on.
  """
  def in_turn(t, kind, fields, origin \\ :own) do
    {{id, frame, entry, nil}, t} = own_request(t, kind, fields, :drop)
    request = {id, frame, entry, origin}

    if t.queued == 0,
      do: handed_on(t, request),
      else: %{t | queue: :queue.in(request, t.queue), queued: t.queued + 1}
  end

  defp own_request(t, kind, fields, want) do
    id = Server.request_id(t)
    frame = IO.iodata_to_binary(Protocol.request(id, kind, fields))
    Server.count(t.counters, byte_size(frame))
    {{id, frame, {want, byte_size(frame), self(), nil}, nil}, t}
  end

  @doc "Writes what has gathered."
  def flush(%{out_bytes: 0} = t), do: t

  def flush(t) do
    if Port.command(t.port, t.out, [:nosuspend]) do
      if t.out_count > 0, do: Server.written(t.counters, t.out_count)
      %{t | out: [], out_bytes: 0, out_count: 0, blocked?: false}
    else
      # The child does not read. What waits here is bounded by the daemon's windows.
      unless t.blocked?, do: Process.send_after(self(), :retry, @retry_ms)
      %{t | blocked?: true}
    end
  rescue
    # The port is gone; its exit status is on its way.
    ArgumentError ->
      Server.written(t.counters, t.out_count)
      %{t | out: [], out_bytes: 0, out_count: 0}
  end

  @doc "The port was busy: tries again."
  def retry(%{blocked?: true} = t) do
    t = flush(%{t | blocked?: false})
    if t.blocked?, do: t, else: t |> pump() |> flush()
  end

  def retry(t), do: t

  defp pump(%{queued: 0} = t), do: t

  defp pump(t) do
    {:value, {_, _, {_, size, _, _}, _} = request} = :queue.peek(t.queue)

    if open?(t, size) do
      pump(handed_on(%{t | queue: :queue.drop(t.queue), queued: t.queued - 1}, request))
    else
      t
    end
  end

  ## From the daemon

  @doc "A terminal reply."
  def reply(t, id, reply) do
    case t.pending do
      %{^id => entry} -> t |> finish(id, entry, reply) |> pump()
      _ -> reply_direct(t, id, reply)
    end
  end

  # The caller wrote this one itself; or nobody asked.
  defp reply_direct(t, id, reply) do
    case :ets.take(t.direct, id) do
      [{_, want, size, pid, program_id}] ->
        t = if is_map_key(t.programs, program_id), do: used(t, program_id), else: t
        Server.done(t.counters, 1, Server.weight(size))
        t |> Outcome.tell(want, pid, reply) |> admit()

      [] ->
        t
    end
  end

  defp finish(t, id, {want, size, pid, timer}, reply) do
    if timer, do: Process.cancel_timer(timer)
    Server.done(t.counters, 1, Server.weight(size))
    t = %{t | pending: Map.delete(t.pending, id), bytes: t.bytes - size}
    t |> Outcome.tell(want, pid, reply) |> admit()
  end

  defp admit(%{room: []} = t), do: t

  defp admit(t) do
    {requests, bytes} = Server.in_flight(t)

    if requests <= t.limits.room_below and bytes <= t.limits.room_below * 4096 do
      for ref <- t.room, do: Outcome.answer(ref, {:ok, :room})
      %{t | room: []}
    else
      t
    end
  end

  def await_room(t, ref), do: admit(%{t | room: [ref | t.room]})

  # What callers have written themselves, in the form of `pending`. A few at most.
  def direct(t) do
    for {id, want, size, pid, _} <- :ets.tab2list(t.direct), do: {id, {want, size, pid, nil}}
  end

  # From now on it is like one that we have sent.
  def adopt(t, id) do
    case :ets.take(t.direct, id) do
      [{_, want, size, pid, _}] ->
        %{t | pending: Map.put(t.pending, id, {want, size, pid, nil}), bytes: t.bytes + size}

      [] ->
        t
    end
  end

  ## The end of an epoch

  @doc "The daemon is gone: each request that waits is answered, once."
  def fail_all(t, error) do
    t = for({id, _} <- direct(t), do: id) |> Enum.reduce(t, &adopt(&2, &1))
    queue = :queue.to_list(t.queue)
    entries = Enum.map(t.pending, &elem(&1, 1)) ++ Enum.map(queue, &elem(&1, 2))

    handed_on = Enum.count(queue, fn {_, _, _, program} -> program != :own end)
    Server.written(t.counters, handed_on + t.out_count)

    for {want, size, _pid, timer} <- entries do
      if timer, do: Process.cancel_timer(timer)
      Server.done(t.counters, 1, Server.weight(size))

      case want do
        {kind, ref} when kind in [:reply, :sync] -> Outcome.answer(ref, {:error, error})
        {:prepare, _, ref} when ref != nil -> Outcome.answer(ref, {:error, error})
        {:results, _, _, ref} -> Outcome.answer(ref, {:error, error})
        _ -> :ok
      end
    end

    for {_, refs} <- t.waiters, ref <- refs, do: Outcome.answer(ref, {:error, error})
    for ref <- t.room, do: Outcome.answer(ref, {:ok, :room})
    lost = for {{:results, _, _}, _, pid, _} <- entries, into: %{}, do: {pid, error}
    :ets.delete_all_objects(t.meta)

    %{
      t
      | port: nil,
        epoch: 0,
        pending: %{},
        bytes: 0,
        queue: :queue.new(),
        queued: 0,
        out: [],
        out_bytes: 0,
        out_count: 0,
        blocked?: false,
        programs: %{},
        waiters: %{},
        room: [],
        dead: MapSet.new(),
        write_errors?: false,
        errors: Map.merge(lost, t.errors),
        live_bytes: 0,
        created_bytes: 0
    }
  end
end
