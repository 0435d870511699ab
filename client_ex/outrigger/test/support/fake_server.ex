defmodule Outrigger.FakeServer do
  @moduledoc false
  # A server on a socket, for faults that outriggerd does not have. Each connection runs a function
  # of the test, in a process of its own.

  alias Outrigger.Codec

  @limits %{
    "frame_bytes_max" => 1_048_576,
    "requests_window" => 4096,
    "bytes_window" => 16_777_216,
    "handles_max" => 1_048_576,
    "programs_max" => 8,
    "instructions_max" => 65_536,
    "depth_max" => 16,
    "program_bytes_max" => 16_777_216,
    "reply_bytes_max" => 33_554_432
  }

  defstruct [:socket, :transport, :number, :epoch]

  @doc """
  Starts a server and returns its address and its options for the client. `run` is a function of the
  connection, which has a number: 1, 2, … Options: `kind:` (:tcp, :unix or :tls), `at:` an earlier
  address, `epoch:`, and `tls:` options of :ssl.listen/2.
  """
  def start(run, options \\ []) do
    kind = options[:kind] || :tcp
    {transport, listen, address} = listen(kind, options)
    epoch = options[:epoch] || 7
    pid = spawn_link(fn -> accept_all(transport, listen, run, epoch, 1) end)

    # The listening socket belongs to the server, and ends with it.
    if is_port(listen), do: :gen_tcp.controlling_process(listen, pid)
    send(pid, :go)
    {address, pid}
  end

  @doc "Ends a server: its address refuses connections. Its open connections go on."
  def stop(pid) do
    Process.unlink(pid)
    ref = Process.monitor(pid)
    send(pid, :stop)
    receive do: ({:DOWN, ^ref, _, _, _} -> :ok)
  end

  defp listen(:unix, options) do
    path =
      options[:at] ||
        Path.join(System.tmp_dir!(), "outrigger_#{System.unique_integer([:positive])}.sock")

    path = String.replace_prefix(path, "unix:", "")
    File.rm(path)
    {:ok, listen} = :gen_tcp.listen(0, options() ++ [ip: {:local, path}])
    {:gen_tcp, listen, "unix:" <> path}
  end

  defp listen(:tls, options) do
    {:ok, listen} = :ssl.listen(port(options), options() ++ [log_level: :none] ++ options[:tls])
    {:ok, {_, port}} = :ssl.sockname(listen)
    {:ssl, listen, "tls://localhost:#{port}"}
  end

  defp listen(:tcp, options) do
    {:ok, listen} = :gen_tcp.listen(port(options), options() ++ (options[:listen] || []))
    {:ok, port} = :inet.port(listen)
    {:gen_tcp, listen, "tcp://127.0.0.1:#{port}"}
  end

  defp port(options) do
    case options[:at] do
      nil -> 0
      address -> address |> String.split(":") |> List.last() |> String.to_integer()
    end
  end

  defp options, do: [:binary, active: false, reuseaddr: true, nodelay: true]

  defp accept_all(transport, listen, run, epoch, number) do
    receive do: (:go -> :ok)
    accept(transport, listen, run, epoch, number)
  end

  defp accept(transport, listen, run, epoch, number) do
    case accept_one(transport, listen) do
      {:ok, socket} ->
        conn = %__MODULE__{socket: socket, transport: transport, number: number, epoch: epoch}

        pid =
          spawn(fn ->
            receive do: (:go -> :ok)
            with {:ok, conn} <- handshake(conn), do: run.(conn)
            close(conn)
          end)

        transport.controlling_process(socket, pid)
        send(pid, :go)
        accept(transport, listen, run, epoch, number + 1)

      {:error, :timeout} ->
        receive do
          :stop -> transport.close(listen)
        after
          0 -> accept(transport, listen, run, epoch, number)
        end

      {:error, _closed} ->
        :ok
    end
  end

  defp accept_one(:gen_tcp, listen), do: :gen_tcp.accept(listen, 20)
  defp accept_one(:ssl, listen), do: :ssl.transport_accept(listen, 20)

  defp handshake(%{transport: :gen_tcp} = conn), do: {:ok, conn}

  defp handshake(%{transport: :ssl, socket: socket} = conn) do
    with {:ok, socket} <- :ssl.handshake(socket, 5000), do: {:ok, %{conn | socket: socket}}
  end

  ## Clients

  @doc "Starts a client that is linked to the test, or returns why it cannot."
  def connect(address, options \\ []) do
    Process.flag(:trap_exit, true)
    Outrigger.start_link(Keyword.merge([connect: address, start_timeout: 5_000], options))
  end

  @doc "Starts a client that ends with the test, and returns its name."
  def start_client(address, options \\ []) do
    name = :"client_#{System.unique_integer([:positive])}"
    options = [name: name, connect: address, start_timeout: 5_000] ++ options
    ExUnit.Callbacks.start_supervised!({Outrigger, options}, id: name)
    name
  end

  @doc "Starts a server and a client of it, and returns the name of the client."
  def start_with_client(run, options \\ []) do
    {server_options, options} = Keyword.split(options, [:kind, :epoch, :tls, :listen])
    {address, _pid} = start(run, server_options)
    start_client(address, options)
  end

  ## For the functions of tests

  def write(conn, data), do: conn.transport.send(conn.socket, data)
  def close(conn), do: conn.transport.close(conn.socket)

  @doc "Ends the stream, and reads until the client has closed."
  def finish(conn) do
    conn.transport.shutdown(conn.socket, :write)
    conn.transport.recv(conn.socket, 0)
    if conn.transport.recv(conn.socket, 0, 5000) != {:error, :closed}, do: finish(conn)
  end

  @doc "Closes with a reset."
  def reset(conn) do
    :inet.setopts(conn.socket, linger: {true, 0})
    close(conn)
  end

  @doc "The next request, or :closed."
  def read(conn, timeout \\ :infinity) do
    with {:ok, <<size::32>>} <- conn.transport.recv(conn.socket, 4, timeout),
         {:ok, payload} <- conn.transport.recv(conn.socket, size, timeout) do
      {:ok, request, <<>>} = Codec.decode(payload)
      request
    else
      {:error, :timeout} -> :timeout
      {:error, _} -> :closed
    end
  end

  def frame(map) do
    payload = IO.iodata_to_binary(Codec.encode(map))
    <<byte_size(payload)::32, payload::binary>>
  end

  def ok(request, fields \\ %{}),
    do: frame(Map.merge(%{"id" => request["id"], "status" => "ok"}, fields))

  def error(id, code, text) do
    frame(%{
      "id" => id,
      "status" => "error",
      "error" => %{"code" => code, "text" => text, "written" => []}
    })
  end

  def reply(conn, request, fields \\ %{}), do: write(conn, ok(request, fields))

  @doc "Reads `hello`, and answers it. Returns the request."
  def hello(conn, fields \\ %{}) do
    %{"do" => "hello"} = request = read(conn)
    write(conn, hello_reply(conn, request, fields))
    request
  end

  def hello_reply(conn, request, fields \\ %{}) do
    hello = %{
      "protocol" => 1,
      "server" => "fake 1",
      "epoch" => conn.epoch,
      "session" => conn.number,
      "catalogue" => Outrigger.Catalogue.hash(),
      "os_pid" => 1,
      "threads" => 1,
      "isa" => "none",
      "memory_limit" => 0,
      "limits" => @limits,
      "lanes" => ["inline"]
    }

    ok(request, Map.merge(hello, fields))
  end

  @doc "Serves `hello` and everything else, until the client ends."
  def obey(conn) do
    hello(conn)
    serve(conn)
  end

  @doc "Answers requests until the client ends. Tensors are bytes."
  def serve(conn, tensors \\ %{}) do
    case read(conn) do
      :closed ->
        :ok

      request ->
        {fields, tensors} = answer(request, tensors)
        reply(conn, request, fields)
        if request["do"] != "bye", do: serve(conn, tensors)
    end
  end

  defp answer(%{"do" => "upload", "handle" => handle} = request, tensors) do
    data = Map.get(tensors, handle, "") <> request["data"]
    bytes = div(String.to_integer(binary_part(request["dtype"], 1, 1)), 8)
    bytes = if request["dtype"] == "u8", do: 1, else: max(bytes, 4)
    whole? = byte_size(data) >= bytes * Enum.product(request["shape"])
    results = if whole?, do: [Map.take(request, ~w(handle dtype shape))], else: []
    {%{"results" => results}, Map.put(tensors, handle, data)}
  end

  defp answer(%{"do" => "download", "handle" => handle} = request, tensors) do
    data = binary_part(tensors[handle], request["offset"], request["length"])
    {%{"data" => {:bin, data}}, tensors}
  end

  defp answer(%{"do" => kind, "args" => args, "results" => results}, tensors)
       when kind in ["run", "call"] do
    source = tensors[List.first(args)] || <<0::32>>

    made =
      for handle <- results do
        %{"handle" => handle, "dtype" => "u8", "shape" => [byte_size(source)]}
      end

    {%{"results" => made}, Enum.into(results, tensors, &{&1, source})}
  end

  defp answer(%{"do" => "info"}, tensors),
    do: {%{"tensors" => map_size(tensors), "memory" => %{}, "requests" => 0}, tensors}

  defp answer(%{"do" => "release", "handles" => handles}, tensors),
    do: {%{"released" => length(handles)}, Map.drop(tensors, handles)}

  defp answer(%{"do" => "cancel"}, tensors), do: {%{"found" => false}, tensors}
  defp answer(_other, tensors), do: {%{}, tensors}

  ## Certificates

  @doc """
  The options of a TLS server whose certificate has these names, and the certificates of its
  authority. `peer` are more options of the certificate (see :public_key.pkix_test_data/1).
  """
  def certificates(names \\ [dNSName: ~c"localhost", iPAddress: <<127, 0, 0, 1>>], peer \\ []) do
    {:ok, _} = Application.ensure_all_started(:ssl)
    # id-ce-subjectAltName
    names = {:Extension, {2, 5, 29, 17}, false, names}
    key = [key: {:namedCurve, :secp256r1}, digest: :sha256]
    chain = %{root: key, intermediates: [], peer: key ++ [extensions: [names]] ++ peer}

    %{server_config: server, client_config: client} =
      :public_key.pkix_test_data(%{server_chain: chain, client_chain: chain})

    %{server: server, client: client, authorities: client[:cacerts]}
  end
end
