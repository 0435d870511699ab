defmodule Outrigger.SecureSocketTest do
  @moduledoc "Certificates, secrets and options of connections to servers."
  use Outrigger.DaemonCase, async: true
  alias Outrigger.{FakeServer, Server}
  import Outrigger.FakeServer, only: [connect: 2, start_client: 2]

  @moduletag :capture_log
  @moduletag :own_transport

  test "certificates that are not trusted, have another name, or have expired" do
    good = FakeServer.certificates()
    {address, _} = FakeServer.start(&FakeServer.obey/1, kind: :tls, tls: good.server)
    other = FakeServer.certificates()

    for options <- [[], [ssl: [cacerts: other.authorities]]] do
      assert {:error, %ConnectionError{reason: :certificate} = error} = connect(address, options)
      assert Exception.message(error) =~ "Unknown CA"
    end

    # The address is in the certificate; another one is not.
    by_ip = String.replace(address, "localhost", "127.0.0.1")
    assert {:ok, _} = connect(by_ip, ssl: [cacerts: good.authorities])

    for names <- [[dNSName: ~c"other.example"], [iPAddress: <<10, 0, 0, 1>>]] do
      wrong = FakeServer.certificates(names)
      {address, _} = FakeServer.start(&FakeServer.obey/1, kind: :tls, tls: wrong.server)

      for address <- [address, String.replace(address, "localhost", "127.0.0.1")] do
        result = connect(address, ssl: [cacerts: wrong.authorities])
        assert {:error, %ConnectionError{reason: :certificate} = error} = result
        assert Exception.message(error) =~ "connect to the name that is in the certificate"
      end
    end

    expired =
      FakeServer.certificates([dNSName: ~c"localhost"],
        validity: {{2001, 1, 1}, {2002, 1, 1}}
      )

    {address, _} = FakeServer.start(&FakeServer.obey/1, kind: :tls, tls: expired.server)
    result = connect(address, ssl: [cacerts: expired.authorities])
    assert {:error, %ConnectionError{reason: :certificate} = error} = result
    assert Exception.message(error) =~ "Certificate Expired"

    # The user may decide not to check.
    assert {:ok, _} = connect(address, ssl: [verify: :verify_none])
  end

  test "a name for the certificate that is not the one of the address" do
    certificates = FakeServer.certificates(dNSName: ~c"*.compute.example")
    {address, _} = FakeServer.start(&FakeServer.obey/1, kind: :tls, tls: certificates.server)

    ssl = [
      cacerts: certificates.authorities,
      server_name_indication: ~c"one.compute.example"
    ]

    for address <- [address, String.replace(address, "localhost", "127.0.0.1")] do
      assert {:ok, _} = connect(address, ssl: ssl)
    end
  end

  test "a server that wants a certificate of its client" do
    certificates = FakeServer.certificates()
    wants = [verify: :verify_peer, fail_if_no_peer_cert: true] ++ certificates.server
    {address, _} = FakeServer.start(&FakeServer.obey/1, kind: :tls, tls: wants)
    trust = [cacerts: certificates.authorities]
    assert {:error, %ConnectionError{reason: :tls} = error} = connect(address, ssl: trust)
    assert Exception.message(error) =~ "certfile: and keyfile: in the option :ssl"
    own = Keyword.take(certificates.client, [:cert, :key])
    assert {:ok, server} = connect(address, ssl: trust ++ own)
    assert Outrigger.ping(server) == :ok
  end

  test "a server without TLS, and one of an earlier version" do
    run = fn conn -> FakeServer.write(conn, "HTTP/1.1 400 Bad Request\r\n\r\n") end
    {"tcp" <> rest, _} = FakeServer.start(run)

    assert {:error, %ConnectionError{reason: :tls}} = connect("tls" <> rest, ssl: [cacerts: []])

    certificates = FakeServer.certificates()
    old = [versions: [:"tlsv1.2"]] ++ certificates.server
    {address, _} = FakeServer.start(&FakeServer.obey/1, kind: :tls, tls: old)
    trust = [cacerts: certificates.authorities]
    assert {:error, %ConnectionError{reason: :tls}} = connect(address, ssl: trust)
  end

  test "options of TLS that are wrong show no values" do
    {"tcp" <> rest, _} = FakeServer.start(&FakeServer.obey/1)
    ssl = [cacerts: [], keyfile: ~c"/nowhere", password: ~c"secret", depth: :secret]
    assert {:error, %ConnectionError{reason: :tls} = error} = connect("tls" <> rest, ssl: ssl)
    refute Exception.message(error) =~ "secret"
  end

  test "sync_connect: false starts without a server, and connects when there is one" do
    {address, pid} = FakeServer.start(&FakeServer.obey/1)
    FakeServer.stop(pid)
    server = start_client(address, sync_connect: false)
    assert {:error, %ConnectionError{reason: :deadline}} = Outrigger.ping(server, deadline: 50)
    {_, _} = FakeServer.start(&FakeServer.obey/1, at: address)
    assert Outrigger.ping(server) == :ok
  end

  test "wrong options" do
    for {options, text} <- [
          {[connect: "compute:7171"], ~s("unix:PATH", "tcp://HOST:PORT" or "tls://HOST:PORT")},
          {[connect: "tcp://compute"], "such as tcp://compute.example:7171"},
          {[connect: "tcp://compute:70000"], "a host and a port"},
          {[connect: "tls://::1:7171"], "a host and a port"},
          {[connect: "unix:/" <> String.duplicate("x", 200)], "at most 107 bytes"},
          {[connect: "tcp://[::1]:1", threads: 2], "set it where outriggerd is started"},
          {[connect: "tcp://[::1]:1", memory_limit: "1GiB"], "the option :memory_limit is for"},
          {[token: "x"], "needs the option :connect"},
          {[connect: "tcp://[::1]:1", token: ""], "a string of 1 to 1024 bytes"},
          {[connect: "tcp://[::1]:1", ssl: :secret], "a keyword list of options of :ssl"},
          {[connect: "tcp://[::1]:1", sync_connect: nil], "true or false"}
        ] do
      error = assert_raise ArgumentError, fn -> Outrigger.start_link(options) end
      assert Exception.message(error) =~ text
      refute Exception.message(error) =~ "secret"
    end
  end

  test "no state, no child specification and no log shows a secret" do
    secret = "thisisthetoken"
    ssl = [password: ~c"thisistoo"]

    run = fn conn ->
      auth = FakeServer.read(conn)
      FakeServer.reply(conn, auth, %{"name" => "me", "rights" => []})
      FakeServer.obey(conn)
    end

    {address, _} = FakeServer.start(run)
    options = [connect: address, token: secret, ssl: ssl, name: :discreet]

    log =
      ExUnit.CaptureLog.capture_log(fn ->
        server = start_client(address, token: secret, ssl: ssl)
        assert Outrigger.ping(server) == :ok
        shown = fn term -> inspect(term, limit: :infinity, printable_limit: :infinity) end

        for {_, pid, _, _} <- Supervisor.which_children(server) do
          refute shown.(:sys.get_state(pid)) =~ "thisis"
          refute :io_lib.format("~p", [:sys.get_status(pid)]) |> to_string() =~ "thisis"
        end

        refute shown.(:sys.get_state(server)) =~ "thisis"
        refute shown.(Outrigger.child_spec(options)) =~ "thisis"
        refute shown.(Server.fetch!(server)) =~ "thisis"

        # The report of a crash shows the state.
        Process.flag(:trap_exit, true)
        connection = Server.fetch!(server).connection
        send(connection, {:give_up, fn -> :no_id end, :no_such_message})
        :sys.replace_state(connection, &%{&1 | traffic: nil})
        send(connection, {:give_up, 1})
        refute eventually(fn -> not Process.alive?(connection) end, 50) == nil

        # A supervisor reports the arguments of a child that does not start.
        nowhere = [connect: "unix:/nowhere", token: secret, ssl: ssl]
        Supervisor.start_link([{Outrigger, nowhere}], strategy: :one_for_one)
        Process.sleep(100)
      end)

    assert log =~ "terminating"
    refute log =~ "thisis"

    for wrong <- [[{:token, secret}, :not_a_pair], %{token: secret}, [token: {secret}]] do
      error = assert_raise ArgumentError, fn -> Outrigger.start_link(wrong) end
      refute Exception.message(error) =~ "thisis"
    end
  end
end
