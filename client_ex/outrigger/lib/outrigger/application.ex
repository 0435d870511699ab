defmodule Outrigger.Application do
  @moduledoc false
  # At the end of the VM, stops the servers that are in no application's supervision tree. Otherwise
  # the VM kills their processes. Then the port of a daemon that does not read waits until its bytes
  # are read, and the VM waits for the port.

  use Application

  @impl true
  def start(_type, _args) do
    Supervisor.start_link([Outrigger.Servers], strategy: :one_for_one)
  end
end
