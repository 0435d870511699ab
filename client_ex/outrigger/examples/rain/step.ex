defmodule Rain.Step do
  @moduledoc """
  One step of rain as a program, and the state that it changes.

  Rain falls on each cell; then each cell gives water to the lowest of its eight neighbours, until
  both stand equally high: half of the difference, or all its water if that is less. Hollows so
  fill up to lakes and overflow.
  """

  alias Outrigger.{InPlace, Op}

  # Tensors: metres of water on each cell, metres that have passed it, and what has drained away.
  defstruct [:water, :passed, :drained]

  @doc "The step, for a land of so many cells. Its first three parameters are changed in place."
  def program(cells) do
    Outrigger.program(fn water, passed, drained, ground, rain, neighbours ->
      InPlace.add(water, rain)
      surface = Op.add(ground, water)
      {low, target} = lowest(surface, neighbours, cells)

      half = surface |> Op.subtract(low) |> Op.multiply(0.5) |> Op.max(0.0)
      flow = Op.min(half, water)

      InPlace.add(passed, flow)
      InPlace.subtract(water, flow)
      InPlace.indexed_add(water, target, flow)

      # Water that has reached the sea is counted and removed.
      InPlace.add(drained, Op.slice(water, [cells], [1]))
      InPlace.put_slice(water, [cells], Op.constant(0.0, :f64, {1}))
      []
    end)
  end

  # Height and number of each cell's lowest neighbour.
  defp lowest(surface, neighbours, cells) do
    first = towards(neighbours, 0, cells)

    Enum.reduce(1..7, {Op.gather(surface, first), first}, fn direction, {low, target} ->
      candidate = towards(neighbours, direction, cells)
      height = Op.gather(surface, candidate)
      lower = Op.less(height, low)

      {Op.select(lower, height, low),
       Op.select(Op.reshape(lower, {cells + 1, 1}), candidate, target)}
    end)
  end

  defp towards(neighbours, direction, cells) do
    neighbours
    |> Op.slice([direction, 0, 0], [1, cells + 1, 1])
    |> Op.reshape({cells + 1, 1})
  end

  @doc "No water yet."
  def dry(terrain) do
    zeros = fn size -> Op.constant(terrain.server, 0.0, :f64, {size}) end
    size = terrain.cells + 1
    %__MODULE__{water: zeros.(size), passed: zeros.(size), drained: zeros.(1)}
  end

  @doc "So many metres on each cell of the land, none on the sea."
  def rain(terrain, metres) do
    Op.concatenate([
      Op.constant(terrain.server, metres, :f64, {terrain.cells}),
      Op.constant(terrain.server, 0.0, :f64, {1})
    ])
  end

  @doc "Sends one step, and does not wait for it."
  def call(step, state, terrain, rain) do
    Outrigger.call(step, arguments(state, terrain, rain))
  end

  @doc "Carries out one step."
  def call_and_wait(step, state, terrain, rain) do
    Outrigger.call_and_wait!(step, arguments(state, terrain, rain))
  end

  defp arguments(state, terrain, rain) do
    [state.water, state.passed, state.drained, terrain.ground, rain, terrain.neighbours]
  end
end
