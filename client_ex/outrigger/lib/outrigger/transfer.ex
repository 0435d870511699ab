defmodule Outrigger.Transfer do
  @moduledoc false
  # Large data in chunks, a few on their way at a time: other processes' requests go between them,
  # and neither the port nor the connection ever holds more than the window.

  alias Outrigger.{Codec, ConnectionError, Data, Dtype, Protocol, Request, Server, Tensor}
  require Request

  @chunks_in_flight 8

  @doc """
  Sends the bytes of a new tensor: a binary, or a flat list, which is encoded while the daemon
  takes in what has been sent.
  """
  def upload(server, data, type, shape) do
    epoch = Server.epoch!(server)
    tensor = Tensor.new(server, epoch)
    size = Dtype.byte_size(type, shape)
    constant = [{"handle", tensor.handle}, {"dtype", type}, {"shape", Tuple.to_list(shape)}]

    if size <= server.chunk_bytes do
      {bytes, _} = take(data, type, size)
      send_chunk(server, epoch, constant, bytes, 0, Request.results(handles: [tensor.handle]))
    else
      upload_chunks(server, tensor, constant, {data, type, size})
    end

    tensor
  end

  # All but the last chunk are waited for, in a window; the last one settles the tensor.
  defp upload_chunks(server, tensor, constant, {data, type, size}) do
    chunk = chunk(server)
    last = div(size - 1, chunk) * chunk

    {window, data} =
      Enum.reduce_while(0..(last - 1)//chunk, {:queue.new(), data}, fn offset, {window, data} ->
        {bytes, data} = take_or_abandon(data, type, chunk, tensor, window)
        window = :queue.in(ask_chunk(server, tensor.epoch, constant, bytes, offset), window)

        if :queue.len(window) < @chunks_in_flight do
          {:cont, {window, data}}
        else
          {{:value, {id, ref}}, rest} = :queue.out(window)

          case Server.await(server, ref, id, server.timeout) do
            {:ok, _} -> {:cont, {rest, data}}
            {:error, _} -> {:halt, {rest, :failed}}
          end
        end
      end)

    # What is wrong with one chunk, the daemon says of the last one as well.
    want = Request.results(handles: [tensor.handle])
    {bytes, _} = take_or_abandon(data, type, size - last, tensor, window)
    send_chunk(server, tensor.epoch, constant, bytes, last, want)
    forget(window)
  end

  defp take(data, _type, size) when is_binary(data) do
    <<bytes::binary-size(size), rest::binary>> = data
    {bytes, rest}
  end

  defp take(list, type, size) when is_list(list),
    do: Data.encode_some(list, type, div(8 * size, Dtype.bits(type)))

  # The daemon has refused a chunk: what stands in the last one does not matter.
  defp take(:failed, _type, _size), do: {<<>>, :failed}

  # An element that is no number comes to light while the daemon has the elements before it.
  defp take_or_abandon(data, type, size, tensor, window) do
    take(data, type, size)
  rescue
    error in ArgumentError ->
      forget(window)
      Server.release(tensor.server, tensor.epoch, [tensor.handle])
      reraise error, __STACKTRACE__
  end

  defp forget(window) do
    asked = :queue.to_list(window)
    for {_id, ref} <- asked, do: Process.demonitor(ref, [:flush])
    flush_replies(asked)
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

  defp ask_chunk(server, epoch, constant, bytes, offset) do
    {id, frame, size} = chunk_frame(server, constant, bytes, offset)
    {id, Server.async(server, epoch, id, frame, size, :reply)}
  end

  defp send_chunk(server, epoch, constant, bytes, offset, want) do
    {id, frame, size} = chunk_frame(server, constant, bytes, offset)
    Server.send_frame(server, epoch, id, frame, size, want)
  end

  # The head becomes one binary, the data stays a reference.
  defp chunk_frame(server, constant, bytes, offset) do
    id = Server.request_id(server)
    bin = [Codec.bin(byte_size(bytes)), bytes]
    fields = constant ++ [{"offset", offset}, {"data", {:raw, bin}}]
    frame = Protocol.request(id, "upload", fields)
    {id, frame, IO.iodata_length(frame)}
  end

  @doc "The bytes of a tensor, or of its first `count` elements."
  def download(tensor, count, timeout) do
    with {:ok, chunks, type, shape} <- download_chunks(tensor, count, timeout),
         do: {:ok, joined(chunks), type, shape}
  end

  @doc "The same as a list of binaries, as they came."
  def download_chunks(tensor, count, timeout) do
    download(tensor, count, timeout, fn bytes, until, _type, _count ->
      read(tensor, bytes, until, [], &[&1 | &2])
    end)
  end

  # Not a part of the buffer that it arrived in.
  defp joined([chunk]), do: :binary.copy(chunk)
  defp joined(chunks), do: IO.iodata_to_binary(chunks)

  @doc "The elements as a flat list; they are decoded while the next ones are on their way."
  def download_list(tensor, count, timeout) do
    read = fn bytes, until, type, count ->
      Data.with_room(count, type, fn ->
        with {:ok, list} <- read(tensor, bytes, until, [], &Data.decode(&1, type, &2)),
             do: {:ok, Data.without_padding(list, type, count)}
      end)
    end

    download(tensor, count, timeout, read)
  end

  defp download(%Tensor{} = tensor, count, timeout, read) do
    until = Server.until(timeout)

    with {:ok, {type, shape}} <- Tensor.await(tensor, timeout),
         count = min(count, Dtype.count(shape)),
         {:ok, data} <- read.(Dtype.bytes_of(type, count), until, type, count),
         :ok <- Tensor.take_write_error(tensor) do
      {:ok, data, type, shape}
    end
  end

  # The chunks come from the last to the first, so that lists are built without being reversed.
  defp read(_tensor, 0, _until, acc, fun), do: {:ok, fun.(<<>>, acc)}

  defp read(%{server: server} = tensor, bytes, until, acc, fun)
       when bytes <= server.chunk_bytes do
    with {:ok, data} <- await_range(server, ask_range(server, tensor, 0, bytes), until),
         do: {:ok, fun.(data, acc)}
  end

  # A snapshot costs nothing unless somebody writes in place meanwhile; then all chunks still are
  # of one moment.
  defp read(%{server: server} = tensor, bytes, until, acc, fun) do
    snapshot = Outrigger.Program.snapshot(tensor)
    chunk = chunk(server)

    ranges =
      for offset <- (div(bytes - 1, chunk) * chunk)..0//-chunk,
          do: {offset, min(chunk, bytes - offset)}

    {now, later} = Enum.split(ranges, @chunks_in_flight)

    window =
      :queue.from_list(for {offset, size} <- now, do: ask_range(server, snapshot, offset, size))

    result = read_all(server, snapshot, window, later, until, acc, fun)
    Outrigger.release(snapshot)
    result
  end

  # Whole elements, and a multiple of eight of them.
  defp chunk(server), do: server.chunk_bytes - rem(server.chunk_bytes, 64)

  defp read_all(server, tensor, window, later, until, acc, fun) do
    case :queue.out(window) do
      {:empty, _} ->
        {:ok, acc}

      {{:value, asked}, window} ->
        case await_range(server, asked, until) do
          {:ok, data} ->
            {window, later} = ask_next(server, tensor, window, later)
            read_all(server, tensor, window, later, until, fun.(data, acc), fun)

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
    case Server.await(server, ref, id, Server.left(until)) do
      {:ok, %{"data" => data}} -> {:ok, data}
      {:ok, _} -> {:error, %ConnectionError{reason: :protocol}}
      {:error, error} -> {:error, error}
    end
  end
end
