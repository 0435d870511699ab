defmodule Outrigger.Outcome do
  @moduledoc false
  # The outcome of a request, a reply or a failure: answers the callers, and notes the state of the
  # tensors. `t` is an Outrigger.Traffic.

  alias Outrigger.{
    ConnectionError,
    Dtype,
    Error,
    KeptPrograms,
    Leases,
    Subscriptions,
    Telemetry,
    Traffic,
    Waits
  }

  import Outrigger.Request, only: [results: 1, results: 2]
  require Waits

  # The caller waits for the results. It gets an error directly, and not again by sync/2 or the next
  # read.
  def tell(t, results(ref: ref) = want, pid, reply) when ref != nil do
    t =
      case reply do
        {:ok, _} -> tell(t, results(want, ref: nil), pid, reply)
        {:error, _} -> tell(t, results(want, ref: nil, written: []), nil, reply)
      end

    answer(ref, reply)
    t
  end

  def tell(t, results(donated: donated), pid, {:ok, %{"results" => results}}) do
    t = Enum.reduce(donated, t, &forget_known/2)
    t = Enum.reduce(results, t, &created/2)
    if t.created_bytes > t.limits.poll_bytes, do: poll(t, pid), else: t
  end

  def tell(t, results(handles: handles, written: written), pid, {:error, error}) do
    Telemetry.execute([:request, :error], %{count: 1}, %{server: t.name, error: error})
    # The errors of a dead process are not kept.
    errors = if is_map_key(t.callers, pid), do: Map.put_new(t.errors, pid, error), else: t.errors
    t = Enum.reduce(written, t, &write_failed(&2, &1, error))
    t = Enum.reduce(handles, %{t | errors: errors}, &settled(&2, &1, {:error, error}))

    case error do
      %Error{code: :out_of_memory} ->
        collect(t)

      %Error{code: code} when code in [:unknown_program, :unknown_kernel] ->
        KeptPrograms.drop_programs(t)

      _ ->
        t
    end
  end

  def tell(t, results(handles: handles), _pid, {:ok, _no_results}) do
    Enum.reduce(handles, t, &settled(&2, &1, {:error, %ConnectionError{reason: :protocol}}))
  end

  # All requests before the release have answers, so nothing more is noted for these handles.
  def tell(t, {:released, handles}, _pid, _reply), do: Enum.reduce(handles, t, &forget_known/2)

  def tell(t, {:cancelled, id}, _pid, {:ok, %{"found" => false}}),
    do: Traffic.never_arrived(t, id)

  def tell(t, {kind, ref}, _pid, reply) when kind in [:reply, :at_once] do
    answer(ref, reply)
    t
  end

  def tell(t, {:sync, ref}, pid, reply) do
    {error, errors} = Map.pop(t.errors, pid)
    answer(ref, if(error, do: {:error, error}, else: reply))
    %{t | errors: errors}
  end

  def tell(t, {:prepare, program_id, ref}, _pid, reply) do
    if ref, do: answer(ref, reply)

    case reply do
      {:ok, _} ->
        # Other programs may have evicted this one before its reply came.
        if is_integer(program_id) and is_map_key(t.programs, program_id),
          do: Traffic.offer_port(t, program_id)

        t

      {:error, %Error{code: code}} when code in [:unknown_program, :unknown_kernel] ->
        KeptPrograms.drop_programs(t)

      {:error, _} ->
        KeptPrograms.drop_program(t, program_id)
    end
  end

  def tell(t, {kind, _id, _ref} = want, _pid, reply) when kind in [:subscribe, :names],
    do: Subscriptions.reply(t, want, reply)

  def tell(t, _drop, _pid, _reply), do: t

  # The operand of a failed write in place stays valid. Its next read returns the error, unless it
  # is released.
  defp write_failed(t, handle, error) do
    if :ets.member(t.meta, handle) do
      :ets.insert_new(t.meta, {{:write, handle}, error})
      %{t | write_errors?: true}
    else
      t
    end
  end

  defp created(%{"handle" => handle, "dtype" => dtype, "shape" => shape}, t) do
    case Dtype.parse(dtype) do
      {:ok, type} ->
        shape = List.to_tuple(shape)
        bytes = Dtype.byte_size(type, shape)
        t = %{t | live_bytes: t.live_bytes + bytes, created_bytes: t.created_bytes + bytes}
        settled(t, handle, {type, shape})

      :error ->
        detail = "this client does not know the dtype #{dtype}"
        settled(t, handle, {:error, %ConnectionError{reason: :protocol, detail: detail}})
    end
  end

  defp settled(t, handle, outcome) do
    :ets.insert(t.meta, {handle, outcome})

    if Waits.is_awaited(t.waits, handle),
      do: answer_all(t, handle, settled_reply(outcome)),
      else: t
  end

  def settled_reply({:error, error}), do: {:error, error}
  def settled_reply(meta), do: {:ok, meta}

  # Near the limit the callers collect their garbage first: their old heaps may hold dropped
  # tensors.
  defp poll(%{limits: %{memory: limit}} = t, _pid) when limit > 0 and t.live_bytes > limit * 0.7,
    do: collect(t)

  # A caller that makes large tensors makes few other terms. Its heap hardly grows, so the VM does
  # not collect. Without this poll each tensor gets new memory, which costs several times more.
  defp poll(t, pid) do
    if t.leases, do: Leases.poll(t.leases, List.wrap(pid), :routine)
    %{t | created_bytes: 0}
  end

  defp collect(t) do
    if t.leases, do: Leases.poll(t.leases, Map.keys(t.callers))
    %{t | created_bytes: 0}
  end

  @doc "Forgets a released handle: `{:ok, t}`, or `:unknown` if the handle has no entry."
  def forget(handle, t) do
    if t.write_errors?, do: :ets.delete(t.meta, {:write, handle})

    case :ets.take(t.meta, handle) do
      [] ->
        :unknown

      [{_, {:error, _}}] ->
        {:ok, t}

      [{_, {type, shape}}] ->
        {:ok, %{t | live_bytes: t.live_bytes - Dtype.byte_size(type, shape)}}
    end
  end

  defp forget_known(handle, t) do
    with {:ok, t} <- forget(handle, t), do: t, else: (:unknown -> t)
  end

  @doc "Answers all references that wait for a key."
  def answer_all(t, key, reply) do
    {refs, waits} = Waits.take(t.waits, key)
    for ref <- refs, do: answer(ref, reply)
    %{t | waits: waits}
  end

  # `ref` is an alias, so the VM drops an answer to a caller that no longer waits.
  def answer(ref, reply), do: send(ref, {ref, reply})
end
