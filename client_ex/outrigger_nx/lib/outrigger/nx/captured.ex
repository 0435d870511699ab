defmodule Outrigger.Nx.Captured do
  @moduledoc false
  # Tensors that an expression captured, in the daemons: they belong to the process that calls it,
  # which uploads them once for each server and passes them to each call. Those that were not used
  # for longest are released when all together are too many bytes, when the daemon is short of
  # memory, and all with the process. Who needs them again uploads them again.

  alias Outrigger.Nx.{Backend, Cache}
  alias Outrigger.{Scope, Server, Tensor}

  @items __MODULE__
  # A process may use one by this of a daemon's memory.
  @share 2
  # Smaller ones are uploaded without a look at the daemon's memory.
  @weighed_bytes 65_536
  @idle_ms 60_000
  @noted_ms 1_000

  @doc "The bytes of the tensors that an expression captured, in this VM."
  def bytes(%{captured: tensors}), do: Enum.sum(Enum.map(tensors, &Nx.byte_size/1))
  def bytes(_callbacks), do: 0

  @doc "What a process keeps in daemons at most, and what it remembers of captured tensors."
  def bytes_max, do: Application.get_env(:outrigger_nx, :captured_bytes_max, 256 * 1024 * 1024)

  @doc "The handles of the tensors that an expression captured, on a server."
  def tensors(%{captured: []}, _server) do
    # A process that captured something else gives it back when it is asked to.
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
        # The memory that was missing may be there now.
        free([item])
        upload(compiled, key, server, others)

      settled ->
        now = now()
        noted? = settled == item and now - item.used_at < @noted_ms and hd(items()) == item
        unless noted?, do: put([%{settled | used_at: now} | others])
        item.tensors
    end
  end

  # Whether its uploads have failed is asked until they are known not to have.
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

  # What may stay beside so many bytes.
  defp make_room(items, bytes, server) do
    {limit, used} = memory(server, bytes)
    most = if limit > 0, do: min(bytes_max(), div(limit, @share)), else: bytes_max()
    {keep, old, _} = Enum.reduce(items, {[], [], most - bytes}, &fit/2)
    # Of this process or of others, something has to go.
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
      # The upload will tell.
      {:error, _} -> {0, 0}
    end
  end

  @doc "Releases what these expressions captured."
  def release(compiled) do
    refs = for %{ref: ref} <- compiled, do: ref
    {old, others} = Enum.split_with(items(), &(elem(&1.key, 0) in refs))
    free(old)
    put(others)
  end

  @doc "Releases what has not been used for long; gives the expressions that captured it."
  def idle do
    now = now()
    {old, others} = Enum.split_with(items(), &(now - &1.used_at > @idle_ms))
    free(old)
    put(others)
    for %{key: {ref, _, _}} <- old, do: ref
  end

  @doc "A daemon is short of memory: this process releases all, the others do with their next call."
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
