defmodule Outrigger.SubscriptionsTest do
  @moduledoc "Events of a server that the test plays: their way to a process, and broken links."
  use Outrigger.DaemonCase, async: true
  alias Outrigger.{FakeServer, Names, Server}

  @moduletag :capture_log
  @moduletag :own_transport

  # A server that answers each request with what `answer` returns, and tells the test of it. The
  # test can write to its connections at any time.
  defp start(answer \\ &ok/2, options \\ []) do
    parent = self()

    run = fn conn ->
      FakeServer.hello(conn)
      send(parent, {:connected, conn.number, spawn_link(fn -> write_all(conn) end)})
      serve(conn, answer, parent)
    end

    server = FakeServer.start_with_client(run, options)
    {server, connected(1)}
  end

  defp ok(_conn, request), do: FakeServer.ok(request)

  defp serve(conn, answer, parent) do
    with %{} = request <- FakeServer.read(conn) do
      send(parent, {:request, conn.number, request})
      FakeServer.write(conn, answer.(conn, request))
      serve(conn, answer, parent)
    end
  end

  defp write_all(conn) do
    receive do
      :reset -> FakeServer.reset(conn)
      data -> FakeServer.write(conn, data)
    end

    write_all(conn)
  end

  defp connected(number) do
    assert_receive {:connected, ^number, writer}, 10_000
    writer
  end

  defp requested(number, kind) do
    assert_receive {:request, ^number, %{"do" => ^kind} = request}, 5_000
    request
  end

  defp event(kind, id, name, version) do
    fields = %{"subscription" => id, "name" => name, "version" => version}
    FakeServer.frame(Map.put(fields, "event", kind))
  end

  defp published(id, name, version), do: event("published", id, name, version)

  defp names(request, names, more),
    do: FakeServer.ok(request, %{"names" => names, "more" => more})

  defp kept(server), do: :sys.get_state(Server.fetch!(server).connection).traffic.subscriptions

  test "events go to the process of their subscription" do
    {server, writer} = start()
    {:ok, one} = Outrigger.subscribe(server, "a")
    assert %{"subscription" => 1, "name" => "a"} = request = requested(1, "subscribe")
    refute is_map_key(request, "prefix")
    two = Outrigger.subscribe!(server, prefix: "")
    assert %{"subscription" => 2, "prefix" => ""} = requested(1, "subscribe")

    # In pieces of any size, among replies, and of subscriptions that there are not.
    bytes =
      published(1, "a", 4) <>
        published(2, "a", 4) <>
        published(77, "a", 4) <>
        published(2, "ä€", 0xFFFFFFFFFFFFFFFF) <> event("unpublished", 1, "a", 4)

    for <<piece::binary-3 <- bytes <> binary_part("--", 0, rem(3 - rem(byte_size(bytes), 3), 3))>>,
      do: send(writer, piece)

    assert_receive {:outrigger, ^one, {:published, "a", 4}}, 5_000
    assert_receive {:outrigger, ^two, {:published, "a", 4}}, 5_000
    assert_receive {:outrigger, ^two, {:published, "ä€", 0xFFFFFFFFFFFFFFFF}}, 5_000
    assert_receive {:outrigger, ^one, {:unpublished, "a", 4}}, 5_000
    refute_receive {:outrigger, _, _}, 10
  end

  test "an event that is none ends the connection" do
    for broken <- [
          %{"event" => "renamed", "subscription" => 1, "name" => "a", "version" => 1},
          %{"event" => "published", "subscription" => 1, "name" => 7, "version" => 1},
          %{"event" => "published", "name" => "a", "version" => 1}
        ] do
      {server, writer} = start()
      send(writer, FakeServer.frame(broken))
      connected(2)
      assert Outrigger.ping(server) == :ok
    end
  end

  test "the messages of the mailbox end with the subscription" do
    {server, writer} = start()
    ref = Outrigger.subscribe!(server, "a")
    send(writer, published(1, "a", 4))

    assert eventually(fn ->
             Process.info(self(), :message_queue_len) != {:message_queue_len, 0}
           end)

    assert Outrigger.unsubscribe(server, ref) == :ok
    assert %{"subscription" => 1} = requested(1, "unsubscribe")
    send(writer, published(1, "a", 5))
    assert Outrigger.ping(server) == :ok
    refute_received {:outrigger, _, _}
    assert Outrigger.unsubscribe(server, ref) == :ok
    Outrigger.sync!(server)
    refute_received {:request, 1, %{"do" => "unsubscribe"}}
    assert_nothing_left(server)
  end

  test "the death of a process ends its subscriptions, and no others" do
    {server, writer} = start()
    parent = self()
    mine = Outrigger.subscribe!(server, "a")

    pid =
      spawn(fn ->
        for name <- ["b", "c"], do: Outrigger.subscribe!(server, name)
        send(parent, :subscribed)
        Process.sleep(:infinity)
      end)

    assert_receive :subscribed, 5_000
    Process.exit(pid, :kill)
    ids = for _ <- 1..2, do: requested(1, "unsubscribe")["subscription"]
    assert Enum.sort(ids) == [2, 3]
    send(writer, [published(2, "b", 1), published(1, "a", 2)])
    assert_receive {:outrigger, ^mine, {:published, "a", 2}}, 5_000
    Outrigger.unsubscribe(server, mine)
    assert_nothing_left(server)
  end

  test "a process that dies while it subscribes leaves nothing" do
    {server, writer} =
      start(fn _, %{"do" => kind} = r -> if kind != "subscribe", do: ok(nil, r), else: "" end)

    pid = spawn(fn -> Outrigger.subscribe(server, "a") end)
    request = requested(1, "subscribe")
    Process.exit(pid, :kill)
    assert %{"subscription" => 1} = requested(1, "unsubscribe")
    send(writer, FakeServer.ok(request))
    assert_nothing_left(server)
  end

  test "an answer that comes late: the error, and no messages" do
    {server, writer} =
      start(fn _, %{"do" => kind} = r -> if kind != "subscribe", do: ok(nil, r), else: "" end)

    assert {:error, %ConnectionError{reason: :deadline}} =
             Outrigger.subscribe(server, "a", deadline: 20)

    assert %{"subscription" => 1} = requested(1, "unsubscribe")
    send(writer, [FakeServer.ok(requested(1, "subscribe")), published(1, "a", 2)])
    assert_nothing_left(server)
    refute_received {_, _, _}
  end

  test "a subscription that the server refuses" do
    refuse = fn _, request -> FakeServer.error(request["id"], "limit_exceeded", "64 already") end
    {server, _} = start(refuse)
    assert {:error, %Error{code: :limit_exceeded}} = Outrigger.subscribe(server, "a")
    assert_raise Error, ~r/64 already/, fn -> Outrigger.subscribe!(server, "a") end
    assert kept(server).ids == %{} and kept(server).refs == %{}
  end

  test "after a broken link the connection subscribes again, and tells what is gone" do
    listed = fn
      %{number: 2}, %{"do" => "names", "after" => "m/c"} = r ->
        names(r, [%{"name" => "m/d"}], false)

      %{number: 2}, %{"do" => "names", "prefix" => "m/"} = r ->
        names(r, [%{"name" => "m/c"}], true)

      _, %{"do" => "names"} = r ->
        names(r, [], false)

      _, r ->
        FakeServer.ok(r)
    end

    {server, writer} = start(listed)
    prefix = Outrigger.subscribe!(server, prefix: "m/")
    name = Outrigger.subscribe!(server, "x")

    first =
      for {n, v} <- [{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}, {"e", 5}],
          do: published(1, "m/" <> n, v)

    send(writer, first)
    send(writer, published(2, "x", 6))
    send(writer, event("unpublished", 1, "m/b", 7))
    assert_receive {:outrigger, ^prefix, {:unpublished, "m/b", 7}}, 5_000

    for {n, v} <- [{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}, {"e", 5}] do
      event = {:published, "m/" <> n, v}
      assert_receive {:outrigger, ^prefix, ^event}, 5_000
    end

    assert_receive {:outrigger, ^name, {:published, "x", 6}}, 5_000

    send(writer, :reset)
    again = connected(2)
    assert %{"subscription" => 1, "prefix" => "m/"} = requested(2, "subscribe")
    assert %{"subscription" => 2, "name" => "x"} = requested(2, "subscribe")
    # The name m/b was gone before. m/c and m/d are in the lists, and come as events.
    assert_receive {:outrigger, ^prefix, {:unpublished, "m/a", 1}}, 5_000
    assert_receive {:outrigger, ^prefix, {:unpublished, "m/e", 5}}, 5_000
    assert_receive {:outrigger, ^name, {:unpublished, "x", 6}}, 5_000
    send(again, [published(1, "m/c", 3), published(1, "m/d", 9)])
    assert_receive {:outrigger, ^prefix, {:published, "m/c", 3}}, 5_000
    assert_receive {:outrigger, ^prefix, {:published, "m/d", 9}}, 5_000
    Outrigger.sync!(server)
    refute_received {:outrigger, _, _}

    # An event tells of the name before the list does.
    send(again, :reset)
    third = connected(3)
    for _ <- 1..2, do: assert_receive({:outrigger, ^prefix, {:unpublished, _, _}}, 5_000)
    send(third, published(2, "x", 8))
    assert_receive {:outrigger, ^name, {:published, "x", 8}}, 5_000
    refute_received {:outrigger, _, _}
    for ref <- [prefix, name], do: Outrigger.unsubscribe(server, ref)
    assert_nothing_left(server)
  end

  test "a subscription that the server refuses after a broken link ends with an error" do
    answer = fn
      %{number: 2}, %{"do" => "subscribe"} = r ->
        FakeServer.error(r["id"], "shutting_down", "later")

      %{number: 3}, %{"do" => "subscribe"} = r ->
        FakeServer.error(r["id"], "forbidden", "no right")

      _, r ->
        FakeServer.ok(r)
    end

    {server, writer} = start(answer)
    ref = Outrigger.subscribe!(server, "a")
    send(writer, :reset)
    again = connected(2)
    requested(2, "subscribe")
    Outrigger.sync!(server)
    refute_received {:outrigger, _, _}
    send(again, :reset)
    assert_receive {:outrigger, ^ref, {:error, %Error{code: :forbidden}}}, 5_000
    assert kept(server).ids == %{}
    assert Outrigger.unsubscribe(server, ref) == :ok
  end

  test "a link that breaks while a process subscribes" do
    {server, writer} =
      start(fn %{number: n}, %{"do" => kind} = r ->
        if {n, kind} != {1, "subscribe"}, do: ok(nil, r), else: ""
      end)

    task = Task.async(fn -> Outrigger.subscribe(server, "a") end)
    requested(1, "subscribe")
    send(writer, :reset)
    assert {:error, %ConnectionError{reason: {:disconnected, _}}} = Task.await(task)
    connected(2)
    Outrigger.sync!(server)
    refute_received {:request, 2, %{"do" => "subscribe"}}
    assert_nothing_left(server)
  end

  test "a connection with a subscription does not stay idle" do
    {server, writer} = start()
    Outrigger.subscribe!(server, "a")
    send(writer, FakeServer.error(0, "timeout", "nothing came for 1 s"))
    send(writer, :reset)
    connected(2)
    requested(2, "subscribe")
  end

  test "a server that stops tells its subscribers" do
    {server, _} = start()
    connection = Server.fetch!(server).connection
    ref = Outrigger.subscribe!(server, "a")
    stop_supervised!(server)
    assert_receive {:DOWN, ^ref, :process, ^connection, _}, 5_000
    assert Outrigger.unsubscribe(server, ref) == :ok
    assert {:error, %ConnectionError{reason: :closed}} = Outrigger.subscribe(server, "a")
  end

  test "a process that reads nothing does not hold up the others" do
    {server, writer} = start()
    ref = Outrigger.subscribe!(server, prefix: "")
    bytes = for n <- 1..20_000, into: "", do: published(1, "name #{rem(n, 10)}", n)
    send(writer, bytes)
    for _ <- 1..50, do: assert(Outrigger.ping(server) == :ok)

    assert eventually(
             fn -> Process.info(self(), :message_queue_len) |> elem(1) >= 20_000 end,
             10_000
           )

    Outrigger.unsubscribe(server, ref)
  end

  ## Requests and replies of the other functions

  test "the frames of publish, open, names and unpublish" do
    answer = fn
      _, %{"do" => "publish"} = r ->
        FakeServer.ok(r, %{"version" => 12})

      _, %{"do" => "unpublish"} = r ->
        FakeServer.ok(r, %{"found" => r["name"] == "a"})

      _, %{"do" => "open", "handle" => h} = r ->
        FakeServer.ok(r, %{
          "results" => [%{"handle" => h, "dtype" => "f32", "shape" => [2, 3]}],
          "version" => 4
        })

      _, %{"do" => "names", "after" => "b"} = r ->
        names(r, [entry("c", nil)], false)

      _, %{"do" => "names"} = r ->
        names(r, [entry("a", 5), entry("b", nil)], true)

      _, %{"do" => "upload", "handle" => h} = r ->
        FakeServer.ok(r, %{"results" => [%{"handle" => h, "dtype" => "s32", "shape" => [1]}]})

      _, r ->
        FakeServer.ok(r)
    end

    {server, _} = start(answer)
    tensor = Outrigger.tensor(server, [1])
    assert Outrigger.publish(tensor, "a") == {:ok, 12}
    request = requested(1, "publish")

    assert Map.drop(request, ["id"]) == %{
             "do" => "publish",
             "handle" => tensor.handle,
             "name" => "a"
           }

    assert Outrigger.publish!(tensor, "a", expect: 0, ttl: 7, deadline: 5_000) == 12
    assert %{"expect" => 0, "ttl_ms" => 7} = requested(1, "publish")
    opened = Outrigger.open(server, "a")
    assert Outrigger.shape!(opened) == {2, 3} and Outrigger.type!(opened) == :f32
    request = requested(1, "open")

    assert Map.drop(request, ["id"]) == %{
             "do" => "open",
             "handle" => opened.handle,
             "name" => "a"
           }

    Outrigger.open(server, "a", live: true, version: 4)
    assert %{"live" => true, "version" => 4} = requested(1, "open")
    assert Outrigger.unpublish(server, "a") == {:ok, true}
    assert Outrigger.unpublish!(server, "b", expect: 3) == false
    refute is_map_key(requested(1, "unpublish"), "expect")
    assert %{"expect" => 3} = requested(1, "unpublish")
    assert {:ok, [a, b, c]} = Outrigger.names(server, prefix: "x")
    assert a == %{name: "a", version: 3, type: :bf16, shape: {2}, bytes: 4, ttl: 5, token: "me"}
    assert {b.name, c.name, c.ttl} == {"b", "c", nil}
    assert %{"prefix" => "x", "limit" => 1000} = first = requested(1, "names")
    refute is_map_key(first, "after")
    assert %{"prefix" => "x", "after" => "b"} = requested(1, "names")
    assert length(Outrigger.names!(server)) == 3
    refute is_map_key(requested(1, "names"), "prefix")
  end

  defp entry(name, ttl) do
    %{"name" => name, "version" => 3, "dtype" => "bf16", "shape" => [2], "bytes" => 4}
    |> Map.merge(%{"ttl_ms" => ttl, "token" => "me"})
  end

  test "names and options that are wrong are refused before a request" do
    {server, _} = start()
    tensor = Outrigger.tensor(server, [1])

    for name <- [
          "",
          String.duplicate("é", 128),
          "a\nb",
          <<127>>,
          <<0xFF>>,
          <<"a", 0xC3>>,
          :a,
          nil,
          7,
          ~c"a"
        ] do
      for fun <- [
            &Outrigger.publish(tensor, &1),
            &Outrigger.open(server, &1),
            &Outrigger.unpublish(server, &1),
            &Outrigger.subscribe(server, &1)
          ] do
        error = assert_raise ArgumentError, fn -> fun.(name) end
        assert error.message =~ ~r/a name/
      end

      if name not in ["", nil] do
        assert_raise ArgumentError, ~r/a prefix of names is a string of 0 to 255/, fn ->
          Outrigger.names(server, prefix: name)
        end
      end
    end

    text = "a name is a string of 1 to 255 bytes of UTF-8 without control characters, got: \"\""
    assert_raise ArgumentError, text, fn -> Outrigger.open(server, "") end

    assert_raise ArgumentError, ~r/\(256 bytes\)$/, fn ->
      Outrigger.open(server, String.duplicate("é", 128))
    end

    for options <- [
          [expect: -1],
          [expect: "1"],
          [ttl: 0],
          [ttl: 1.5],
          [ttl: 0x10000000000000000],
          [live: true]
        ],
        do: assert_raise(ArgumentError, fn -> Names.publish(tensor, "a", options) end)

    for options <- [[version: 0], [live: 1], [deadline: 5]],
        do: assert_raise(ArgumentError, fn -> Outrigger.open(server, "a", options) end)

    assert_raise ArgumentError, fn -> Outrigger.unpublish(server, "a", expect: 0) end
    assert_raise ArgumentError, fn -> Outrigger.subscribe(server, prefix: "a", name: "b") end
    assert_raise ArgumentError, fn -> Outrigger.subscribe(server, "a", prefix: "b") end
    Outrigger.sync!(server)
    refute_received {:request, 1, %{"name" => _}}
    # The longest names are fine.
    assert {:ok, _} = Outrigger.subscribe(server, String.duplicate("é", 127) <> "x")
  end

  test "the errors of names have a text that helps" do
    answer = fn
      _, %{"do" => "unpublish"} = r ->
        FakeServer.error(r["id"], "version_conflict", "\"a\" has the version 7")

      _, %{"do" => "open"} = r ->
        FakeServer.error(r["id"], "unknown_name", "there is no name \"a\"")

      _, r ->
        FakeServer.ok(r)
    end

    {server, _} = start(answer)

    assert {:error, %Error{code: :version_conflict} = error} =
             Outrigger.unpublish(server, "a", expect: 3)

    assert Exception.message(error) =~ ~r/has the version 7.*names\/2.*\[version_conflict\]/

    assert {:error, %Error{code: :unknown_name} = error} =
             Outrigger.await(Outrigger.open(server, "a"))

    assert Exception.message(error) =~ ~r/no name "a".*publish\/3.*\[unknown_name\]/
  end
end
