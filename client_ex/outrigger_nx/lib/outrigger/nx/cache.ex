defmodule Outrigger.Nx.Cache do
  @moduledoc false
  # What was built for a key: programs of eager ops and compiled expressions. A table for all
  # processes, bounded, from which what has not been asked for longest goes first; and before it
  # what each process has used lately, which costs no copy.

  use GenServer

  @table __MODULE__
  @near_max 256
  @evicted_share 8

  def start_link(_), do: GenServer.start_link(__MODULE__, :ok, name: __MODULE__)

  @doc "The value of the key; `fun` makes it if there is none."
  def fetch(key, fun) do
    near = Process.get(@table, %{})

    case near do
      %{^key => value} ->
        value

      _ ->
        value = far(key, fun)
        near = if map_size(near) >= @near_max, do: %{}, else: near
        Process.put(@table, Map.put(near, key, value))
        value
    end
  end

  @doc "Entries of the table, and the most that there may be."
  def stats, do: %{size: :ets.info(@table, :size), max: max()}

  defp far(key, fun) do
    case :ets.lookup(@table, key) do
      [{_, value, _}] ->
        :ets.update_element(@table, key, {3, now()})
        value

      [] ->
        value = fun.()
        insert(key, value)
        value
    end
  end

  defp insert(key, value) do
    :ets.insert(@table, {key, value, now()})
    if :ets.info(@table, :size) > max(), do: send(@table, :evict)
    :ok
  end

  defp now, do: System.monotonic_time()
  defp max, do: Application.get_env(:outrigger_nx, :cache_entries_max, 2048)

  @impl true
  def init(:ok) do
    options = [:set, :public, :named_table, read_concurrency: true, write_concurrency: true]
    :ets.new(@table, options)
    {:ok, nil}
  end

  @impl true
  def handle_info(:evict, state) do
    max = max()

    if :ets.info(@table, :size) > max do
      times = @table |> :ets.select([{{:_, :_, :"$1"}, [], [:"$1"]}]) |> Enum.sort()
      limit = Enum.at(times, length(times) - max + div(max, @evicted_share))
      :ets.select_delete(@table, [{{:_, :_, :"$1"}, [{:<, :"$1", limit}], [true]}])
    end

    {:noreply, state}
  end
end
