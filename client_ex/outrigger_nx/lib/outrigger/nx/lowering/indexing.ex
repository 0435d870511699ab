defmodule Outrigger.Nx.Lowering.Indexing do
  @moduledoc false
  # Slices, gathers, scatters and sorting.

  import Outrigger.Nx.Builder
  alias Outrigger.Nx.Lowering.Reduction
  alias Outrigger.Nx.{Types, Value}

  def ops, do: [:slice, :put_slice, :gather, :indexed_add, :indexed_put, :sort, :argsort]

  def lower(b, :slice, out, [x, starts, lengths, strides], options) do
    attrs = [lengths: lengths, strides: strides]
    emit(b, :slice, [x | starts(starts)], x.type, out.shape, [attrs: attrs] ++ options)
  end

  def lower(b, :put_slice, out, [x, starts, slice], options) do
    {x, b} = cast(b, x, out.type)
    {slice, b} = cast(b, slice, out.type)
    emit(b, :put_slice, [x, slice | starts(starts)], out.type, out.shape, options)
  end

  def lower(b, :gather, out, [x, indices, opts], _options) do
    emit(b, :gather, [x, indices], x.type, out.shape, attrs: [axes: opts[:axes]])
  end

  def lower(b, op, out, [x, indices, updates, opts], options)
      when op in [:indexed_add, :indexed_put] do
    {[x, updates], b} = meet(b, [x, updates], out.type)
    attrs = [axes: opts[:axes]]
    emit(b, op, [x, indices, updates], out.type, out.shape, [attrs: attrs] ++ options)
  end

  def lower(b, :sort, out, [x, opts], options) do
    attrs = [axis: opts[:axis], direction: Atom.to_string(opts[:direction])]
    emit(b, :sort, [x], x.type, out.shape, [attrs: attrs] ++ options)
  end

  def lower(b, :argsort, out, [x, opts], _options) do
    type = Reduction.index_type(out.type)

    attrs = [
      axis: opts[:axis],
      direction: Atom.to_string(opts[:direction]),
      stable: opts[:stable] == true,
      type: Types.wire(type)
    ]

    {indices, b} = emit(b, :argsort, [x], type, out.shape, attrs: attrs)
    cast(b, indices, out.type)
  end

  # A known start needs no instruction. A start may have any integer type.
  defp starts(starts) do
    Enum.map(starts, fn
      %Value{id: nil, varies: nil, constant: {:number, number}} when is_integer(number) -> number
      %Value{} = start -> literal(start, start.type)
      start -> start
    end)
  end
end
