defmodule Outrigger.Data do
  @moduledoc """
  Elements between Elixir terms and bytes. Pure.

  Bytes are in C order (last axis fastest), each element little-endian.
  """

  alias Outrigger.Dtype
  import Bitwise

  @typedoc "An element; floats that Elixir cannot hold are atoms."
  @type number_like :: number | :nan | :infinity | :neg_infinity
  @type nested :: number_like | [nested]

  @doc """
  Type and shape of a number or nested list, as Nx infers them: `:s32` for integers, `:f32` as
  soon as there is a float. Raises `ArgumentError` if the lists are ragged.

      iex> Outrigger.Data.infer([[1, 2, 3], [4, 5, 6.5]])
      {:f32, {2, 3}}
  """
  @spec infer(nested) :: {Dtype.t(), Dtype.shape()}
  def infer(term), do: {infer_type(term), shape(term)}

  defp infer_type(term) do
    if integers?(term), do: :s32, else: :f32
  end

  defp integers?(list) when is_list(list), do: Enum.all?(list, &integers?/1)
  defp integers?(number), do: is_integer(number)

  @doc """
  The shape of a nested list; raises `ArgumentError` if it is ragged.

      iex> Outrigger.Data.shape([[1], [2]])
      {2, 1}
  """
  @spec shape(nested) :: Dtype.shape()
  def shape(term) do
    dims = dims(term)
    check_shape(term, dims)
    List.to_tuple(dims)
  end

  defp dims([first | _] = list), do: [length(list) | dims(first)]
  defp dims([]), do: [0]
  defp dims(_number), do: []

  defp check_shape(list, [_]) when is_list(list) do
    if Enum.any?(list, &is_list/1), do: ragged("a list stands where numbers stand")
  end

  defp check_shape(list, [_, inner | _] = dims) when is_list(list) do
    for element <- list do
      if not is_list(element) or length(element) != inner do
        ragged("expected lists of #{inner} elements, found #{inspect(element, limit: 5)}")
      end

      check_shape(element, tl(dims))
    end
  end

  defp check_shape(_number, []), do: :ok

  defp ragged(what), do: raise(ArgumentError, "the nested list is ragged: #{what}")

  @doc """
  The bytes of a number or nested list. Integers wrap around, as in Nx.

      iex> IO.iodata_to_binary(Outrigger.Data.encode([1, 258], :u8))
      <<1, 2>>
      iex> IO.iodata_to_binary(Outrigger.Data.encode([:infinity], :f32))
      <<0, 0, 128, 127>>
  """
  @spec encode(nested, Dtype.t()) :: iodata
  def encode([first | _] = list, type) when is_list(first),
    do: for(l <- list, do: encode(l, type))

  def encode(list, type) when is_list(list), do: encode_flat(list, type)
  def encode(number, type), do: encode_flat([number], type)

  # The comprehension is the fast way; only if it fails, look for the element that it fails at.
  defp encode_flat(list, type) do
    pack(list, type)
  rescue
    ArgumentError -> Enum.map(list, &encode_one(&1, type))
  end

  defp encode_one(atom, type) when atom in [:nan, :infinity, :neg_infinity] do
    case {type, atom} do
      {:f32, :nan} -> <<0x7FC00000::little-32>>
      {:f32, :infinity} -> <<0x7F800000::little-32>>
      {:f32, :neg_infinity} -> <<0xFF800000::little-32>>
      {:f64, :nan} -> <<0x7FF8000000000000::little-64>>
      {:f64, :infinity} -> <<0x7FF0000000000000::little-64>>
      {:f64, :neg_infinity} -> <<0xFFF0000000000000::little-64>>
      _ -> raise ArgumentError, "#{inspect(atom)} is no #{type}"
    end
  end

  defp encode_one(number, type) do
    pack([number], type)
  rescue
    ArgumentError ->
      reraise ArgumentError, "#{inspect(number, limit: 5)} is no #{type}", __STACKTRACE__
  end

  for type <- Dtype.all() do
    case Atom.to_string(type) do
      "f" <> bits ->
        bits = String.to_integer(bits)

        defp pack(list, unquote(type)) do
          for x <- list, into: <<>>, do: <<x::little-float-size(unquote(bits))>>
        end

      <<_, bits::binary>> ->
        bits = String.to_integer(bits)

        defp pack(list, unquote(type)) do
          for x <- list, into: <<>>, do: <<x::little-integer-size(unquote(bits))>>
        end
    end
  end

  @doc """
  The elements of a binary, as a flat list.

      iex> Outrigger.Data.decode(<<1, 255>>, :s8)
      [1, -1]
      iex> Outrigger.Data.decode(<<0, 0, 192, 127>>, :f32)
      [:nan]
  """
  @spec decode(binary, Dtype.t()) :: [number_like]
  for type <- Dtype.all() do
    case Atom.to_string(type) do
      "f" <> bits ->
        bits = String.to_integer(bits)

        # The generator skips what Elixir cannot hold, so the lengths tell.
        def decode(binary, unquote(type)) do
          list = for <<x::little-float-size(unquote(bits)) <- binary>>, do: x

          if length(list) * unquote(div(bits, 8)) == byte_size(binary),
            do: list,
            else: decode_all(binary, unquote(type))
        end

        defp decode_all(<<x::little-float-size(unquote(bits)), rest::binary>>, unquote(type)) do
          [x | decode_all(rest, unquote(type))]
        end

        defp decode_all(<<x::little-size(unquote(bits)), rest::binary>>, unquote(type)) do
          [non_finite(x, unquote(bits)) | decode_all(rest, unquote(type))]
        end

        defp decode_all(<<>>, unquote(type)), do: []

      "s" <> bits ->
        bits = String.to_integer(bits)

        def decode(binary, unquote(type)) do
          for <<x::little-signed-size(unquote(bits)) <- binary>>, do: x
        end

      "u" <> bits ->
        bits = String.to_integer(bits)

        def decode(binary, unquote(type)) do
          for <<x::little-size(unquote(bits)) <- binary>>, do: x
        end
    end
  end

  defp non_finite(bits, 32), do: non_finite(bits &&& 0x7FFFFF, bits >>> 31, :of)
  defp non_finite(bits, 64), do: non_finite(bits &&& 0xFFFFFFFFFFFFF, bits >>> 63, :of)
  defp non_finite(0, 0, :of), do: :infinity
  defp non_finite(0, 1, :of), do: :neg_infinity
  defp non_finite(_, _, :of), do: :nan

  @doc """
  Nests a flat list by a shape; the scalar shape gives the element.

      iex> Outrigger.Data.nest([1, 2, 3, 4], {2, 2})
      [[1, 2], [3, 4]]
      iex> Outrigger.Data.nest([1], {})
      1
  """
  @spec nest([number_like], Dtype.shape()) :: nested
  def nest([number], {}), do: number
  def nest(list, shape), do: nest_dims(list, Tuple.to_list(shape))

  defp nest_dims(list, [_]), do: list

  defp nest_dims([], [count | _] = dims) do
    if Enum.all?(dims, &(&1 > 0)), do: [], else: List.duplicate(empty(tl(dims)), count)
  end

  defp nest_dims(list, [_count | inner]) do
    list
    |> Enum.chunk_every(Enum.product(inner))
    |> Enum.map(&nest_dims(&1, inner))
  end

  defp empty([_]), do: []
  defp empty([count | inner]), do: List.duplicate(empty(inner), count)
end
