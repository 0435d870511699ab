defmodule Outrigger.Nx.ServingNodesTest do
  use ExUnit.Case, async: false
  alias Outrigger.Nx.ServingNode

  # Two nodes have a serving and a daemon each. Clients on this node ask any of them. A daemon dies,
  # then a node. Requests that were under way there fail, all else goes on, and no answer is wrong.

  @clients 4

  setup do
    {_, 0} = System.cmd("epmd", ["-daemon"])
    unique = System.unique_integer([:positive])
    {:ok, _} = Node.start(:"outrigger_test_#{System.pid()}_#{unique}@127.0.0.1", :longnames)
    on_exit(&Node.stop/0)
    :ok
  end

  defp start_node(name) do
    cookie = ~c"#{Node.get_cookie()}"

    {:ok, peer, node} =
      :peer.start(%{
        name: :"#{name}_#{System.pid()}_#{System.unique_integer([:positive])}@127.0.0.1",
        longnames: true,
        wait_boot: 60_000,
        args: [~c"-setcookie", cookie, ~c"-kernel", ~c"logger_level", ~c"emergency"]
      })

    on_exit(fn -> if Process.alive?(peer), do: :peer.stop(peer) end)
    :erpc.call(node, :code, :add_pathsa, [:code.get_path()])
    {:ok, _} = :erpc.call(node, :application, :ensure_all_started, [:elixir])
    Node.spawn(node, ServingNode, :start, [self()])
    assert_receive {:serving, ^node}, 30_000
    {peer, node}
  end

  # Clients ask until they are told to stop, and count what they got.
  defp client(counters) do
    Task.async(fn -> ask(1, counters) end)
  end

  defp ask(n, counters) do
    result = ServingNode.ask(rem(n, 1000))
    :ets.insert(counters, {{self(), n}, result, System.monotonic_time(:millisecond)})

    receive do
      :stop -> :ok
    after
      # A node that is gone is told at once: do not ask it a million times.
      0 -> Process.sleep(if(match?({:ok, _}, result), do: 0, else: 20)) && ask(n + 1, counters)
    end
  end

  defp answers(counters, since, node) do
    for {_, {:ok, ^node}, at} <- :ets.tab2list(counters), at > since, do: at
  end

  defp last_failure do
    with counters when counters != nil <- Process.get(:counters),
         [_ | _] = failed <-
           for({_, {:failed, reason}, at} <- :ets.tab2list(counters), do: {at, reason}) do
      inspect(elem(Enum.max(failed), 1))
    else
      _ -> "none"
    end
  end

  defp now, do: System.monotonic_time(:millisecond)

  defp wait_until(what, fun, ms \\ 60_000) do
    cond do
      fun.() -> :ok
      ms <= 0 -> flunk("#{what}: it did not happen; the last failure: #{last_failure()}")
      true -> Process.sleep(50) && wait_until(what, fun, ms - 50)
    end
  end

  @tag timeout: 300_000
  test "a daemon and a node die under load" do
    {_, one} = start_node("one")
    {peer, two} = start_node("two")
    counters = :ets.new(:answers, [:public])
    Process.put(:counters, counters)

    # :pg has to hear of both nodes.
    wait_until("both join", fn ->
      length(:pg.get_members(Nx.Serving.PG, ServingNode.serving())) == 2
    end)

    began = now()
    clients = for _ <- 1..@clients, do: client(counters)
    both = fn since -> Enum.all?([one, two], &(length(answers(counters, since, &1)) > 20)) end
    wait_until("both answer", fn -> both.(began) end)

    # A daemon dies: its node answers again, by another daemon.
    daemon = :erpc.call(one, ServingNode, :daemon, [])
    {_, 0} = System.cmd("kill", ["-9", "#{daemon}"])
    another = fn -> :erpc.call(one, ServingNode, :daemon, []) not in [nil, daemon] end
    wait_until("another daemon", another)
    restarted = now()
    wait_until("both answer after a daemon's death", fn -> both.(restarted) end)

    # A node dies, and its daemon with it: the other one goes on.
    daemon = :erpc.call(two, ServingNode, :daemon, [])
    :erpc.cast(two, :erlang, :halt, [137])
    wait_until("the node is gone", fn -> two not in Node.list() end)
    wait_until("its peer process, too", fn -> not Process.alive?(peer) end)
    wait_until("its daemon, too", fn -> not File.exists?("/proc/#{daemon}") end)
    gone = now()
    wait_until("the other goes on", fn -> length(answers(counters, gone, one)) > 50 end)

    for client <- clients, do: send(client.pid, :stop)
    for client <- clients, do: Task.await(client, 60_000)
    results = :ets.tab2list(counters)
    assert [] == for({_, {:wrong, _} = wrong, _} <- results, do: wrong)
    # A failed request was under way to a dead node, or was sent before its death was known.
    failed = for {_, {:failed, reason}, at} <- results, do: {reason, at}
    assert length(failed) > 0
    assert [] == for({reason, at} <- failed, at > gone + 10_000, do: reason)
  end
end
