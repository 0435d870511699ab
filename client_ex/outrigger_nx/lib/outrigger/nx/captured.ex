defmodule Outrigger.Nx.Captured do
  @moduledoc false
  # The captured tensors of expressions, in the daemons. They belong to the process that calls the
  # expression. That process uploads them once for each server, and passes them to each call. The
  # least recently used ones are released when all have too many bytes, and when the daemon is
  # short of memory. All are released at the end of the process. The next call uploads released
  # tensors again.

  alias Outrigger.Nx.{Backend, Cache}
  alias Outrigger.{Scope, Server, Tensor}

  @items __MODULE__
  # A process may use the daemon's memory divided by this.
  @share 2
  # Smaller tensors are uploaded without a check of the daemon's memory.
  @weighed_bytes 65_536
  @idle_ms 60_000
  @noted_ms 1_000

  @doc "The bytes of the tensors that an expression captured, in this VM."
  def bytes(%{captured: tensors}), do: Enum.sum(Enum.map(tensors, &Nx.byte_size/1))
  def bytes(_callbacks), do: 0

  @doc "The limit of the bytes of captured tensors of a process, in daemons."
  def bytes_max, do: Application.get_env(:outrigger_nx, :captured_bytes_max, 256 * 1024 * 1024)

  @doc "The handles of the tensors that an expression captured, on a server."
  def tensors(%{captured: []}, _server) do
    # A process with other captured tensors releases them if memory is short.
    if Process.get(@items), do: items()
    []
  end

  def tensors(%{ref: ref} = compiled, server) do
    key = {ref, server.counters, Server.epoch!(server)}
    {item, others} = take(items(), key)

    case settle(item) do
      :none ->
        upload(compiled, key, server, others)

      :failed ->
        # The missing memory may be free now.
        free([item])
        upload(compiled, key, server, others)

      settled ->
        now = now()
        noted? = settled == item and now - item.used_at < @noted_ms and hd(items()) == item
        unless noted?, do: put([%{settled | used_at: now} | others])
        item.tensors
    end
  end

  # Asks for the state of the uploads until all have succeeded.
  defp settle(nil), do: :none
  defp settle(%{settled?: true} = item), do: item

  defp settle(item) do
    states = Enum.map(item.tensors, &Tensor.lookup/1)

    cond do
      Enum.any?(states, &match?({:error, _}, &1)) -> :failed
      :pending in states -> item
      true -> %{item | settled?: true}
    end
  end

  defp upload(compiled, key, server, others) do
    bytes = bytes(compiled)
    put(make_room(others, bytes, server))

    tensors =
      Scope.outside(fn ->
        for tensor <- compiled.captured, do: Backend.place({:upload, tensor}, server)
      end)

    item = %{key: key, bytes: bytes, tensors: tensors, settled?: false, used_at: now()}
    put([item | items()])
    tensors
  end

  # The items that may stay beside this many bytes.
  defp make_room(items, bytes, server) do
    {limit, used} = memory(server, bytes)
    most = if limit > 0, do: min(bytes_max(), div(limit, @share)), else: bytes_max()
    {keep, old, _} = Enum.reduce(items, {[], [], most - bytes}, &fit/2)
    # Tensors of this process or of others must be released.
    short? = limit > 0 and used - sum(old) + bytes > limit
    {keep, old} = if short?, do: {[], items}, else: {Enum.reverse(keep), old}
    free(old)
    if short?, do: Cache.press()
    keep
  end

  defp fit(item, {keep, old, left}) when item.bytes <= left,
    do: {[item | keep], old, left - item.bytes}

  defp fit(item, {keep, old, _left}), do: {keep, [item | old], 0}

  defp sum(items), do: items |> Enum.map(& &1.bytes) |> Enum.sum()

  defp memory(_server, bytes) when bytes < @weighed_bytes, do: {0, 0}

  defp memory(server, _bytes) do
    case Outrigger.info(server) do
      {:ok, %{memory: %{limit: limit, used: used}}} -> {limit, used}
      # The upload will return the error.
      {:error, _} -> {0, 0}
    end
  end

  @doc "Releases the captured tensors of these expressions."
  def release(compiled) do
    refs = for %{ref: ref} <- compiled, do: ref
    {old, others} = Enum.split_with(items(), &(elem(&1.key, 0) in refs))
    free(old)
    put(others)
  end

  @doc "Releases the tensors that were not used for long. Returns their expressions."
  def idle do
    now = now()
    {old, others} = Enum.split_with(items(), &(now - &1.used_at > @idle_ms))
    free(old)
    put(others)
    for %{key: {ref, _, _}} <- old, do: ref
  end

  @doc "Releases all captured tensors: of this process now, of the others at their next call."
  def relieve do
    Cache.press()
    items()
    :ok
  end

  # Most recently used first.
  defp items do
    times = times()

    case Process.get(@items) do
      {^times, items} ->
        items

      nil ->
        []

      {_before, items} ->
        free(items)
        Process.delete(@items)
        []
    end
  end

  defp put([]), do: Process.delete(@items)
  defp put(items), do: Process.put(@items, {times(), items})
  defp times, do: {Cache.cleared(), Cache.pressed()}

  defp take([%{key: key} = item | rest], key), do: {item, rest}

  defp take(items, key) do
    case Enum.split_while(items, &(&1.key != key)) do
      {before, [item | rest]} -> {item, before ++ rest}
      {_all, []} -> {nil, items}
    end
  end

  defp free(items), do: for(item <- items, do: Outrigger.release(item.tensors))
  defp now, do: System.monotonic_time(:millisecond)
end
