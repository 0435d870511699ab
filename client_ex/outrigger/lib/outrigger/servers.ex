defmodule Outrigger.Servers do
  @moduledoc false
  # Knows the supervisors of all servers of this VM, and stops the remaining ones at the VM's end.

  use GenServer, shutdown: 10_000

  @stop_ms 5_000

  def start_link(_options), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc """
  Starts the application if it does not run, for instance in a script. Raises if it cannot be
  started.
  """
  @spec ensure_started() :: :ok
  def ensure_started do
    if Process.whereis(__MODULE__) == nil do
      with {:error, reason} <- Application.ensure_all_started(:outrigger) do
        raise "the application :outrigger cannot be started: #{inspect(reason)}"
      end
    end

    :ok
  end

  @doc "Registers the calling process as the supervisor of a server."
  @spec add() :: :ok
  def add, do: GenServer.call(__MODULE__, {:add, self()})

  @impl true
  def init(_options) do
    Process.flag(:trap_exit, true)

    # The end of a script halts the VM without a stop of its applications. This hook runs after all
    # other hooks, because these may need their servers.
    System.at_exit(fn _status -> System.at_exit(fn _status -> stop_all() end) end)
    {:ok, MapSet.new()}
  end

  defp stop_all do
    if pid = Process.whereis(__MODULE__), do: GenServer.stop(pid, :shutdown, :infinity)
  catch
    :exit, _it_ended -> :ok
  end

  @impl true
  def handle_call({:add, supervisor}, _from, supervisors) do
    Process.monitor(supervisor)
    {:reply, :ok, MapSet.put(supervisors, supervisor)}
  end

  @impl true
  def handle_info({:DOWN, _, :process, pid, _}, supervisors),
    do: {:noreply, MapSet.delete(supervisors, pid)}

  def handle_info(_other, supervisors), do: {:noreply, supervisors}

  @impl true
  def terminate(_reason, supervisors) do
    stopping =
      for supervisor <- supervisors do
        # The reason :normal does not end a process that is linked to the server.
        spawn_monitor(fn -> Supervisor.stop(supervisor, :normal, @stop_ms) end)
      end

    for {_pid, ref} <- stopping do
      receive do
        {:DOWN, ^ref, _, _, _} -> :ok
      end
    end
  end
end
