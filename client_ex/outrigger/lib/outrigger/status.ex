defmodule Outrigger.Status do
  @moduledoc """
  The state of a server and of its daemon. `Outrigger` has the same functions.
  """

  alias Outrigger.{Dtype, Server, Tensor}
  import Outrigger.Ask, only: [deadline: 3, ok!: 1, request: 4]

  @doc """
  Asks the daemon for a sign of life. The daemon answers also while it computes.

      iex> Outrigger.ping(MyApp.Compute)
      :ok
  """
  @spec ping(Outrigger.server(), keyword) :: :ok | Outrigger.error()
  def ping(server, options \\ []) do
    with {:ok, server} <- Server.fetch(server),
         {:ok, _} <- request(server, "ping", [], [want: :at_once] ++ options),
         do: :ok
  end

  @doc """
  Describes a server (memory in bytes, live tensors, the daemon's pid, version, limits, …) or a
  tensor (type, shape, bytes, and how it shares memory).

      iex> {:ok, info} = Outrigger.info(Outrigger.iota(MyApp.Compute, {3}))
      iex> info
      %{type: :s32, shape: {3}, bytes: 12, contiguous: true, shared: false}
      iex> {:ok, info} = Outrigger.info(MyApp.Compute)
      iex> info.memory.used >= 12 and is_integer(info.os_pid)
      true
  """
  @spec info(Outrigger.server() | Tensor.t(), keyword) :: {:ok, map} | Outrigger.error()
  def info(subject, options \\ [])

  def info(%Tensor{} = tensor, options) do
    with {:ok, reply} <- request(tensor, "info", [{"handle", tensor.handle}], options) do
      {:ok, type} = Dtype.parse(reply["dtype"])
      shape = List.to_tuple(reply["shape"])
      rest = Map.take(reply, ~w(bytes contiguous shared))
      {:ok, Map.merge(%{type: type, shape: shape}, atom_keys(rest))}
    else
      # The error that the tensor failed with says more than a failed operand does.
      {:error, error} ->
        with {:error, cause} <- Tensor.lookup(tensor),
             do: {:error, cause},
             else: (_ -> {:error, error})
    end
  end

  def info(server, options) do
    with {:ok, server} <- Server.fetch(server),
         {:ok, reply} <- request(server, "info", [], [want: :at_once] ++ options),
         {:ok, hello} <- Server.exchange(server, &{:hello, &1}, server.timeout) do
      {:ok, hello |> Map.merge(reply) |> Map.drop(["id", "status"]) |> atom_keys()}
    end
  end

  @doc "As `info/2`, but raises."
  @spec info!(Outrigger.server() | Tensor.t(), keyword) :: map
  def info!(subject, options \\ []), do: ok!(info(subject, options))

  @doc """
  Waits until a daemon is running, for instance after a daemon has died. The default deadline is the
  `:start_timeout` of the server.
  """
  @spec await_ready(Outrigger.server(), keyword) :: :ok | {:error, Outrigger.ConnectionError.t()}
  def await_ready(server, options \\ []) do
    with {:ok, server} <- Server.fetch(server),
         limit = deadline(server, options, server.start_timeout),
         {:ok, _epoch} <- Server.await_ready(server, limit),
         do: :ok
  end

  # The keys are those of the protocol.
  defp atom_keys(%{} = map),
    do: Map.new(map, fn {key, value} -> {String.to_atom(key), atom_keys(value)} end)

  defp atom_keys(list) when is_list(list), do: Enum.map(list, &atom_keys/1)
  defp atom_keys(other), do: other
end
