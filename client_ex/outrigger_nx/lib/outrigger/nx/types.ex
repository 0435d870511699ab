defmodule Outrigger.Nx.Types do
  @moduledoc false
  # Nx's types and numbers in the form of the protocol.

  @types for {kind, sizes} <- [
               u: [2, 4, 8, 16, 32, 64],
               s: [2, 4, 8, 16, 32, 64],
               f: [8, 16, 32, 64],
               bf: [16],
               c: [64, 128]
             ],
             size <- sizes,
             do: {{kind, size}, "#{kind}#{size}"}

  @doc "The protocol's name of an Nx type."
  @spec wire(Nx.Type.t()) :: String.t()
  for {type, name} <- [{{:f8_e4m3fn, 8}, "f8_e4m3fn"} | @types] do
    def wire(unquote(type)), do: unquote(name)
  end

  @doc "The name of the type in `Outrigger.Dtype`."
  for {type, name} <- [{{:f8_e4m3fn, 8}, "f8_e4m3fn"} | @types] do
    def atom(unquote(type)), do: unquote(String.to_atom(name))
  end

  @doc """
  The attributes of a `constant`, or nil if the protocol does not have the exact number: then the
  scalar's bytes have to be sent. Nx rounds to narrow floats in another way than the daemon, and a
  complex number is no number of the protocol.
  """
  def number(n, {kind, size}) when is_integer(n) and kind in [:u, :s], do: wrap(n, kind, size)
  def number(n, {:f, size}) when size >= 32 and is_number(n), do: n
  def number(n, {:f, size}) when size >= 32 and n in [:nan, :infinity, :neg_infinity], do: n
  def number(_n, _type), do: nil

  # Nx's integer constants wrap around, as in its binaries.
  defp wrap(n, :u, size) do
    <<n::unsigned-size(size)>> = <<n::size(size)>>
    n
  end

  defp wrap(n, :s, size) do
    <<n::signed-size(size)>> = <<n::size(size)>>
    n
  end

  # Above this integer, a float of the VM does not hold each integer exactly.
  @exact_max 0x20000000000000

  @doc "The number in a scalar of the type: wrapped around, or rounded."
  def hold(n, {:f, 64}) when is_float(n), do: n
  def hold(n, {kind, size}) when kind in [:s, :u] and is_integer(n), do: wrap(n, kind, size)
  # A float holds these integers exactly.
  def hold(n, {:f, _} = type) when n in -@exact_max..@exact_max, do: hold(1.0 * n, type)

  def hold(n, {:f, 32}) when is_float(n) do
    case <<n::float-32>> do
      <<rounded::float-32>> -> rounded
      _overflow -> if n > 0, do: :infinity, else: :neg_infinity
    end
  end

  def hold(n, type) do
    bits(n, type)
    |> Nx.from_binary(type, backend: Nx.BinaryBackend)
    |> Nx.squeeze()
    |> Nx.to_number()
  end

  @doc "A number as a literal of the protocol."
  def literal(%Complex{re: re, im: im}), do: %{"re" => re, "im" => im}
  def literal(number), do: number

  @doc "A scalar's bits."
  def bits(n, {kind, size}) when is_integer(n) and kind in [:s, :u] and size >= 8,
    do: <<n::size(size)-native>>

  def bits(n, {:f, 32}) when is_float(n), do: <<n::float-32-native>>
  def bits(n, {:f, 64}) when is_float(n), do: <<n::float-64-native>>

  def bits(number, type) do
    Nx.BinaryBackend.constant(%Nx.Tensor{type: type, shape: {}, names: []}, number, [])
    |> Nx.BinaryBackend.to_binary(1)
  end

  @doc "A scalar's bytes, in the form of the protocol."
  def bytes(number, type), do: number |> bits(type) |> pack()

  @doc "Fills the last byte of elements below 8 bits with zeros."
  def pack(bits) when is_binary(bits), do: bits
  def pack(bits), do: <<bits::bitstring, 0::size(8 - rem(bit_size(bits), 8))>>

  @doc "The bits of `count` elements, without the padding in the last byte."
  def unpack(bytes, {_, size}, count) do
    <<bits::bitstring-size(count * size), _::bitstring>> = bytes
    bits
  end
end
