defmodule Outrigger.Transfer do
  @moduledoc false
  # Large data in chunks, a few on their way at a time: other processes' requests go between them,
  # and neither the port nor the connection ever holds more than the window.

  alias Outrigger.{Codec, ConnectionError, Dtype, Protocol, Server, Tensor}

  @chunks_in_flight 8

  @doc "Sends the bytes of a new tensor."
  def upload(server, data, type, shape) do
    epoch = Server.epoch!(server)
    tensor = Tensor.new(server, epoch)
    size = byte_size(data)
    constant = [{"handle", tensor.handle}, {"dtype", type}, {"shape", Tuple.to_list(shape)}]

    if size <= server.chunk_bytes do
      send_chunk(server, epoch, constant, data, 0, size, {:results, [tensor.handle], []})
    else
      upload_chunks(server, tensor, constant, data)
    end

    tensor
  end

  # All but the last chunk are waited for, in a window; the last one settles the tensor.
  defp upload_chunks(server, tensor, constant, data) do
    chunk = server.chunk_bytes
    last = div(byte_size(data) - 1, chunk) * chunk

    outcome =
      Enum.reduce_while(0..(last - 1)//chunk, :queue.new(), fn offset, window ->
        {id, ref} = ask_chunk(server, tensor.epoch, constant, data, offset, chunk)
        window = :queue.in({id, ref}, window)

        if :queue.len(window) < @chunks_in_flight do
          {:cont, window}
        else
          {{:value, {id, ref}}, rest} = :queue.out(window)

          case Server.await(server, ref, id, server.timeout) do
            {:ok, _} -> {:cont, rest}
            {:error, _} -> {:halt, rest}
          end
        end
      end)

    # What is wrong with one chunk, the daemon says of the last one as well.
    want = {:results, [tensor.handle], []}
    length = byte_size(data) - last
    send_chunk(server, tensor.epoch, constant, data, last, length, want)
    for {_id, ref} <- :queue.to_list(outcome), do: Process.demonitor(ref, [:flush])
    flush_replies(:queue.to_list(outcome))
  end

  # Replies that came between; later ones find their alias closed.
  defp flush_replies(window) do
    for {_id, ref} <- window do
      receive do
        {^ref, _} -> :ok
      after
        0 -> :ok
      end
    end
  end

  defp ask_chunk(server, epoch, constant, data, offset, length) do
    {id, frame, size} = chunk_frame(server, constant, data, offset, length)
    {id, Server.async(server, epoch, id, frame, size, :reply)}
  end

  defp send_chunk(server, epoch, constant, data, offset, length, want) do
    {id, frame, size} = chunk_frame(server, constant, data, offset, length)
    Server.send_frame(server, epoch, id, frame, size, want)
  end

  # The head becomes one binary, the data stays a reference.
  defp chunk_frame(server, constant, data, offset, length) do
    id = Server.request_id(server)
    bin = [Codec.bin(length), binary_part(data, offset, length)]
    fields = constant ++ [{"offset", offset}, {"data", {:raw, bin}}]
    frame = Protocol.request(id, "upload", fields)
    {id, frame, IO.iodata_length(frame)}
  end

  @doc "The bytes of a tensor, or its first `count` elements."
  def download(%Tensor{server: server} = tensor, count, timeout) do
    until = until(timeout)

    with {:ok, {type, shape}} <- Tensor.await(tensor, timeout),
         bytes = Dtype.bytes_of(type, min(count, Dtype.count(shape))),
         {:ok, data} <- read(server, tensor, bytes, until),
         :ok <- write_error(tensor) do
      {:ok, data, type, shape}
    end
  end

  # An op in place that failed has no result that could tell: the next reader is told, once.
  defp write_error(tensor) do
    case :ets.take(tensor.server.meta, {:write, tensor.handle}) do
      [{_, error}] -> {:error, error}
      [] -> :ok
    end
  end

  defp read(_server, _tensor, 0, _until), do: {:ok, <<>>}

  defp read(server, tensor, bytes, until) when bytes <= server.chunk_bytes do
    ref = ask_range(server, tensor, 0, bytes)

    with {:ok, data} <- await_range(server, ref, until) do
      # Not a part of the buffer that it arrived in.
      {:ok, :binary.copy(data)}
    end
  end

  # A snapshot costs nothing unless somebody writes in place meanwhile; then all chunks still are
  # of one moment.
  defp read(server, tensor, bytes, until) do
    snapshot = Outrigger.Program.snapshot(tensor)
    chunk = server.chunk_bytes
    offsets = for offset <- 0..(bytes - 1)//chunk, do: {offset, min(chunk, bytes - offset)}
    {now, later} = Enum.split(offsets, @chunks_in_flight)

    window =
      :queue.from_list(for {offset, size} <- now, do: ask_range(server, snapshot, offset, size))

    result = read_all(server, snapshot, window, later, until, [])
    Outrigger.release(snapshot)
    result
  end

  defp read_all(server, tensor, window, later, until, acc) do
    case :queue.out(window) do
      {:empty, _} ->
        {:ok, IO.iodata_to_binary(:lists.reverse(acc))}

      {{:value, asked}, window} ->
        case await_range(server, asked, until) do
          {:ok, data} ->
            {window, later} = ask_next(server, tensor, window, later)
            read_all(server, tensor, window, later, until, [data | acc])

          {:error, error} ->
            for {id, ref} <- :queue.to_list(window), do: Server.await(server, ref, id, 0)
            {:error, error}
        end
    end
  end

  defp ask_next(_server, _tensor, window, []), do: {window, []}

  defp ask_next(server, tensor, window, [{offset, size} | later]) do
    {:queue.in(ask_range(server, tensor, offset, size), window), later}
  end

  defp ask_range(server, tensor, offset, length) do
    id = Server.request_id(server)
    fields = [{"handle", tensor.handle}, {"offset", offset}, {"length", length}]
    frame = IO.iodata_to_binary(Protocol.request(id, "download", fields))
    {id, Server.async(server, tensor.epoch, id, frame, byte_size(frame) + length, :reply)}
  end

  defp await_range(server, {id, ref}, until) do
    case Server.await(server, ref, id, left(until)) do
      {:ok, %{"data" => data}} -> {:ok, data}
      {:ok, _} -> {:error, %ConnectionError{reason: :protocol}}
      {:error, error} -> {:error, error}
    end
  end

  defp until(:infinity), do: :infinity
  defp until(timeout), do: System.monotonic_time(:millisecond) + timeout
  defp left(:infinity), do: :infinity
  defp left(until), do: max(until - System.monotonic_time(:millisecond), 0)
end
