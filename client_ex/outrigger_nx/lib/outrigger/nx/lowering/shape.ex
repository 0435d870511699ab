defmodule Outrigger.Nx.Lowering.Shape do
  @moduledoc false
  # Creation, and operations that only move elements.

  import Outrigger.Nx.Builder
  alias Outrigger.Nx.{Types, Value}

  @creation [:constant, :eye, :iota]
  @views [:reshape, :squeeze, :transpose, :broadcast, :reverse]

  def ops, do: @creation ++ @views ++ [:bitcast, :pad, :concatenate, :stack]

  def lower(b, :constant, %{shape: {}} = out, [number], _options) do
    {constant(number, out.type), b}
  end

  def lower(b, :constant, out, [number], _options) do
    case Types.number(number, out.type) do
      nil ->
        {scalar, b} = {constant(number, out.type), b}
        lower(b, :broadcast, out, [scalar, out.shape, []], [])

      number ->
        create(b, :constant, out, value: number)
    end
  end

  def lower(b, :eye, out, [], _options), do: create(b, :eye, out, [])
  def lower(b, :iota, out, [nil], _options), do: create(b, :iota, out, [])
  def lower(b, :iota, out, [axis], _options), do: create(b, :iota, out, axis: axis)

  def lower(b, :reshape, out, [x], options), do: view(b, :reshape, out, x, [shape(out)], options)

  def lower(b, :broadcast, out, [x, _shape, axes], options) do
    {x, b} = cast(b, x, out.type)
    view(b, :broadcast, out, x, [shape(out), {:axes, axes}], options)
  end

  def lower(b, op, out, [x, axes], options) when op in @views do
    view(b, op, out, x, [axes: axes], options)
  end

  def lower(b, :bitcast, %{type: type}, [%Value{id: id, type: type} = x], _) when id != nil,
    do: {x, b}

  def lower(b, :bitcast, out, [x], _options) do
    emit(b, :bitcast, [x], out.type, out.shape, attrs: [type: Types.wire(out.type)])
  end

  def lower(b, :pad, out, [x, value, padding], _options) do
    {x, b} = cast(b, x, out.type)
    {value, b} = cast(b, value, out.type)

    attrs = [
      low: Enum.map(padding, &elem(&1, 0)),
      high: Enum.map(padding, &elem(&1, 1)),
      interior: Enum.map(padding, &elem(&1, 2))
    ]

    emit(b, :pad, [x, beside(value, x)], out.type, out.shape, attrs: attrs)
  end

  def lower(b, op, out, [tensors, axis], _options) when op in [:concatenate, :stack] do
    {tensors, b} = Enum.map_reduce(tensors, b, &cast(&2, &1, out.type))
    emit(b, op, tensors, out.type, out.shape, attrs: [axis: axis])
  end

  defp create(b, op, out, attrs) do
    attrs = attrs ++ [{:type, Types.wire(out.type)}, shape(out)]
    emit(b, op, [], out.type, out.shape, attrs: attrs)
  end

  defp view(b, op, out, x, attrs, options) do
    emit(b, op, [x], x.type, out.shape, [attrs: attrs] ++ options)
  end

  defp shape(%{shape: shape}), do: {:shape, Tuple.to_list(shape)}
end
