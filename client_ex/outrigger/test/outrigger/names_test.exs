defmodule Outrigger.NamesTest do
  @moduledoc """
  Names of a real daemon: in one session over each transport, and between the clients of one server.
  Over a Port there is one session, so that these tests use a Unix socket instead.
  """
  use Outrigger.DaemonCase, async: true
  alias Outrigger.{FakeServer, ListeningDaemon, Server}

  @moduletag :capture_log

  # A server, and the options of its clients.
  defp listen(options \\ []) do
    kind = options[:kind] || if(transport() == :port, do: :unix, else: transport())
    name = :"daemon_#{System.unique_integer([:positive])}"
    options = Keyword.merge([threads: 1, name: name, log: :none], Keyword.delete(options, :kind))
    Keyword.delete(ListeningDaemon.start_supervised!(kind, options), :name)
  end

  defp client(options, more \\ []) do
    {address, options} = Keyword.pop!(options, :connect)
    FakeServer.start_client(address, Keyword.merge(options, more))
  end

  defp clients(count) do
    daemon = listen()
    for _ <- 1..count, do: client(daemon)
  end

  defp tensor(server, list), do: Outrigger.tensor(server, list, type: :f32)
  defp read(server, name), do: server |> Outrigger.open(name) |> Outrigger.to_list!()
  defp version(server, name), do: hd(Outrigger.names!(server, prefix: name)).version

  defp error_of(tensor) do
    assert {:error, error} = Outrigger.await(tensor)
    error
  end

  # Breaks the link of a client, but not its server.
  defp break(server) do
    Process.exit(:sys.get_state(Server.fetch!(server).connection).link.dialer, :kill)
  end

  ## One session

  test "one session: publish, open, list, unpublish" do
    server = start_server()
    x = tensor(server, [[1, 2], [3, 4]])
    assert Outrigger.names(server) == {:ok, []}
    first = Outrigger.publish!(x, "x")
    assert {:ok, second} = Outrigger.publish(Op.add(x, 1), "y/ä€", ttl: 3_600_000)
    assert first >= 1 and second > first
    assert read(server, "x") == [[1, 2], [3, 4]]
    assert read(server, "y/ä€") == [[2, 3], [4, 5]]
    assert [a, b] = Outrigger.names!(server)
    assert %{name: "x", version: ^first, type: :f32, shape: {2, 2}, bytes: 16, ttl: nil} = a
    assert %{name: "y/ä€", version: ^second, token: token} = b
    assert b.ttl in 1..3_600_000
    assert token == if(transport() in [:tcp, :tls], do: "test", else: "")
    assert Outrigger.unpublish(server, "x") == {:ok, true}
    assert Outrigger.unpublish(server, "x") == {:ok, false}
    assert error_of(Outrigger.open(server, "x")).code == :unknown_name
    assert [%{name: "y/ä€"}] = Outrigger.names!(server)
    Outrigger.sync(server)
    assert_nothing_left(server)
  end

  test "one session: a value, and a live tensor" do
    server = start_server()
    x = tensor(server, [1, 2, 3])
    Outrigger.publish!(x, "x")
    # The name does not change with the tensor, nor with what was opened as a value.
    InPlace.add(x, 10)
    value = Outrigger.open(server, "x")
    InPlace.multiply(value, 0)
    assert Outrigger.to_list!(value) == [0, 0, 0]
    assert read(server, "x") == [1, 2, 3]

    before = version(server, "x")
    kept = Outrigger.open(server, "x")
    [one, two] = for _ <- 1..2, do: Outrigger.open(server, "x", live: true)
    InPlace.add(one, 1)
    InPlace.put_slice(two, [0], tensor(server, [7]))
    for live <- [one, two], do: assert(Outrigger.to_list!(live) == [7, 3, 4])
    assert read(server, "x") == [7, 3, 4]
    assert Outrigger.to_list!(kept) == [1, 2, 3]
    assert Outrigger.to_list!(x) == [11, 12, 13]
    assert version(server, "x") == before

    # In a prepared program, which writes twice.
    step = Outrigger.program(fn t, n -> t |> InPlace.add(n) |> InPlace.multiply(2) end)
    step = Outrigger.prepare!(server, step)
    Outrigger.call(step, [one, tensor(server, [1, 1, 1])])
    assert Outrigger.to_list!(two) == [16, 8, 10]
  end

  test "one session: the processes of this VM hear of names" do
    server = start_server()
    x = tensor(server, [1])
    old = Outrigger.publish!(x, "a")
    parent = self()

    pid =
      spawn_link(fn ->
        ref = Outrigger.subscribe!(server, prefix: "")
        send(parent, :subscribed)
        receive do: ({:outrigger, ^ref, event} -> send(parent, {:first, event}))
        receive do: ({:outrigger, ^ref, event} -> send(parent, {:second, event}))
        Process.sleep(:infinity)
      end)

    assert_receive :subscribed, 5_000
    assert_receive {:first, {:published, "a", ^old}}, 5_000
    ref = Outrigger.subscribe!(server, "b")
    new = Outrigger.publish!(x, "b")
    assert_receive {:second, {:published, "b", ^new}}, 5_000
    assert_receive {:outrigger, ^ref, {:published, "b", ^new}}, 5_000
    Outrigger.unpublish!(server, "b")
    assert_receive {:outrigger, ^ref, {:unpublished, "b", ^new}}, 5_000
    Outrigger.unsubscribe(server, ref)
    Outrigger.publish!(x, "b")
    Outrigger.sync!(server)
    refute_receive {:outrigger, _, _}, 50
    Process.unlink(pid)
    Process.exit(pid, :kill)
    assert_nothing_left(server)
  end

  test "one session: the names of a daemon that dies are gone, and its subscribers hear so" do
    server = start_server()
    version = Outrigger.publish!(tensor(server, [1]), "a")
    ref = Outrigger.subscribe!(server, prefix: "")
    assert_receive {:outrigger, ^ref, {:published, "a", ^version}}, 5_000
    server |> os_pid() |> kill("KILL")
    assert_receive {:outrigger, ^ref, {:unpublished, "a", ^version}}, 20_000
    Outrigger.publish!(tensor(server, [2]), "b")
    assert_receive {:outrigger, ^ref, {:published, "b", _}}, 5_000
    assert [%{name: "b"}] = Outrigger.names!(server)
  end

  test "one session: versions that are expected" do
    server = start_server()
    x = tensor(server, [1])
    {:ok, first} = Outrigger.publish(x, "a", expect: 0)

    assert {:error, %Error{code: :version_conflict} = error} =
             Outrigger.publish(x, "a", expect: 0)

    assert Exception.message(error) =~ "#{first}"
    assert {:error, %Error{code: :version_conflict}} = Outrigger.publish(x, "b", expect: first)
    {:ok, second} = Outrigger.publish(Op.add(x, 1), "a", expect: first)

    for wrong <- [first, second + 1] do
      assert {:error, %Error{code: :version_conflict}} = Outrigger.publish(x, "a", expect: wrong)

      assert {:error, %Error{code: :version_conflict}} =
               Outrigger.unpublish(server, "a", expect: wrong)

      assert error_of(Outrigger.open(server, "a", version: wrong)).code == :version_conflict

      assert_raise Error, ~r/version_conflict/, fn ->
        Outrigger.publish!(x, "a", expect: wrong)
      end
    end

    assert Outrigger.to_list!(Outrigger.open(server, "a", version: second)) == [2]
    assert Outrigger.unpublish(server, "a", expect: second) == {:ok, true}
    assert Outrigger.publish!(x, "a", expect: 0) > second
  end

  test "one session: a lifetime ends" do
    server = start_server()
    x = tensor(server, [1, 2])
    ref = Outrigger.subscribe!(server, "a")
    version = Outrigger.publish!(x, "a", ttl: 300)
    opened = Outrigger.open(server, "a")
    assert_receive {:outrigger, ^ref, {:published, "a", ^version}}, 5_000
    assert_receive {:outrigger, ^ref, {:unpublished, "a", ^version}}, 20_000
    assert Outrigger.names!(server) == []
    assert error_of(Outrigger.open(server, "a")).code == :unknown_name
    assert Outrigger.to_list!(opened) == [1, 2]
    # A name that is published again has another lifetime, or none.
    Outrigger.publish!(x, "b", ttl: 200)
    Outrigger.publish!(x, "b")
    Process.sleep(400)
    assert [%{name: "b", ttl: nil}] = Outrigger.names!(server)
  end

  test "one session: names in the order of bytes, page by page" do
    server = start_server()
    x = tensor(server, [1])
    names = for n <- 1..1_050, do: "page/#{n}"
    others = ["page", "page.", "pagé", "z", "ä", " "]
    for name <- Enum.shuffle(names ++ others), do: Outrigger.publish!(x, name)
    listed = fn options -> server |> Outrigger.names!(options) |> Enum.map(& &1.name) end
    assert listed.(prefix: "page/") == Enum.sort(names)
    assert listed.([]) == Enum.sort(names ++ others)
    assert listed.(prefix: "page/105") == ["page/105", "page/1050"]
    assert listed.(prefix: "") == listed.([])
    assert listed.(prefix: "page/x") == []
    assert {:error, %ConnectionError{reason: :deadline}} = Outrigger.names(server, deadline: 0)
  end

  test "one session: tensors that have failed, and views" do
    server = start_server()
    x = tensor(server, [1, 2, 3, 4])
    failed = Op.add(x, tensor(server, [1, 2, 3]))
    assert {:error, %Error{code: code} = error} = Outrigger.publish(failed, "a")
    assert code in [:failed_operand, :bad_shape]
    assert Exception.message(error) =~ "add"
    assert Outrigger.names!(server) == []
    released = tensor(server, [1])
    Outrigger.release(released)
    assert {:error, %Error{code: :bad_handle}} = Outrigger.publish(released, "a")

    # As with a read, the error of a write in place is not lost.
    InPlace.add(x, tensor(server, [1, 2, 3]))
    assert {:error, %Error{code: :bad_shape}} = Outrigger.publish(x, "a")
    assert read(server, "a") == [1, 2, 3, 4]

    Outrigger.publish!(Op.reverse(Op.slice(x, [1], [3])), "view")
    assert read(server, "view") == [4, 3, 2]
    Outrigger.publish!(Outrigger.iota(server, {0, 3}), "empty")
    assert %{bytes: 0, shape: {0, 3}} = hd(Outrigger.names!(server, prefix: "empty"))
    Outrigger.publish!(Outrigger.tensor(server, 1.5, type: :bf16), "scalar")
    assert read(server, "scalar") == 1.5
    # An op on a tensor that could not be opened names the cause.
    missing = Outrigger.open(server, "nothing", live: true)
    error = error_of(Op.add(missing, 1))
    assert error.code == :failed_operand and error.cause.code == :unknown_name
  end

  test "one session: a name holds its tensor, and an open tensor too" do
    server = start_server()
    used = fn -> Outrigger.info!(server).memory.used end
    before = used.()
    bytes = 4 * 1024 * 1024
    x = Outrigger.iota(server, {div(bytes, 4)})
    Outrigger.publish!(x, "x")
    Outrigger.release(x)
    opened = for live <- [true, false, true], do: Outrigger.open(server, "x", live: live)
    Outrigger.await!(opened)
    assert (used.() - before) in bytes..(bytes + 100_000)
    Outrigger.unpublish!(server, "x")
    for t <- opened, do: assert(Outrigger.peek!(t, 3) == [0, 1, 2])
    assert (used.() - before) in bytes..(bytes + 100_000)
    Outrigger.release(opened)
    assert eventually(fn -> used.() - before < 100_000 end)
  end

  ## Several sessions

  test "a tensor of one client is opened by another, also after the end of the first" do
    daemon = listen()
    [one, two] = for _ <- 1..2, do: client(daemon)
    x = tensor(one, [1, 2])
    version = Outrigger.publish!(x, "x")
    y = Outrigger.open(two, "x", version: version)
    assert Outrigger.to_list!(Op.add(y, 1)) == [2, 3]
    assert Outrigger.info!(y).shared
    InPlace.add(y, 5)
    InPlace.add(x, 7)
    assert read(two, "x") == [1, 2]
    Outrigger.sync!(one)
    stop_supervised!(one)
    assert eventually(fn -> Outrigger.info!(two).connection.sessions == 1 end)
    assert Outrigger.to_list!(y) == [6, 7]
    assert read(two, "x") == [1, 2]
    # A client that publishes over the name of another one.
    three = client(daemon)
    assert {:ok, later} = Outrigger.publish(tensor(three, [9]), "x", expect: version)
    assert later > version and read(two, "x") == [9]
    assert Outrigger.to_list!(y) == [6, 7]
  end

  test "writes into a live tensor are seen by the other client" do
    [one, two] = clients(2)
    Outrigger.publish!(tensor(one, [1, 2]), "x")
    [mine, yours] = for server <- [one, two], do: Outrigger.open(server, "x", live: true)
    value = Outrigger.open(two, "x")
    assert Outrigger.to_list!(value) == [1, 2]
    InPlace.add(mine, 10)
    Outrigger.sync!(one)
    assert Outrigger.to_list!(yours) == [11, 12]
    InPlace.multiply(yours, 2)
    Outrigger.sync!(two)
    assert Outrigger.to_list!(mine) == [22, 24]
    assert read(one, "x") == [22, 24] and read(two, "x") == [22, 24]
    assert Outrigger.to_list!(value) == [1, 2]
    # Live tensors stay with their version.
    Outrigger.publish!(tensor(two, [5]), "x")
    InPlace.add(mine, 1)
    Outrigger.sync!(one)
    assert Outrigger.to_list!(yours) == [23, 25]
    assert read(one, "x") == [5]
    Outrigger.unpublish!(one, "x")
    InPlace.add(yours, 1)
    Outrigger.sync!(two)
    assert Outrigger.to_list!(mine) == [24, 26]
  end

  test "no client sees a part of a program's writes" do
    [one, two] = clients(2)
    Outrigger.publish!(Outrigger.iota(one, {100_000}, type: :f32) |> Op.multiply(0), "x")
    [mine, yours] = for server <- [one, two], do: Outrigger.open(server, "x", live: true)
    step = Outrigger.prepare!(one, Outrigger.program(&(&1 |> InPlace.add(1) |> InPlace.add(1))))

    writer =
      Task.async(fn ->
        for(_ <- 1..100, do: Outrigger.call(step, [mine])) && Outrigger.sync!(one)
      end)

    for _ <- 1..5 do
      assert [value] = yours |> Outrigger.to_flat_list!() |> Enum.uniq()
      assert rem(trunc(value), 2) == 0
    end

    assert Task.await(writer, 60_000) == :ok
    assert Outrigger.peek!(yours, 1) == [200.0]
  end

  test "events of other clients" do
    [one, two, three] = clients(3)
    a = Outrigger.publish!(tensor(one, [1]), "m/a")
    all = Outrigger.subscribe!(two, prefix: "m/")
    single = Outrigger.subscribe!(three, "m/b")
    assert_receive {:outrigger, ^all, {:published, "m/a", ^a}}, 5_000
    b = Outrigger.publish!(tensor(one, [2]), "m/b")
    assert_receive {:outrigger, ^all, {:published, "m/b", ^b}}, 5_000
    assert_receive {:outrigger, ^single, {:published, "m/b", ^b}}, 5_000
    Outrigger.publish!(tensor(one, [2]), "n/c")
    Outrigger.unpublish!(three, "m/b")
    assert_receive {:outrigger, ^all, {:unpublished, "m/b", ^b}}, 5_000
    assert_receive {:outrigger, ^single, {:unpublished, "m/b", ^b}}, 5_000
    refute_receive {:outrigger, _, _}, 20
    # The last version is never left out.
    x = tensor(one, [3])
    last = List.last(for _ <- 1..200, do: Outrigger.publish!(x, "m/b"))

    for ref <- [all, single],
        do: assert_receive({:outrigger, ^ref, {:published, "m/b", ^last}}, 5_000)
  end

  test "a session has 64 subscriptions, and the death of a process gives its own back" do
    server = start_server()
    parent = self()

    pid =
      spawn(fn ->
        for n <- 1..64, do: {:ok, _} = Outrigger.subscribe(server, "name #{n}")
        send(parent, :full)
        Process.sleep(:infinity)
      end)

    assert_receive :full, 10_000
    assert {:error, %Error{code: :limit_exceeded}} = Outrigger.subscribe(server, "another")
    Process.exit(pid, :kill)
    assert eventually(fn -> match?({:ok, _}, Outrigger.subscribe(server, "another")) end)
  end

  test "a client that loses its connection subscribes again, and hears what it has missed" do
    daemon = listen()
    [one, two] = for _ <- 1..2, do: client(daemon)
    [a, b] = for name <- ["a", "b"], do: Outrigger.publish!(tensor(one, [1]), name)
    live = Outrigger.open(two, "a", live: true)
    assert Outrigger.to_list!(live) == [1]
    ref = Outrigger.subscribe!(two, prefix: "")
    single = Outrigger.subscribe!(two, "b")
    assert_receive {:outrigger, ^ref, {:published, "a", ^a}}, 5_000
    assert_receive {:outrigger, ^ref, {:published, "b", ^b}}, 5_000
    assert_receive {:outrigger, ^single, {:published, "b", ^b}}, 5_000

    break(two)
    Outrigger.unpublish!(one, "b")
    c = Outrigger.publish!(tensor(one, [3]), "c")
    assert_receive {:outrigger, ^ref, {:published, "a", ^a}}, 20_000
    assert_receive {:outrigger, ^ref, {:published, "c", ^c}}, 5_000
    assert_receive {:outrigger, ^ref, {:unpublished, "b", ^b}}, 5_000
    assert_receive {:outrigger, ^single, {:unpublished, "b", ^b}}, 5_000
    assert {:error, %ConnectionError{reason: :stale_epoch}} = Outrigger.to_list(live)
    assert read(two, "a") == [1]

    # A server that is started again has no names.
    one |> os_pid() |> kill("KILL")
    assert_receive {:outrigger, ^ref, {:unpublished, "a", ^a}}, 20_000
    assert_receive {:outrigger, ^ref, {:unpublished, "c", ^c}}, 20_000
    assert Outrigger.names!(two) == []
    d = Outrigger.publish!(tensor(one, [4]), "d")
    assert_receive {:outrigger, ^ref, {:published, "d", ^d}}, 20_000
    for ref <- [ref, single], do: Outrigger.unsubscribe(two, ref)
    assert_nothing_left(two)
  end

  test "the rights of tokens" do
    [all, user, reader] =
      for n <- 1..3, do: String.duplicate("token #{n}" |> String.replace(" ", "_"), 4)

    list = """
    all all #{all}
    user read,write #{user}
    reader read #{reader}
    """

    kind = if transport() in [:port, :unix], do: :tcp, else: transport()
    daemon = listen(kind: kind, tokens: list)
    [all, user, reader] = for token <- [all, user, reader], do: client(daemon, token: token)
    large = Outrigger.iota(all, {500_000})
    version = Outrigger.publish!(large, "large")
    small = Outrigger.publish!(tensor(all, [1, 2]), "small")
    assert [%{name: "large", token: "all"}, %{name: "small"}] = Outrigger.names!(reader)

    # A read of several pieces needs no other right than a read of one.
    assert Outrigger.to_flat_list!(Outrigger.open(reader, "large")) == Enum.to_list(0..499_999)
    assert Outrigger.sync(reader) == :ok
    assert read(user, "small") == [1, 2]

    forbidden = fn result ->
      assert {:error, %Error{code: :forbidden} = error} = result
      assert Exception.message(error) =~ "publish"
      assert Exception.message(error) =~ "Use a token that has it"
    end

    forbidden.(Outrigger.publish(tensor(user, [1]), "mine"))
    forbidden.(Outrigger.unpublish(user, "small"))
    forbidden.(Outrigger.unpublish(reader, "small", expect: small))
    live = Outrigger.open(user, "small", live: true)
    assert Outrigger.to_list!(Op.add(live, 1)) == [2, 3]
    InPlace.add(live, 1)
    forbidden.(Outrigger.to_list(live))
    assert Outrigger.to_list!(live) == [1, 2]
    # A value is the client's own.
    value = Outrigger.open(user, "small")
    InPlace.add(value, 1)
    assert Outrigger.to_list!(value) == [2, 3]
    assert read(reader, "small") == [1, 2]
    ref = Outrigger.subscribe!(reader, "large")
    assert_receive {:outrigger, ^ref, {:published, "large", ^version}}, 5_000
  end

  ## Other VMs

  @first """
  weights = Outrigger.iota(server, {1000, 1000}, type: :f32)
  Outrigger.publish!(weights, "models/price")
  Outrigger.publish!(Outrigger.tensor(server, [0, 0]), "counts")
  System.cmd("kill", ["-9", System.pid()])
  Process.sleep(:infinity)
  """

  @second """
  [counts, price] = Outrigger.names!(server)
  IO.puts("found " <> counts.name <> " and " <> price.name)
  weights = Outrigger.open(server, "models/price", version: price.version)
  IO.puts("sum " <> to_string(Outrigger.to_number!(Outrigger.Op.sum(weights))))
  Outrigger.InPlace.add(Outrigger.open(server, "counts", live: true), 1)
  Outrigger.sync!(server)
  """

  defp run_vm(script, options) do
    encoded = options |> :erlang.term_to_binary() |> Base.encode64()

    script = """
    options = "OPTIONS" |> System.get_env() |> Base.decode64!() |> :erlang.binary_to_term()
    {:ok, server} = Outrigger.start_link(options)
    #{script}
    """

    System.cmd("elixir", ["-pa", Application.app_dir(:outrigger, "ebin"), "-e", script],
      env: [{"OPTIONS", encoded}],
      stderr_to_stdout: true
    )
  end

  test "a second VM finds the warm tensors of a first one that was killed" do
    daemon = listen()
    server = client(daemon)
    ref = Outrigger.subscribe!(server, prefix: "models/")
    {output, status} = run_vm(@first, daemon)
    assert status in [9, 137], output
    assert_receive {:outrigger, ^ref, {:published, "models/price", _}}, 5_000
    assert eventually(fn -> Outrigger.info!(server).connection.sessions == 1 end)
    counts = Outrigger.open(server, "counts", live: true)
    assert Outrigger.to_list!(counts) == [0, 0]
    expected = "found counts and models/price\nsum 499999490048.0\n"
    assert {output, 0} = run_vm(@second, daemon)
    assert String.slice(output, 0, 33) == String.slice(expected, 0, 33)
    assert [_, sum] = Regex.run(~r/sum (\S+)/, output)
    assert_in_delta String.to_float(sum), 499_999_500_000.0, 100_000.0
    assert Outrigger.to_list!(counts) == [1, 1]
  end
end
