defmodule Outrigger.InPlace do
  @moduledoc """
  Ops that write their result into one of their operands. Names and meanings are those of
  `Outrigger.Op`.

  Each function returns the handle of the written operand, so that calls can be piped. The doc of
  the function names that operand. Every holder of that tensor sees the change. Results that
  functional ops made from the tensor *before* do not change.

      iex> alias Outrigger.{InPlace, Op}
      iex> t = Outrigger.tensor(MyApp.Compute, [1, 2, 3])
      iex> before = Op.reverse(t)
      iex> t |> InPlace.add(10) |> InPlace.multiply(2)
      iex> {Outrigger.to_list!(t), Outrigger.to_list!(before)}
      {[22, 24, 26], [3, 2, 1]}

  The written operand must have the result's type and shape. For example, an integer tensor plus 0.5
  is refused in place, because the result is a float.

  A failed op in place has no new tensor that could fail. The next function that reads the operand
  into Elixir or into a file returns the error, once (`Outrigger.to_list/2`, `Outrigger.save_npy/3`,
  …). `Outrigger.sync/2` returns the error, too. The operand keeps its contents, and ops may use it.

  `slice`, `reshape`, `squeeze`, `transpose` and `reverse` return *mutable views*: new tensors that
  share memory with the operand.

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
