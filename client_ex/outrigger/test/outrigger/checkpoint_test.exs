defmodule Outrigger.CheckpointTest do
  @moduledoc """
  A daemon with a data folder, which is killed and started again. Over a Port there is no such
  daemon, so that these tests use a Unix socket instead.
  """
  use Outrigger.DaemonCase, async: true
  alias Outrigger.{FakeServer, ListeningDaemon}

  @moduletag :capture_log

  setup do
    data = Path.join(System.tmp_dir!(), "outrigger_data_#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm_rf!(data) end)
    {:ok, data: data}
  end

  defp listen(data, more \\ []) do
    kind = if(transport() == :port, do: :unix, else: transport())
    name = :"daemon_#{System.unique_integer([:positive])}"
    args = ["--data", data, "--checkpoint-interval", "0"]
    options = Keyword.merge([threads: 1, name: name, log: :none, args: args], more)
    Keyword.delete(ListeningDaemon.start_supervised!(kind, options), :name)
  end

  defp client(options) do
    {address, options} = Keyword.pop!(options, :connect)
    FakeServer.start_client(address, options)
  end

  # The server is killed, and its service manager starts it again.
  defp restart(server) do
    epoch = Outrigger.info!(server).epoch
    server |> os_pid() |> kill("KILL")

    assert eventually(
             fn -> match?({:ok, %{epoch: now}} when now != epoch, Outrigger.info(server)) end,
             20_000
           )
  end

  test "a killed server has the tensors of its last checkpoint, with their versions", %{
    data: data
  } do
    server = client(listen(data))
    kept = Outrigger.publish!(Outrigger.tensor(server, [1, 2, 3]), "kept")
    live = Outrigger.open(server, "kept", live: true)
    assert {:ok, %{number: 1, names: 1} = first} = Outrigger.checkpoint(server)
    assert first.taken_at_ms > 1_700_000_000_000 and first.bytes > 0
    assert Outrigger.checkpoint!(server) == first

    InPlace.add(live, 10)
    assert %{number: 2} = Outrigger.checkpoint!(server, deadline: 60_000)
    lost = Outrigger.publish!(Outrigger.tensor(server, [4]), "lost")
    assert %{number: 2, changed: true, error: nil} = Outrigger.info!(server).checkpoint

    restart(server)
    assert [%{name: "kept", version: ^kept, type: :s32, shape: {3}}] = Outrigger.names!(server)
    assert Outrigger.to_list!(Outrigger.open(server, "kept")) == [11, 12, 13]
    assert {:error, error} = Outrigger.await(Outrigger.open(server, "lost"))
    assert error.code == :unknown_name
    # No version comes twice.
    assert Outrigger.publish!(Outrigger.tensor(server, [5]), "new") > lost
    # The error of "lost".
    assert {:error, %Error{}} = Outrigger.sync(server)
    assert_nothing_left(server)
  end

  test "subscribers hear which names are there again", %{data: data} do
    server = client(listen(data))
    ref = Outrigger.subscribe!(server, prefix: "")
    kept = Outrigger.publish!(Outrigger.tensor(server, [1]), "kept")
    assert_receive {:outrigger, ^ref, {:published, "kept", ^kept}}, 5_000
    Outrigger.checkpoint!(server)
    lost = Outrigger.publish!(Outrigger.tensor(server, [1]), "lost")
    assert_receive {:outrigger, ^ref, {:published, "lost", ^lost}}, 5_000
    restart(server)
    assert_receive {:outrigger, ^ref, {:published, "kept", ^kept}}, 20_000
    assert_receive {:outrigger, ^ref, {:unpublished, "lost", ^lost}}, 20_000
  end

  test "a checkpoint that fails is an error with its reason, and the next one works", %{
    data: data
  } do
    server = client(listen(data))
    Outrigger.publish!(Outrigger.tensor(server, [1]), "a")
    # A folder in the place of the file that the checkpoint writes.
    File.mkdir!(Path.join(data, "manifest.new"))
    assert {:error, %Error{code: :io_error} = error} = Outrigger.checkpoint(server)
    assert error.message =~ "manifest.new"
    assert Outrigger.info!(server).checkpoint.error =~ "manifest.new"
    File.rmdir!(Path.join(data, "manifest.new"))
    assert {:ok, %{names: 1}} = Outrigger.checkpoint(server)
    assert Outrigger.info!(server).checkpoint.error == nil
  end

  test "without a data folder there is no checkpoint" do
    server = start_server()
    assert {:error, %Error{code: :bad_request} = error} = Outrigger.checkpoint(server)
    assert error.message =~ "--data"
    refute Map.has_key?(Outrigger.info!(server), :checkpoint)
    assert_raise Error, fn -> Outrigger.checkpoint!(server) end
    assert_raise ArgumentError, fn -> Outrigger.checkpoint(server, path: "x") end
  end

  test "a token without the right may not ask for a checkpoint", %{data: data} do
    tokens = "test read,write,publish #{String.duplicate("0123456789abcdef", 2)}\n"
    name = :"daemon_#{System.unique_integer([:positive])}"
    options = [threads: 1, name: name, log: :none, tokens: tokens, args: ["--data", data]]
    daemon = Keyword.delete(ListeningDaemon.start_supervised!(:tcp, options), :name)
    assert {:error, %Error{code: :forbidden}} = Outrigger.checkpoint(client(daemon))
  end
end
