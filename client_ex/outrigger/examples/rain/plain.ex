defmodule Rain.Plain do
  @moduledoc """
  The same step in plain Elixir, as fast as we could write it.

  Maps, tuples and `:array` would have to look each neighbour up. This walks over three rows at a
  time, as lists, with a window of 3×3 cells in the function's arguments: no index anywhere. Each
  cell then *pulls* what its neighbours send it, in the order in which the daemon adds it up, so
  both compute the same doubles, bit for bit.

  Processes share the work by rows and tell each other the row at their border.
  """

  # A place outside the map is lower than every place on it.
  @sea -1.0e4

  @none [0 | 0.0]

  @doc """
  So many steps from dry ground, by so many processes. Gives the water and what has passed, as
  rows, what has drained away, and each step's microseconds.
  """
  def run(ground, rain, steps, processes) do
    workers = start(ground, rain, processes)

    times =
      for _ <- 1..steps do
        {time, _} = :timer.tc(fn -> ask(workers, :step) end)
        time
      end

    parts = ask(workers, :stop)
    [water, passed, drained] = Enum.zip_with(parts, & &1)
    {Enum.concat(water), Enum.concat(passed), Enum.sum(drained), times}
  end

  defp start(ground, rain, processes) do
    parts = Enum.chunk_every(ground, ceil(length(ground) / processes))
    # Room for a step, so that garbage collection costs as little as it can.
    options = [:link, min_heap_size: div(16_000_000, processes)]
    owner = self()
    workers = for part <- parts, do: :erlang.spawn_opt(fn -> init(owner, part, rain) end, options)

    for {worker, index} <- Enum.with_index(workers) do
      above = if index > 0, do: Enum.at(workers, index - 1)
      send(worker, {:neighbours, above, Enum.at(workers, index + 1)})
    end

    workers
  end

  defp ask(workers, what) do
    for worker <- workers, do: send(worker, what)

    for worker <- workers do
      receive do
        {^worker, answer} -> answer
      end
    end
  end

  defp init(owner, ground, rain) do
    dry = for row <- ground, do: for(_ <- row, do: 0.0)

    receive do
      {:neighbours, above, below} -> loop({dry, dry, 0.0}, owner, ground, rain, {above, below})
    end
  end

  defp loop({water, passed, drained} = state, owner, ground, rain, neighbours) do
    receive do
      :step ->
        state = step(state, ground, rain, neighbours)
        send(owner, {self(), :ok})
        loop(state, owner, ground, rain, neighbours)

      :stop ->
        send(owner, {self(), [water, passed, drained]})
    end
  end

  defp step({water, passed, drained}, ground, rain, neighbours) do
    water = rain_on(water, rain)
    surface = surface(water, ground)
    {above, below} = exchange(:surface, surface, neighbours, @sea)
    flows = flows([above | surface], water, below)
    {above, below} = exchange(:flows, flows, neighbours, @none)
    moved = move([above | flows], water, below)
    {moved, add_flows(passed, flows), drained + drain(flows, neighbours)}
  end

  # Tells the neighbours our border rows; gives theirs. Where there is none, all is `outside`.
  defp exchange(what, rows, {above, below}, outside) do
    if above, do: send(above, {what, :below, hd(rows)})
    if below, do: send(below, {what, :above, List.last(rows)})

    for {neighbour, side} <- [{above, :above}, {below, :below}] do
      if neighbour do
        receive do
          {^what, ^side, row} -> row
        end
      else
        Enum.map(hd(rows), fn _ -> outside end)
      end
    end
    |> List.to_tuple()
  end

  defp rain_on(water, rain), do: for(row <- water, do: for(cell <- row, do: cell + rain))

  defp surface([w | water], [g | ground]), do: [add_row(w, g) | surface(water, ground)]
  defp surface([], []), do: []

  defp add_row([a | as], [b | bs]), do: [a + b | add_row(as, bs)]
  defp add_row([], []), do: []

  ## First walk: to which neighbour, and how much; a row of [direction | flow]

  defp flows([above | [here | _] = rest], [water | waters], outside) do
    below =
      case rest do
        [_, below | _] -> below
        [_] -> outside
      end

    [a | above] = above
    [b | below] = below
    [h | here] = here

    row = flow_row(@sea, @sea, @sea, a, h, b, above, here, below, water)
    [row | flows(rest, waters, outside)]
  end

  defp flows([_last], [], _outside), do: []

  # The window: nw, w, sw | n, here, s | and the rows' rests, whose heads are ne, e, se.
  defp flow_row(nw, w, sw, n, h, s, [ne | above], [e | here], [se | below], [water | waters]) do
    cell = flow(nw, n, ne, w, e, sw, s, se, h, water)
    [cell | flow_row(n, h, s, ne, e, se, above, here, below, waters)]
  end

  defp flow_row(nw, w, sw, n, h, s, [], [], [], [water]) do
    [flow(nw, n, @sea, w, @sea, sw, s, @sea, h, water)]
  end

  # All numbers are floats, so that the compiler needs no type tests at each comparison.
  defp flow(nw, n, ne, w, e, sw, s, se, here, water)
       when is_float(nw) and is_float(n) and is_float(ne) and is_float(w) and is_float(e) and
              is_float(sw) and is_float(s) and is_float(se) and is_float(here) and
              is_float(water) do
    {low, to} = {nw, 1}
    {low, to} = if n < low, do: {n, 2}, else: {low, to}
    {low, to} = if ne < low, do: {ne, 3}, else: {low, to}
    {low, to} = if w < low, do: {w, 4}, else: {low, to}
    {low, to} = if e < low, do: {e, 5}, else: {low, to}
    {low, to} = if sw < low, do: {sw, 6}, else: {low, to}
    {low, to} = if s < low, do: {s, 7}, else: {low, to}
    {low, to} = if se < low, do: {se, 8}, else: {low, to}
    half = (here - low) * 0.5

    cond do
      half <= 0.0 -> @none
      half < water -> [to | half]
      true -> [to | water]
    end
  end

  ## Second walk: what stays and what comes in

  defp move([above | [here | _] = rest], [water | waters], outside) do
    below =
      case rest do
        [_, below | _] -> below
        [_] -> outside
      end

    [a | above] = above
    [b | below] = below
    [h | here] = here
    row = move_row(@none, @none, @none, a, h, b, above, here, below, water)
    [row | move(rest, waters, outside)]
  end

  defp move([_last], [], _outside), do: []

  defp move_row(nw, w, sw, n, h, s, [ne | above], [e | here], [se | below], [water | waters]) do
    cell = pull(nw, n, ne, w, e, sw, s, se, h, water)
    [cell | move_row(n, h, s, ne, e, se, above, here, below, waters)]
  end

  defp move_row(nw, w, sw, n, h, s, [], [], [], [water]) do
    [pull(nw, n, @none, w, @none, sw, s, @none, h, water)]
  end

  # The neighbour in the north-west sends to its south-east (8), and so on.
  defp pull(nw, n, ne, w, e, sw, s, se, [_ | out], water) do
    water = water - out
    water = if hd(nw) == 8, do: water + tl(nw), else: water
    water = if hd(n) == 7, do: water + tl(n), else: water
    water = if hd(ne) == 6, do: water + tl(ne), else: water
    water = if hd(w) == 5, do: water + tl(w), else: water
    water = if hd(e) == 4, do: water + tl(e), else: water
    water = if hd(sw) == 3, do: water + tl(sw), else: water
    water = if hd(s) == 2, do: water + tl(s), else: water
    if hd(se) == 1, do: water + tl(se), else: water
  end

  ## The rest

  defp add_flows([p | passed], [f | flows]), do: [add_flow_row(p, f) | add_flows(passed, flows)]
  defp add_flows([], []), do: []

  defp add_flow_row([p | ps], [[_ | f] | fs]), do: [p + f | add_flow_row(ps, fs)]
  defp add_flow_row([], []), do: []

  # All that flows on the map's border leaves it.
  defp drain(flows, {above, below}) do
    top = if above, do: [], else: [hd(flows)]
    bottom = if below, do: [], else: [List.last(flows)]
    middle = flows |> Enum.drop(length(top)) |> Enum.drop(-length(bottom))
    sides = for row <- middle, do: [hd(row), List.last(row)]
    border = Enum.concat(top ++ sides ++ bottom)
    Enum.reduce(border, 0.0, fn [_ | flow], sum -> sum + flow end)
  end
end
