defmodule Outrigger.LeasesTest do
  use Outrigger.DaemonCase, async: true
  alias Outrigger.{Keeper, Server}

  setup do
    %{server: start_server()}
  end

  # An info request overtakes, so the earlier requests must end first.
  defp live(server) do
    Outrigger.sync(server)
    Outrigger.info!(server).tensors
  end

  # Only the test's process holds tensors. After a collection, exactly these tensors live.
  defp assert_live(server, count) do
    assert eventually(fn ->
             Outrigger.collect(server)
             live(server) == count
           end),
           "#{live(server)} tensors live, expected #{count}"
  end

  test "this VM counts references as the leases expect" do
    assert Keeper.self_test()
  end

  test "dropped tensors are released after a garbage collection", %{server: server} do
    for _ <- 1..1000, do: Outrigger.tensor(server, 1)
    kept = for n <- 1..300, do: Outrigger.tensor(server, n)
    assert_live(server, 300)
    assert Enum.map(kept, &Outrigger.to_number!/1) == Enum.to_list(1..300)
  end

  test "nothing overtakes a release", %{server: server} do
    for _ <- 1..200 do
      t = Outrigger.await!(Outrigger.iota(server, {3}))
      sum = Op.add(t, 1)
      Outrigger.release(t)
      assert {:error, %Error{code: :bad_handle}} = Outrigger.to_list(t)
      assert {:error, %Error{code: :bad_handle}} = Outrigger.to_list(Op.add(t, 1))
      assert Outrigger.to_list(sum) == {:ok, [1, 2, 3]}
    end
  end

  test "nor does it while the connection is behind", %{server: server} do
    connection = Server.fetch!(server).connection
    t = Outrigger.await!(Outrigger.iota(server, {3}))
    :sys.suspend(connection)
    Task.await(Task.async(fn -> Outrigger.iota(server, {2}) end))
    Outrigger.release(t)
    sum = Op.add(t, 1)
    :sys.resume(connection)
    assert {:error, %Error{code: :bad_handle}} = Outrigger.to_list(sum)
  end

  test "a release takes containers", %{server: server} do
    [a, b, c] = for _ <- 1..3, do: Outrigger.iota(server, {3})
    assert Outrigger.await(%{a: a, rest: [b, {c}]}) == {:ok, %{a: a, rest: [b, {c}]}}
    assert Outrigger.release(%{a: a, rest: [b, {c}]}) == :ok
    for t <- [a, b, c], do: assert({:error, %Error{code: :bad_handle}} = Outrigger.to_list(t))
  end

  test "a release, or the end of a scope, makes room for the next tensors" do
    server = start_server(memory_limit: "64MiB")

    for _ <- 1..50 do
      t = Outrigger.await!(Outrigger.iota(server, {10_000_000}, type: :u32))
      Outrigger.release(t)

      assert Outrigger.scope(server, fn ->
               server |> Outrigger.iota({40_000_000}, type: :u8) |> Outrigger.peek!(2)
             end) == [0, 1]
    end
  end

  test "copies in other processes and in messages count", %{server: server} do
    holder =
      spawn_link(fn ->
        receive do
          {:hold, tensor} ->
            receive do
              :drop -> tensor
            end
        end

        Process.sleep(:infinity)
      end)

    mailbox = spawn_link(fn -> Process.sleep(:infinity) end)

    # In a process of its own, so that no reference stays here.
    Task.await(
      Task.async(fn ->
        send(holder, {:hold, Outrigger.tensor(server, 1)})
        send(mailbox, {:kept_in_a_mailbox, Outrigger.tensor(server, 2)})
        Outrigger.sync!(server)
      end)
    )

    assert_live(server, 2)
    Process.sleep(50)
    Outrigger.collect(server)
    assert live(server) == 2
    send(holder, :drop)
    Process.sleep(20)
    :erlang.garbage_collect(holder)
    assert_live(server, 1)
    Process.unlink(mailbox)
    Process.exit(mailbox, :kill)
    assert_live(server, 0)
  end

  test "a tensor in ETS stays", %{server: server} do
    table = :ets.new(:test, [:public])

    Task.await(
      Task.async(fn ->
        :ets.insert(table, {:t, Outrigger.tensor(server, 7)})
        Outrigger.sync!(server)
      end)
    )

    assert_live(server, 1)
    [{:t, tensor}] = :ets.lookup(table, :t)
    assert Outrigger.to_number!(tensor) == 7
  end

  test "the tensors of a dead process are freed", %{server: server} do
    {pid, monitor} =
      spawn_monitor(fn ->
        tensors = for _ <- 1..500, do: Outrigger.tensor(server, 1)
        Outrigger.sync!(server)
        exit({:done, length(tensors)})
      end)

    assert_receive {:DOWN, ^monitor, _, ^pid, {:done, 500}}, 5000
    assert_live(server, 0)
  end

  test "many processes at once draw different handles", %{server: server} do
    handles =
      1..16
      |> Task.async_stream(fn _ ->
        for _ <- 1..500, do: Outrigger.tensor(server, 1).handle
      end)
      |> Enum.flat_map(fn {:ok, handles} -> handles end)

    assert length(Enum.uniq(handles)) == 8000
    assert_live(server, 0)
  end

  test "release is at once, and harmless twice", %{server: server} do
    tensor = Outrigger.tensor(server, [1, 2])
    other = Outrigger.tensor(server, [1, 2])
    Outrigger.await!({tensor, other})
    assert Outrigger.release({tensor, other}) == :ok
    assert Outrigger.release(tensor) == :ok
    assert live(server) == 0
    assert {:error, %Error{code: :bad_handle}} = Outrigger.to_list(tensor)
    assert {:error, %Error{code: :bad_handle}} = Outrigger.shape(tensor)
    result = Op.add(tensor, 1)
    assert {:error, %Error{code: code}} = Outrigger.to_list(result)
    assert code in [:bad_handle, :failed_operand]
  end

  test "a scope frees the tensors made inside, except the returned ones", %{server: server} do
    outside = Outrigger.tensor(server, 1)

    kept =
      Outrigger.scope(server, fn ->
        a = Outrigger.tensor(server, 2)
        b = Outrigger.scope(server, fn -> Op.add(a, Op.add(a, 1)) end)
        _dropped = Op.add(b, 1)
        %{result: [{:ok, b}]}
      end)

    %{result: [{:ok, b}]} = kept
    assert Outrigger.to_number!(b) == 5
    assert live(server) == 2
    assert Outrigger.to_number!(outside) == 1

    assert_raise RuntimeError, fn ->
      Outrigger.scope(server, fn ->
        Outrigger.tensor(server, 3)
        raise "oops"
      end)
    end

    assert live(server) == 2
  end

  test "near the memory limit, dropped tensors in old heaps are found" do
    server = start_server(memory_limit: "64MiB")
    tensor = Outrigger.iota(server, {1_000_000}, type: :f32)

    # 4 MB each, 400 MB in all, never more than one held.
    Enum.each(1..100, fn n ->
      assert tensor |> Op.add(n) |> Op.sum() |> Outrigger.to_number!() > 0
    end)
  end

  test "large tensors that are dropped one after the other do not pile up", %{server: server} do
    # 1 GB in all, in a process whose heap hardly grows, far from any limit.
    Enum.each(1..128, fn _ ->
      Outrigger.await!(Outrigger.iota(server, {1_000_000}, type: :f64))
    end)

    assert Outrigger.info!(server).memory.peak < 400_000_000
  end

  test "keepers with little left are merged, and nothing is lost", %{server: server} do
    kept =
      for n <- 1..5120, tensor = Outrigger.tensor(server, n), rem(n, 100) == 0, do: {n, tensor}

    leases = Server.fetch!(server).leases
    assert_live(server, length(kept))
    for _ <- 1..6, do: send(leases, :tick) && Process.sleep(30)
    assert_live(server, length(kept))
    for {n, tensor} <- kept, do: assert(Outrigger.to_number!(tensor) == n)
  end
end
