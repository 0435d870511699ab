defmodule Outrigger.Application do
  @moduledoc false
  # Stops, when the VM stops, the servers that stand in no application's supervision tree. The VM
  # would kill their processes; then the port of a daemon that does not read is closed but waits
  # until its bytes are read, and the VM with it.

  use Application

  @impl true
  def start(_type, _args) do
    Supervisor.start_link([Outrigger.Servers], strategy: :one_for_one)
  end
end
