defmodule Outrigger.Ask do
  @moduledoc false
  # The public functions share these checks of arguments, and these requests that wait for a reply.

  alias Outrigger.{ConnectionError, Protocol, Request, Server, Tensor}
  require Request

  @doc "Sends a request for a tensor or a server, and waits for the reply."
  @spec request(Tensor.t() | Server.t(), String.t(), list, keyword) ::
          {:ok, map} | Outrigger.error()
  def request(%Tensor{} = tensor, kind, fields, options) do
    with :ok <- Tensor.check(tensor) do
      request(tensor.server, kind, fields, [epoch: tensor.epoch] ++ options)
    end
  end

  def request(%Server{} = server, kind, fields, options) do
    only!(options, [:deadline, :epoch, :want])
    Server.request(server, kind, fields, options)
  rescue
    error in ConnectionError -> {:error, error}
  end

  @doc "The tensor that a request makes, at once."
  @spec make(Outrigger.server(), String.t(), list) :: Tensor.t()
  def make(server, kind, fields) do
    server = Server.fetch!(server)
    epoch = Server.epoch!(server)
    tensor = Tensor.new(server, epoch)
    id = Server.request_id(server)
    fields = [{"handle", tensor.handle} | fields]
    frame = IO.iodata_to_binary(Protocol.request(id, kind, fields))
    want = Request.results(handles: [tensor.handle])
    Server.send_frame(server, epoch, id, frame, byte_size(frame), want)
    tensor
  end

  @doc "The option `:deadline` of a function that has no other option."
  @spec deadline(Server.t(), keyword, timeout | nil) :: timeout
  def deadline(server, options, default \\ nil) do
    only!(options, [:deadline])
    Server.deadline!(options[:deadline] || default || server.timeout)
  end

  @doc "Raises ArgumentError if a keyword list has another key than these."
  @spec only!(keyword, [atom]) :: :ok
  def only!(options, allowed) do
    unless Keyword.keyword?(options) do
      raise ArgumentError, "expected options, a keyword list, got: #{inspect(options)}"
    end

    case Keyword.keys(options) -- allowed do
      [] ->
        :ok

      [unknown | _] ->
        allowed = Enum.map_join(allowed -- [:epoch, :want], ", ", &inspect/1)
        raise ArgumentError, "unknown option #{inspect(unknown)}; there is #{allowed}"
    end
  end

  @spec positive!(atom, term) :: :ok
  def positive!(_name, n) when is_integer(n) and n > 0, do: :ok

  def positive!(name, other) do
    raise ArgumentError, "#{name} must be a positive number of elements, got: #{inspect(other)}"
  end

  @doc "The tensors of a container, in order."
  @spec tensors!(term) :: [Tensor.t()]
  def tensors!(container) do
    Tensor.reduce(container, [], fn
      %Tensor{} = tensor, acc ->
        [tensor | acc]

      other, _acc ->
        raise ArgumentError,
              "expected tensors, or a container of them, got: #{inspect(other)}"
    end)
    |> Enum.reverse()
  end

  @doc "The value of a result; raises its exception."
  @spec ok!(:ok | {:ok, value} | {:error, Exception.t()}) :: :ok | value when value: term
  def ok!(:ok), do: :ok
  def ok!({:ok, value}), do: value
  def ok!({:error, error}), do: raise(error)
end
