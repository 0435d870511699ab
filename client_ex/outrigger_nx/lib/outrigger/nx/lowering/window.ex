defmodule Outrigger.Nx.Lowering.Window do
  @moduledoc false
  # Operations over sliding windows. Nx has turned `:same` and `:valid` into numbers.

  import Outrigger.Nx.Builder

  @aggregates [:window_sum, :window_product, :window_max, :window_min]
  @scatters [:window_scatter_max, :window_scatter_min]

  def ops, do: @aggregates ++ @scatters ++ [:window_reduce, :conv]

  def lower(b, op, out, [x, window, opts], _options) when op in @aggregates do
    {x, b} = cast(b, x, out.type)
    emit(b, op, [x], out.type, out.shape, attrs: attrs(window, opts))
  end

  def lower(b, :window_reduce, out, [x, acc, window, opts, region], _options) do
    {x, b} = cast(b, x, out.type)
    {acc, b} = cast(b, acc, out.type)
    options = [attrs: attrs(window, opts), regions: [region]]
    emit(b, :window_reduce, [x, acc], out.type, out.shape, options)
  end

  def lower(b, op, out, [x, source, init, window, opts], _options) when op in @scatters do
    {[source, init], b} = meet(b, [source, init], out.type)
    attrs = Keyword.delete(attrs(window, opts), :window_dilations)
    emit(b, op, [x, source, init], out.type, out.shape, attrs: attrs)
  end

  def lower(b, :conv, out, [x, kernel, opts], _options) do
    {[x, kernel], b} = meet(b, [x, kernel], out.type)

    {low, high} = Enum.unzip(opts[:padding])

    attrs = [
      strides: opts[:strides],
      padding_low: low,
      padding_high: high,
      input_dilation: opts[:input_dilation],
      kernel_dilation: opts[:kernel_dilation],
      feature_group_size: opts[:feature_group_size],
      batch_group_size: opts[:batch_group_size],
      input_permutation: opts[:input_permutation],
      kernel_permutation: opts[:kernel_permutation],
      output_permutation: opts[:output_permutation]
    ]

    emit(b, :conv, [x, kernel], out.type, out.shape, attrs: attrs)
  end

  defp attrs(window, opts) do
    {low, high} = Enum.unzip(opts[:padding])

    [
      window: Tuple.to_list(window),
      strides: opts[:strides],
      padding_low: low,
      padding_high: high
    ] ++ dilations(opts[:window_dilations])
  end

  defp dilations(nil), do: []
  defp dilations(list), do: [window_dilations: list]
end
