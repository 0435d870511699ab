defmodule Rain.Render do
  @moduledoc """
  Two pictures of the land, computed by the daemon down to the pixels' bytes.

  A colour is a list of three matrices, with values from 0 to 255.
  """

  alias Outrigger.Op

  # From valley floors to ridges.
  @tints [
    {0.0, {92, 132, 96}},
    {0.16, {134, 164, 108}},
    {0.34, {188, 194, 134}},
    {0.52, {220, 202, 150}},
    {0.70, {190, 156, 116}},
    {0.86, {160, 132, 116}},
    {1.0, {238, 234, 228}}
  ]

  # From a trickle to a river.
  @streams [
    {0.0, {8, 12, 24}},
    {0.25, {14, 30, 62}},
    {0.45, {22, 70, 132}},
    {0.65, {44, 134, 198}},
    {0.82, {124, 206, 234}},
    {1.0, {248, 254, 255}}
  ]

  # From shallow to deep.
  @waters [{0.0, {86, 150, 200}}, {0.4, {48, 108, 170}}, {1.0, {22, 66, 126}}]

  # Heights are drawn this much higher.
  @exaggeration 2.2

  @doc "The land in the light of a sun in the north-west, coloured by height, with its waters."
  def relief(path, terrain, state) do
    paint(path, terrain, state, fn heights, light, water, stream ->
      river = stream |> unit(0.46, 0.8) |> Op.multiply(0.9)
      lake = unit(water, 0.9, 2.2)

      @tints
      |> gradient(unit(heights, 250.0, 1000.0))
      |> scale(light |> Op.multiply(0.75) |> Op.add(0.2))
      |> mix(gradient(@waters, unit(water, 0.0, 12.0)), Op.max(river, lake))
    end)
  end

  @doc "Where the water went: what has passed each cell, on a logarithmic scale."
  def drainage(path, terrain, state) do
    paint(path, terrain, state, fn _heights, light, _water, stream ->
      @streams |> gradient(stream) |> scale(light |> Op.multiply(0.5) |> Op.add(0.5))
    end)
  end

  # Gives the function matrices of the pixels' values and writes the colour that it makes of them.
  defp paint(path, %{rows: rows, cols: cols} = terrain, state, colour) do
    size = {rows, cols}

    program =
      Outrigger.program(fn ground, water, passed ->
        [ground, water, passed] =
          for vector <- [ground, water, passed] do
            vector |> Op.slice([0], [terrain.cells]) |> Op.reshape(size)
          end

        pixels = [
          ground,
          light(ground, size, terrain.spacing),
          blur(water, size),
          log_scale(passed)
        ]

        for channel <- apply(colour, Enum.map(pixels, &enlarge(&1, size))) do
          channel
          |> Op.clip(0.0, 255.0)
          |> Op.round()
          |> Op.as_type(:u8)
          |> Op.reshape({2 * rows, 2 * cols, 1})
        end
        |> Op.concatenate(axis: 2)
      end)

    pixels =
      terrain.server
      |> Outrigger.run(program, [terrain.ground, state.water, state.passed])
      |> Outrigger.to_binary!()

    row_bytes = 3 * 2 * cols
    Rain.Png.write!(path, for(<<row::binary-size(row_bytes) <- pixels>>, do: row))
  end

  # 0 where hardly more has passed than the cell's own rain, 1 in the largest river.
  defp log_scale(passed) do
    levels = passed |> Op.max(1.0e-9) |> Op.log()
    most = Op.reduce_max(levels)
    least = Op.subtract(most, 10.0)
    levels |> Op.subtract(least) |> Op.divide(10.0) |> Op.clip(0.0, 1.0)
  end

  # 1 on level ground, more on slopes that face the sun, which stands at 45 degrees.
  defp light(heights, {rows, cols}, {dx, dy}) do
    smooth = blur(heights, {rows, cols})
    east = slope(smooth, cols, 1, @exaggeration / dx)
    south = slope(smooth, rows, 0, @exaggeration / dy)
    towards_sun = east |> Op.add(south) |> Op.multiply(:math.sqrt(0.5))
    squares = Op.add(Op.multiply(east, east), Op.multiply(south, south))
    towards_sun |> Op.add(1.0) |> Op.max(0.0) |> Op.divide(Op.sqrt(Op.add(squares, 1.0)))
  end

  defp slope(matrix, size, axis, factor) do
    matrix
    |> shift(size, axis, 1)
    |> Op.subtract(shift(matrix, size, axis, -1))
    |> Op.multiply(factor / 2)
  end

  defp blur(matrix, {rows, cols}), do: matrix |> blur(rows, 0) |> blur(cols, 1)

  defp blur(matrix, size, axis) do
    shift(matrix, size, axis, -1)
    |> Op.add(shift(matrix, size, axis, 1))
    |> Op.multiply(0.25)
    |> Op.add(Op.multiply(matrix, 0.5))
  end

  ## Neighbours

  # Each cell's neighbour along an axis; at the edge, the cell itself.
  defp shift(matrix, size, axis, by) do
    index = Op.iota({size}) |> Op.add(by) |> Op.clip(0, size - 1)
    Op.take(matrix, index, axis: axis)
  end

  # Four pixels for each cell, with its neighbours' share in each.
  defp enlarge(matrix, {rows, cols}) do
    matrix |> enlarge(rows, 0) |> enlarge(cols, 1)
  end

  defp enlarge(matrix, size, axis) do
    index = Op.iota({2 * size})
    own = Op.quotient(index, 2)
    # -1 for even pixels, 1 for odd ones.
    side = index |> Op.remainder(2) |> Op.multiply(2) |> Op.subtract(1)
    next = own |> Op.add(side) |> Op.clip(0, size - 1)

    matrix
    |> Op.take(own, axis: axis)
    |> Op.multiply(0.75)
    |> Op.add(matrix |> Op.take(next, axis: axis) |> Op.multiply(0.25))
  end

  ## Colours

  # 0 at `low` and below, 1 at `high` and above.
  defp unit(matrix, low, high) do
    matrix |> Op.subtract(low) |> Op.multiply(1 / (high - low)) |> Op.clip(0.0, 1.0)
  end

  # Sums up, from stop to stop, how much of the way to the next colour has been gone.
  defp gradient([{_, first} | _] = stops, matrix) do
    steps =
      for [{from, a}, {to, b}] <- Enum.chunk_every(stops, 2, 1, :discard) do
        {unit(matrix, from, to), a, b}
      end

    for channel <- 0..2 do
      Enum.reduce(steps, elem(first, channel), fn {share, a, b}, sum ->
        share |> Op.multiply(1.0 * (elem(b, channel) - elem(a, channel))) |> Op.add(sum)
      end)
    end
  end

  defp scale(colour, factor), do: for(channel <- colour, do: Op.multiply(channel, factor))

  defp mix(colour, other, share) do
    for {a, b} <- Enum.zip(colour, other) do
      b |> Op.subtract(a) |> Op.multiply(share) |> Op.add(a)
    end
  end
end
