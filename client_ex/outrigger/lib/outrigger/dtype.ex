defmodule Outrigger.Dtype do
  @moduledoc """
  Element types, with the names of Nx:

  | | |
  |---|---|
  | unsigned integers | `:u2`, `:u4`, `:u8`, `:u16`, `:u32`, `:u64` |
  | signed integers | `:s2`, `:s4`, `:s8`, `:s16`, `:s32`, `:s64` |
  | floats | `:f8` (E5M2), `:f8_e4m3fn`, `:f16`, `:bf16`, `:f32`, `:f64` |
  | complex numbers | `:c64`, `:c128` |

  Each function that takes a type also takes Nx's form `{:f, 32}`.
  """

  @bits [
    u2: 2,
    u4: 4,
    u8: 8,
    u16: 16,
    u32: 32,
    u64: 64,
    s2: 2,
    s4: 4,
    s8: 8,
    s16: 16,
    s32: 32,
    s64: 64,
    f8: 8,
    f8_e4m3fn: 8,
    f16: 16,
    bf16: 16,
    f32: 32,
    f64: 64,
    c64: 64,
    c128: 128
  ]
  @types Keyword.keys(@bits)
  @by_name Map.new(@types, &{Atom.to_string(&1), &1})

  @type t ::
          :u2
          | :u4
          | :u8
          | :u16
          | :u32
          | :u64
          | :s2
          | :s4
          | :s8
          | :s16
          | :s32
          | :s64
          | :f8
          | :f8_e4m3fn
          | :f16
          | :bf16
          | :f32
          | :f64
          | :c64
          | :c128
  @type accepted :: t | {:u | :s | :f | :f8_e4m3fn | :bf | :c, pos_integer}
  @type shape :: tuple

  @doc """
  All types.

      iex> :bf16 in Outrigger.Dtype.all()
      true
  """
  @spec all() :: [t]
  def all, do: @types

  @doc """
  The type as an atom. Raises `ArgumentError` if there is no such type.

      iex> Outrigger.Dtype.normalize!({:f, 32})
      :f32
      iex> Outrigger.Dtype.normalize!({:f8_e4m3fn, 8})
      :f8_e4m3fn
  """
  @spec normalize!(accepted) :: t
  def normalize!(type) when type in @types, do: type
  def normalize!({:f8_e4m3fn, 8}), do: :f8_e4m3fn

  def normalize!({kind, bits} = type) when kind in [:u, :s, :f, :bf, :c] and is_integer(bits) do
    case parse("#{kind}#{bits}") do
      {:ok, type} -> type
      :error -> unknown(type)
    end
  end

  def normalize!(type), do: unknown(type)

  defp unknown(type) do
    raise ArgumentError,
          "unknown type #{inspect(type)}; the types are #{Enum.map_join(@types, ", ", &inspect/1)}"
  end

  @doc false
  for {name, type} <- @by_name, do: def(parse(unquote(name)), do: {:ok, unquote(type)})
  def parse(_name), do: :error

  @doc """
  The bits of an element in a binary.

      iex> Outrigger.Dtype.bits(:u4)
      4
  """
  @spec bits(t) :: pos_integer
  for {type, bits} <- @bits, do: def(bits(unquote(type)), do: unquote(bits))

  @doc """
  The bytes of an element, for types of whole bytes.

      iex> Outrigger.Dtype.bytes(:f64)
      8
  """
  @spec bytes(t) :: pos_integer
  for {type, bits} <- @bits,
      bits >= 8,
      do: def(bytes(unquote(type)), do: unquote(div(bits, 8)))

  @doc """
  The number of elements of a shape.

      iex> Outrigger.Dtype.count({2, 3})
      6
  """
  @spec count(shape) :: non_neg_integer
  def count({}), do: 1
  def count({n}), do: n
  def count({m, n}), do: m * n
  def count(shape), do: Tuple.product(shape)

  @doc """
  The bytes of `count` elements, packed as in a binary.

      iex> Outrigger.Dtype.bytes_of(:u2, 5)
      2
  """
  @spec bytes_of(t, non_neg_integer) :: non_neg_integer
  def bytes_of(type, count), do: div(bits(type) * count + 7, 8)

  @doc false
  def byte_size(type, shape), do: bytes_of(type, count(shape))

  @doc false
  def float?(type), do: type in [:f8, :f8_e4m3fn, :f16, :bf16, :f32, :f64]

  @doc false
  def complex?(type), do: type in [:c64, :c128]

  @doc false
  # True if Elixir's binaries have a form for the elements of the type.
  def plain?(type), do: type in [:u8, :u16, :u32, :u64, :s8, :s16, :s32, :s64, :f32, :f64]

  @doc false
  # A shape as a tuple, from a tuple or a list.
  def shape!(shape) when is_list(shape), do: shape!(List.to_tuple(shape))

  def shape!(shape) when is_tuple(shape) do
    if Enum.all?(Tuple.to_list(shape), &(is_integer(&1) and &1 >= 0)),
      do: shape,
      else: bad_shape(shape)
  end

  def shape!(shape), do: bad_shape(shape)

  defp bad_shape(shape) do
    raise ArgumentError,
          "expected a shape, a tuple of non-negative integers, got: #{inspect(shape)}"
  end
end
