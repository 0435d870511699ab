defmodule Outrigger.DownloadMemoryTest do
  @moduledoc "The memory of a large download in the VM."
  # The binaries of other tests would count, too.
  use Outrigger.DaemonCase, async: false

  @mib 1024 * 1024
  @size 192 * @mib

  # The peak of the VM's binaries while a function runs, minus their size before.
  defp peak(fun) do
    :erlang.garbage_collect()
    base = :erlang.memory(:binary)
    parent = self()
    watcher = spawn_link(fn -> watch(parent, 0) end)
    task = Task.async(fn -> fun.() && :ok end)
    Task.await(task, 60_000)
    send(watcher, :stop)
    assert_receive {:peak, peak}, 5000
    peak - base
  end

  defp watch(parent, peak) do
    peak = max(peak, :erlang.memory(:binary))

    receive do
      :stop -> send(parent, {:peak, peak})
    after
      1 -> watch(parent, peak)
    end
  end

  test "pieces take their bytes once, a joined binary twice for a moment" do
    server = start_server()
    tensor = Outrigger.await!(Outrigger.iota(server, {@size}, type: :u8))

    once = peak(fn -> @size == IO.iodata_length(Outrigger.to_iodata!(tensor)) end)
    # The pieces under way and the receive buffers are little. Garbage of before may go meanwhile.
    assert once in (@size - 8 * @mib)..(@size + 16 * @mib)
    twice = peak(fn -> @size == byte_size(Outrigger.to_binary!(tensor)) end)
    assert twice in @size..(2 * @size + 16 * @mib)
  end

  test "pieces are in order" do
    server = start_server(chunk_bytes: 4096)
    tensor = Outrigger.iota(server, {10_000}, type: :u32)
    {:ok, pieces} = Outrigger.to_iodata(tensor)
    assert length(pieces) == 10
    assert IO.iodata_to_binary(pieces) == for(n <- 0..9999, into: <<>>, do: <<n::32-little>>)
    assert {:ok, <<0, 0, 0, 0>>} = Outrigger.to_binary(tensor, limit: 1)
    assert Outrigger.to_binary!(tensor) == IO.iodata_to_binary(pieces)
  end
end
