defmodule Outrigger.Nx.Lowering do
  @moduledoc false
  # Nx operations as Outrigger instructions: the one place where the two meet. The backend lowers
  # one operation at a time, the compiler a whole expression.
  #
  # An operation comes with its template `out`, whose type and shape Nx has worked out, and with its
  # arguments in the order of the `Nx.Backend` callback, tensors as `Outrigger.Nx.Value`s. An op of
  # the wire has the callback's name, so that most clauses only say which types the operands take.
  # What the daemon does not know it refuses by name.

  alias Outrigger.Nx.{Builder, Value}
  alias Outrigger.Nx.Lowering.{Blocks, Elementwise, Indexing, LinearAlgebra, Reduction, Shape}
  alias Outrigger.Nx.Lowering.Window

  @families [Elementwise, Shape, Indexing, Reduction, Window, LinearAlgebra]
  @modules for module <- @families, op <- module.ops(), into: %{}, do: {op, module}

  @doc "The ops that `lower/5` knows."
  def ops, do: Map.keys(@modules)

  @doc """
  Lowers one operation: `{value, builder}`. With `in_place`, the instruction writes into its first
  operand; the caller has seen to it that this has the type and shape of the result.
  """
  @spec lower(Builder.t(), atom, Nx.Tensor.t(), list, boolean) :: {Value.t(), Builder.t()}
  def lower(b, op, out, args, in_place \\ false) do
    Map.fetch!(@modules, op).lower(b, op, out, args, if(in_place, do: [in_place: 0], else: []))
  end

  @doc "Lowers a block of Nx that the daemon has an op for: `{values, builder}`; otherwise nil."
  defdelegate block(b, struct, outs, args), to: Blocks, as: :lower

  @doc "Is there an op for this block and these argument types?"
  defdelegate native?(struct, args), to: Blocks
end
