defmodule Outrigger.SocketTest do
  @moduledoc "Servers on sockets that behave badly, each in one way."
  use Outrigger.DaemonCase, async: true
  alias Outrigger.{FakeServer, Server}
  import Outrigger.FakeServer, only: [connect: 1, connect: 2, start_client: 1]

  @moduletag :capture_log
  @moduletag :own_transport

  defp await_pending(server, count) do
    struct = Server.fetch!(server)
    assert eventually(fn -> elem(Server.in_flight(struct), 0) >= count end)
  end

  ## Working servers

  for kind <- [:unix, :tcp, :tls] do
    test "a server over #{kind}: tensors there and back, and a goodbye" do
      parent = self()
      certificates = FakeServer.certificates()

      run = fn conn ->
        FakeServer.obey(conn)
        send(parent, {:ended, FakeServer.read(conn, 1000)})
      end

      ssl = if unquote(kind) == :tls, do: [ssl: [cacerts: certificates.authorities]], else: []

      server =
        FakeServer.start_with_client(run, [kind: unquote(kind), tls: certificates.server] ++ ssl)

      assert Outrigger.ping(server) == :ok
      data = :crypto.strong_rand_bytes(2_000_000)
      tensor = Outrigger.from_binary(server, data, :u8, {2_000_000})
      assert Outrigger.to_binary!(tensor) == data
      assert Outrigger.info!(server).session == 1

      # Both directions at once, with more bytes than any buffer holds.
      1..4
      |> Task.async_stream(
        fn n ->
          data = :binary.copy(<<n>>, 4_000_000)
          tensor = Outrigger.from_binary(server, data, :u8, {4_000_000})
          assert Outrigger.to_binary!(tensor) == data
        end,
        timeout: 60_000
      )
      |> Stream.run()

      Outrigger.sync!(server)
      assert_nothing_left(server)
      stop_supervised!(server)
      assert_receive {:ended, :closed}, 5000
    end
  end

  test "an IPv6 address, and a name" do
    {address, _} = FakeServer.start(&FakeServer.obey/1, listen: [:inet6])
    port = address |> String.split(":") |> List.last()
    assert Outrigger.ping(start_client("tcp://[::1]:#{port}")) == :ok
    assert Outrigger.ping(start_client("tcp://localhost:#{port}")) == :ok
  end

  test "replies that come in pieces of any size" do
    run = fn conn ->
      request = FakeServer.read(conn)
      write_in_pieces(conn, FakeServer.hello_reply(conn, request))
      for _ <- 1..20, do: write_in_pieces(conn, FakeServer.ok(FakeServer.read(conn)))
      FakeServer.read(conn)
    end

    server = FakeServer.start_with_client(run)
    for _ <- 1..20, do: assert(Outrigger.ping(server) == :ok)
  end

  defp write_in_pieces(_conn, <<>>), do: :ok

  defp write_in_pieces(conn, bytes) do
    size = min(:rand.uniform(7), byte_size(bytes))
    <<piece::binary-size(size), rest::binary>> = bytes
    FakeServer.write(conn, piece)
    write_in_pieces(conn, rest)
  end

  test "a token comes before hello, in the same write" do
    parent = self()

    run = fn conn ->
      auth = FakeServer.read(conn)
      hello = FakeServer.read(conn)
      FakeServer.reply(conn, auth, %{"name" => "me", "rights" => ["read"]})
      FakeServer.write(conn, FakeServer.hello_reply(conn, hello))
      send(parent, {:handshake, auth, hello})
      FakeServer.serve(conn)
    end

    assert Outrigger.ping(FakeServer.start_with_client(run, token: "abc")) == :ok
    assert_receive {:handshake, %{"do" => "auth", "token" => "abc"}, %{"do" => "hello"}}
  end

  ## The end of a connection

  # Each of the pending calls gets one error.
  defp assert_one_error_each(server, count, fault) do
    parent = self()
    pids = for _ <- 1..count, do: spawn(fn -> send(parent, {self(), Outrigger.ping(server)}) end)
    await_pending(server, count)
    fault.()

    errors =
      for pid <- pids do
        assert_receive {^pid, {:error, %ConnectionError{} = error}}, 5000
        error
      end

    for pid <- pids, do: refute_received({^pid, _})
    assert [reason] = errors |> Enum.map(& &1.reason) |> Enum.uniq()
    {reason, Exception.message(hd(errors))}
  end

  # The server answers nothing until it is told what to do.
  defp faulty(fault) do
    parent = self()

    fn
      %{number: 1} = conn ->
        FakeServer.hello(conn)
        send(parent, {:conn, self()})
        receive do: (:now -> fault.(conn))

      conn ->
        FakeServer.obey(conn)
    end
  end

  defp start_faulty(fault, options \\ []) do
    server = FakeServer.start_with_client(faulty(fault), options)
    assert_receive {:conn, conn}, 5000
    {server, fn -> send(conn, :now) end}
  end

  for {name, fault, reasons} <- [
        {"closes", quote(do: &FakeServer.finish/1), [:closed]},
        {"resets", quote(do: &FakeServer.reset/1), [:econnreset]},
        # The kernel resets a connection with requests that were not read.
        {"closes in the middle of a frame",
         quote(do: &FakeServer.write(&1, <<0, 0, 1, 0, "abc">>)), [:closed, :econnreset]},
        {"says that it stops",
         quote(do: &FakeServer.write(&1, FakeServer.error(0, "shutting_down", "bye for now"))),
         [:shutting_down]}
      ] do
    test "a server that #{name}: one error for each pending call, then a new session" do
      parent = self()
      options = [on_restart: &send(parent, {:restarted, &1})]
      {server, fault} = start_faulty(unquote(fault), options)
      {reason, text} = assert_one_error_each(server, 50, fault)
      assert {:disconnected, why} = reason
      assert why in unquote(reasons)
      assert text =~ "the connection ended while the request was pending"
      assert_receive {:restarted, ^server}, 5000
      refute_receive {:restarted, _}, 50
      assert Outrigger.ping(server) == :ok
      assert Outrigger.info!(server).session == 2
      assert_nothing_left(server)
    end
  end

  test "the words of the server are in the error" do
    frame = FakeServer.error(0, "shutting_down", "maintenance until noon")
    {server, fault} = start_faulty(&FakeServer.write(&1, frame))
    {_, text} = assert_one_error_each(server, 1, fault)
    assert text =~ "maintenance until noon"
  end

  for {name, bytes} <- [
        {"no frames", "Segmentation fault (core dumped)\n"},
        {"a frame of 2 GiB", <<2_147_483_648::32, "x">>},
        {"a frame that is no msgpack", <<4::32, 0xC1C1C1C1::32>>},
        {"a reply without an id", FakeServer.frame(%{"status" => "ok"})}
      ] do
    test "a server that sends #{name}: one error each, then a new session" do
      {server, fault} = start_faulty(&FakeServer.write(&1, unquote(bytes)))
      memory = :erlang.memory(:total)
      {reason, _} = assert_one_error_each(server, 20, fault)
      assert reason == :protocol
      assert :erlang.memory(:total) - memory < 100_000_000
      assert Outrigger.ping(server) == :ok
      assert_nothing_left(server)
    end
  end

  test "tensors of an ended session tell whether the server goes on" do
    hold = fn conn ->
      FakeServer.hello(conn)
      request = FakeServer.read(conn)
      result = %{"handle" => request["handle"], "dtype" => "u8", "shape" => [1]}
      FakeServer.reply(conn, request, %{"results" => [result]})
      receive do: (:close -> :ok)
    end

    parent = self()

    run = fn conn ->
      send(parent, {:conn, self()})
      hold.(conn)
    end

    {address, pid} = FakeServer.start(run, epoch: 7)
    server = start_client(address)
    tensor = fn -> Outrigger.await!(Outrigger.from_binary(server, <<1>>, :u8, {1})) end
    first = tensor.()
    assert_receive {:conn, conn}
    send(conn, :close)
    assert_receive {:conn, conn}, 5000
    assert Outrigger.await_ready(server) == :ok
    assert {:error, %ConnectionError{reason: :stale_epoch} = error} = Outrigger.to_list(first)
    assert Exception.message(error) =~ "the connection broke, and the server goes on"
    assert inspect(first) == "#Outrigger.Tensor<stale>"
    assert_raise ConnectionError, ~r/the server goes on/, fn -> Op.add(first, 1) end

    # The next server at the address has another epoch.
    second = tensor.()
    FakeServer.stop(pid)
    {_, _} = FakeServer.start(run, epoch: 8, at: address)
    send(conn, :close)
    assert_receive {:conn, _}, 5000
    assert Outrigger.await_ready(server) == :ok
    assert {:error, %ConnectionError{reason: :stale_epoch} = error} = Outrigger.to_list(second)
    assert Exception.message(error) =~ "the server was started again"
    assert {:error, error} = Outrigger.to_list(first)
    assert Exception.message(error) =~ "the server goes on"
  end

  test "a server that goes away for a while: calls wait, and tell why in the end" do
    {address, pid} = FakeServer.start(&FakeServer.obey/1)
    server = start_client(address)
    assert Outrigger.ping(server) == :ok
    connection = Server.fetch!(server).connection
    FakeServer.stop(pid)
    # The open connection went on until now.
    {_, socket, _} = :sys.get_state(connection).link.socket
    :inet.setopts(socket, linger: {true, 0})
    Process.exit(socket, :kill)
    {:error, error} = Outrigger.ping(server, deadline: 300)
    assert error.reason in [:deadline, {:disconnected, :closed}]
    {:error, error} = Outrigger.ping(server, deadline: 300)
    assert error.reason == :deadline
    assert Exception.message(error) =~ "the last attempt: no server listens at the address"
    waiting = Task.async(fn -> Outrigger.ping(server) end)
    {_, _} = FakeServer.start(&FakeServer.obey/1, at: address)
    assert Task.await(waiting, 10_000) == :ok
  end

  for kind <- [:tcp, :tls] do
    test "a server over #{kind} that stops reading: senders wait, and the end is prompt" do
      parent = self()
      certificates = FakeServer.certificates()

      run = fn conn ->
        FakeServer.hello(conn)
        send(parent, {:conn, conn})
        receive do: (:never -> :ok)
      end

      ssl = if unquote(kind) == :tls, do: [ssl: [cacerts: certificates.authorities]], else: []
      few = [queue_max: 50, queue_bytes_max: 1_000_000, timeout: 400]
      options = [kind: unquote(kind), tls: certificates.server] ++ ssl ++ few
      server = FakeServer.start_with_client(run, options)
      assert_receive {:conn, conn}, 5000
      data = :binary.copy(<<0>>, 200_000)

      error =
        Enum.find_value(1..500, fn _ ->
          try do
            Outrigger.from_binary(server, data, :u8, {200_000})
            nil
          rescue
            error in ConnectionError -> error
          end
        end)

      assert %ConnectionError{reason: :queue_full} = error
      {ms, result} = timed(fn -> Outrigger.ping(server, deadline: 100) end)
      assert {:error, %ConnectionError{reason: :deadline}} = result
      assert ms < 1000
      {ms, :ok} = timed(fn -> stop_supervised(server) end)
      assert ms < 2000

      # The socket has ended, whatever waited to be written.
      assert eventually(fn -> FakeServer.read(conn, 100) == :closed end, 10_000)
    end
  end

  test "a connection process that is killed closes its socket, and another one connects" do
    parent = self()

    run = fn conn ->
      FakeServer.hello(conn)
      send(parent, {:conn, conn.number})
      FakeServer.serve(conn)
      send(parent, {:closed, conn.number})
    end

    server = FakeServer.start_with_client(run)
    assert_receive {:conn, 1}, 5000
    Process.exit(Server.fetch!(server).connection, :kill)
    assert_receive {:closed, 1}, 5000
    assert_receive {:conn, 2}, 5000
    assert eventually(fn -> match?(:ok, Outrigger.ping(server, deadline: 100)) end)
  end

  test "a writing process that is killed ends the connection, and another one follows" do
    server = FakeServer.start_with_client(&FakeServer.obey/1)
    assert Outrigger.ping(server) == :ok
    connection = Server.fetch!(server).connection
    Process.exit(:sys.get_state(connection).link.dialer, :kill)
    assert eventually(fn -> match?({:ok, %{session: 2}}, Outrigger.info(server)) end)
    assert Server.fetch!(server).connection == connection
  end

  ## Servers that refuse

  test "nothing listens" do
    {address, pid} = FakeServer.start(&FakeServer.obey/1)
    FakeServer.stop(pid)
    assert {:error, %ConnectionError{reason: :refused} = error} = connect(address)
    assert Exception.message(error) =~ "#{address}: connection refused"

    assert {:error, %ConnectionError{reason: :refused} = error} =
             connect("unix:/nowhere/outrigger.sock")

    assert Exception.message(error) =~ "start the server, or correct the option :connect"
  end

  test "the host is not found" do
    assert {:error, %ConnectionError{reason: reason}} = connect("tcp://nowhere.invalid:7171")
    assert reason == :host_not_found
  end

  test "the user may not use the Unix socket" do
    # Root may use each of them.
    unless System.get_env("USER", "root") == "root" or File.read("/etc/shadow") |> elem(0) == :ok do
      {"unix:" <> path = address, _} = FakeServer.start(&FakeServer.obey/1, kind: :unix)
      File.chmod!(path, 0o000)
      assert {:error, %ConnectionError{reason: :not_permitted}} = connect(address)
    end

    address = %Outrigger.Address{kind: :unix, text: "unix:/x", host: "/x", port: 0}
    error = Outrigger.Link.Failure.connect(address, :eacces)
    assert error.reason == :not_permitted
    assert Exception.message(error) =~ "run as the user of the server: unix:/x: permission denied"
  end

  test "a server that says nothing" do
    {address, _} = FakeServer.start(fn _conn -> Process.sleep(:infinity) end)
    {ms, result} = timed(fn -> connect(address, start_timeout: 300) end)
    assert {:error, %ConnectionError{reason: :handshake} = error} = result
    assert Exception.message(error) =~ "#{address}: no answer to hello"
    assert ms < 3000
    # The same, but TLS never begins.
    "tcp" <> rest = address
    result = connect("tls" <> rest, start_timeout: 300, ssl: [cacerts: []])
    assert {:error, %ConnectionError{reason: :unreachable} = error} = result
    assert Exception.message(error) =~ "no answer to the TLS handshake in time"
  end

  test "a server of another protocol" do
    run = fn conn -> FakeServer.hello(conn, %{"protocol" => 99}) && FakeServer.read(conn) end
    {address, _} = FakeServer.start(run)
    assert {:error, %ConnectionError{reason: :handshake} = error} = connect(address)
    assert Exception.message(error) =~ "not a hello of protocol 1"
  end

  test "a server with too many clients" do
    run = fn conn ->
      FakeServer.write(conn, FakeServer.error(0, "too_many_clients", "64 of 64 are connected"))
    end

    {address, _} = FakeServer.start(run)
    assert {:error, %ConnectionError{reason: :too_many_clients} = error} = connect(address)
    assert Exception.message(error) =~ "64 of 64 are connected"
  end

  defp refuse_tokens(parent) do
    fn conn ->
      request = FakeServer.read(conn)
      send(parent, {:token, request["token"]})
      FakeServer.write(conn, FakeServer.error(request["id"], "unauthorized", "no such token"))
    end
  end

  test "a token that the server does not know" do
    {address, _} = FakeServer.start(refuse_tokens(self()))

    for options <- [[], [token: "wrong"]] do
      assert {:error, %ConnectionError{reason: :unauthorized} = error} = connect(address, options)
      assert Exception.message(error) =~ "give a token of the server's list by :token"
      refute Exception.message(error) =~ "wrong"
    end
  end

  test "a token that is no longer known: callers learn it at once, and attempts are rare" do
    parent = self()
    refuse = refuse_tokens(parent)

    run = fn
      %{number: 1} = conn ->
        auth = FakeServer.read(conn)
        FakeServer.reply(conn, auth, %{"name" => "me", "rights" => []})
        FakeServer.hello(conn)
        FakeServer.read(conn)

      conn ->
        refuse.(conn)
    end

    server = FakeServer.start_with_client(run, token: "once")
    assert {:error, %ConnectionError{reason: {:disconnected, :closed}}} = Outrigger.ping(server)
    assert_receive {:token, "once"}, 5000

    for _ <- 1..10 do
      {ms, result} = timed(fn -> Outrigger.ping(server) end)
      assert {:error, %ConnectionError{reason: :unauthorized}} = result
      assert ms < 1000
    end

    assert_raise ConnectionError, ~r/does not accept the token/, fn ->
      Outrigger.tensor(server, 1)
    end

    # The next attempt is a second away, at least.
    refute_receive {:token, _}, 500
  end

  test "a token is read anew for each connection: from a file, and from a function" do
    path = Path.join(System.tmp_dir!(), "token_#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm(path) end)
    parent = self()

    run = fn conn ->
      auth = FakeServer.read(conn)
      FakeServer.reply(conn, auth, %{"name" => "me", "rights" => []})
      send(parent, {:token, auth["token"], self()})
      FakeServer.hello(conn)
      receive do: (:close -> :ok)
    end

    File.write!(path, "first\n")
    FakeServer.start_with_client(run, token: {:file, path})
    assert_receive {:token, "first", conn}, 5000
    File.write!(path, "second\n")
    send(conn, :close)
    assert_receive {:token, "second", _}, 5000

    FakeServer.start_with_client(run, token: fn -> "from #{inspect(parent)}" end)
    from = "from #{inspect(parent)}"
    assert_receive {:token, ^from, _}, 5000
  end

  test "a token that cannot be read" do
    {address, _} = FakeServer.start(&FakeServer.obey/1)

    for {token, text} <- [
          {{:file, "/nowhere/token"}, "/nowhere/token: no such file or directory"},
          {fn -> raise "secret" end, "the function of the option :token raised RuntimeError"},
          {fn -> throw(:secret) end, "the function of the option :token ended with throw"},
          {fn -> 7 end, "the function of the option :token returned no string"},
          {fn -> "" end, "it has 0 bytes, not 1 to 1024"}
        ] do
      assert {:error, %ConnectionError{reason: :no_token} = error} =
               connect(address, token: token)

      assert Exception.message(error) =~ text
      refute Exception.message(error) =~ "secret"
    end
  end
end
