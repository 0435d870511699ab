defmodule Outrigger.Transfer do
  @moduledoc false
  # Moves large data in chunks. Few chunks are under way at a time. So requests of other processes
  # go between chunks, and the port and the connection never hold more than the window.

  alias Outrigger.{Codec, ConnectionError, Data, Dtype, Protocol, Request, Server, Tensor}
  require Request

  @chunks_in_flight 8

  @doc """
  Sends the elements of a new tensor: a binary, or a flat list. This function encodes the list while
  the daemon receives the earlier chunks.
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

  # Waits for all chunks but the last one, in a window. The last chunk settles the tensor.
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

    # The reply to the last chunk reports an error in any chunk.
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

  # After the daemon has refused a chunk, the bytes of the last chunk do not matter.
  defp take(:failed, _type, _size), do: {<<>>, :failed}

  # If an element is no number, the daemon already has the elements before it.
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

  # Removes replies from the mailbox. The alias of a later reply is closed.
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

  # The head becomes one binary. The data stays a reference.
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

  @doc "As `download/3`, but a list of the binaries that arrived."
  def download_chunks(tensor, count, timeout) do
    download(tensor, count, timeout, fn bytes, until, _type, _count ->
      read(tensor, bytes, until, [], &[&1 | &2])
    end)
  end

  # A copy, so that the result does not keep its receive buffer alive.
  defp joined([chunk]), do: :binary.copy(chunk)
  defp joined(chunks), do: IO.iodata_to_binary(chunks)

  @doc "The elements as a flat list. Decodes each chunk while the next chunks are under way."
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

  # The chunks come from the last to the first, so that no list must be reversed.
  defp read(_tensor, 0, _until, acc, fun), do: {:ok, fun.(<<>>, acc)}

  defp read(%{server: server} = tensor, bytes, until, acc, fun)
       when bytes <= server.chunk_bytes do
    with {:ok, data} <- await_range(server, ask_range(server, tensor, 0, bytes), until),
         do: {:ok, fun.(data, acc)}
  end

  # All chunks come from one snapshot. It costs a copy only if an op writes in place during the
  # read. A token without the right `write` can make no snapshot. Its session writes nothing, so
  # only live tensors can change during the read.
  defp read(%{server: server} = tensor, bytes, until, acc, fun) do
    if Server.may?(server, "write") do
      snapshot = Outrigger.Program.snapshot(tensor)
      result = read_chunks(snapshot, bytes, until, acc, fun)
      Outrigger.release(snapshot)
      result
    else
      read_chunks(tensor, bytes, until, acc, fun)
    end
  end

  defp read_chunks(%{server: server} = tensor, bytes, until, acc, fun) do
    chunk = chunk(server)

    ranges =
      for offset <- (div(bytes - 1, chunk) * chunk)..0//-chunk,
          do: {offset, min(chunk, bytes - offset)}

    {now, later} = Enum.split(ranges, @chunks_in_flight)

    window =
      :queue.from_list(for {offset, size} <- now, do: ask_range(server, tensor, offset, size))

    read_all(server, tensor, window, later, until, acc, fun)
  end

  # A multiple of eight whole elements.
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
