defmodule Rain.Compare do
  @moduledoc "Plain Elixir and Outrigger: first whether they agree, then how long they take."

  alias Rain.{Forum, Plain, Screen, Step, Terrain}

  @steps 20
  @burst 200

  @doc "One step of rain."
  def step(terrain, step, metres) do
    state = Step.dry(terrain)
    rain = Step.rain(terrain, metres)
    ground = Terrain.height_rows(terrain)

    {water, passed, drained, one} = Plain.run(ground, metres, @steps, 1)
    {_, _, _, two} = Plain.run(ground, metres, @steps, 2)

    waited =
      for _ <- 1..@steps do
        {time, _} = :timer.tc(fn -> Step.call_and_wait(step, state, terrain, rain) end)
        time
      end

    difference =
      Enum.max([
        difference(water, on_land(state.water, terrain)),
        difference(passed, on_land(state.passed, terrain)),
        abs(drained - hd(Outrigger.peek!(state.drained, 1)))
      ])

    # Then without a wait after each.
    {burst, :ok} = :timer.tc(fn -> burst(terrain, step, state, rain) end)

    # Doubles on both sides, and the same order of additions.
    true = difference < 1.0e-12

    Screen.table("One step of rain on #{Screen.thousands(terrain.cells)} cells", [
      {"plain Elixir", Screen.median(one)},
      {"plain Elixir, two processes", Screen.median(two)},
      {"Outrigger, one call and its answer", Screen.median(waited)},
      {"Outrigger, one of #{@burst} calls on their way", burst / @burst}
    ])

    Screen.checked(
      "after #{@steps} steps both have the same water: largest difference #{difference} m"
    )
  end

  defp burst(terrain, step, state, rain) do
    for _ <- 1..@burst, do: Step.call(step, state, terrain, rain)
    Outrigger.sync!(terrain.server)
  end

  defp on_land(tensor, terrain), do: Outrigger.peek!(tensor, terrain.cells)

  defp difference(rows, list), do: difference(Enum.concat(rows), list, 0.0)

  defp difference([a | as], [b | bs], largest), do: difference(as, bs, max(abs(a - b), largest))
  defp difference([], [], largest), do: largest

  @doc "The forum's scatter, in a process of its own so that its lists are gone afterwards."
  def forum(server) do
    {rows, agree?} = Task.await(Task.async(fn -> measure_forum(server) end), :infinity)
    true = agree?
    {elements, updates} = Forum.sizes()

    Screen.say("destination[indices[i]] = source[i]")

    Screen.table(
      "#{Screen.thousands(elements)} elements, #{Screen.thousands(updates)} indices",
      rows
    )

    Screen.say("With lists in and out, most of the time goes into turning ten million terms into")
    Screen.say("bytes and back: data is best kept in the daemon.\n")
    Screen.checked("plain Elixir and both ways through the daemon give the same list")
  end

  defp measure_forum(server) do
    {destination, indices, source} = lists = Forum.lists()

    {plain, expected} = repeat(3, fn -> Forum.plain(destination, indices, source) end)
    {through, list} = repeat(2, fn -> Forum.through(server, lists) end)

    tensors = {resident, _, _} = Forum.upload(server, lists)
    Outrigger.sync!(server)
    {in_place, :ok} = repeat(9, fn -> Forum.put(server, tensors) end)

    atomics = Forum.atomics(destination)
    {atomics_put, :ok} = repeat(3, fn -> Forum.atomics_put(atomics, indices, source) end)

    rows = [
      {"plain Elixir, lists in and out", plain},
      {"Outrigger, lists in and out", through},
      {"Erlang's :atomics, resident, 64-bit integers only", atomics_put},
      {"Outrigger, in place, resident handles", in_place}
    ]

    {rows, list == expected and Outrigger.to_flat_list!(resident) == expected}
  end

  # The median time (of two, the longer) and the last result.
  defp repeat(times, fun) do
    measured = for _ <- 1..times, do: timed(fun)
    {_, result} = List.last(measured)
    {Screen.median(Enum.map(measured, &elem(&1, 0))), result}
  end

  defp timed(fun) do
    :erlang.garbage_collect()
    :timer.tc(fun)
  end
end
