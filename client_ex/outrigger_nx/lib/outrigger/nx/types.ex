defmodule Outrigger.Nx.Types do
  @moduledoc false
  # Nx's types and numbers in the protocol's words.

  @types for {kind, sizes} <- [
               u: [2, 4, 8, 16, 32, 64],
               s: [2, 4, 8, 16, 32, 64],
               f: [8, 16, 32, 64],
               bf: [16],
               c: [64, 128]
             ],
             size <- sizes,
             do: {{kind, size}, "#{kind}#{size}"}

  @doc "The wire's name of an Nx type."
  @spec wire(Nx.Type.t()) :: String.t()
  for {type, name} <- [{{:f8_e4m3fn, 8}, "f8_e4m3fn"} | @types] do
    def wire(unquote(type)), do: unquote(name)
  end

  @doc "The type as the core client names it."
  def atom(type), do: type |> wire() |> String.to_atom()

  @doc """
  The attributes of a `constant`, or nil where its number cannot be told exactly: then the scalar's
  bytes have to be sent. Nx rounds to its narrow floats in its own way, and complex numbers are no
  numbers of the protocol.
  """
  def number(n, {kind, size}) when is_integer(n) and kind in [:u, :s], do: wrap(n, kind, size)
  def number(n, {:f, size}) when size >= 32 and is_number(n), do: n
  def number(n, {:f, size}) when size >= 32 and n in [:nan, :infinity, :neg_infinity], do: n
  def number(_n, _type), do: nil

  # Nx's integer constants wrap around as its binaries do.
  defp wrap(n, :u, size) do
    <<n::unsigned-size(size)>> = <<n::size(size)>>
    n
  end

  defp wrap(n, :s, size) do
    <<n::signed-size(size)>> = <<n::size(size)>>
    n
  end

  @doc "The number as a scalar of the type holds it: wrapped around, or rounded."
  def hold(n, {:f, 64}) when is_float(n), do: n
  def hold(n, {:s, 32}) when n in -0x80000000..0x7FFFFFFF, do: n

  def hold(n, {:f, 32}) when is_float(n) do
    case <<n::float-32>> do
      <<rounded::float-32>> -> rounded
      _overflow -> if n > 0, do: :infinity, else: :neg_infinity
    end
  end

  def hold(n, type) do
    Nx.to_number(Nx.from_binary(bytes(n, type), type, backend: Nx.BinaryBackend) |> Nx.squeeze())
  end

  @doc "A scalar's bytes."
  def bytes(number, type) do
    Nx.BinaryBackend.constant(%Nx.Tensor{type: type, shape: {}, names: []}, number, [])
    |> Nx.BinaryBackend.to_binary(1)
  end
end
