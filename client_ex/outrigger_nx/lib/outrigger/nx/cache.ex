defmodule Outrigger.Nx.Cache do
  @moduledoc false
  # A cache of programs of eager ops and of compiled expressions. A table for all processes has
  # limits of entries and of bytes, and drops its least recently used entry first. Each process
  # also keeps its recently used values, which need no copy from the table.

  use GenServer

  @table __MODULE__
  @near_max 256
  @evicted_share 8

  # Counters: the number of clears, the number of times that memory was short, bytes in the table.
  @cleared 1
  @pressed 2
  @bytes 3

  def start_link(_), do: GenServer.start_link(__MODULE__, :ok, name: __MODULE__)

  @doc "The value of the key. `fun` makes a missing value."
  def fetch(key, fun) do
    near = near()

    case near do
      %{^key => value} ->
        value

      _ ->
        value = far(key, fun)
        near = if map_size(near) >= @near_max, do: %{}, else: near
        Process.put(@table, {cleared(), Map.put(near, key, value)})
        value
    end
  end

  defp near do
    cleared = cleared()

    case Process.get(@table) do
      {^cleared, near} -> near
      _ -> %{}
    end
  end

  defp far(key, fun) do
    with nil <- lookup(key), do: put(key, fun.())
  end

  @doc "The value of the key in the table of all processes, or nil."
  def lookup(key) do
    case :ets.lookup(@table, key) do
      [{_, value, _, _}] ->
        :ets.update_element(@table, key, {3, now()})
        value

      [] ->
        nil
    end
  end

  @doc "Puts a value into the table of all processes, and returns the value."
  def put(key, value) do
    bytes = :erlang.external_size(key) + :erlang.external_size(value)
    if :ets.insert_new(@table, {key, value, now(), bytes}), do: count(bytes)
    if entries() > entries_max() or bytes() > bytes_max(), do: send(@table, :evict)
    value
  end

  @doc "Forgets a value in the table of all processes."
  def delete(key) do
    for {_, _, _, bytes} <- :ets.take(@table, key), do: count(-bytes)
    :ok
  end

  @doc "Forgets all values, in all processes. Each process does so at its next call."
  def clear do
    :atomics.add(counters(), @cleared, 1)
    GenServer.call(@table, :clear)
  end

  @doc "The number of clears."
  def cleared, do: :atomics.get(counters(), @cleared)

  @doc "The number of times that a daemon's memory was short."
  def pressed, do: :atomics.get(counters(), @pressed)

  @doc "Notes that a daemon's memory is short: all processes release tensors that can be remade."
  def press, do: :atomics.add(counters(), @pressed, 1)

  @doc "The entries and bytes of the table, and their limits."
  def stats do
    %{size: entries(), max: entries_max(), bytes: bytes(), bytes_max: bytes_max()}
  end

  defp entries, do: :ets.info(@table, :size)
  defp bytes, do: :atomics.get(counters(), @bytes)
  defp count(bytes), do: :atomics.add(counters(), @bytes, bytes)

  defp counters do
    :persistent_term.get(@table, nil) || Outrigger.Nx.Application.not_started!()
  end

  defp now, do: System.monotonic_time()
  defp entries_max, do: Application.get_env(:outrigger_nx, :cache_entries_max, 2048)
  defp bytes_max, do: Application.get_env(:outrigger_nx, :cache_bytes_max, 64 * 1024 * 1024)

  @impl true
  def init(:ok) do
    options = [:set, :public, :named_table, read_concurrency: true, write_concurrency: true]
    :ets.new(@table, options)
    # A new table is empty. The values in processes belong to the earlier table.
    counters = :persistent_term.get(@table, nil) || :atomics.new(3, signed: true)
    :persistent_term.put(@table, counters)
    :atomics.add(counters, @cleared, 1)
    :atomics.put(counters, @bytes, 0)
    {:ok, nil}
  end

  @impl true
  def handle_call(:clear, _from, state) do
    forget([])
    {:reply, :ok, state}
  end

  @impl true
  def handle_info(:evict, state) do
    {entries, bytes} = {entries(), bytes()}

    if entries > entries_max() or bytes > bytes_max() do
      # With some room for the next entries.
      {entries_max, bytes_max} = {room(entries_max()), room(bytes_max())}

      @table
      |> :ets.select([{{:_, :_, :"$1", :"$2"}, [], [{{:"$1", :"$2"}}]}])
      |> Enum.sort()
      |> Enum.reduce_while({entries, bytes}, fn {time, size}, {entries, bytes} ->
        left = {entries - 1, bytes - size}
        fits? = entries - 1 <= entries_max and bytes - size <= bytes_max
        if fits?, do: {:halt, forget([{:"=<", :"$2", time}])}, else: {:cont, left}
      end)
    end

    {:noreply, state}
  end

  defp room(max), do: max - div(max, @evicted_share)

  defp forget(guards) do
    @table |> :ets.select([{{:"$1", :_, :"$2", :_}, guards, [:"$1"]}]) |> Enum.each(&delete/1)
  end
end
