defmodule Outrigger.Servers do
  @moduledoc false
  # Knows the supervisors of all servers of this VM, and stops those that are left when it ends.

  use GenServer, shutdown: 10_000

  @stop_ms 5_000

  def start_link(_options), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc """
  The application runs, also where nobody has started it: a script, for instance. Raises if it
  cannot be started.
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

  @doc "This process is the supervisor of a server."
  @spec add() :: :ok
  def add, do: GenServer.call(__MODULE__, {:add, self()})

  @impl true
  def init(_options) do
    Process.flag(:trap_exit, true)

    # A script's end halts the VM, and stops no application before. Other hooks may still need their
    # servers: this one comes after all of them.
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
        # With that reason, who is linked to a server and waits for the end of the VM goes on.
        spawn_monitor(fn -> Supervisor.stop(supervisor, :normal, @stop_ms) end)
      end

    for {_pid, ref} <- stopping do
      receive do
        {:DOWN, ^ref, _, _, _} -> :ok
      end
    end
  end
end
