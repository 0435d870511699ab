defmodule Outrigger.Nx.Application do
  @moduledoc false
  use Application

  @doc "Raises the error of a call while the application does not run."
  @spec not_started!() :: no_return
  def not_started! do
    raise "the application :outrigger_nx has not been started: list it in your own " <>
            "application's dependencies, or call " <>
            "Application.ensure_all_started(:outrigger_nx) first. For tensors before that, use " <>
            "`backend: Nx.BinaryBackend`"
  end

  @impl true
  def start(_type, _args) do
    children = [
      Outrigger.Nx.Cache,
      Outrigger.Nx.Captured,
      {DynamicSupervisor, name: Outrigger.Nx.Servers, strategy: :one_for_one}
    ]

    Supervisor.start_link(children, strategy: :one_for_one, name: Outrigger.Nx.Supervisor)
  end
end
