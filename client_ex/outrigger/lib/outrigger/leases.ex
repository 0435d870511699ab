defmodule Outrigger.Leases do
  @moduledoc false
  # Releases the handles that nobody holds any more. Tokens are made ahead, a batch at a time, so
  # that taking one costs the caller an :ets.take/2 and no message.

  use GenServer
  alias Outrigger.Keeper
  require Logger

  @ahead 8
  @sparse 64
  # Polls happen when much was created; this one is for what is dropped while all is quiet.
  @poll_interval_ms 5_000
  @batches_per_poll_min 16
  # Of the callers' time, routine collections take a twentieth at most.
  @rest_factor 20

  def start_link(table), do: GenServer.start_link(__MODULE__, table)

  @doc """
  Looks for dropped tokens; with processes, makes them collect their garbage first. As a `:routine`,
  they do so only if it takes little of their time.
  """
  def poll(leases, pids \\ [], why \\ :need), do: send(leases, {:poll, pids, why, nil})

  @doc "The same, and returns when the releases have been handed to the connection."
  def poll_and_wait(leases, pids) do
    ref = make_ref()
    monitor = Process.monitor(leases)
    send(leases, {:poll, pids, :need, {self(), ref}})

    receive do
      ^ref -> Process.demonitor(monitor, [:flush])
      {:DOWN, ^monitor, _, _, _} -> :ok
    after
      5_000 -> Process.demonitor(monitor, [:flush])
    end

    :ok
  end

  @impl true
  def init(table) do
    works? = Keeper.self_test()

    unless works? do
      Logger.warning(
        "this VM does not count references to binaries as Outrigger expects: tensors are freed " <>
          "by Outrigger.release/1 and Outrigger.scope/2 only"
      )
    end

    :ets.insert(table, {:leases, self(), works?})
    if works?, do: Process.send_after(self(), :tick, @poll_interval_ms)

    {:ok,
     %{
       table: table,
       works?: works?,
       connection: nil,
       # batch => the keeper that made its tokens
       batches: %{},
       next: nil,
       # keeper => number of tokens
       keepers: %{},
       opened: 0,
       collecting: MapSet.new(),
       polling: MapSet.new(),
       waiting: [],
       collect_began: 0,
       rest_until: System.monotonic_time()
     }}
  end

  @impl true
  def handle_call({:connect, connection, handle}, _from, state) do
    {:reply, :ok, open(%{state | connection: connection}, Keeper.batch(handle))}
  end

  @impl true
  def handle_info({:opened, batch}, state) do
    state = open(%{state | opened: state.opened + 1}, batch)
    due = max(@batches_per_poll_min, div(map_size(state.keepers), 2))
    {:noreply, if(state.opened >= due, do: start_poll(state), else: state)}
  end

  def handle_info({:late, first, tokens}, state) do
    state = open(state, Keeper.batch(first))
    keeper = state.batches[Keeper.batch(first)]
    if keeper, do: send(keeper, {:late, first, tokens})
    {:noreply, state}
  end

  def handle_info({:poll, _pids, _why, waiting}, %{works?: false} = state) do
    answer(List.wrap(waiting))
    {:noreply, state}
  end

  def handle_info({:poll, pids, why, waiting}, state) do
    now = System.monotonic_time()
    pids = if why == :routine and now < state.rest_until, do: [], else: pids
    waiting = if waiting, do: [waiting | state.waiting], else: state.waiting
    # Not synchronously: a process may be busy in a NIF.
    requests = for pid <- pids, node(pid) == node(), do: collect_garbage(pid)
    state = %{state | waiting: waiting, collect_began: now}

    case requests do
      [] ->
        {:noreply, start_poll(state)}

      _ ->
        Process.send_after(self(), {:collected, requests}, 200)
        {:noreply, %{state | collecting: MapSet.union(state.collecting, MapSet.new(requests))}}
    end
  end

  def handle_info({:garbage_collect, ref, _}, state), do: {:noreply, collected(state, [ref])}
  def handle_info({:collected, refs}, state), do: {:noreply, collected(state, refs)}

  def handle_info({:released, keeper, handles, count}, state) do
    if handles != [] and state.connection, do: send(state.connection, {:release, handles})

    keepers =
      if count == 0,
        do: Map.delete(state.keepers, keeper),
        else: Map.put(state.keepers, keeper, count)

    polling = MapSet.delete(state.polling, keeper)
    state = %{state | keepers: keepers, polling: polling}

    if MapSet.size(polling) == 0 and state.waiting != [] do
      answer(state.waiting)
      {:noreply, %{state | waiting: []}}
    else
      {:noreply, state}
    end
  end

  def handle_info(:tick, state) do
    Process.send_after(self(), :tick, @poll_interval_ms)
    {:noreply, state |> merge_sparse() |> start_poll()}
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp collect_garbage(pid) do
    ref = make_ref()
    :erlang.garbage_collect(pid, async: ref)
    ref
  end

  defp collected(%{collecting: collecting} = state, refs) do
    left = MapSet.difference(collecting, MapSet.new(refs))
    state = %{state | collecting: left}

    if MapSet.size(collecting) > 0 and MapSet.size(left) == 0 do
      now = System.monotonic_time()
      rest = (now - state.collect_began) * @rest_factor
      start_poll(%{state | rest_until: now + rest})
    else
      state
    end
  end

  defp open(%{works?: false} = state, _batch), do: state

  defp open(state, batch) do
    next = state.next || batch

    if next > batch + @ahead do
      state
    else
      keeper = Keeper.start_link(next, state.table, self())

      state = %{
        state
        | next: next + 1,
          batches: Map.put(state.batches, next, keeper),
          keepers: Map.put(state.keepers, keeper, 256)
      }

      open(state, batch)
    end
  end

  defp start_poll(state) do
    # A late token that passed through here must not be counted as held.
    :erlang.garbage_collect()
    keepers = Map.keys(state.keepers)
    Enum.each(keepers, &send(&1, :poll))
    if keepers == [], do: answer(state.waiting)
    waiting = if keepers == [], do: [], else: state.waiting
    %{state | opened: 0, polling: MapSet.new(keepers), waiting: waiting}
  end

  # Two keepers with few tokens become one, so that a few long-lived tensors among many
  # short-lived ones do not cost a process each.
  defp merge_sparse(%{works?: true, next: next} = state) when next != nil do
    batches = Map.filter(state.batches, fn {_, keeper} -> is_map_key(state.keepers, keeper) end)
    recent = for {batch, keeper} <- batches, batch >= next - 3 * @ahead, do: keeper

    sparse =
      for {keeper, count} <- state.keepers, count <= @sparse, keeper not in recent, do: keeper

    for [from, into] <- Enum.chunk_every(sparse, 2, 2, :discard) do
      send(from, {:merge_into, into})
    end

    %{state | batches: batches}
  end

  defp merge_sparse(state), do: state

  defp answer(waiting), do: for({pid, ref} <- waiting, do: send(pid, ref))
end
