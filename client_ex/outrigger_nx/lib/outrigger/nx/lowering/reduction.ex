defmodule Outrigger.Nx.Lowering.Reduction do
  @moduledoc false
  # Reductions over axes. The function of a `reduce` is a finished region.

  import Outrigger.Nx.Builder
  alias Outrigger.Nx.Types

  @aggregates [:sum, :product, :reduce_max, :reduce_min]
  @predicates [:all, :any]

  def ops, do: @aggregates ++ @predicates ++ [:argmax, :argmin, :reduce]

  def lower(b, op, out, [x, opts], _options) when op in @aggregates do
    {x, b} = cast(b, x, out.type)
    emit(b, op, [x], out.type, out.shape, attrs: axes(x, opts))
  end

  def lower(b, op, out, [x, opts], _options) when op in @predicates do
    emit(b, op, [x], out.type, out.shape, attrs: axes(x, opts))
  end

  def lower(b, op, out, [x, opts], _options) when op in [:argmax, :argmin] do
    type = index_type(out.type)

    attrs =
      [
        tie_break: Atom.to_string(opts[:tie_break]),
        keep_axis: opts[:keep_axis] == true,
        type: Types.wire(type)
      ] ++ if(opts[:axis], do: [axis: opts[:axis]], else: [])

    {indices, b} = emit(b, op, [x], type, out.shape, attrs: attrs)
    cast(b, indices, out.type)
  end

  def lower(b, :reduce, out, [x, acc, opts, region], _options) do
    {x, b} = cast(b, x, out.type)
    {acc, b} = cast(b, acc, out.type)

    emit(b, :reduce, [x, acc], out.type, out.shape, attrs: axes(x, opts), regions: [region])
  end

  @doc "The type of the daemon's indices before the cast to the requested type."
  def index_type({:s, size} = type) when size in [32, 64], do: type
  def index_type(_type), do: {:s, 64}

  defp axes(x, opts) do
    [
      axes: opts[:axes] || Nx.axes(x.shape),
      keep_axes: opts[:keep_axes] == true
    ]
  end
end
