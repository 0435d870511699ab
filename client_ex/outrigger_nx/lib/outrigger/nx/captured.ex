defmodule Outrigger.Nx.Captured do
  @moduledoc false
  # The captured tensors of expressions, in the daemons. They belong to the process that calls the
  # expression. That process uploads them once for each server, and passes them to each call. The
  # next call uploads released tensors again.
  #
  # A table of all processes holds the tensors, and not the dictionary of their process. So they are
  # released while that process does nothing: when they were not used for long, and when a daemon is
  # short of memory. A tensor that is taken out of the table is released when no process holds it.
  # A call that has read the tensor from the table before holds it.

  use GenServer
  alias Outrigger.Nx.{Backend, Cache}
  alias Outrigger.{Leases, Scope, Server, Tensor}

  @table __MODULE__
  # A process may use the daemon's memory divided by this.
  @share 2
  # Smaller tensors are uploaded without a check of the daemon's memory.
  @weighed_bytes 65_536
  @idle_ms 60_000
  @sweep_ms 15_000

  # The columns of the table. The key is `{owner, expression, counters of the server, epoch}`, where
  # the expression is the reference of a compiled program. `held` has the handles and their tokens,
  # or is nil if the tensors were released to make room.
  @used_at 2
  @bytes 3
  @settled 4
  @held 5

  def start_link(_), do: GenServer.start_link(__MODULE__, :ok, name: __MODULE__)

  @doc "The bytes of the tensors that an expression captured, in this VM."
  def bytes(%{captured: tensors}), do: Enum.sum(Enum.map(tensors, &Nx.byte_size/1))
  def bytes(_callbacks), do: 0

  @doc "The limit of the bytes of captured tensors of a process, in daemons."
  def bytes_max, do: Application.get_env(:outrigger_nx, :captured_bytes_max, 256 * 1024 * 1024)

  @doc "The handles of the tensors that an expression captured, on a server."
  def tensors(%{captured: []}, _server), do: []

  def tensors(%{ref: ref} = compiled, server) do
    epoch = Server.epoch!(server)
    key = {self(), ref, server.counters, epoch}

    case :ets.lookup(@table, key) do
      [{_, _, _, settled?, [_ | _] = held, _}] ->
        tensors = tensors(held, server, epoch)

        if settled? or settle(key, tensors) do
          :ets.update_element(@table, key, {@used_at, now()})
          tensors
        else
          # The missing memory may be free now.
          upload(compiled, key, server)
        end

      _ ->
        upload(compiled, key, server)
    end
  end

  # Asks for the state of the uploads until all have succeeded. True if no upload has failed.
  defp settle(key, tensors) do
    states = Enum.map(tensors, &Tensor.lookup/1)
    pending? = Enum.any?(states, &(&1 == :pending))
    failed? = Enum.any?(states, &match?({:error, _}, &1))
    unless pending? or failed?, do: :ets.update_element(@table, key, {@settled, true})
    not failed?
  end

  defp upload(compiled, key, server) do
    bytes = bytes(compiled)
    forget(rows(key))
    make_room(bytes, server)

    tensors =
      Scope.outside(fn ->
        for tensor <- compiled.captured, do: Backend.place({:upload, tensor}, server)
      end)

    held = for %{handle: handle, token: token} <- tensors, do: {handle, token}
    :ets.insert(@table, {key, now(), bytes, false, held, server})
    GenServer.cast(@table, {:owner, self()})
    tensors
  end

  # Leaves the tensors of this process that may stay beside this many bytes.
  defp make_room(bytes, server) do
    {limit, used} = memory(server, bytes)
    most = if limit > 0, do: min(bytes_max(), div(limit, @share)), else: bytes_max()
    old = own() |> Enum.sort_by(&elem(&1, @used_at - 1), :desc) |> unfit(most - bytes)
    Enum.each(old, &free/1)
    empty(for row <- old, do: elem(row, 0))
    # Other tensors must be released, too.
    if limit > 0 and used - sum(old) + bytes > limit, do: relieve()
  end

  defp unfit([{_, _, bytes, _, _, _} | rest], left) when bytes <= left,
    do: unfit(rest, left - bytes)

  defp unfit(rows, _left), do: rows

  defp sum(rows), do: rows |> Enum.map(&elem(&1, @bytes - 1)) |> Enum.sum()

  defp memory(_server, bytes) when bytes < @weighed_bytes, do: {0, 0}

  defp memory(server, _bytes) do
    case Outrigger.info(server) do
      {:ok, %{memory: %{limit: limit, used: used}}} -> {limit, used}
      # The upload will return the error.
      {:error, _} -> {0, 0}
    end
  end

  @doc "Releases the captured tensors of these expressions of this process."
  def release(compiled) do
    for %{ref: ref, captured: [_ | _]} <- compiled, do: forget(rows({self(), ref, :_, :_}))
    :ok
  end

  @doc "The expressions of this process whose captured tensors are not forgotten."
  def known, do: for({{_, ref, _, _}, _, _, _, _, _} <- own(), into: MapSet.new(), do: ref)

  @doc "Releases the captured tensors of all processes."
  def relieve do
    Cache.press()
    Enum.each(own(), &free/1)
    places = :ets.select(@table, places(:"$1", []))
    empty(for {key, _server} <- places, do: key)
    collect(places)
  end

  @doc "Forgets the captured tensors of all processes that were not used for so long."
  def sweep(idle_ms \\ @idle_ms) do
    latest = now() - System.convert_time_unit(idle_ms, :millisecond, :native)
    [{row, guards, _}] = old = places(:"$1", [{:"=<", :"$5", latest}])
    places = :ets.select(@table, old)
    # A row that its process has used meanwhile stays.
    :ets.select_delete(@table, [{row, guards, [true]}])
    collect(places)
  end

  # These processes may hold the tensors, although they have done nothing since.
  defp collect(places) do
    for {leases, owners} <- by_leases(places), do: Leases.poll(leases, owners)
    :ok
  end

  defp by_leases(places) do
    places
    |> Enum.group_by(fn {_, server} -> server.leases end, fn {{owner, _, _, _}, _} -> owner end)
    |> Enum.map(fn {leases, owners} -> {leases, Enum.uniq(owners)} end)
  end

  defp empty(keys) do
    for key <- keys, do: :ets.update_element(@table, key, [{@bytes, 0}, {@held, nil}])
  end

  # Rows of this process.
  defp forget(rows) do
    for row <- rows do
      free(row)
      :ets.delete(@table, elem(row, 0))
    end
  end

  defp free({{_, _, _, epoch}, _, _, _, [_ | _] = held, server}),
    do: Outrigger.release(tensors(held, server, epoch))

  defp free(_released), do: :ok

  defp tensors(held, server, epoch) do
    for {handle, token} <- held,
        do: %Tensor{server: server, epoch: epoch, handle: handle, token: token}
  end

  # Selects the keys and servers of rows of one owner, or of `:"$1"`, which is all. The tokens stay
  # in the table: the reader must not hold them. `$_` would copy them.
  defp places(owner, guards) do
    place = if is_pid(owner), do: {:const, owner}, else: owner
    row = {{owner, :"$2", :"$3", :"$4"}, :"$5", :_, :_, :_, :"$6"}
    [{row, guards, [{{{{place, :"$2", :"$3", :"$4"}}, :"$6"}}]}]
  end

  defp own, do: rows({self(), :_, :_, :_})
  defp rows(key), do: :ets.select(@table, [{{key, :_, :_, :_, :_, :_}, [], [:"$_"]}])
  defp now, do: System.monotonic_time()

  ## The process that owns the table

  @impl true
  def init(:ok) do
    :ets.new(@table, [:ordered_set, :public, :named_table, write_concurrency: true])
    Process.send_after(self(), :sweep, @sweep_ms)
    {:ok, MapSet.new()}
  end

  @impl true
  def handle_cast({:owner, pid}, owners) do
    unless pid in owners, do: Process.monitor(pid)
    {:noreply, MapSet.put(owners, pid)}
  end

  @impl true
  def handle_info({:DOWN, _, :process, pid, _}, owners) do
    places = :ets.select(@table, places(pid, []))
    for {key, _server} <- places, do: :ets.delete(@table, key)
    for {leases, _} <- by_leases(places), do: Leases.poll_soon(leases)
    {:noreply, MapSet.delete(owners, pid)}
  end

  def handle_info(:sweep, owners) do
    Process.send_after(self(), :sweep, @sweep_ms)
    sweep()
    {:noreply, owners}
  end
end
