defmodule Outrigger.Keeper do
  @moduledoc false
  # Holds one reference to each of up to 256 tokens. The VM counts the references to a binary of
  # more than 64 bytes. `Process.info(self(), :binary)` lists the binaries of this process, each
  # with its address, its size and its count. A count of 1 at a token's address means that only
  # the keeper holds the token. The process may have other binaries. No other binary has the
  # address of a token while the keeper holds the token.
  #
  # The keeper finds the address of a token when the token comes, by its size, among the binaries
  # that are new in the list.

  import Bitwise

  @size_min 65
  @batch 256
  @block 8
  # The self test has several attempts, because its processes may be late on a busy machine.
  @attempts 5
  @asks 100

  @doc "The number of handles in a block. Callers draw blocks, and a keeper has a batch of blocks."
  def block, do: @block
  def batch_size, do: @batch
  def batch(handle), do: handle >>> 8
  def first?(handle), do: (handle &&& @batch - 1) == 0
  def tokens(first), do: for(handle <- first..(first + @block - 1), do: token(handle))

  defp first_of(handle), do: handle - rem(handle, @block)
  defp size(handle), do: @size_min + (handle &&& @batch - 1)
  defp token(handle), do: :binary.copy(<<0>>, size(handle))

  @doc "Makes the tokens of a batch of handles and offers them in the table."
  def start_link(batch, table, leases), do: spawn_link(fn -> run(batch, table, leases) end)

  @doc false
  def run(batch, table, leases) do
    {held, blocks} = make(batch * @batch)
    offer(table, blocks)
    loop(%{held: held, table: table, leases: leases, merging: nil})
  end

  defp make(first) do
    known = binaries()
    blocks = for at <- first..(first + @batch - 1)//@block, do: {at, tokens(at)}

    case find(blocks, known) do
      {:ok, held} -> {held, blocks}
      # Newly loaded code has left a binary with the size of a token.
      :unclear -> collected(first) |> make()
    end
  end

  # When the server stops, the table ends before this process.
  defp offer(table, blocks) do
    :ets.insert(table, blocks)
  rescue
    ArgumentError -> exit(:normal)
  end

  # address => {handle, token}, for the tokens whose addresses are not among the `known` binaries.
  defp find(blocks, known) do
    sizes =
      for {first, tokens} <- blocks,
          {token, at} <- Enum.with_index(tokens),
          into: %{},
          do: {byte_size(token), {first + at, token}}

    found =
      for {address, size} <- binaries(),
          is_map_key(sizes, size) and not is_map_key(known, address),
          do: {address, Map.fetch!(sizes, size)}

    if length(found) == map_size(sizes), do: {:ok, Map.new(found)}, else: :unclear
  end

  # address => size
  defp binaries do
    {:binary, binaries} = Process.info(self(), :binary)
    Map.new(binaries, fn {address, size, _count} -> {address, size} end)
  end

  defp loop(%{held: held, table: table} = state) do
    receive do
      :poll ->
        {released, held} = poll(held)
        send(state.leases, {:released, self(), released, map_size(held)})
        if map_size(held) > 0, do: loop(%{state | held: held})

      # A caller that found no tokens made its own, which replace those of the keeper. They are in
      # the table, so that this process does not hold them before it looks for their addresses.
      {:late, first} ->
        loop(%{state | held: take_late(held, late([first]), table)})

      {:merge_into, other} when state.merging == nil ->
        ref = Process.monitor(other)
        send(other, {:adopt, self(), held})
        loop(%{state | merging: ref})

      {:adopt, other, theirs} ->
        send(other, {:adopted, Map.keys(theirs)})
        merged(%{state | held: Map.merge(held, theirs)})

      {:adopted, addresses} ->
        Process.demonitor(state.merging, [:flush])
        merged(%{state | held: held |> Map.drop(addresses) |> collected(), merging: nil})

      # The other keeper held no token, and has ended.
      {:DOWN, ref, _, _, _} when ref == state.merging ->
        loop(%{state | merging: nil})

      _other ->
        loop(state)
    end
  end

  defp merged(%{held: held} = state) do
    send(state.leases, {:holds, self(), map_size(held)})
    if map_size(held) > 0, do: loop(state)
  end

  # Takes all late blocks from the mailbox at once, because each take lists the binaries.
  defp late(firsts) do
    receive do
      {:late, first} -> late([first | firsts])
    after
      0 -> firsts
    end
  end

  defp take_late(held, firsts, table) do
    known = binaries()

    blocks = for first <- firsts, do: {first, :ets.lookup_element(table, {:late, first}, 2)}

    case find(blocks, known) do
      {:ok, found} ->
        Enum.each(firsts, &:ets.delete(table, &1))
        Enum.each(firsts, &:ets.delete(table, {:late, &1}))
        # The caller's tokens replace those of this keeper.
        held = Map.reject(held, fn {_, {handle, _}} -> first_of(handle) in firsts end)
        Map.merge(held, found)

      :unclear ->
        held |> collected() |> take_late(firsts, table)
    end
  end

  defp poll(held) do
    {:binary, binaries} = Process.info(self(), :binary)
    free = for {address, _size, 1} <- binaries, is_map_key(held, address), do: address
    {dropped, held} = Map.split(held, free)
    {for({_address, {handle, _token}} <- dropped, do: handle), held}
  end

  defp collected(term) do
    :erlang.garbage_collect()
    term
  end

  @doc "True if this VM counts references to binaries as a keeper expects."
  def self_test(attempts \\ @attempts, attempt \\ &attempt/0)
  def self_test(0, _attempt), do: false
  def self_test(attempts, attempt), do: attempt.() or self_test(attempts - 1, attempt)

  defp attempt do
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
      released = ask_again(keeper, [], @asks)
      length(released) == @block and handle in released
    rescue
      MatchError -> false
    catch
      :late -> false
    after
      Process.unlink(keeper)
      Process.exit(keeper, :kill)
      Process.exit(holder, :kill)
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

  # The message about the end of a process may come before its heap is free.
  defp ask_again(keeper, [], asks) when asks > 0 do
    released = ask(keeper)
    if released == [], do: Process.sleep(1)
    ask_again(keeper, released, asks - 1)
  end

  defp ask_again(_keeper, released, _asks), do: released

  defp ask(keeper) do
    send(keeper, :poll)

    receive do
      {:released, ^keeper, handles, _count} -> handles
    after
      1000 -> throw(:late)
    end
  end
end
