defmodule Outrigger.Nx.Lowering.Blocks do
  @moduledoc false
  # Lowers blocks of Nx that are one op in the daemon. If the catalogue has no op for a block, the
  # block runs by Nx's own definition.

  import Outrigger.Nx.Builder
  alias Nx.Block

  # The names of the ops, and whether they take complex operands.
  @catalogue Map.new(Outrigger.Catalogue.ops(), &{&1["name"], &1["complex"]})

  @doc "True if the daemon has an op for the block."
  def native?(struct, args) do
    op = Atom.to_string(op(struct))

    case @catalogue do
      %{^op => complex?} -> complex? or not Enum.any?(args, &match?(%{type: {:c, _}}, &1))
      _ -> false
    end
  end

  @doc "The block's results: `{values, builder}`. `outs` are the templates of its results."
  def lower(b, struct, outs, args) do
    {args, b} = operands(b, struct, outs, args)
    types = Enum.zip_with(outs, types(struct, outs, hd(args).type), &{&2, &1.shape})
    {values, b} = emit_many(b, op(struct), args, types, attrs: attrs(struct, outs))
    outs |> Enum.zip(values) |> Enum.map_reduce(b, fn {out, x}, b -> cast(b, x, out.type) end)
  end

  # The types of the op's results, if Nx has other types.
  defp types(%Block.TopK{}, _outs, type), do: [type, {:s, 32}]
  defp types(%Block.LinAlg.LU{}, _outs, type), do: [type, type, type]
  defp types(%Block.LinAlg.Eigh{}, _outs, type), do: [real(type), type]
  defp types(%Block.LinAlg.SVD{}, _outs, type), do: [type, real(type), type]
  defp types(_struct, outs, _type), do: Enum.map(outs, & &1.type)

  defp real({:c, _} = type), do: Nx.Type.to_real(type)
  defp real(type), do: type

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

  # Casts operands to the type of the result, except indices and predicates.
  defp operands(b, struct, _outs, args)
       when struct.__struct__ in [Block.LogicalNot, Block.AllClose],
       do: {args, b}

  defp operands(b, %block{}, [out | _], [x | rest])
       when block in [Block.Take, Block.TakeAlongAxis] do
    {x, b} = cast(b, x, out.type)
    {[x | rest], b}
  end

  defp operands(b, %block{}, [out | _], args) when block in [Block.RFFT, Block.IRFFT] do
    type =
      if block == Block.RFFT, do: Nx.Type.to_real(out.type), else: Nx.Type.to_complex(out.type)

    Enum.map_reduce(args, b, &cast(&2, &1, type))
  end

  # Some results of a decomposition have another type than the matrix that the op works on.
  defp operands(b, struct, outs, args) do
    out =
      case struct do
        %Block.LinAlg.LU{} -> Enum.at(outs, 1)
        %Block.LinAlg.Eigh{} -> Enum.at(outs, 1)
        _ -> hd(outs)
      end

    Enum.map_reduce(args, b, &cast(&2, &1, out.type))
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

  defp attrs(%Block.TopK{k: k}, _outs), do: [k: k]

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
