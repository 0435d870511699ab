defmodule Outrigger.Nx.DefaultServer do
  @moduledoc false
  # The server of tensors without the option `:server`. It starts with the first of these tensors,
  # unless `config :outrigger_nx, server: MyApp.Compute` names a server of the application.

  alias Outrigger.Server

  @name Outrigger.Nx.Default

  @doc "The server that the options name, or the default one."
  def fetch!(nil), do: default!()
  def fetch!(server), do: Server.fetch!(server)

  defp default! do
    case Application.get_env(:outrigger_nx, :server, []) do
      options when is_list(options) -> own!(options)
      server -> Server.fetch!(server)
    end
  end

  defp own!(options) do
    Server.fetch!(@name)
  rescue
    Outrigger.ConnectionError ->
      if Process.whereis(Outrigger.Nx.Servers) == nil, do: Outrigger.Nx.Application.not_started!()
      start!(options)
  end

  defp start!(options) do
    child = {Outrigger, Keyword.merge(options, name: @name)}

    case DynamicSupervisor.start_child(Outrigger.Nx.Servers, child) do
      {:ok, _pid} -> Server.fetch!(@name)
      # Another process has started the server.
      {:error, {:already_started, _pid}} -> Server.fetch!(@name)
      {:error, %{__exception__: true} = error} -> raise error
      {:error, reason} -> raise "the Outrigger server cannot be started: #{inspect(reason)}"
    end
  end
end
