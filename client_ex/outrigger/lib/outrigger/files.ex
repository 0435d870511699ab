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

  @doc """
  As `Path.expand/1`. The working directory and the home keep their bytes, though: where the VM
  takes names for Latin 1 (`LC_ALL=C`), Elixir makes two characters of one beyond ASCII.
  """
  def expand("~" <> rest) when rest == "" or binary_part(rest, 0, 1) == "/",
    do: Path.expand(from_vm(System.user_home!()) <> rest)

  def expand(path) do
    if Path.type(path) == :absolute,
      do: Path.expand(path),
      else: Path.expand(path, from_vm(File.cwd!()))
  end

  @doc "A name that the VM gave, in the bytes that the system has it in."
  def from_vm(name) do
    case :unicode.characters_to_binary(name, :utf8, :file.native_name_encoding()) do
      native when is_binary(native) -> native
      _ -> name
    end
  end

  @doc "A text as the VM takes it for the environment of a program, so that its bytes arrive."
  def to_vm(text) do
    case :file.native_name_encoding() do
      :latin1 -> :binary.bin_to_list(text)
      _ -> String.to_charlist(text)
    end
  end

  # The fields of the request that saves tensors, and one of them, that it is sent for.
  def npz(named, path, compress) do
    {names, tensors} = Enum.unzip(for {name, tensor} <- named, do: {to_string(name), tensor})

    unless tensors != [] and Enum.all?(tensors, &is_struct(&1, Tensor)) do
      raise ArgumentError, "a .npz file needs tensors with names, got: #{inspect(named)}"
    end

    fields = [
      {"handles", Enum.map(tensors, & &1.handle)},
      {"names", names},
      {"path", expand(path)},
      {"compress", compress}
    ]

    with :ok <- Tensor.check_all(tensors, hd(tensors).server), do: {:ok, hd(tensors), fields}
  end

  defp request(server, kind, path, fields) do
    server = Server.fetch!(server)
    epoch = Server.epoch!(server)
    tensor = Tensor.new(server, epoch)
    id = Server.request_id(server)
    fields = [{"handle", tensor.handle}, {"path", expand(path)} | fields]
    frame = IO.iodata_to_binary(Protocol.request(id, kind, fields))
    want = Request.results(handles: [tensor.handle])
    Server.send_frame(server, epoch, id, frame, byte_size(frame), want)
    tensor
  end
end
