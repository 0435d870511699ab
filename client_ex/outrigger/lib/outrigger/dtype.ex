defmodule Outrigger.Dtype do
  @moduledoc """
  Element types: `:u8`, `:u16`, `:u32`, `:u64`, `:s8`, `:s16`, `:s32`, `:s64`, `:f32`, `:f64`.

  Wherever a type is asked for, Nx's `{:f, 32}` form is taken, too.
  """

  @types [:u8, :u16, :u32, :u64, :s8, :s16, :s32, :s64, :f32, :f64]
  @by_name Map.new(@types, &{Atom.to_string(&1), &1})
  @bits %{
    u8: 8,
    u16: 16,
    u32: 32,
    u64: 64,
    s8: 8,
    s16: 16,
    s32: 32,
    s64: 64,
    f32: 32,
    f64: 64
  }

  @type t :: :u8 | :u16 | :u32 | :u64 | :s8 | :s16 | :s32 | :s64 | :f32 | :f64
  @type accepted :: t | {:u | :s | :f, pos_integer}
  @type shape :: tuple

  @doc """
  All types.

      iex> :f32 in Outrigger.Dtype.all()
      true
  """
  @spec all() :: [t]
  def all, do: @types

  @doc """
  The type that is meant; raises `ArgumentError` if there is none.

      iex> Outrigger.Dtype.normalize!({:f, 32})
      :f32
  """
  @spec normalize!(accepted) :: t
  def normalize!(type) when type in @types, do: type

  def normalize!({kind, bits} = type) when kind in [:u, :s, :f] and is_integer(bits) do
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
  Bytes of one element.

      iex> Outrigger.Dtype.bytes(:f64)
      8
  """
  @spec bytes(t) :: pos_integer
  for {type, bits} <- @bits, do: def(bytes(unquote(type)), do: unquote(div(bits, 8)))

  @doc """
  Elements of a shape.

      iex> Outrigger.Dtype.count({2, 3})
      6
  """
  @spec count(shape) :: non_neg_integer
  def count({}), do: 1
  def count({n}), do: n
  def count({m, n}), do: m * n
  def count(shape), do: Tuple.product(shape)

  @doc false
  def byte_size(type, shape), do: bytes(type) * count(shape)

  @doc false
  def float?(type), do: type in [:f32, :f64]

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
