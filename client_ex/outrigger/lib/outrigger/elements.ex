defmodule Outrigger.Elements do
  @moduledoc false
  # Elements without a form in Elixir's binaries, or without one that rounds as the daemon does:
  # integers below 8 bits, floats below 32 bits, complex numbers. Outrigger.Data has all others.

  alias Outrigger.{Data, Dtype}
  import Bitwise

  # type: {bits of the mantissa, bias of the exponent, infinity or the largest number, NaN}
  @small_floats [
    f8: {2, 15, 0x7C, 0x7E},
    f8_e4m3fn: {3, 7, 0x7E, 0x7F},
    f16: {10, 15, 0x7C00, 0x7E00},
    bf16: {7, 127, 0x7F80, 0x7FC0}
  ]

  @doc "The bytes of a flat list."
  for {type, {mantissa, bias, largest, nan}} <- @small_floats do
    def encode(list, unquote(type)) do
      for x <- list, into: <<>> do
        bits =
          case x do
            :nan -> unquote(nan)
            :infinity -> unquote(largest)
            :neg_infinity -> unquote(largest) ||| unquote(1 <<< (Dtype.bits(type) - 1))
            x -> round_to(x, unquote(type), unquote(mantissa), unquote(bias), unquote(largest))
          end

        <<bits::little-size(unquote(Dtype.bits(type)))>>
      end
    end
  end

  for type <- [:u2, :u4, :s2, :s4] do
    def encode(list, unquote(type)) do
      packed =
        for x <- list, into: <<>> do
          if not is_integer(x), do: no_element(x, unquote(type))
          <<x::size(unquote(Dtype.bits(type)))>>
        end

      <<packed::bitstring, 0::size(rem(8 - rem(bit_size(packed), 8), 8))>>
    end
  end

  def encode(list, type) when type in [:c64, :c128] do
    parts = Enum.flat_map(list, &parts(&1, type))
    IO.iodata_to_binary(Data.encode(parts, part_type(type)))
  end

  defp parts({re, im}, _type), do: [re, im]
  # The struct of Nx. The library `complex` need not be installed.
  defp parts(%{__struct__: Complex, re: re, im: im}, _type), do: [re, im]
  defp parts(x, _type) when is_number(x), do: [x, 0]
  defp parts(x, _type) when x in [:nan, :infinity, :neg_infinity], do: [x, 0]
  defp parts(x, type), do: no_element(x, type)

  defp part_type(:c64), do: :f32
  defp part_type(:c128), do: :f64

  # Rounds to nearest, ties to even. x is significand * 2 ** exponent. The result is in units of the
  # last bit of the type at that magnitude.
  defp round_to(x, type, mantissa, bias, largest) when is_number(x) do
    <<sign::1, exponent::11, fraction::52>> = <<x::float-64>>
    significand = if exponent == 0, do: fraction, else: fraction ||| 1 <<< 52
    exponent = max(exponent, 1) - 1075
    smallest = 1 - bias - mantissa
    unit = max(exponent + 52 - mantissa, smallest)
    magnitude = ((unit - smallest) <<< mantissa) + half_even(significand, unit - exponent)
    # A format without infinities saturates, as in Nx.
    if magnitude >= largest and type != :f8_e4m3fn, do: no_element(x, type)
    sign <<< (Dtype.bits(type) - 1) ||| min(magnitude, largest)
  rescue
    # The integer is larger than the largest float.
    error in ArgumentError ->
      if is_integer(x), do: no_element(x, type), else: reraise(error, __STACKTRACE__)
  end

  defp round_to(x, type, _, _, _), do: no_element(x, type)

  defp half_even(n, shift) do
    half = 1 <<< (shift - 1)
    rest = n &&& (1 <<< shift) - 1
    whole = n >>> shift
    if rest > half or (rest == half and (whole &&& 1) == 1), do: whole + 1, else: whole
  end

  @spec no_element(term, Dtype.t()) :: no_return
  defp no_element(x, type) do
    raise ArgumentError, "#{inspect(x, limit: 5)} is no #{type}"
  end

  @doc "The elements of a binary, with those of the padding in its last byte."
  for {type, {mantissa, bias, largest, _nan}} <- @small_floats, type in [:f8, :f8_e4m3fn] do
    table =
      for bits <- 0..255 do
        magnitude = bits &&& 0x7F
        exponent = magnitude >>> mantissa
        fraction = magnitude &&& (1 <<< mantissa) - 1
        implicit = if exponent == 0, do: 0, else: 1 <<< mantissa
        x = (implicit + fraction) * :math.pow(2, max(exponent, 1) - bias - mantissa)

        cond do
          magnitude > largest -> :nan
          magnitude == largest and type == :f8 and bits < 128 -> :infinity
          magnitude == largest and type == :f8 -> :neg_infinity
          bits < 128 -> x
          true -> -x
        end
      end

    @table List.to_tuple(table)
    def decode(binary, unquote(type)), do: for(<<x <- binary>>, do: elem(@table, x))
  end

  def decode(binary, :f16) do
    for <<half::binary-2 <- binary>> do
      case half do
        <<x::little-float-16>> -> x
        <<0x7C00::little-16>> -> :infinity
        <<0xFC00::little-16>> -> :neg_infinity
        _ -> :nan
      end
    end
  end

  def decode(binary, :bf16) do
    for <<half::little-16 <- binary>> do
      case <<half::16, 0::16>> do
        <<x::float-32>> -> x
        <<0x7F80::16, _::16>> -> :infinity
        <<0xFF80::16, _::16>> -> :neg_infinity
        _ -> :nan
      end
    end
  end

  def decode(binary, :u2), do: for(<<x::2 <- binary>>, do: x)
  def decode(binary, :u4), do: for(<<x::4 <- binary>>, do: x)
  def decode(binary, :s2), do: for(<<x::signed-2 <- binary>>, do: x)
  def decode(binary, :s4), do: for(<<x::signed-4 <- binary>>, do: x)
  def decode(binary, type), do: pairs(Data.decode(binary, part_type(type)))

  defp pairs([re, im | rest]), do: [{re, im} | pairs(rest)]
  defp pairs(_), do: []
end
