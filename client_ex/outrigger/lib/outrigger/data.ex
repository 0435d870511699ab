defmodule Outrigger.Data do
  @moduledoc """
  Converts elements between Elixir terms and bytes. Pure.

  Bytes are in C order (the last axis is the fastest), and each element is little-endian. Integers
  below 8 bits are packed as in a bitstring: the first element is in the highest bits of a byte, and
  zeros fill the last byte. A complex number is the tuple `{re, im}` in Elixir, and its two parts in
  bytes. A `Complex` struct is accepted, too.
  """

  alias Outrigger.{Dtype, Elements}
  import Bitwise

  # Larger than the length of any list.
  @no_limit 1 <<< 59

  @typedoc "An element; floats that Elixir cannot hold are atoms."
  @type real_like :: number | :nan | :infinity | :neg_infinity
  @type number_like :: real_like | {real_like, real_like} | struct
  @type nested :: number_like | [nested]

  @doc """
  The type and the shape of a number or a nested list, as in Nx: `:c64` if there is a complex
  number, `:f32` if there is a float, otherwise `:s32`. Raises `ArgumentError` if the lists are
  ragged.

      iex> Outrigger.Data.infer([[1, 2, 3], [4, 5, 6.5]])
      {:f32, {2, 3}}
      iex> Outrigger.Data.infer([1, {0, 1}])
      {:c64, {2}}
  """
  @spec infer(nested) :: {Dtype.t(), Dtype.shape()}
  def infer(term), do: {infer_type(term), shape(term)}

  defp infer_type(term) do
    cond do
      integers?(term) -> :s32
      complex?(term) -> :c64
      true -> :f32
    end
  end

  defp complex?(list) when is_list(list), do: Enum.any?(list, &complex?/1)
  defp complex?(x), do: is_tuple(x) or is_struct(x)

  defp integers?([x | rest]) when is_integer(x), do: integers?(rest)
  defp integers?([list | rest]) when is_list(list), do: integers?(list) and integers?(rest)
  defp integers?([]), do: true
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
    if lists?(list), do: ragged("a list has both numbers and lists")
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

  defp lists?([x | rest]) when not is_list(x), do: lists?(rest)
  defp lists?(rest), do: rest != []

  defp ragged(what), do: raise(ArgumentError, "the nested list is ragged: #{what}")

  @doc """
  The bytes of a number or nested list. Integers wrap around, as in Nx.

      iex> IO.iodata_to_binary(Outrigger.Data.encode([1, 258], :u8))
      <<1, 2>>
      iex> IO.iodata_to_binary(Outrigger.Data.encode([:infinity], :f32))
      <<0, 0, 128, 127>>
      iex> Outrigger.Data.encode([1, 2, 3], :u4)
      <<0x12, 0x30>>
  """
  @spec encode(nested, Dtype.t()) :: iodata
  for type <- Dtype.all(), not Dtype.plain?(type) do
    # Elements share bytes across rows.
    def encode(list, unquote(type)) when is_list(list),
      do: Elements.encode(List.flatten(list), unquote(type))

    def encode(number, unquote(type)), do: Elements.encode([number], unquote(type))
  end

  def encode([first | _] = list, type) when is_list(first),
    do: for(l <- list, do: encode(l, type))

  def encode(list, type) when is_list(list), do: encode_flat(list, type)
  def encode(number, type), do: encode_flat([number], type)

  defp encode_flat(list, type) do
    {data, []} = encode_some(list, type, @no_limit)
    data
  end

  @doc """
  The bytes of the first `count` elements of a flat list, and the rest of it.

      iex> Outrigger.Data.encode_some([1, 2, 3], :u8, 2)
      {<<1, 2>>, [3]}
  """
  @spec encode_some([number_like], Dtype.t(), non_neg_integer) :: {binary, [number_like]}
  for type <- Dtype.all(), not Dtype.plain?(type) do
    def encode_some(list, unquote(type), count) do
      {some, rest} = Enum.split(list, count)
      {Elements.encode(some, unquote(type)), rest}
    end
  end

  # Packing eight elements at a time is much faster than a comprehension. If it fails, the slow way
  # finds the bad element.
  def encode_some(list, type, count) do
    pack(list, <<>>, type, count)
  rescue
    ArgumentError ->
      {some, rest} = Enum.split(list, count)
      {for(x <- some, into: <<>>, do: encode_one(x, type)), rest}
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

  defp encode_one(number, type)
       when is_integer(number) or (is_float(number) and type in [:f32, :f64]) do
    {data, []} = pack([number], <<>>, type, 1)
    data
  rescue
    ArgumentError -> no_element(number, type)
  end

  defp encode_one(other, type), do: no_element(other, type)

  @spec no_element(term, Dtype.t()) :: no_return
  defp no_element(other, type) do
    raise ArgumentError, "#{inspect(other, limit: 5)} is no #{type}"
  end

  @unroll 8
  @elements for i <- 1..@unroll, do: Macro.var(:"x#{i}", __MODULE__)

  segments = fn vars, spec -> for x <- vars, do: quote(do: unquote(x) :: unquote(spec)) end

  all = fn vars, guard ->
    vars
    |> Enum.map(&quote(do: unquote(guard)(unquote(&1))))
    |> Enum.reduce(&quote(do: unquote(&2) and unquote(&1)))
  end

  for type <- Dtype.all(), Dtype.plain?(type) do
    {guard, spec} =
      case Atom.to_string(type) do
        "f" <> bits ->
          {:is_number, quote(do: little - float - size(unquote(String.to_integer(bits))))}

        <<_, bits::binary>> ->
          {:is_integer, quote(do: little - integer - size(unquote(String.to_integer(bits))))}
      end

    defp pack([unquote_splicing(@elements) | rest], acc, unquote(type), count)
         when unquote(all.(@elements, guard)) and count >= unquote(@unroll) do
      acc = <<acc::binary, unquote_splicing(segments.(@elements, spec))>>
      pack(rest, acc, unquote(type), count - unquote(@unroll))
    end

    defp pack([x | rest], acc, unquote(type), count) when unquote(guard)(x) and count > 0 do
      pack(rest, <<acc::binary, x::unquote(spec)>>, unquote(type), count - 1)
    end
  end

  defp pack([other | rest], acc, type, count) when count > 0 do
    pack(rest, <<acc::binary, encode_one(other, type)::binary>>, type, count - 1)
  end

  defp pack(rest, acc, _type, _count), do: {acc, rest}

  @doc """
  The elements of a binary, as a flat list.

      iex> Outrigger.Data.decode(<<1, 255>>, :s8)
      [1, -1]
      iex> Outrigger.Data.decode(<<0, 0, 192, 127>>, :f32)
      [:nan]
      iex> Outrigger.Data.decode(<<0, 0, 128, 63, 0, 0, 0, 192>>, :c64)
      [{1.0, -2.0}]
  """
  @spec decode(binary, Dtype.t()) :: [number_like]
  def decode(binary, type) do
    with_room(div(bit_size(binary), Dtype.bits(type)), type, fn -> decode(binary, type, []) end)
  end

  @doc """
  The elements of a binary, in front of those that follow it.

      iex> Outrigger.Data.decode(<<1, 2>>, :u8, [3])
      [1, 2, 3]
  """
  @spec decode(binary, Dtype.t(), [number_like]) :: [number_like]
  for type <- Dtype.all(), not Dtype.plain?(type) do
    def decode(binary, unquote(type), following),
      do: Elements.decode(binary, unquote(type)) ++ following
  end

  def decode(binary, type, following) do
    group = @unroll * div(Dtype.bits(type), 8)
    whole = div(byte_size(binary), group) * group
    <<_::binary-size(whole), rest::binary>> = binary
    unpack(binary, whole - group, type, unpack_few(rest, type) ++ following)
  end

  @doc """
  The first `count` elements, without the padding in the last byte of packed integers.

      iex> Outrigger.Data.decode(<<0x12, 0x30>>, :u4) |> Outrigger.Data.without_padding(:u4, 3)
      [1, 2, 3]
  """
  @spec without_padding([number_like], Dtype.t(), non_neg_integer) :: [number_like]
  def without_padding(list, type, count),
    do: if(Dtype.bits(type) < 8, do: Enum.take(list, count), else: list)

  @doc false
  # A heap that grows to hundreds of megabytes is copied many times, which takes most of the time.
  # The binaries that pass through cause collections, too. So this function makes room for both
  # first. The next collections of the process shrink the heap again.
  @many 100_000
  def with_room(count, _type, fun) when count < @many, do: fun.()

  def with_room(count, type, fun) do
    with {:max_heap_size, %{size: 0}} <- Process.info(self(), :max_heap_size),
         words = if(Dtype.float?(type), do: 4, else: 2) * count,
         {:min_heap_size, min} when min < words <- Process.info(self(), :min_heap_size) do
      {:min_bin_vheap_size, min_bin} = Process.info(self(), :min_bin_vheap_size)
      Process.flag(:min_heap_size, words + min)
      Process.flag(:min_bin_vheap_size, max(min_bin, words))

      try do
        collect(words)
        fun.()
      after
        Process.flag(:min_heap_size, min)
        Process.flag(:min_bin_vheap_size, min_bin)
      end
    else
      _ -> fun.()
    end
  end

  # Only a full collection makes the room at once. But it copies the live terms, which may be more.
  defp collect(words) do
    {:total_heap_size, present} = Process.info(self(), :total_heap_size)
    kind = if present < words, do: :major, else: :minor
    :erlang.garbage_collect(self(), type: kind)
  end

  # Eight elements at a time, from the last to the first, without recursion on the stack or
  # reversal.
  for type <- Dtype.all(), Dtype.plain?(type) do
    bytes = div(Dtype.bits(type), 8)
    bits = quote(do: little - size(unquote(8 * bytes)))

    spec =
      case Atom.to_string(type) do
        "f" <> _ -> quote(do: little - float - size(unquote(8 * bytes)))
        "s" <> _ -> quote(do: little - signed - size(unquote(8 * bytes)))
        "u" <> _ -> bits
      end

    defp unpack(binary, at, unquote(type), acc) when at >= 0 do
      case binary do
        <<_::binary-size(at), unquote_splicing(segments.(@elements, spec)), _::binary>> ->
          acc = [unquote_splicing(@elements) | acc]
          unpack(binary, at - unquote(@unroll * bytes), unquote(type), acc)

        # A float that Elixir cannot hold does not match.
        _ ->
          <<_::binary-size(at), group::binary-size(unquote(@unroll * bytes)), _::binary>> = binary
          acc = unpack_few(group, unquote(type)) ++ acc
          unpack(binary, at - unquote(@unroll * bytes), unquote(type), acc)
      end
    end

    defp unpack_few(<<x::unquote(spec), rest::binary>>, unquote(type)) do
      [x | unpack_few(rest, unquote(type))]
    end

    if Dtype.float?(type) do
      defp unpack_few(<<x::unquote(bits), rest::binary>>, unquote(type)) do
        [non_finite(x, unquote(8 * bytes)) | unpack_few(rest, unquote(type))]
      end
    end
  end

  defp unpack(_binary, _at, _type, acc), do: acc

  # Bytes that are shorter than an element are dropped, as by a comprehension.
  defp unpack_few(_short, _type), do: []

  defp non_finite(bits, 32), do: non_finite(bits &&& 0x7FFFFF, bits >>> 31, :of)
  defp non_finite(bits, 64), do: non_finite(bits &&& 0xFFFFFFFFFFFFF, bits >>> 63, :of)
  defp non_finite(0, 0, :of), do: :infinity
  defp non_finite(0, 1, :of), do: :neg_infinity
  defp non_finite(_, _, :of), do: :nan

  @doc """
  A number in the form of the protocol, or `:error`. A complex number is a map.

      iex> Outrigger.Data.literal({0, 1.5})
      {:ok, %{"re" => 0, "im" => 1.5}}
      iex> Outrigger.Data.literal("1")
      :error
  """
  @spec literal(term) :: {:ok, real_like | map} | :error
  def literal(number) when is_number(number), do: {:ok, number}
  def literal(atom) when atom in [:nan, :infinity, :neg_infinity], do: {:ok, atom}
  def literal(%{__struct__: Complex, re: re, im: im}), do: literal({re, im})

  def literal({re, im}) do
    with {:ok, re} when not is_map(re) <- literal(re),
         {:ok, im} when not is_map(im) <- literal(im) do
      {:ok, %{"re" => re, "im" => im}}
    else
      _ -> :error
    end
  end

  def literal(_other), do: :error

  @doc """
  Nests a flat list by a shape. With the scalar shape, returns the element.

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
