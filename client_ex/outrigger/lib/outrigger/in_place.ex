defmodule Outrigger.InPlace do
  @moduledoc """
  Ops that write into one of their operands. Names and meaning are those of `Outrigger.Op`; only
  where the result goes differs.

  Each function returns the tensor that it has written, the same handle as was given (the doc
  says which operand that is), so calls can be piped. Whoever holds that tensor sees the change.
  Results that were made from it *before*, by functional ops, do not change: they are values.

      iex> alias Outrigger.{InPlace, Op}
      iex> t = Outrigger.tensor(MyApp.Compute, [1, 2, 3])
      iex> before = Op.reverse(t)
      iex> t |> InPlace.add(10) |> InPlace.multiply(2)
      iex> {Outrigger.to_list!(t), Outrigger.to_list!(before)}
      {[22, 24, 26], [3, 2, 1]}

  The written operand must have the result's type and shape: adding 0.5 to an integer tensor in
  place is refused, because its result is a float. As there is no new tensor that could carry an
  error, what goes wrong is told by the next function that reads the tensor into Elixir or a file
  (`Outrigger.to_list/2`, `Outrigger.save_npy/3`, …; once), and by `Outrigger.sync/2`. Ops that use
  the tensor meanwhile use it as it was.

  `slice`, `reshape`, `squeeze`, `transpose` and `reverse` give *mutable views* here: tensors of
  their own that share memory with the operand.

      iex> alias Outrigger.InPlace
      iex> grid = Outrigger.tensor(MyApp.Compute, [[1, 2], [3, 4]])
      iex> grid |> InPlace.slice([0, 1], [2, 1]) |> InPlace.fill(0)
      iex> Outrigger.to_list!(grid)
      [[1, 0], [3, 0]]

  These functions are generated from the daemon's catalogue.
  """

  require Outrigger.Catalogue
  require Outrigger.Server

  @type operand :: Outrigger.Op.operand()

  Outrigger.Catalogue.generate(in_place: true)
end
