defmodule Outrigger.Files do
  @moduledoc false
  # Requests that make tensors from files, which the daemon reads itself.

  alias Outrigger.{Dtype, Protocol, Request, Server, Tensor}
  require Request

  def load(server, path, fields \\ []), do: request(server, "load", path, fields)

  def load_raw(server, path, type, shape, options) do
    {type, shape} = {Dtype.normalize!(type), Dtype.shape!(shape)}
    offset = options[:offset] || 0

    unless is_integer(offset) and offset >= 0 do
      raise ArgumentError, ":offset must be a number of bytes, got: #{inspect(offset)}"
    end

    fields = [
      {"dtype", Atom.to_string(type)},
      {"shape", Tuple.to_list(shape)},
      {"offset", offset}
    ]

    request(server, "load_raw", path, fields)
  end

  def load_csv(server, path, options) do
    separator = options[:separator] || ","
    header = options[:header] || false

    unless is_binary(separator) and is_boolean(header) do
      raise ArgumentError,
            ":separator must be a string and :header true or false, got: " <>
              "#{inspect(separator)} and #{inspect(header)}"
    end

    fields = [
      {"dtype", Atom.to_string(Dtype.normalize!(options[:type] || :f32))},
      {"separator", separator},
      {"header", header}
    ]

    request(server, "load_csv", path, fields)
  end

  # The fields of the request that saves tensors, and one that it is sent for: a stale one, if there is.
  def npz(named, path, compress) do
    {names, tensors} = Enum.unzip(for {name, tensor} <- named, do: {to_string(name), tensor})

    unless tensors != [] and Enum.all?(tensors, &is_struct(&1, Tensor)) do
      raise ArgumentError, "a .npz file needs tensors with names, got: #{inspect(named)}"
    end

    first = hd(tensors)

    for tensor <- tensors, tensor.server.counters != first.server.counters do
      raise ArgumentError, "#{inspect(tensor)} belongs to another server"
    end

    fields = [
      {"handles", Enum.map(tensors, & &1.handle)},
      {"names", names},
      {"path", Path.expand(path)},
      {"compress", compress}
    ]

    {Enum.find(tensors, first, &(Tensor.check(&1) != :ok)), fields}
  end

  defp request(server, kind, path, fields) do
    server = Server.fetch!(server)
    epoch = Server.epoch!(server)
    tensor = Tensor.new(server, epoch)
    id = Server.request_id(server)
    fields = [{"handle", tensor.handle}, {"path", Path.expand(path)} | fields]
    frame = IO.iodata_to_binary(Protocol.request(id, kind, fields))
    want = Request.results(handles: [tensor.handle])
    Server.send_frame(server, epoch, id, frame, byte_size(frame), want)
    tensor
  end
end
