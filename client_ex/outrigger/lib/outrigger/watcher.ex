defmodule Outrigger.Watcher do
  @moduledoc false
  # Ends the daemon after its connection. The end of the port is not enough: its pipe stays open
  # while bytes are queued, and a stopped daemon reads no EOF.

  use GenServer
  alias Outrigger.Daemon

  def start_link(table), do: GenServer.start_link(__MODULE__, table)

  def watch(watcher, os_pid), do: GenServer.call(watcher, {:watch, self(), os_pid})
  def gone(watcher, os_pid), do: GenServer.cast(watcher, {:gone, os_pid})
  def kill(watcher, os_pid), do: GenServer.cast(watcher, {:kill, os_pid})

  @impl true
  def init(table) do
    Process.flag(:trap_exit, true)
    :ets.insert(table, {:watcher, self()})
    {:ok, %{identities: %{}, connection: nil}}
  end

  @impl true
  def handle_call({:watch, connection, os_pid}, _from, state) do
    if state.connection != connection, do: Process.monitor(connection)
    identities = Map.put(state.identities, os_pid, Daemon.identity(os_pid))
    {:reply, :ok, %{state | identities: identities, connection: connection}}
  end

  @impl true
  def handle_cast({:gone, os_pid}, state) do
    {:noreply, %{state | identities: Map.delete(state.identities, os_pid)}}
  end

  def handle_cast({:kill, os_pid}, state) do
    {identity, identities} = Map.pop(state.identities, os_pid)
    if identity, do: Daemon.kill(identity)
    {:noreply, %{state | identities: identities}}
  end

  @impl true
  def handle_info({:DOWN, _ref, :process, pid, _reason}, %{connection: pid} = state) do
    kill_all(state)
    {:noreply, %{state | identities: %{}, connection: nil}}
  end

  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, state), do: kill_all(state)

  defp kill_all(state) do
    for {_os_pid, identity} <- state.identities, identity, do: Daemon.kill(identity)
  end
end
