defmodule Outrigger.Withdrawal do
  @moduledoc false
  # Ends requests and tensors that no process wants any more, after deadlines, cancels, the death of
  # callers, and the release of handles. `t` is an Outrigger.Traffic.

  alias Outrigger.{ConnectionError, Error, Leases, Orphans, Outcome, Request, Server}
  alias Outrigger.{Subscriptions, Telemetry, Traffic, Waits}
  import Outrigger.Request, only: [entry: 1, entry: 2, results: 1]

  # The rest between two passes over all requests, in multiples of the time of one pass.
  @rest_factor 9

  @doc "Answers when the key is there: the tensor of a handle, room for requests, or a daemon."
  def wait(t, key, ref, pid) when key in [:room, :ready],
    do: t |> add_wait(key, ref, pid) |> Traffic.publish() |> Traffic.admit()

  def wait(t, handle, ref, pid) do
    case :ets.lookup(t.meta, handle) do
      [{_, outcome}] ->
        Outcome.answer(ref, Outcome.settled_reply(outcome))
        t

      [] ->
        if coming?(t, handle) do
          add_wait(t, handle, ref, pid)
        else
          error = %Error{code: :bad_handle, message: Error.released("the tensor is gone")}
          Outcome.answer(ref, {:error, error})
          t
        end
    end
  end

  defp add_wait(t, key, ref, pid) do
    t = Traffic.note(t, pid, ref)
    %{t | waits: Waits.add(t.waits, key, ref)}
  end

  @doc "Removes a reference whose owner does not wait any more."
  def wait_no_more(t, ref), do: %{t | waits: Waits.drop(t.waits, ref)}

  defp coming?(t, handle), do: find(t, &creates?(&1, handle)) != nil

  defp creates?(entry(want: results(handles: handles)), handle), do: handle in handles
  defp creates?(_, _), do: false

  # {id, :sent | :waiting} of the first request for which `fun` is true.
  defp find(t, fun) do
    sent = fn {_, entry} -> fun.(entry) end
    waiting = fn {_, {_, entry, _}} -> fun.(entry) end

    with nil <- Enum.find(Traffic.direct(t), sent),
         nil <- Enum.find(t.pending, sent) do
      with {id, _} <- Enum.find(t.waiting, waiting), do: {id, :waiting}
    else
      {id, _} -> {id, :sent}
    end
  end

  @doc "Cancels the request that creates a tensor."
  def cancel_handle(t, handle, ref) do
    found = find(t, &creates?(&1, handle))
    Outcome.answer(ref, {:ok, found != nil})

    case found do
      nil -> t
      {id, :sent} -> cancel(t, id)
      {id, :waiting} -> withdraw(t, id, error(:cancelled, "cancelled by the client"))
    end
  end

  defp error(code, message), do: %Error{code: code, message: message}

  @doc "Ends a request whose caller no longer waits for the reply."
  def give_up(t, id), do: withdraw(t, id, %ConnectionError{reason: :deadline})

  @doc "Ends a request at its deadline, whether the daemon answers or not."
  def deadline(t, id) do
    detail = "the daemon has not answered at the request's deadline"
    withdraw(t, id, %ConnectionError{reason: :deadline, detail: detail})
  end

  @doc "Takes back a request that was not sent. Answers whether that was possible."
  def take_back(t, id, ref) do
    waits? = is_map_key(t.waiting, id)
    Outcome.answer(ref, {:ok, waits?})
    if waits?, do: withdraw(t, id, %ConnectionError{reason: :queue_full}), else: t
  end

  # Ends a request with the error, whether it was sent or waits.
  defp withdraw(t, id, error) do
    case Traffic.unqueue(t, id) do
      {entry(want: want, pid: pid, timer: timer), t} ->
        if timer, do: Process.cancel_timer(timer)
        t |> Traffic.ended(id, want) |> Outcome.tell(want, pid, {:error, error})

      nil ->
        {_, t} = Traffic.adopt(t, id)
        if is_map_key(t.pending, id), do: abandon(t, id, error, :drop), else: t
    end
  end

  # The request keeps its place in the windows until the daemon answers.
  defp abandon(t, id, error, want_now) do
    entry(want: want, pid: pid, timer: timer) = entry = Map.fetch!(t.pending, id)
    if timer, do: Process.cancel_timer(timer)
    t = t |> Traffic.ended(id, want) |> Outcome.tell(want, pid, {:error, error})
    entry = entry(entry, want: want_now, timer: nil)
    cancel(%{t | pending: Map.put(t.pending, id, entry)}, id)
  end

  defp cancel(t, id), do: Traffic.own(t, "cancel", [{"request", id}], {:cancelled, id})

  @doc "Ends the requests of a process that has ended."
  def caller_down(t, pid) do
    {items, t} = Traffic.forget_caller(t, pid)
    t = %{t | errors: Map.delete(t.errors, pid)}
    error = error(:cancelled, "the process that sent the request is gone")
    {written, t} = Enum.reduce(Traffic.direct(t, pid), {[], t}, &adopt(&1, &2, error))
    orphans = t.orphans
    t = Enum.reduce(written ++ items, t, &disown(&2, &1, error))

    # The leases find out whether another process holds results of its programs. Only then the
    # programs go on.
    if t.leases && t.orphans != orphans, do: Leases.poll_soon(t.leases)
    t
  end

  # The request during which the caller was killed may be written or not, and no process knows its
  # results. The daemon says whether it has the request. If not, no reply will come.
  defp adopt(id, {written, t}, error) do
    case Traffic.adopt(t, id) do
      {:wrote, t} -> {[id | written], t}
      {:unsure, t} -> {written, abandon(t, id, error, :unsure)}
      {:gone, t} -> {written, t}
    end
  end

  defp disown(t, ref, _error) when is_reference(ref),
    do: t |> wait_no_more(ref) |> Subscriptions.unsubscribe(ref)

  defp disown(t, id, error) do
    case t do
      %{pending: %{^id => entry(want: want)}} -> disown(t, id, want, error)
      %{waiting: %{^id => {_, entry(want: want), _}}} -> disown(t, id, want, error)
      _ended -> t
    end
  end

  defp disown(t, id, results(ref: nil, handles: [_ | _] = handles), _error),
    do: %{t | orphans: Orphans.add(t.orphans, id, handles)}

  defp disown(t, id, want, error),
    do: if(Request.waits?(want), do: withdraw(t, id, error), else: t)

  @doc "Releases handles that no process holds."
  def release(%{epoch: 0} = t, _handles), do: t
  def release(t, []), do: t

  def release(t, handles),
    do: handles |> Server.release_batches() |> Enum.reduce(t, &release_some(&2, &1))

  @doc "Releases handles that a caller has given back, before the later requests of that caller."
  def hand_back(t, epoch, _handles) when epoch != t.epoch, do: t
  def hand_back(t, _epoch, handles), do: release_some(t, handles)

  # If a tensor is not made yet, its metadata comes before the reply to the release.
  defp release_some(t, handles) do
    Telemetry.execute([:lease, :released], %{count: length(handles)}, %{server: t.name})
    {unknown, t} = Enum.reduce(handles, {[], t}, &forget/2)
    t = Traffic.in_turn(t, "release", [{"handles", handles}], {:released, unknown})

    if map_size(t.orphans.left) > 0,
      do: %{t | orphans: Orphans.release(t.orphans, handles)},
      else: t
  end

  defp forget(handle, {unknown, t}) do
    case Outcome.forget(handle, t) do
      {:ok, t} -> {unknown, t}
      :unknown -> {[handle | unknown], t}
    end
  end

  @doc """
  Cancels the programs whose caller is dead and whose results no process holds or needs. One pass
  serves all releases and deaths until then. The passes take at most a tenth of the time.
  """
  def cancel_orphans(%{orphans: %{left: left}} = t) when map_size(left) == 0, do: t

  def cancel_orphans(%{orphans: orphans} = t) do
    began = System.monotonic_time()
    rest = (orphans.rest_until || began) - began

    cond do
      rest <= 0 ->
        t = cancel_useless(%{t | orphans: %{orphans | asked?: false}})
        now = System.monotonic_time()
        %{t | orphans: %{t.orphans | rest_until: now + @rest_factor * (now - began)}}

      orphans.asked? ->
        t

      true ->
        ms = System.convert_time_unit(rest, :native, :millisecond) + 1
        Process.send_after(self(), :polled, ms)
        %{t | orphans: %{orphans | asked?: true}}
    end
  end

  defp cancel_useless(t) do
    sent = for {id, entry(want: want)} <- t.pending, do: {id, want}
    waiting = for {id, {_, entry(want: want), _}} <- t.waiting, do: {id, want}
    direct = for {id, entry(want: want)} <- Traffic.direct(t), do: {id, want}
    wants = sent ++ waiting ++ direct

    # The caller may have released some handles before its death.
    released = for {_, {:released, handles}} <- wants, handle <- handles, do: handle
    orphans = Orphans.release(t.orphans, released)
    requests = for {id, results(args: args, handles: made)} <- wants, do: {id, args, made}
    error = error(:cancelled, "no process holds the results of the program")

    orphans
    |> Orphans.useless(requests)
    |> Enum.reduce(%{t | orphans: orphans}, &withdraw(&2, &1, error))
  end
end
