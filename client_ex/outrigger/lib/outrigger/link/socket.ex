defmodule Outrigger.Link.Socket do
  @moduledoc false
  # A server that listens: on a Unix socket, over TCP, or over TLS. The connection process reads the
  # socket itself. Another process, the dialer, connects and writes, because both may block.

  @behaviour Outrigger.Link
  alias Outrigger.ConnectionError
  alias Outrigger.Link.{Dialer, Failure}

  @enforce_keys [:dialer, :load, :address]
  # `socket` is that of Outrigger.Link.Dialer. `broken` is the reason of the first error.
  defstruct [:dialer, :load, :address, :socket, :broken]

  # The number of messages that the socket sends before it waits for the connection.
  @active 16
  # The dialer takes no more bytes while it has this many.
  @busy_bytes 4 * 1024 * 1024
  # After a failed write, the last frame of the server may still come.
  @last_frame_ms 2_000
  @bye_ms 200

  @impl true
  def open(options, needs) do
    load = :atomics.new(1, signed: true)
    dialer = Dialer.start_link(options, needs, load)
    {:opening, %__MODULE__{dialer: dialer, load: load, address: options.connect}}
  end

  @impl true
  def event(%{socket: {_, socket, _}} = link, {tag, socket, data}) when tag in [:tcp, :ssl],
    do: data(link, data)

  def event(%{socket: {_, socket, _}} = link, {tag, socket})
      when tag in [:tcp_passive, :ssl_passive],
      do: with(:ok <- activate(link), do: {:going, link})

  def event(%{socket: {_, socket, _}} = link, {tag, socket})
      when tag in [:tcp_closed, :ssl_closed],
      do: down(link, :closed)

  # The message :tcp_closed follows.
  def event(%{socket: {_, socket, _}} = link, {:tcp_error, socket, reason}),
    do: {:going, broken(link, reason)}

  def event(%{socket: {_, socket, _}} = link, {:ssl_error, socket, reason}) do
    close(link)
    {:down, Failure.tls_later(link.address, reason)}
  end

  def event(%{socket: {_, socket, _}} = link, {:EXIT, socket, _reason}), do: down(link, :closed)

  def event(%{dialer: dialer} = link, {dialer, message}), do: dialed(link, message)

  def event(%{dialer: dialer} = link, {:EXIT, dialer, reason}) when reason != :normal,
    do: down(link, {:dialer, reason})

  def event(_link, _message), do: :unknown

  defp data(_link, data), do: {:data, data}

  defp dialed(link, {:connected, socket, answers}) do
    link = %{link | socket: socket}
    # The answers tell more than the end of the stream.
    with {:down, _error} <- activate(link), do: send(self(), {link.dialer, :give_up})
    {:opened, link, answers}
  end

  defp dialed(link, {:failed, error}) do
    close(link)
    {:down, error}
  end

  defp dialed(link, {:broken, reason}) do
    Process.send_after(self(), {link.dialer, :give_up}, @last_frame_ms)
    {:going, broken(link, reason)}
  end

  defp dialed(link, :give_up), do: down(link, :closed)

  defp broken(%{broken: nil} = link, reason), do: %{link | broken: reason}
  defp broken(link, _reason), do: link

  defp down(link, reason) do
    close(link)
    {:down, Failure.disconnected(link.address, link.broken || reason)}
  end

  defp activate(%{socket: {:gen_tcp, socket, _}} = link),
    do: activated(link, :inet.setopts(socket, active: @active))

  defp activate(%{socket: {:ssl, socket, _}} = link),
    do: activated(link, :ssl.setopts(socket, active: @active))

  defp activated(_link, :ok), do: :ok
  defp activated(link, {:error, _closed}), do: down(link, :closed)

  @impl true
  def command(%{load: load, dialer: dialer}, data, bytes) do
    if :atomics.get(load, 1) > @busy_bytes do
      false
    else
      :atomics.add(load, 1, bytes)
      send(dialer, {:write, data, bytes})
      true
    end
  end

  # A write to a socket can block its caller, so all frames go through the connection.
  @impl true
  def port(_link), do: nil

  @impl true
  def close(%{dialer: dialer, socket: socket}) do
    Process.unlink(dialer)
    Process.exit(dialer, :kill)
    Dialer.close(socket)
  end

  @impl true
  def say_goodbye(%{socket: nil} = link, _frame), do: close(link)

  def say_goodbye(link, frame) do
    command(link, frame, IO.iodata_length(frame))
    await_end(link, System.monotonic_time(:millisecond) + @bye_ms)
  end

  defp await_end(link, until) do
    receive do
      message ->
        case event(link, message) do
          {:down, _error} -> :ok
          {:opened, link, _answers} -> await_end(link, until)
          {:going, link} -> await_end(link, until)
          _ -> await_end(link, until)
        end
    after
      max(until - System.monotonic_time(:millisecond), 0) -> close(link)
    end
  end

  @impl true
  def timed_out(link, ms) do
    detail = "#{link.address.text}: no connection within #{ms} ms"
    %ConnectionError{reason: :unreachable, detail: detail}
  end
end
