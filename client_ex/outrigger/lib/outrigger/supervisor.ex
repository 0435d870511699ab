defmodule Outrigger.Supervisor do
  @moduledoc false
  # The watcher and the leases start first. So they live longer than the connection, and clear away
  # what it leaves. The tables and counters belong to this process, so that no number is reused.

  use Supervisor
  alias Outrigger.{Connection, Counters, Leases, Server, Servers, Telemetry, Watcher}

  def start_link(options) do
    Servers.ensure_started()
    name = if options.name, do: [name: options.name], else: []

    case Supervisor.start_link(__MODULE__, options, name) do
      {:error, {:shutdown, {:failed_to_start_child, Connection, error}}} -> {:error, error}
      other -> other
    end
  end

  @impl true
  def init(options) do
    :ok = Servers.add()
    Telemetry.setup()
    table_options = [:set, :public, write_concurrency: true, read_concurrency: true]

    counters = Counters.new()
    keys = Enum.reject([self(), options.name], &is_nil/1)

    shared = %{
      keys: keys,
      counters: counters,
      ender: Server.end_with(self(), keys, counters),
      meta: :ets.new(:outrigger_tensors, table_options),
      direct: :ets.new(:outrigger_direct, table_options),
      tokens: :ets.new(:outrigger_tokens, table_options)
    }

    children = [
      child(Watcher, shared.tokens),
      child(Leases, shared.tokens),
      child(Connection, {options, shared})
    ]

    Supervisor.init(children, strategy: :one_for_all)
  end

  defp child(module, argument) do
    %{id: module, start: {module, :start_link, [argument]}, shutdown: 2_000}
  end
end
