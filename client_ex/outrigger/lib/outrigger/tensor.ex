defmodule Outrigger.Tensor do
  @moduledoc """
  A handle of a tensor that lives in a daemon.

  The handle is small, and may be sent to other processes. The tensor lives while a process of this
  node holds the handle. Afterwards the daemon's memory is freed within seconds, after a garbage
  collection of the former holders and a poll. `Outrigger.release/1` and `Outrigger.scope/2` free it
  at once. The fields of the handle are private.

  The copy of a handle on another node, or in the bytes of `:erlang.term_to_binary/1`, does not hold
  the tensor. Store and send the bytes of `Outrigger.to_binary/2` instead.

  A process that makes and drops tensors faster than polls free them reaches the memory limit. Such
  a process must read a result now and then, or use `Outrigger.scope/2` or a program.

  `inspect/1` shows the type and the shape, and never asks the daemon:

      #Outrigger.Tensor<f32[344][403]>
      #Outrigger.Tensor<pending>       the op has no answer yet, or the tensor is released
      #Outrigger.Tensor<failed: …>     the op failed
      #Outrigger.Tensor<stale>         the daemon is gone

  `inspect(tensor, custom_options: [values: 5])` also reads the first values.
  """

  alias Outrigger.{ConnectionError, Dtype, Scope, Server, Sessions}

  @enforce_keys [:server, :handle, :epoch]
  defstruct [:server, :handle, :epoch, :token]

  @typedoc "The fields of a tensor are private."
  @type t :: %__MODULE__{
          server: Server.t(),
          handle: pos_integer,
          epoch: pos_integer,
          token: binary | nil
        }

  @doc false
  def new(server, epoch) do
    {handle, token} = Server.handle(server)
    Scope.made(server, epoch, handle)
    %__MODULE__{server: server, handle: handle, epoch: epoch, token: token}
  end

  @doc false
  # The state without a request: {:ok, {type, shape}}, {:error, error} or :pending.
  def lookup(%__MODULE__{} = tensor) do
    with :ok <- check(tensor) do
      case :ets.lookup(tensor.server.meta, tensor.handle) do
        [{_, {:error, error}}] -> {:error, error}
        [{_, meta}] -> {:ok, meta}
        [] -> :pending
      end
    end
  rescue
    ArgumentError -> {:error, Server.table_error(tensor.server)}
  end

  @doc false
  # A key that no other tensor has. Each server has its own handles, which go on after a restart.
  def key(%__MODULE__{server: %{counters: counters}, handle: handle}), do: {counters, handle}

  @doc false
  def check(%__MODULE__{server: server, epoch: epoch}) do
    case Server.epoch(server) do
      ^epoch -> :ok
      -1 -> {:error, Server.closed(nil)}
      _ -> {:error, stale(server, epoch)}
    end
  rescue
    # The counters belong to another VM.
    ArgumentError -> {:error, foreign("it was made in another VM, whose tensors stay there")}
  end

  defp stale(server, epoch) do
    detail = Sessions.why_ended(server.meta, epoch)
    %ConnectionError{reason: :stale_epoch, detail: detail}
  end

  @doc false
  # Checks that the tensor lives in this server's daemon.
  def check(%__MODULE__{server: %{connection: connection}} = tensor, %{connection: connection}),
    do: check(tensor)

  # The server has replaced its connection since the tensor or the server struct was made.
  def check(%__MODULE__{server: %{counters: counters}} = tensor, %{counters: counters}) do
    with :ok <- check(tensor) do
      {:error, %ConnectionError{reason: :closed, detail: "the server has been started again"}}
    end
  end

  def check(tensor, server) do
    detail =
      "#{inspect(tensor)} of #{Server.label(tensor.server)} is used on #{Server.label(server)}"

    {:error, foreign(detail)}
  end

  @doc false
  def check_all(tensors, server) do
    Enum.find_value(tensors, :ok, fn tensor ->
      with :ok <- check(tensor, server), do: nil
    end)
  end

  defp foreign(detail), do: %ConnectionError{reason: :foreign_tensor, detail: detail}

  @doc false
  def check!(tensor) do
    with {:error, error} <- check(tensor), do: raise(error)
  end

  @doc false
  # A failed op in place has no result with the error. The next read returns the error, once.
  def take_write_error(tensor) do
    case :ets.take(tensor.server.meta, {:write, tensor.handle}) do
      [{_, error}] -> {:error, error}
      [] -> :ok
    end
  rescue
    ArgumentError -> {:error, Server.table_error(tensor.server)}
  end

  @doc false
  # Waits until the tensor exists: {:ok, {type, shape}} or {:error, error}.
  def await(tensor, timeout) do
    case lookup(tensor) do
      :pending ->
        case Server.wait_for(tensor.server, tensor.handle, timeout) do
          # A release came before the wait, or a new epoch began.
          {:error, %Outrigger.Error{code: :bad_handle} = error} ->
            with :ok <- check(tensor), do: {:error, error}

          reply ->
            reply
        end

      known ->
        known
    end
  end

  @doc false
  # Folds the leaves of a container of any depth: tensors and other terms.
  def reduce(%__MODULE__{} = tensor, acc, fun), do: fun.(tensor, acc)
  def reduce([head | tail], acc, fun), do: reduce(tail, reduce(head, acc, fun), fun)
  def reduce([], acc, _fun), do: acc
  def reduce(tuple, acc, fun) when is_tuple(tuple), do: reduce(Tuple.to_list(tuple), acc, fun)

  def reduce(map, acc, fun) when is_map(map) and not is_struct(map),
    do: reduce(Map.values(map), acc, fun)

  def reduce(other, acc, fun), do: fun.(other, acc)

  @doc false
  def dims(shape), do: shape |> Tuple.to_list() |> Enum.map_join(&"[#{&1}]")

  @doc false
  def describe(tensor) do
    case lookup(tensor) do
      {:ok, {type, shape}} -> "#{type}#{dims(shape)}"
      :pending -> "pending"
      {:error, %ConnectionError{reason: reason}} when reason in [:stale_epoch, :closed] -> "stale"
      {:error, error} -> "failed: #{Exception.message(error)}"
    end
  end

  @doc false
  def count({_type, shape}), do: Dtype.count(shape)

  defimpl Inspect do
    import Inspect.Algebra
    alias Outrigger.Tensor

    @peek_ms 50

    def inspect(tensor, options) do
      concat(["#Outrigger.Tensor<", Tensor.describe(tensor), values(tensor, options), ">"])
    end

    defp values(tensor, options) do
      with count when is_integer(count) and count > 0 <- options.custom_options[:values],
           {:ok, meta} <- Tensor.lookup(tensor),
           {:ok, values} <- Outrigger.peek(tensor, count, deadline: @peek_ms) do
        more = if Tensor.count(meta) > length(values), do: ", …"
        " #{Enum.map_join(values, ", ", &Kernel.inspect/1)}#{more}"
      else
        _ -> ""
      end
    end
  end
end
