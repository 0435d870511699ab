defmodule Outrigger.ManyClientsTest do
  @moduledoc "Several clients of one outriggerd: sessions, rights, limits, and its end."
  use Outrigger.DaemonCase, async: true
  alias Outrigger.{FakeServer, ListeningDaemon, Server}

  @moduletag :capture_log
  @moduletag :own_transport
  @token String.duplicate("fedcba9876543210", 2)

  # A daemon, and the options of its clients.
  defp listen(kind, options \\ []) do
    name = :"daemon_#{System.unique_integer([:positive])}"

    [threads: 1, name: name, log: :none]
    |> Keyword.merge(options)
    |> start(kind)
    |> Keyword.delete(:name)
  end

  defp start(options, kind), do: ListeningDaemon.start_supervised!(kind, options)

  defp client(options, more \\ []) do
    {address, options} = Keyword.pop!(options, :connect)
    FakeServer.start_client(address, Keyword.merge(options, more))
  end

  defp refused(options, more \\ []) do
    {address, options} = Keyword.pop!(options, :connect)
    assert {:error, error} = FakeServer.connect(address, Keyword.merge(options, more))
    error
  end

  test "two clients have one daemon, and tensors of their own" do
    daemon = listen(:unix)
    [one, two] = for _ <- 1..2, do: client(daemon)
    x = Outrigger.await!(Outrigger.tensor(one, [1, 2]))
    y = Outrigger.await!(Outrigger.tensor(two, [3, 4, 5]))
    assert x.handle == y.handle
    assert Outrigger.to_list!(x) == [1, 2] and Outrigger.to_list!(y) == [3, 4, 5]
    [a, b] = for server <- [one, two], do: Outrigger.info!(server)
    assert a.epoch == b.epoch and a.session != b.session
    assert a.tensors == 1 and a.connection.sessions == 2
    assert a.connection.transport == "unix"
    assert_raise ConnectionError, ~r/another Outrigger server/, fn -> Op.add(x, y) end

    # The end of a client frees its tensors, and no others.
    stop_supervised!(one)
    assert eventually(fn -> Outrigger.info!(two).connection.sessions == 1 end)
    assert Outrigger.to_list!(y) == [3, 4, 5]
  end

  test "a client that loses its connection gets a new session of the same daemon" do
    daemon = listen(:tcp)
    server = client(daemon)
    before = Outrigger.info!(server)
    x = Outrigger.await!(Outrigger.tensor(server, [1, 2]))
    prepared = Outrigger.prepare!(server, Outrigger.program(&Op.add(&1, 1)))
    {:gen_tcp, socket, _} = :sys.get_state(Server.fetch!(server).connection).link.socket
    Process.exit(socket, :kill)
    assert eventually(fn -> inspect(x) == "#Outrigger.Tensor<stale>" end)
    fresh = Outrigger.tensor(server, [5])
    assert Outrigger.to_list!(Outrigger.call(prepared, [fresh])) == [6]
    now = Outrigger.info!(server)
    assert now.epoch == before.epoch and now.session > before.session and now.starts == 2
    assert {:error, %ConnectionError{reason: :stale_epoch} = error} = Outrigger.to_list(x)
    assert Exception.message(error) =~ "the server goes on"
  end

  test "the quotas of tokens" do
    list = """
    small all #{@token} bytes=4MiB handles=20 programs=5 sessions=2
    test all #{String.duplicate("0123456789abcdef", 2)} priority=20
    """

    daemon = listen(:tcp, tokens: list)
    [one, two] = for _ <- 1..2, do: client(daemon, token: @token)
    assert Outrigger.info!(one).memory_limit == 4 * 1024 * 1024
    assert %{handles_max: 20, programs_max: 5} = Outrigger.info!(one).limits

    refused = refused(daemon, token: @token)
    assert refused.reason == :quota_exceeded
    assert Exception.message(refused) =~ "quota `sessions`"

    large = Outrigger.await!(Outrigger.iota(one, {3_000_000}, type: :u8))
    assert {:error, error} = Outrigger.await(Outrigger.iota(two, {2_000_000}, type: :u8))
    assert error.code == :out_of_memory
    assert Exception.message(error) =~ "the quota `bytes` of the token small"

    kept = for i <- 1..19, do: Outrigger.await!(Outrigger.tensor(one, [i]))
    assert {:error, error} = Outrigger.await(Outrigger.tensor(two, [1]))
    assert error.code == :quota_exceeded
    assert Exception.message(error) =~ "its quota `handles` is 20"

    server = client(daemon)
    assert Outrigger.to_list!(Op.add(Outrigger.tensor(server, [1]), 1)) == [2]
    tenants = Outrigger.info!(server).tenants
    assert %{token: "test", sessions: 1, priority: 20, quotas: %{}} = List.last(tenants)
    assert %{token: "small", handles: 20, quotas: %{sessions: 2}} = hd(tenants)
    assert Outrigger.to_list!(hd(kept)) == [1] and large.handle > 0
  end

  test "a client with few programs prepares others in their place" do
    list = "test all #{String.duplicate("0123456789abcdef", 2)} programs=3"
    server = client(listen(:tcp, tokens: list))
    programs = for i <- 1..8, do: Outrigger.prepare!(server, Outrigger.program(&Op.add(&1, i)))

    for _ <- 1..2, {program, i} <- Enum.with_index(programs, 1) do
      x = Outrigger.tensor(server, [10])
      assert Outrigger.to_list!(Outrigger.call(program, [x])) == [10 + i]
    end

    assert [%{programs: programs}] = Outrigger.info!(server).tenants
    assert programs <= 3
  end

  defmodule Kernels do
    use Outrigger.Kernel

    defkernel add_one(x :: mut(u8[n])) do
      for i <- 0..(n - 1), do: x[i] = x[i] + 1
    end

    defkernel add_two(x :: mut(u8[n])) do
      for i <- 0..(n - 1), do: x[i] = x[i] + 2
    end
  end

  test "a program with more kernels than the quota of programs" do
    list = "test all #{String.duplicate("0123456789abcdef", 2)} programs=1"
    server = client(listen(:tcp, tokens: list))

    program =
      Outrigger.program(fn x ->
        Kernels.add_one(x)
        Kernels.add_two(x)
        Op.multiply(x, 2)
      end)

    prepared = Outrigger.prepare!(server, program)

    for _ <- 1..2 do
      x = Outrigger.tensor(server, [1, 2], type: :u8)
      assert Outrigger.to_list!(Outrigger.call(prepared, [x])) == [8, 10]
    end
  end

  test "the rights of tokens" do
    list = """
    reader read,write #{@token}
    test all #{String.duplicate("0123456789abcdef", 2)}
    """

    daemon = listen(:tls, tokens: list)
    all = client(daemon)
    server = client(daemon, token: @token)
    assert Outrigger.info!(server).connection.token == "reader"
    tensor = Outrigger.tensor(server, [1, 2])
    assert Outrigger.to_list!(tensor) == [1, 2]
    path = Path.join(System.tmp_dir!(), "rights_#{System.unique_integer([:positive])}.npy")
    on_exit(fn -> File.rm(path) end)
    assert {:error, %Error{code: :forbidden} = error} = Outrigger.save_npy(tensor, path)
    assert Exception.message(error) =~ "files"
    assert Exception.message(error) =~ "Use a token that has it"
    refute File.exists?(path)
    assert Outrigger.save_npy(Outrigger.tensor(all, [3]), path) == :ok
    loaded = Outrigger.load_npy(server, path)
    assert {:error, %Error{code: :forbidden}} = Outrigger.to_list(loaded)
    assert Outrigger.to_list!(Outrigger.load_npy(all, path)) == [3]
    # The session goes on.
    assert {:error, %Error{code: :forbidden}} = Outrigger.sync(server)
    assert Outrigger.to_list!(tensor) == [1, 2]
  end

  test "a wrong token, and none" do
    daemon = listen(:tcp)

    for token <- [@token, nil] do
      error = refused(daemon, token: token)
      assert error.reason == :unauthorized
      refute Exception.message(error) =~ @token
    end
  end

  test "too many clients" do
    daemon = listen(:unix, args: ["--max-clients", "1"])
    first = client(daemon)
    assert refused(daemon).reason == :too_many_clients
    waiting = client(daemon, sync_connect: false)
    assert {:error, %ConnectionError{} = error} = Outrigger.ping(waiting, deadline: 500)
    assert Exception.message(error) =~ "too many clients"
    stop_supervised!(first)
    assert Outrigger.await_ready(waiting, deadline: 20_000) == :ok
  end

  test "a daemon that is told to stop: the running request ends, later ones are refused" do
    parent = self()
    daemon = listen(:unix, args: ["--grace", "0.5"])
    server = client(daemon, on_restart: fn _ -> send(parent, :restarted) end)
    slow = Outrigger.run(server, endless(), [Outrigger.tensor(server, 1.0)])
    assert eventually(fn -> Outrigger.info!(server).running != nil end)
    before = Outrigger.info!(server)
    kill(before.os_pid, "TERM")
    assert {:error, error} = Outrigger.to_number(slow)

    case error do
      %Error{code: :cancelled} -> :ok
      %Error{code: :shutting_down} -> :ok
      %ConnectionError{reason: reason} -> assert reason == {:disconnected, :shutting_down}
    end

    # It is started again.
    assert_receive :restarted, 20_000
    now = Outrigger.info!(server)
    assert now.epoch != before.epoch
    assert {:error, %ConnectionError{reason: :stale_epoch} = error} = Outrigger.to_number(slow)
    assert Exception.message(error) =~ "the server was started again"
    assert Exception.message(error) =~ "the server stops"
  end

  test "a daemon that ends idle connections: the next call has a new one" do
    server = client(listen(:unix, args: ["--idle-timeout", "0.3"]))
    x = Outrigger.await!(Outrigger.tensor(server, [1]))
    assert eventually(fn -> inspect(x) == "#Outrigger.Tensor<stale>" end, 10_000)

    assert eventually(fn -> :sys.get_state(Server.fetch!(server).connection).status == :asleep end)

    # No call, no connection.
    Process.sleep(1_000)
    assert Outrigger.to_list!(Outrigger.tensor(server, [2])) == [2]
    assert Outrigger.info!(server).session == 2
    assert {:error, %ConnectionError{reason: :stale_epoch} = error} = Outrigger.to_list(x)
    assert Exception.message(error) =~ "the server goes on"
  end
end
