defmodule Outrigger.Codec do
  @moduledoc """
  MessagePack, as far as Outrigger's protocol needs it: a pure codec without processes.

  | Elixir | MessagePack |
  |---|---|
  | `nil`, `true`, `false` | nil, booleans |
  | integers from -2⁶³ to 2⁶⁴ - 1 | the shortest integer |
  | floats | float 64 |
  | binaries, other atoms | string |
  | `{:bin, iodata}` | binary |
  | lists | array |
  | maps | map |

  Strings and binaries both decode to Elixir binaries. Floats that Elixir cannot hold decode to
  `:nan`, `:infinity` and `:neg_infinity`. Extension types are refused.
  """

  import Bitwise

  @depth_max 64

  @typedoc "A term that `encode/1` accepts."
  @type value ::
          nil
          | boolean
          | integer
          | float
          | binary
          | atom
          | {:bin, iodata}
          | [value]
          | %{optional(binary | atom) => value}

  @doc """
  Encodes a term.

      iex> IO.iodata_to_binary(Outrigger.Codec.encode(%{"id" => 1, "data" => {:bin, [1, 2]}}))
      <<0x82, 0xA4, "data", 0xC4, 2, 1, 2, 0xA2, "id", 1>>
  """
  @spec encode(value) :: iodata
  def encode(value) when is_integer(value), do: encode_integer(value)
  def encode(value) when is_binary(value), do: encode_string(value)
  def encode(value) when is_list(value), do: [array(length(value)) | encode_all(value)]

  def encode(value) when is_map(value) do
    [map(map_size(value)) | encode_pairs(:maps.to_list(value))]
  end

  def encode(nil), do: <<0xC0>>
  def encode(false), do: <<0xC2>>
  def encode(true), do: <<0xC3>>
  def encode(value) when is_atom(value), do: encode_string(Atom.to_string(value))
  def encode(value) when is_float(value), do: <<0xCB, value::float-64>>

  def encode({:bin, data}) do
    size = IO.iodata_length(data)
    [bin(size), data]
  end

  @doc "The head of an array of `count` values."
  @spec array(non_neg_integer) :: binary
  def array(count) when count < 16, do: <<0x90 ||| count>>
  def array(count) when count < 0x10000, do: <<0xDC, count::16>>
  def array(count), do: <<0xDD, count::32>>

  @doc "The head of a map of `count` pairs."
  @spec map(non_neg_integer) :: binary
  def map(count) when count < 16, do: <<0x80 ||| count>>
  def map(count) when count < 0x10000, do: <<0xDE, count::16>>
  def map(count), do: <<0xDF, count::32>>

  @doc "The head of a binary of `size` bytes."
  @spec bin(non_neg_integer) :: binary
  def bin(size) when size < 0x100, do: <<0xC4, size>>
  def bin(size) when size < 0x10000, do: <<0xC5, size::16>>
  def bin(size), do: <<0xC6, size::32>>

  @doc false
  # An array, as one binary. Short arrays of integers take less time than `encode/1` takes.
  def integers([]), do: <<0x90>>
  def integers([n]) when is_integer(n), do: <<0x91, encode_integer(n)::binary>>

  def integers([m, n]) when is_integer(m) and is_integer(n),
    do: <<0x92, encode_integer(m)::binary, encode_integer(n)::binary>>

  def integers(list), do: IO.iodata_to_binary(encode(list))

  defp encode_all([head | tail]), do: [encode(head) | encode_all(tail)]
  defp encode_all([]), do: []

  defp encode_pairs([{key, value} | tail]) when is_binary(key) or is_atom(key) do
    [encode(key), encode(value) | encode_pairs(tail)]
  end

  defp encode_pairs([]), do: []

  # An improper list is the shortest iodata.
  @dialyzer {:no_improper_lists, encode_string: 1}
  defp encode_string(text) do
    case byte_size(text) do
      size when size < 32 -> [<<0xA0 ||| size>> | text]
      size when size < 0x100 -> [<<0xD9, size>> | text]
      size when size < 0x10000 -> [<<0xDA, size::16>> | text]
      size -> [<<0xDB, size::32>> | text]
    end
  end

  defp encode_integer(n) when n >= 0 do
    cond do
      n < 0x80 -> <<n>>
      n < 0x100 -> <<0xCC, n>>
      n < 0x10000 -> <<0xCD, n::16>>
      n < 0x100000000 -> <<0xCE, n::32>>
      n < 0x10000000000000000 -> <<0xCF, n::64>>
      true -> raise ArgumentError, "#{n} does not fit an unsigned integer of 64 bits"
    end
  end

  defp encode_integer(n) do
    cond do
      n >= -0x20 -> <<n::signed-8>>
      n >= -0x80 -> <<0xD0, n::signed-8>>
      n >= -0x8000 -> <<0xD1, n::signed-16>>
      n >= -0x80000000 -> <<0xD2, n::signed-32>>
      n >= -0x8000000000000000 -> <<0xD3, n::signed-64>>
      true -> raise ArgumentError, "#{n} does not fit a signed integer of 64 bits"
    end
  end

  @doc """
  Decodes the first value of a binary.

  Returns `{:ok, value, rest}`; `:more` if the value is not complete yet; or `{:error, reason}`
  with a text. A declared count allocates nothing before its bytes are there.

      iex> Outrigger.Codec.decode(<<0x92, 1, 0xA1, "a", "rest">>)
      {:ok, [1, "a"], "rest"}
      iex> Outrigger.Codec.decode(<<0x92, 1>>)
      :more
      iex> Outrigger.Codec.decode(<<0xC1>>)
      {:error, "the byte 0xC1 is never used in MessagePack"}
  """
  @spec decode(binary) :: {:ok, term, binary} | :more | {:error, String.t()}
  def decode(binary) when is_binary(binary) do
    {value, rest} = value(binary, @depth_max)
    {:ok, value, rest}
  catch
    :throw, {__MODULE__, outcome} -> outcome
  end

  @doc false
  # As decode/1, but the binary must be exactly one value.
  def decode_whole(binary) do
    case decode(binary) do
      {:ok, value, <<>>} -> {:ok, value}
      {:ok, _value, rest} -> {:error, "#{byte_size(rest)} bytes follow the value"}
      :more -> {:error, "the value is cut short"}
      {:error, reason} -> {:error, reason}
    end
  end

  defp value(<<0::1, n::7, rest::binary>>, _depth), do: {n, rest}
  defp value(<<0b101::3, size::5, rest::binary>>, _depth), do: bytes(rest, size)
  defp value(<<0b1001::4, count::4, rest::binary>>, depth), do: values(rest, count, depth - 1)
  defp value(<<0b1000::4, count::4, rest::binary>>, depth), do: pairs(rest, count, depth - 1)
  defp value(<<0b111::3, n::5, rest::binary>>, _depth), do: {n - 32, rest}
  defp value(<<0xC0, rest::binary>>, _depth), do: {nil, rest}
  defp value(<<0xC2, rest::binary>>, _depth), do: {false, rest}
  defp value(<<0xC3, rest::binary>>, _depth), do: {true, rest}
  defp value(<<0xC4, size, rest::binary>>, _depth), do: bytes(rest, size)
  defp value(<<0xC5, size::16, rest::binary>>, _depth), do: bytes(rest, size)
  defp value(<<0xC6, size::32, rest::binary>>, _depth), do: bytes(rest, size)
  defp value(<<0xCA, x::float-32, rest::binary>>, _depth), do: {x, rest}
  defp value(<<0xCA, bits::32, rest::binary>>, _depth), do: {non_finite(bits, 23), rest}
  defp value(<<0xCB, x::float-64, rest::binary>>, _depth), do: {x, rest}
  defp value(<<0xCB, bits::64, rest::binary>>, _depth), do: {non_finite(bits, 52), rest}
  defp value(<<0xCC, n, rest::binary>>, _depth), do: {n, rest}
  defp value(<<0xCD, n::16, rest::binary>>, _depth), do: {n, rest}
  defp value(<<0xCE, n::32, rest::binary>>, _depth), do: {n, rest}
  defp value(<<0xCF, n::64, rest::binary>>, _depth), do: {n, rest}
  defp value(<<0xD0, n::signed-8, rest::binary>>, _depth), do: {n, rest}
  defp value(<<0xD1, n::signed-16, rest::binary>>, _depth), do: {n, rest}
  defp value(<<0xD2, n::signed-32, rest::binary>>, _depth), do: {n, rest}
  defp value(<<0xD3, n::signed-64, rest::binary>>, _depth), do: {n, rest}
  defp value(<<0xD9, size, rest::binary>>, _depth), do: bytes(rest, size)
  defp value(<<0xDA, size::16, rest::binary>>, _depth), do: bytes(rest, size)
  defp value(<<0xDB, size::32, rest::binary>>, _depth), do: bytes(rest, size)
  defp value(<<0xDC, count::16, rest::binary>>, depth), do: values(rest, count, depth - 1)
  defp value(<<0xDD, count::32, rest::binary>>, depth), do: values(rest, count, depth - 1)
  defp value(<<0xDE, count::16, rest::binary>>, depth), do: pairs(rest, count, depth - 1)
  defp value(<<0xDF, count::32, rest::binary>>, depth), do: pairs(rest, count, depth - 1)
  defp value(<<0xC1, _::binary>>, _), do: fail("the byte 0xC1 is never used in MessagePack")

  defp value(<<type, _::binary>>, _) when type in 0xC7..0xC9 or type in 0xD4..0xD8 do
    fail("extension types are not used in this protocol")
  end

  defp value(_incomplete, _depth), do: throw({__MODULE__, :more})

  defp bytes(binary, size) do
    case binary do
      <<data::binary-size(size), rest::binary>> -> {data, rest}
      _ -> throw({__MODULE__, :more})
    end
  end

  defp values(_rest, _count, 0), do: fail("values nest deeper than #{@depth_max}")
  defp values(rest, count, depth), do: values(rest, count, depth, [])

  defp values(rest, 0, _depth, acc), do: {:lists.reverse(acc), rest}

  defp values(rest, count, depth, acc) do
    {value, rest} = value(rest, depth)
    values(rest, count - 1, depth, [value | acc])
  end

  defp pairs(_rest, _count, 0), do: fail("values nest deeper than #{@depth_max}")
  defp pairs(rest, count, depth), do: pairs(rest, count, depth, [])

  defp pairs(rest, 0, _depth, acc), do: {:maps.from_list(acc), rest}

  defp pairs(rest, count, depth, acc) do
    {key, rest} = value(rest, depth)
    {value, rest} = value(rest, depth)
    pairs(rest, count - 1, depth, [{key, value} | acc])
  end

  defp non_finite(bits, fraction_bits) do
    fraction = bits &&& (1 <<< fraction_bits) - 1
    sign = bits >>> if(fraction_bits == 23, do: 31, else: 63)

    case {fraction, sign} do
      {0, 0} -> :infinity
      {0, 1} -> :neg_infinity
      _ -> :nan
    end
  end

  defp fail(reason), do: throw({__MODULE__, {:error, reason}})
end
