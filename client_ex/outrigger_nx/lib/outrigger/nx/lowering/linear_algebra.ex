defmodule Outrigger.Nx.Lowering.LinearAlgebra do
  @moduledoc false
  # Products, triangular systems and Fourier transforms.

  import Outrigger.Nx.Builder

  def ops, do: [:dot, :triangular_solve, :fft, :ifft]

  def lower(b, :dot, out, [x, axes, batch, y, y_axes, y_batch], _options) do
    {[x, y], b} = meet(b, [x, y], out.type)

    attrs = [
      left_axes: axes,
      left_batch_axes: batch,
      right_axes: y_axes,
      right_batch_axes: y_batch
    ]

    emit(b, :dot, [x, y], out.type, out.shape, attrs: attrs)
  end

  def lower(b, :triangular_solve, out, [a, y, opts], _options) do
    {a, b} = cast(b, a, out.type)
    {y, b} = cast(b, y, out.type)

    attrs = [
      left_side: opts[:left_side],
      lower: opts[:lower],
      transform_a: Atom.to_string(opts[:transform_a])
    ]

    emit(b, :triangular_solve, [a, y], out.type, out.shape, attrs: attrs)
  end

  def lower(b, op, out, [x, opts], _options) when op in [:fft, :ifft] do
    {x, b} = cast(b, x, out.type)
    attrs = [length: opts[:length], axis: opts[:axis]]
    emit(b, op, [x], out.type, out.shape, attrs: attrs ++ eps(opts))
  end

  defp eps(opts), do: if(opts[:eps], do: [eps: opts[:eps]], else: [])
end
