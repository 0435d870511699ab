defmodule Outrigger.Link.Dialer do
  @moduledoc false
  # The process of a socket that may block: it connects, shakes hands, hands the socket over to the
  # connection, and then writes what the connection sends. It dies with the connection.
  #
  # Messages to the connection: `{dialer, {:connected, socket, answers}}` with the bytes that answer
  # the handshake, or `{dialer, {:failed, error}}`; later `{dialer, {:broken, reason}}` for a write
  # that failed.

  alias Outrigger.{Protocol, Server, Token}
  alias Outrigger.Link.{Failure, Tls}

  @typedoc "The module of the socket, the socket, and the socket of TCP or of Unix below it."
  @type socket ::
          {:gen_tcp, :gen_tcp.socket(), :gen_tcp.socket()}
          | {:ssl, :ssl.sslsocket(), :gen_tcp.socket()}

  # As before every handshake: the limits of the daemon are not known.
  @answer_max 65_536
  # The most bytes that are joined to one write.
  @write_bytes 256 * 1024
  # One read of the socket fills this buffer at most.
  @buffer_bytes 128 * 1024

  # A peer that is gone without a word is noticed after half a minute, whether bytes wait for it or
  # not: TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT and TCP_USER_TIMEOUT of Linux.
  @keep_alive [{4, 15}, {5, 5}, {6, 3}, {18, 30_000}]

  @spec start_link(Outrigger.Options.t(), Outrigger.Link.needs(), :atomics.atomics_ref()) :: pid
  def start_link(options, needs, load) do
    connection = self()
    spawn_link(fn -> run(connection, options, needs, load) end)
  end

  defp run(connection, options, needs, load) do
    until = Server.until(options.start_timeout)

    with {:ok, requests} <- requests(options, needs),
         {:ok, socket} <- connect(options.connect, options, until),
         {:ok, answers} <- shake_hands(socket, requests, options.connect, until) do
      hand_over(socket, connection)
      send(connection, {self(), {:connected, socket, answers}})
      loop(%{connection: connection, socket: socket, load: load})
    else
      {:error, error} -> send(connection, {self(), {:failed, error}})
    end
  end

  ## The handshake

  defp requests(options, needs) do
    with {:ok, token} <- Token.read(options.token) do
      auth = if token, do: [Protocol.request(needs.auth, "auth", [{"token", token}])], else: []
      {:ok, auth ++ [Protocol.hello(needs.hello)]}
    end
  end

  # The answers come as messages: a server that refuses the client's certificate says so after the
  # handshake of TLS 1.3, and :ssl drops this alert if the socket is passive.
  defp shake_hands({module, socket, _} = tagged, requests, address, until) do
    # If the server has closed already, its last frame tells more than the error of this write.
    _ = module.send(socket, requests)

    with {:ok, answers} <- answers(tagged, length(requests), <<>>, address, until) do
      _ = setopts(tagged, active: false)
      {:ok, rest(socket, answers)}
    end
  end

  defp answers({_, socket, _} = tagged, count, data, address, until) do
    _ = setopts(tagged, active: :once)

    receive do
      {tag, ^socket, more} when tag in [:tcp, :ssl] ->
        data = data <> more

        if answered?(data, count),
          do: {:ok, data},
          else: answers(tagged, count, data, address, until)

      {:ssl_error, ^socket, reason} ->
        {:error, Failure.no_answer(address, reason)}

      {:tcp_error, ^socket, reason} ->
        end_of_answers(data, address, reason)

      {tag, ^socket} when tag in [:tcp_closed, :ssl_closed] ->
        end_of_answers(data, address, :closed)
    after
      Server.left(until) -> {:error, Failure.no_answer(address, :timeout)}
    end
  end

  # The connection says what is wrong with bytes that are no frames.
  defp answered?(data, count) do
    case Protocol.frames(data, @answer_max) do
      {:ok, frames, _rest} -> length(frames) >= count
      {:error, _text} -> true
    end
  end

  # A refusal is one frame, and then the stream ends.
  defp end_of_answers(<<>>, address, reason), do: {:error, Failure.no_answer(address, reason)}
  defp end_of_answers(data, _address, _reason), do: {:ok, data}

  defp rest(socket, data) do
    receive do
      {tag, ^socket, more} when tag in [:tcp, :ssl] -> rest(socket, data <> more)
    after
      0 -> data
    end
  end

  defp setopts({:gen_tcp, socket, _}, options), do: :inet.setopts(socket, options)
  defp setopts({:ssl, socket, _}, options), do: :ssl.setopts(socket, options)

  ## Connecting

  defp connect(%{kind: :unix} = address, _options, until) do
    case :gen_tcp.connect({:local, address.host}, 0, base(), Server.left(until)) do
      {:ok, socket} -> {:ok, {:gen_tcp, socket, socket}}
      {:error, reason} -> {:error, Failure.connect(address, reason)}
    end
  end

  defp connect(%{kind: :tcp} = address, _options, until) do
    with {:ok, socket} <- connect_tcp(address, until), do: {:ok, {:gen_tcp, socket, socket}}
  end

  defp connect(%{kind: :tls} = address, options, until) do
    with {:ok, tls} <- Tls.options(address, options.ssl.()),
         {:ok, tcp} <- connect_tcp(address, until) do
      case :ssl.connect(tcp, [active: :once] ++ tls, Server.left(until)) do
        {:ok, socket} -> {:ok, {:ssl, socket, tcp}}
        {:error, reason} -> {:error, Failure.tls(address, reason)}
      end
    end
  end

  defp connect_tcp(%{host: host} = address, until) when is_tuple(host),
    do: connect_first([host], address, until, :einval)

  # IPv4 first. The first failure tells most: a host without IPv6 has no addresses for it.
  defp connect_tcp(%{host: name} = address, until) do
    addresses =
      for family <- [:inet, :inet6], {:ok, found} <- [:inet.getaddrs(name, family)], do: found

    case Enum.concat(addresses) do
      [] -> {:error, Failure.connect(address, :nxdomain)}
      found -> connect_first(found, address, until, :einval)
    end
  end

  defp connect_first([], address, _until, reason), do: {:error, Failure.connect(address, reason)}

  defp connect_first([ip | rest], address, until, _reason) do
    family = if tuple_size(ip) == 8, do: [:inet6], else: [:inet]

    case :gen_tcp.connect(ip, address.port, family ++ tcp() ++ base(), Server.left(until)) do
      {:ok, socket} -> {:ok, socket}
      {:error, reason} -> connect_first(rest, address, until, reason)
    end
  end

  defp base do
    [:binary, packet: :raw, active: false, buffer: @buffer_bytes, show_econnreset: true]
  end

  defp tcp, do: [nodelay: true, keepalive: true] ++ keep_alive()

  defp keep_alive do
    case :os.type() do
      {:unix, :linux} -> for {option, n} <- @keep_alive, do: {:raw, 6, option, <<n::native-32>>}
      _ -> []
    end
  end

  # If the stream has ended already, the connection notices it after the answers.
  defp hand_over({module, socket, _}, connection),
    do: module.controlling_process(socket, connection)

  ## Writing

  defp loop(state) do
    receive do
      {:write, data, bytes} ->
        {data, bytes} = join(data, bytes)
        state |> write(data, bytes) |> loop()
    end
  end

  # An improper list is the shortest iodata.
  @dialyzer {:no_improper_lists, join: 2}
  defp join(data, bytes) when bytes >= @write_bytes, do: {data, bytes}

  defp join(data, bytes) do
    receive do
      {:write, more, size} -> join([data | more], bytes + size)
    after
      0 -> {data, bytes}
    end
  end

  defp write(%{socket: {module, socket, _}} = state, data, bytes) do
    result = module.send(socket, data)
    :atomics.sub(state.load, 1, bytes)

    case result do
      :ok ->
        state

      {:error, reason} ->
        send(state.connection, {self(), {:broken, reason}})
        drop(state.load)
    end
  end

  # The connection closes the socket when it has read the rest, and then ends this process.
  defp drop(load) do
    receive do
      {:write, _data, bytes} ->
        :atomics.sub(load, 1, bytes)
        drop(load)
    end
  end

  ## The end

  @doc "Closes a socket at once, whatever waits to be written."
  @spec close(socket | nil) :: :ok
  def close(nil), do: :ok

  # :gen_tcp.close/1 waits up to three minutes until the queued bytes are written, and the processes
  # of :ssl end with such a call. Without its port, a write of theirs fails at once.
  def close({_module, _socket, port}) when is_port(port) do
    Process.unlink(port)
    Process.exit(port, :kill)
    :ok
  end

  # A socket of :gen_tcp is no port if the VM has another `inet_backend`.
  def close({module, socket, _}) do
    closing = spawn(fn -> module.close(socket) end)

    spawn(fn ->
      Process.sleep(1_000)
      Process.exit(closing, :kill)
    end)

    :ok
  end
end
