defmodule Outrigger.Nx.Lowering do
  @moduledoc false
  # Lowers Nx operations to Outrigger instructions. The backend lowers one operation at a time, the
  # compiler a whole expression.
  #
  # An operation has a template `out` with the type and shape that Nx has inferred. Its arguments
  # are in the order of the `Nx.Backend` callback, and its tensors are `Outrigger.Nx.Value`s. An
  # op of the protocol has the name of the callback, so most clauses only choose the types of the
  # operands. The daemon refuses an unknown op by its name.

  alias Outrigger.Nx.{Builder, Value}
  alias Outrigger.Nx.Lowering.{Blocks, Elementwise, Indexing, LinearAlgebra, Reduction, Shape}
  alias Outrigger.Nx.Lowering.Window

  @families [Elementwise, Shape, Indexing, Reduction, Window, LinearAlgebra]
  @modules for module <- @families, op <- module.ops(), into: %{}, do: {op, module}

  @doc "The ops that `lower/5` knows."
  def ops, do: Map.keys(@modules)

  @doc """
  Lowers one operation: `{value, builder}`. With `in_place`, the instruction writes into its first
  operand. The caller must make sure that this operand has the type and shape of the result.
  """
  @spec lower(Builder.t(), atom, Nx.Tensor.t(), list, boolean) :: {Value.t(), Builder.t()}
  def lower(b, op, out, args, in_place \\ false) do
    Map.fetch!(@modules, op).lower(b, op, out, args, if(in_place, do: [in_place: 0], else: []))
  end

  @doc "Lowers a block of Nx for which the daemon has an op: `{values, builder}`; otherwise nil."
  defdelegate block(b, struct, outs, args), to: Blocks, as: :lower

  @doc "True if the daemon has an op for this block and these argument types."
  defdelegate native?(struct, args), to: Blocks
end
