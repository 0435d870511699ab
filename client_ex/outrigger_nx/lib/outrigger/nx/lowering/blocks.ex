defmodule Outrigger.Nx.Lowering.Blocks do
  @moduledoc false
  # Nx's blocks that are one op in the daemon. Others, and those whose op this daemon's catalogue
  # does not have, run by Nx's own definition.

  import Outrigger.Nx.Builder
  alias Nx.Block
  alias Outrigger.Nx.Types

  @catalogue MapSet.new(Outrigger.Catalogue.ops(), & &1["name"])

  @doc "Is there an op for the block?"
  def native?(struct, args) do
    case op(struct) do
      nil -> false
      op -> MapSet.member?(@catalogue, Atom.to_string(op)) and takes?(struct, args)
    end
  end

  @doc "The block's results: `{values, builder}`. `outs` are the templates of its results."
  def lower(b, struct, outs, args) do
    {args, b} = operands(b, struct, outs, args)
    results = Enum.map(outs, &{&1.type, &1.shape})
    emit_many(b, op(struct), args, results, attrs: attrs(struct, outs))
  end

  defp op(%Block.LogicalNot{}), do: :logical_not
  defp op(%Block.AllClose{}), do: :all_close
  defp op(%Block.CumulativeSum{}), do: :cumulative_sum
  defp op(%Block.CumulativeProduct{}), do: :cumulative_product
  defp op(%Block.CumulativeMin{}), do: :cumulative_min
  defp op(%Block.CumulativeMax{}), do: :cumulative_max
  defp op(%Block.Take{}), do: :take
  defp op(%Block.TakeAlongAxis{}), do: :take_along_axis
  defp op(%Block.TopK{}), do: :top_k
  defp op(%Block.FFT2{}), do: :fft2
  defp op(%Block.IFFT2{}), do: :ifft2
  defp op(%Block.RFFT{}), do: :rfft
  defp op(%Block.IRFFT{}), do: :irfft
  defp op(%Block.LinAlg.Cholesky{}), do: :cholesky
  defp op(%Block.LinAlg.Solve{}), do: :solve
  defp op(%Block.LinAlg.QR{}), do: :qr
  defp op(%Block.LinAlg.Eigh{}), do: :eigh
  defp op(%Block.LinAlg.SVD{}), do: :svd
  defp op(%Block.LinAlg.LU{}), do: :lu
  defp op(%Block.LinAlg.Determinant{}), do: :determinant
  defp op(_struct), do: nil

  defp takes?(_struct, _args), do: true

  # Operands in the type that the result has; indices and predicates stay what they are.
  defp operands(b, struct, _outs, args) when struct.__struct__ in [Block.LogicalNot, Block.AllClose],
    do: {args, b}

  defp operands(b, %block{}, [out | _], [x | rest])
       when block in [Block.Take, Block.TakeAlongAxis] do
    {x, b} = cast(b, x, out.type)
    {[x | rest], b}
  end

  defp operands(b, %block{}, [out | _], args) when block in [Block.RFFT, Block.IRFFT] do
    type = if block == Block.RFFT, do: Nx.Type.to_real(out.type), else: Nx.Type.to_complex(out.type)
    Enum.map_reduce(args, b, &cast(&2, &1, type))
  end

  # Eigenvalues and the like may be real where the rest is complex; the last result never is.
  defp operands(b, _struct, outs, args) do
    type = outs |> Enum.map(& &1.type) |> Enum.find(hd(outs).type, &match?({:c, _}, &1))
    type = if length(outs) == 1 or match?({:c, _}, type), do: type, else: hd(outs).type
    Enum.map_reduce(args, b, &cast(&2, &1, type))
  end

  defp attrs(%Block.AllClose{} = s, _outs),
    do: [equal_nan: s.equal_nan, rtol: s.rtol, atol: s.atol]

  defp attrs(%block{axis: axis, reverse: reverse}, _outs)
       when block in [
              Block.CumulativeSum,
              Block.CumulativeProduct,
              Block.CumulativeMin,
              Block.CumulativeMax
            ],
       do: [axis: axis, reverse: reverse]

  defp attrs(%block{axis: axis}, _outs) when block in [Block.Take, Block.TakeAlongAxis],
    do: [axis: axis]

  defp attrs(%Block.TopK{k: k}, [_values, indices]), do: [k: k, type: Types.wire(indices.type)]

  defp attrs(%block{} = s, _outs) when block in [Block.FFT2, Block.IFFT2],
    do: [lengths: s.lengths, axes: s.axes] ++ eps(s)

  defp attrs(%block{} = s, _outs) when block in [Block.RFFT, Block.IRFFT],
    do: [length: s.length, axis: s.axis] ++ eps(s)

  defp attrs(%Block.LinAlg.QR{} = s, _outs), do: [mode: Atom.to_string(s.mode), eps: s.eps]
  defp attrs(%Block.LinAlg.Eigh{} = s, _outs), do: [max_iter: s.max_iter, eps: s.eps]

  defp attrs(%Block.LinAlg.SVD{} = s, _outs),
    do: [max_iter: s.max_iter, full_matrices: s.full_matrices?]

  defp attrs(%Block.LinAlg.LU{} = s, _outs), do: [eps: s.eps]
  defp attrs(_struct, _outs), do: []

  defp eps(%{eps: nil}), do: []
  defp eps(%{eps: eps}), do: [eps: eps]
end
