defmodule Outrigger.Leases do
  @moduledoc false
  # Releases the handles that no process holds any more. Keepers make tokens in advance, in batches.
  # A caller then takes a token by an :ets.take/2, without a message.

  use GenServer
  alias Outrigger.Keeper
  require Logger

  @ahead 8
  @sparse 64
  # Callers that create many tensors cause polls. This poll finds tensors that are dropped when no
  # caller creates any.
  @poll_interval_ms 5_000
  @batches_per_poll_min 16
  # Routine garbage collections take at most a twentieth of the callers' time.
  @rest_factor 20
  # The delay of a poll after the death of a caller. These polls take at most a fifth of the time of
  # this process.
  @soon_ms 5
  @soon_rest_factor 4

  def start_link(table), do: GenServer.start_link(__MODULE__, table)

  @doc """
  Looks for dropped tokens. The processes `pids` collect their garbage first. With `:routine`, they
  do so only if it takes little of their time.
  """
  def poll(leases, pids \\ [], why \\ :need), do: send(leases, {:poll, pids, why, nil})

  @doc """
  Looks for dropped tokens in some milliseconds, for instance after the death of a process. One poll
  serves all requests until then.
  """
  def poll_soon(leases), do: send(leases, :poll_soon)

  @doc "As `poll/3`, but returns when the connection has the releases."
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
    # Tokens of a keeper that has ended have no watcher.
    :ets.select_delete(table, [{{:"$1", :_}, [{:is_integer, :"$1"}], [true]}])
    :ets.match_delete(table, {{:late, :_}, :_})
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
       # keepers that have not answered this poll
       polling: MapSet.new(),
       # callers that wait for the end of this poll, and of the next poll, which begins then
       waiting: [],
       next_waiting: nil,
       soon: nil,
       poll_began: 0,
       poll_took: 0,
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

    if keeper = state.batches[Keeper.batch(first)] do
      :ets.insert(state.table, {{:late, first}, tokens})
      send(keeper, {:late, first})
    end

    {:noreply, state}
  end

  def handle_info({:poll, _pids, _why, waiting}, %{works?: false} = state) do
    answer(List.wrap(waiting))
    {:noreply, state}
  end

  def handle_info(:poll_soon, %{soon: nil} = state) do
    rest = System.convert_time_unit(state.poll_took * @soon_rest_factor, :native, :millisecond)
    {:noreply, %{state | soon: Process.send_after(self(), :soon, max(rest, @soon_ms))}}
  end

  def handle_info(:soon, state), do: {:noreply, start_poll(%{state | soon: nil})}

  def handle_info({:poll, pids, why, waiting}, state) do
    now = System.monotonic_time()
    pids = if why == :routine and now < state.rest_until, do: [], else: pids
    # The collection is asynchronous, because a process may be busy in a NIF.
    requests = for pid <- pids, node(pid) == node(), do: collect_garbage(pid)
    state = %{state | collect_began: now}

    case requests do
      [] ->
        {:noreply, start_poll(state, List.wrap(waiting))}

      _ ->
        Process.send_after(self(), {:collected, requests}, 200)
        {:noreply, %{state | collecting: MapSet.union(state.collecting, MapSet.new(requests))}}
    end
  end

  def handle_info({:garbage_collect, ref, _}, state), do: {:noreply, collected(state, [ref])}
  def handle_info({:collected, refs}, state), do: {:noreply, collected(state, refs)}

  def handle_info({:released, keeper, handles, count}, state) do
    if handles != [] and state.connection, do: send(state.connection, {:release, handles})

    {:noreply, state |> holds(keeper, count) |> answered(keeper)}
  end

  # The answer after a merge. A keeper that holds no token has ended.
  def handle_info({:holds, keeper, count}, state) do
    state = holds(state, keeper, count)
    {:noreply, if(count == 0, do: answered(state, keeper), else: state)}
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
          keepers: Map.put(state.keepers, keeper, Keeper.batch_size())
      }

      open(state, batch)
    end
  end

  # One poll runs at a time. A request that comes during a poll gets the next poll.
  defp start_poll(state, waiting \\ []) do
    if MapSet.size(state.polling) == 0,
      do: poll_now(state, waiting),
      else: %{state | next_waiting: waiting ++ (state.next_waiting || [])}
  end

  defp poll_now(%{keepers: keepers} = state, waiting) when map_size(keepers) == 0 do
    answer(waiting)
    %{state | opened: 0}
  end

  defp poll_now(state, waiting) do
    # This process must not hold a late token that passed through it.
    :erlang.garbage_collect()
    keepers = Map.keys(state.keepers)
    Enum.each(keepers, &send(&1, :poll))
    began = System.monotonic_time()
    %{state | opened: 0, polling: MapSet.new(keepers), waiting: waiting, poll_began: began}
  end

  defp holds(state, keeper, 0), do: %{state | keepers: Map.delete(state.keepers, keeper)}

  defp holds(state, keeper, count),
    do: %{state | keepers: Map.put(state.keepers, keeper, count)}

  defp answered(%{polling: polling} = state, keeper) do
    left = MapSet.delete(polling, keeper)
    state = %{state | polling: left}
    if MapSet.size(polling) > 0 and MapSet.size(left) == 0, do: polled(state), else: state
  end

  defp polled(state) do
    answer(state.waiting)
    took = System.monotonic_time() - state.poll_began
    next = state.next_waiting
    if state.connection, do: send(state.connection, :polled)
    state = %{state | waiting: [], next_waiting: nil, poll_took: took}
    if next, do: poll_now(state, next), else: state
  end

  # Merges two keepers with few tokens. A few long-lived tensors among many short-lived ones then do
  # not need a process each.
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
