defmodule Outrigger.Withdrawal do
  @moduledoc false
  # Requests and tensors that are no longer wanted: deadlines, cancels, callers that are gone,
  # handles that nobody holds. `t` is an Outrigger.Traffic.

  alias Outrigger.{ConnectionError, Error, Leases, Outcome, Server, Telemetry, Traffic}

  @doc "Answers when the handle's tensor exists or has failed."
  def await_handle(t, handle, ref) do
    case :ets.lookup(t.meta, handle) do
      [{_, outcome}] ->
        Outcome.answer(ref, Outcome.settled_reply(outcome))
        t

      [] ->
        if coming?(t, handle) do
          %{t | waiters: Map.update(t.waiters, handle, [ref], &[ref | &1])}
        else
          error = %Error{code: :bad_handle, message: Error.released("the tensor is gone")}
          Outcome.answer(ref, {:error, error})
          t
        end
    end
  end

  defp coming?(t, handle), do: find(t, &creates?(&1, handle)) != nil

  defp creates?({{:results, handles, _}, _, _, _}, handle), do: handle in handles
  defp creates?({{:results, handles, _, _}, _, _, _}, handle), do: handle in handles
  defp creates?(_, _), do: false

  # {id, :sent | :queued} of the first request that fits.
  defp find(t, fun) do
    sent = Enum.concat(t.pending, Traffic.direct(t))

    case Enum.find(sent, fn {_, entry} -> fun.(entry) end) do
      {id, _} ->
        {id, :sent}

      nil ->
        case Enum.find(:queue.to_list(t.queue), fn {_, _, entry, _} -> fun.(entry) end) do
          nil -> nil
          {id, _, _, _} -> {id, :queued}
        end
    end
  end

  @doc "Cancels the request that creates a tensor."
  def cancel_handle(t, handle, ref) do
    found = find(t, &creates?(&1, handle))
    Outcome.answer(ref, {:ok, found != nil})
    cancel_found(t, found, %Error{code: :cancelled, message: "cancelled by the client"})
  end

  @doc "The caller no longer waits: nobody needs the reply."
  def give_up(t, id), do: cancel_id(t, id, %ConnectionError{reason: :deadline})

  @doc "The time of a request is over, whether the daemon answers or not."
  def deadline(t, id) do
    detail = "the daemon has not answered at the request's deadline"
    cancel_id(t, id, %ConnectionError{reason: :deadline, detail: detail})
  end

  defp cancel_id(t, id, error) do
    t = Traffic.adopt(t, id)

    if is_map_key(t.pending, id) do
      abandon(t, id, error)
    else
      case Enum.any?(:queue.to_list(t.queue), &(elem(&1, 0) == id)) do
        true -> unqueue(t, id, error)
        false -> t
      end
    end
  end

  defp cancel_found(t, nil, _error), do: t

  defp cancel_found(t, {id, :sent}, _error),
    do: Traffic.own(t, "cancel", [{"request", id}], :drop)

  defp cancel_found(t, {id, :queued}, error), do: unqueue(t, id, error)

  # Its place in the windows stays taken until the daemon answers.
  defp abandon(t, id, error) do
    {want, size, pid, timer} = Map.fetch!(t.pending, id)
    if timer, do: Process.cancel_timer(timer)
    t = Outcome.tell(t, want, pid, {:error, error})
    t = %{t | pending: Map.put(t.pending, id, {:drop, size, pid, nil})}
    Traffic.own(t, "cancel", [{"request", id}], :drop)
  end

  defp unqueue(t, id, error) do
    {[request], rest} = Enum.split_with(:queue.to_list(t.queue), &(elem(&1, 0) == id))
    {_, _, {want, size, pid, timer}, _} = request
    Server.written(t.counters, 1)
    if timer, do: Process.cancel_timer(timer)
    Server.done(t.counters, 1, Server.weight(size))
    t = %{t | queue: :queue.from_list(rest), queued: t.queued - 1}
    Outcome.tell(t, want, pid, {:error, error})
  end

  @doc "A process that asked for something is gone."
  def caller_down(t, pid) do
    t =
      for({id, {_, _, ^pid, _}} <- Traffic.direct(t), do: id)
      |> Enum.reduce(t, &Traffic.adopt(&2, &1))

    waiting = for {id, {want, _, ^pid, _}} <- t.pending, waits?(want), do: id
    queued = for {id, _, {want, _, ^pid, _}, _} <- :queue.to_list(t.queue), waits?(want), do: id
    last = if t.last_caller == pid, do: nil, else: t.last_caller
    t = %{t | callers: Map.delete(t.callers, pid), last_caller: last}
    error = %Error{code: :cancelled, message: "the process that asked for it is gone"}
    t = Enum.reduce(queued, t, &unqueue(&2, &1, error))
    t = Enum.reduce(waiting, t, &abandon(&2, &1, error))
    t = %{t | errors: Map.delete(t.errors, pid)}

    # Its programs go on only if another process holds what they make: the leases will tell.
    if t.leases && Enum.any?(t.pending, &match?({_, {{:results, _, _}, _, ^pid, _}}, &1)) do
      Leases.poll(t.leases)
      %{t | dead: MapSet.put(t.dead, pid)}
    else
      t
    end
  end

  defp waits?({:results, _, _, _}), do: true
  defp waits?({kind, _}), do: kind in [:reply, :sync]
  defp waits?(_want), do: false

  @doc "Handles that nobody holds."
  def release(t, handles) do
    t = forget(t, handles)

    if t.epoch == 0 or handles == [] do
      t
    else
      handles
      |> Server.release_batches()
      |> Enum.reduce(t, &Traffic.in_turn(&2, "release", [{"handles", &1}]))
    end
  end

  @doc "Handles that a caller has given back; nothing that it asks for now may overtake."
  def hand_back(t, epoch, _handles) when epoch != t.epoch do
    Server.written(t.counters, 1)
    t
  end

  def hand_back(t, _epoch, handles),
    do: t |> forget(handles) |> Traffic.in_turn("release", [{"handles", handles}], nil)

  defp forget(t, handles) do
    if t.epoch != 0 and handles != [],
      do: Telemetry.execute([:lease, :released], %{count: length(handles)}, %{server: t.name})

    t = Enum.reduce(handles, t, &Outcome.forget/2)
    if MapSet.size(t.dead) > 0, do: cancel_orphans(t, MapSet.new(handles)), else: t
  end

  # A program whose caller is dead and whose results nobody holds is cancelled, unless something that
  # goes on depends on it: a living process's request, or another program of the dead one whose
  # results somebody holds. Requests only use what older ones make: newest first, one pass tells.
  defp cancel_orphans(t, released) do
    queued = for {id, _, entry, _} <- :queue.to_list(t.queue), do: {id, entry}

    {orphans, _needed} =
      (Map.to_list(t.pending) ++ queued)
      |> Enum.sort(:desc)
      |> Enum.reduce({[], MapSet.new()}, fn {id, {want, _, pid, _}}, {orphans, needed} ->
        case want do
          {:results, [_ | _] = handles, {args, _, _}} ->
            dead? = MapSet.member?(t.dead, pid)

            if dead? and Enum.all?(handles, &(&1 in released and &1 not in needed)),
              do: {[id | orphans], needed},
              else: {orphans, MapSet.union(needed, MapSet.new(args))}

          {:results, _, {args, _, _}} ->
            {orphans, MapSet.union(needed, MapSet.new(args))}

          {:results, _, {args, _, _}, _} ->
            {orphans, MapSet.union(needed, MapSet.new(args))}

          _ ->
            {orphans, needed}
        end
      end)

    orphans = Enum.filter(orphans, &is_map_key(t.pending, &1))
    error = %Error{code: :cancelled, message: "nobody holds its results"}
    t = Enum.reduce(orphans, t, &abandon(&2, &1, error))
    t = %{t | errors: Map.drop(t.errors, MapSet.to_list(t.dead))}
    left = for {_, {{:results, _, _}, _, pid, _}} <- t.pending, into: MapSet.new(), do: pid
    %{t | dead: MapSet.intersection(t.dead, left)}
  end
end
