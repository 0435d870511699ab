defmodule Rain.Terrain do
  @moduledoc """
  The land: heights read by the daemon, and for each cell the numbers of its eight neighbours.

  Cells are numbered row by row; one more, the last, is the *sea*: everything that is not on the
  map. It is lower than all land and its own neighbour, so water that gets there stays.
  """

  alias Outrigger.Op

  @dem Path.expand("../data/jacksboro_fault_dem.npz", __DIR__)
  @sea_level -1.0e4

  # By index, ascending: the order in which water arrives, here and in Rain.Plain.
  @directions [{-1, -1}, {-1, 0}, {-1, 1}, {0, -1}, {0, 1}, {1, -1}, {1, 0}, {1, 1}]

  defstruct [:server, :rows, :cols, :cells, :heights, :ground, :neighbours, :spacing]

  @doc "Loads the land into a server's daemon."
  def load(server) do
    heights = Outrigger.load_npz(server, @dem, "elevation")
    {rows, cols} = Outrigger.shape!(heights)
    cells = rows * cols

    ground =
      Outrigger.run(
        server,
        Outrigger.program(fn heights ->
          land = heights |> Op.reshape({cells}) |> Op.as_type(:f64)
          Op.concatenate([land, Op.constant(@sea_level, :f64, {1})])
        end),
        [heights]
      )

    %__MODULE__{
      server: server,
      rows: rows,
      cols: cols,
      cells: cells,
      heights: heights,
      ground: ground,
      neighbours: neighbours(server, rows, cols),
      spacing: spacing(server)
    }
  end

  @doc "The heights, as rows of floats."
  def height_rows(terrain) do
    terrain.heights |> Op.as_type(:f64) |> Outrigger.to_list!()
  end

  def file, do: Path.relative_to_cwd(@dem)

  # [8][cells + 1][1]: for each direction, whom each cell has there.
  defp neighbours(server, rows, cols) do
    sea = rows * cols

    table =
      for {down, right} <- @directions do
        land =
          for row <- 0..(rows - 1), col <- 0..(cols - 1), into: <<>> do
            <<neighbour(row + down, col + right, rows, cols)::32-little>>
          end

        [land, <<sea::32-little>>]
      end

    Outrigger.from_binary(server, IO.iodata_to_binary(table), :s32, {8, sea + 1, 1})
  end

  defp neighbour(row, col, rows, cols) when row in 0..(rows - 1)//1 and col in 0..(cols - 1)//1 do
    row * cols + col
  end

  defp neighbour(_row, _col, rows, cols), do: rows * cols

  # Metres between cells, west to east and north to south; the file has degrees.
  defp spacing(server) do
    [dx, dy, latitude] =
      for member <- ["dx", "dy", "ymin"] do
        server |> Outrigger.load_npz(@dem, member) |> Outrigger.to_number!()
      end

    metres = 111_200
    {metres * dx * :math.cos(latitude * :math.pi() / 180), metres * dy}
  end
end
