defmodule Outrigger.Tensor do
  @moduledoc """
  A handle of a tensor that lives in a daemon.

  It is small and may be sent to other processes. As long as any process of this node holds it,
  the tensor stays; when nobody does, the daemon's memory is released within seconds (the holders'
  garbage collection and a poll must come first; see `Outrigger.release/1` and `Outrigger.scope/2`
  for certainty). Its fields are private.

  A tensor of another node, or one that was written down by `:erlang.term_to_binary/1`, holds nothing:
  store and send what `Outrigger.to_binary/2` gives instead.

  A process that only sends, and makes and drops tensors faster than that, meets the memory limit:
  read a result now and then, or put what belongs together into a `scope/2` or a program.

  Inspecting shows type and shape and never asks the daemon:

      #Outrigger.Tensor<f32[344][403]>
      #Outrigger.Tensor<pending>       its op has not been answered yet (or it has been released)
      #Outrigger.Tensor<failed: …>     its op failed
      #Outrigger.Tensor<stale>         its daemon is gone

  With `inspect(tensor, custom_options: [values: 5])` the first values are read, too.
  """

  alias Outrigger.{ConnectionError, Dtype, Scope, Server}

  @enforce_keys [:server, :handle, :epoch]
  defstruct [:server, :handle, :epoch, :token]

  @typedoc "Its fields are private."
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
  # What is known without asking: {:ok, {type, shape}}, {:error, error} or :pending.
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
  # What tells it from all others: each server counts its handles for itself, and through all the
  # daemons that it starts.
  def key(%__MODULE__{server: %{counters: counters}, handle: handle}), do: {counters, handle}

  @doc false
  def check(%__MODULE__{server: server, epoch: epoch}) do
    case Server.epoch(server) do
      ^epoch -> :ok
      -1 -> {:error, Server.closed(nil)}
      _ -> {:error, %ConnectionError{reason: :stale_epoch}}
    end
  rescue
    # The counters are of another VM.
    ArgumentError -> {:error, foreign("it was made in another VM, whose tensors stay there")}
  end

  @doc false
  # Whether it lives in this server's daemon.
  def check(%__MODULE__{server: %{connection: connection}} = tensor, %{connection: connection}),
    do: check(tensor)

  # The connection of one of the two was replaced.
  def check(%__MODULE__{server: %{counters: counters}} = tensor, %{counters: counters}) do
    with :ok <- check(tensor) do
      {:error, %ConnectionError{reason: :closed, detail: "it has been started again since"}}
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
  # An op in place that failed has no result that could tell: the next reader is told, once.
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
          # A release that overtook the wait, or a new epoch.
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
  # Folds the leaves of a container, however deep: tensors and whatever else is in it.
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
