defmodule Outrigger.Nx.ServingNode do
  @moduledoc false
  # Runs a serving over a daemon on a node of serving_nodes_test.exs. Functions that other nodes
  # call, or that are sent to them, must be in a module that all nodes have.

  @serving __MODULE__.Serving

  def serving, do: @serving

  @doc "Starts the serving and stays its owner, until the node ends."
  def start(parent) do
    {:ok, _} = Application.ensure_all_started(:outrigger_nx)
    Application.put_env(:outrigger_nx, :server, threads: 1)
    Nx.global_default_backend(Outrigger.Nx.Backend)

    serving =
      Nx.Serving.jit(&square/1, compiler: Outrigger.Nx)
      |> Nx.Serving.distributed_postprocessing(&answer/1)

    {:ok, _} =
      Nx.Serving.start_link(serving: serving, name: @serving, batch_size: 8, batch_timeout: 5)

    send(parent, {:serving, node()})
    Process.sleep(:infinity)
  end

  # Enough work that requests are on their way when something dies.
  defp square(x) do
    scale = Nx.sum(Nx.sin(Nx.iota({200_000}, type: :f32))) |> Nx.multiply(0)
    Nx.add(Nx.multiply(x, x), scale)
  end

  # The value leaves the daemon on the node where that is.
  defp answer(tensor), do: {node(), Nx.to_flat_list(tensor)}

  @doc "The process id of the node's daemon; nil if there is none at the moment."
  def daemon do
    case Outrigger.info(Outrigger.Nx.Default) do
      {:ok, info} -> info.os_pid
      {:error, _} -> nil
    end
  end

  @doc "One request, from any node: `{:ok, node}` if the answer is right."
  def ask(n) do
    batch = Nx.Batch.stack([Nx.tensor([n, n + 1], type: :f32, backend: Nx.BinaryBackend)])

    case Nx.Serving.batched_run({:distributed, @serving}, batch) do
      {node, values} ->
        expected = [n * n / 1, (n + 1) * (n + 1) / 1]
        if values == expected, do: {:ok, node}, else: {:wrong, {n, values}}
    end
  catch
    kind, reason -> {:failed, {kind, reason}}
  end
end
