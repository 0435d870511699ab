defmodule Outrigger.Kernel.NodeTypes do
  @moduledoc false
  # The dtype of each node of a kernel, from the nodes below it. Statements have none.

  alias Outrigger.Kernel.Infer

  @compare Infer.compare()

  @doc "A tuple: the dtype of each node. `done` are the kernels before this one."
  def of(kernel, done) do
    slots = List.to_tuple(kernel.slots)
    tensors = kernel |> tensors() |> List.to_tuple()

    kernel.nodes
    |> Enum.with_index()
    |> Enum.reduce(%{}, fn {node, at}, types ->
      Map.put(types, at, type(node, types, slots, tensors, done))
    end)
  end

  @doc "The dtypes of the tensors of a kernel."
  def tensors(kernel) do
    for([mode, dtype, _] when mode != :scalar <- kernel.params, do: dtype) ++
      Enum.map(kernel.scratch ++ kernel.local, &hd/1)
  end

  defp type([:number, _, dtype, _], _types, _slots, _tensors, _done), do: dtype
  defp type([:slot, _, slot], _types, slots, _tensors, _done), do: elem(slots, slot)
  defp type([:dim, _, _], _types, _slots, _tensors, _done), do: :s64
  defp type([:size, _, _, _], _types, _slots, _tensors, _done), do: :s64
  defp type([:load, _, tensor, _], _types, _slots, tensors, _done), do: elem(tensors, tensor)
  defp type([:as, _, dtype, _], _types, _slots, _tensors, _done), do: dtype
  defp type([:select, _, _, a, _], types, _slots, _tensors, _done), do: types[a]

  defp type([:call, _, at, _], _types, _slots, _tensors, done),
    do: done |> Enum.at(at) |> Map.fetch!(:results) |> List.first()

  defp type([op | _], _types, _slots, _tensors, _done)
       when op in @compare or op in [:and, :or, :not, :is_nan],
       do: :bool

  defp type([op | _], _types, _slots, _tensors, _done)
       when op in [:set, :store, :if, :while, :for, :break, :continue, :return, :raise, :give],
       do: nil

  defp type([_op, _line, a | _], types, _slots, _tensors, _done), do: Map.fetch!(types, a)
end
