defmodule Outrigger.Keeper do
  @moduledoc false
  # Holds one reference to each of up to 256 tokens, all of different sizes. The VM counts the
  # references to a binary of more than 64 bytes, and `Process.info(self(), :binary)` tells sizes
  # and counts: a count of 1 means that only the keeper still holds it.

  import Bitwise

  @size_min 65
  @batch 256
  @block 32

  @doc "Handles are drawn in blocks of this many; 8 blocks are a batch, which is a keeper's."
  def block, do: @block
  def batch(handle), do: handle >>> 8
  def first?(handle), do: (handle &&& @batch - 1) == 0
  def tokens(first), do: for(handle <- first..(first + @block - 1), do: token(handle))

  defp size(handle), do: @size_min + (handle &&& @batch - 1)
  defp token(handle), do: :binary.copy(<<0>>, size(handle))

  @doc "Makes the tokens of a batch of handles and offers them in the table."
  def start_link(batch, table, leases) do
    spawn_link(fn ->
      first = batch * @batch
      blocks = for at <- first..(first + @batch - 1)//@block, do: {at, tokens(at)}
      offer(table, blocks)
      held = Enum.reduce(blocks, %{}, fn {at, tokens}, held -> hold(held, at, tokens) end)
      loop(held, table, leases)
    end)
  end

  # The table goes before us when the server stops.
  defp offer(table, blocks) do
    :ets.insert(table, blocks)
  rescue
    ArgumentError -> exit(:normal)
  end

  defp hold(held, _handle, []), do: held

  defp hold(held, handle, [token | tokens]) do
    hold(Map.put(held, size(handle), {handle, token}), handle + 1, tokens)
  end

  defp loop(held, table, leases) do
    receive do
      :poll ->
        {released, held} = poll(held)
        send(leases, {:released, self(), released, map_size(held)})
        if map_size(held) > 0, do: loop(held, table, leases)

      # A caller outran us and made the tokens itself: its tokens are the ones that count.
      {:late, first, tokens} ->
        :ets.delete(table, first)
        held = hold(held, first, tokens)
        :erlang.garbage_collect()
        loop(held, table, leases)

      {:merge_into, other} ->
        send(other, {:adopt, self(), held})
        loop(held, table, leases)

      {:adopt, other, theirs} ->
        fresh = Map.drop(theirs, Map.keys(held))
        held = Map.merge(held, fresh)
        send(other, {:adopted, Map.keys(fresh)})
        send(leases, {:released, self(), [], map_size(held)})
        loop(held, table, leases)

      {:adopted, sizes} ->
        held = Map.drop(held, sizes)
        :erlang.garbage_collect()
        send(leases, {:released, self(), [], map_size(held)})
        if map_size(held) > 0, do: loop(held, table, leases)
    end
  end

  # What was dropped must be collected before the next poll, or its size could be taken for that
  # of an adopted token.
  defp poll(held) do
    {:binary, binaries} = Process.info(self(), :binary)

    sizes = for {_pointer, size, 1} <- binaries, is_map_key(held, size), do: size

    case sizes do
      [] ->
        {[], held}

      sizes ->
        {dropped, held} = Map.split(held, sizes)
        released = for {_size, {handle, _token}} <- dropped, do: handle
        collect(released, held)
    end
  end

  defp collect(released, held) do
    :erlang.garbage_collect()
    {released, held}
  end

  @doc "Does this VM count as the scheme needs it?"
  def self_test do
    table = :ets.new(:outrigger_self_test, [:public])
    keeper = start_link(1, table, self())
    holder = spawn(fn -> take_and_wait(table) end)
    handle = @batch + @block

    try do
      [] = ask(keeper)
      send(holder, {:take, handle, self()})
      receive do: (:taken -> :ok), after: (1000 -> throw(:late))
      [] = ask(keeper)
      monitor = Process.monitor(holder)
      Process.exit(holder, :kill)
      receive do: ({:DOWN, ^monitor, _, _, _} -> :ok)
      released = ask(keeper)
      length(released) == @block and handle in released
    rescue
      MatchError -> false
    catch
      :late -> false
    after
      Process.unlink(keeper)
      Process.exit(keeper, :kill)
      :ets.delete(table)
    end
  end

  defp take_and_wait(table) do
    receive do
      {:take, handle, from} ->
        [block] = :ets.take(table, handle)
        send(from, :taken)
        receive do: (:never -> block)
    end
  end

  defp ask(keeper) do
    send(keeper, :poll)

    receive do
      {:released, ^keeper, handles, _count} -> handles
    after
      1000 -> throw(:late)
    end
  end
end
