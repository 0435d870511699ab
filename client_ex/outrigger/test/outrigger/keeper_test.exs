defmodule Outrigger.KeeperTest do
  @moduledoc "Keepers tell their tokens from any other binary."
  use ExUnit.Case, async: true
  alias Outrigger.Keeper

  @first 256
  @last 511

  # Binaries of every size that a token has, each with one reference.
  defp strays, do: for(size <- 65..320, do: :binary.copy(<<7>>, size))

  defp start_keeper(table) do
    leases = self()

    spawn_link(fn ->
      # Loaded code or other work may leave such binaries.
      Process.put(:strays, strays())
      Keeper.run(1, table, leases)
    end)
  end

  defp ask(keeper) do
    send(keeper, :poll)
    assert_receive {:released, ^keeper, handles, count}, 5000
    {Enum.sort(handles), count}
  end

  # The message about the end of a process may come before its heap is free. So the handles may need
  # several polls. Returns the number of tokens that are left.
  defp await_release(keeper, handles, polls \\ 500) do
    {some, count} = ask(keeper)
    assert some -- handles == []

    case handles -- some do
      [] ->
        count

      missing when polls > 0 ->
        Process.sleep(10)
        await_release(keeper, missing, polls - 1)
    end
  end

  defp scatter(keeper) do
    send(keeper, {:strays, strays()})
    # Into the heap of the keeper, out of the messages.
    :erlang.garbage_collect(keeper)
  end

  setup do
    %{table: :ets.new(:tokens, [:public])}
  end

  # Takes blocks and drops them with its end.
  defp drop(table, blocks) do
    {pid, ref} = spawn_monitor(fn -> for at <- blocks, do: [_] = :ets.take(table, at) end)

    assert_receive {:DOWN, ^ref, _, ^pid, :normal}, 5000
  end

  defp blocks, do: Enum.to_list(@first..@last//Keeper.block())
  defp handles(block), do: Enum.to_list(block..(block + Keeper.block() - 1))

  test "among binaries of all sizes, only dropped tokens are released", %{table: table} do
    keeper = start_keeper(table)
    assert ask(keeper) == {[], 256}

    for block <- blocks(), reduce: 256 do
      left ->
        scatter(keeper)
        assert ask(keeper) == {[], left}
        drop(table, [block])
        left = left - Keeper.block()
        assert await_release(keeper, handles(block)) == left
        left
    end
  end

  test "tokens that a caller made itself count, those made here do not", %{table: table} do
    keeper = start_keeper(table)
    assert ask(keeper) == {[], 256}
    [one, other | rest] = blocks()

    # The caller found nothing, and made them; then the keeper offered its own.
    for block <- [one, other] do
      holder =
        spawn_link(fn ->
          tokens = Keeper.tokens(block)
          :ets.insert(table, {{:late, block}, tokens})
          send(keeper, {:late, block})
          receive do: (:drop -> tokens)
        end)

      scatter(keeper)
      assert ask(keeper) == {[], 256 - if(block == other, do: Keeper.block(), else: 0)}
      refute :ets.member(table, block)
      refute :ets.member(table, {:late, block})
      ref = Process.monitor(holder)
      send(holder, :drop)
      assert_receive {:DOWN, ^ref, _, _, _}, 5000
      await_release(keeper, handles(block))
    end

    scatter(keeper)
    assert ask(keeper) == {[], 256 - 2 * Keeper.block()}
    drop(table, rest)
    assert await_release(keeper, Enum.flat_map(rest, &handles/1)) == 0
  end

  test "tokens that another keeper adopts are told apart, too", %{table: table} do
    other_table = :ets.new(:tokens, [:public])
    from = start_keeper(table)
    into = start_keeper(other_table)
    assert ask(from) == {[], 256}
    assert ask(into) == {[], 256}
    send(from, {:merge_into, into})
    assert_receive {:holds, ^into, 512}, 5000
    assert_receive {:holds, ^from, 0}, 5000
    refute Process.alive?(from)
    scatter(into)
    assert ask(into) == {[], 512}
    [block | _] = blocks()
    # The same sizes and the same handles, but other addresses.
    drop(table, [block])
    assert await_release(into, handles(block)) == 512 - Keeper.block()
    drop(other_table, [block])
    assert await_release(into, handles(block)) == 512 - 2 * Keeper.block()
  end

  test "a keeper that adopts from a keeper that has ended goes on", %{table: table} do
    keeper = start_keeper(table)
    gone = spawn(fn -> :ok end)
    send(keeper, {:merge_into, gone})
    assert ask(keeper) == {[], 256}
    drop(table, blocks())
    assert await_release(keeper, Enum.to_list(@first..@last)) == 0
  end

  test "this VM counts references as a keeper expects" do
    assert Keeper.self_test()
  end

  test "the self test is repeated if it fails" do
    parent = self()

    attempt = fn ->
      send(parent, :attempt)
      {:messages, messages} = Process.info(parent, :messages)
      length(messages) >= 3
    end

    assert Keeper.self_test(5, attempt)
    for _ <- 1..3, do: assert_received(:attempt)
    refute_received :attempt
    refute Keeper.self_test(2, fn -> false end)
  end
end
