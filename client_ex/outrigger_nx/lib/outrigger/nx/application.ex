defmodule Outrigger.Nx.Application do
  @moduledoc false
  use Application

  @impl true
  def start(_type, _args) do
    children = [
      Outrigger.Nx.Cache,
      {DynamicSupervisor, name: Outrigger.Nx.Servers, strategy: :one_for_one}
    ]

    Supervisor.start_link(children, strategy: :one_for_one, name: Outrigger.Nx.Supervisor)
  end
end
