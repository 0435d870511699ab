defmodule Outrigger.Kernel.Types do
  @moduledoc false
  # The types of a kernel, and the rules by which two of them become one: those of Nx.Type.merge/2,
  # and of merge_number/2 for literals. A type is
  #
  #   * a dtype, or `:bool`
  #   * `{:int, lo, hi}` or `:float`: literals, which take the type of the other operand. `lo` and
  #     `hi` are the smallest and the largest literal
  #   * `:none`: not known yet, or of no value

  @integers ~w(u8 u16 u32 u64 s8 s16 s32 s64)a
  @floats ~w(f32 f64)a
  @dtypes @integers ++ @floats

  @doc "The dtypes of tensors and scalars."
  def dtypes, do: @dtypes

  @doc "True for a dtype of integers."
  def integer?(type), do: type in @integers

  @doc "True for a dtype of floats."
  def float?(type), do: type in @floats

  @doc "True for a type that literals alone have."
  def weak?(type), do: type == :float or match?({:int, _, _}, type)

  @doc "The kind and the bits of a dtype."
  for dtype <- @dtypes do
    <<kind, bits::binary>> = Atom.to_string(dtype)
    kind = %{?u => :u, ?s => :s, ?f => :f}[kind]
    def parts(unquote(dtype)), do: {unquote(kind), unquote(String.to_integer(bits))}
    defp dtype(unquote(kind), unquote(String.to_integer(bits))), do: unquote(dtype)
  end

  @doc "The type of a literal."
  def literal(n) when is_integer(n), do: {:int, n, n}
  def literal(_float), do: :float

  @doc """
  The common type of two types, or `{:error, reason}`. The reason is `:bool` if only one of them is
  a condition, `:u64` for a u64 with a type that has a sign, and `:large` for a literal beyond 64
  bits.
  """
  def merge(type, type), do: type
  def merge(:none, type), do: type
  def merge(type, :none), do: type
  def merge({:error, _} = error, _type), do: error
  def merge(_type, {:error, _} = error), do: error
  def merge(:bool, _type), do: {:error, :bool}
  def merge(_type, :bool), do: {:error, :bool}
  def merge({:int, a, b}, {:int, c, d}), do: {:int, min(a, c), max(b, d)}
  def merge({:int, _, _}, :float), do: :float
  def merge(:float, {:int, _, _}), do: :float
  def merge(:float, type), do: if(float?(type), do: type, else: :f32)
  def merge(type, :float), do: merge(:float, type)
  def merge({:int, lo, hi}, type), do: type |> merge_number(lo) |> merge_number(hi)
  def merge(type, {:int, _, _} = weak), do: merge(weak, type)

  def merge(left, right) do
    case {parts(left), parts(right)} do
      {{kind, left}, {kind, right}} -> dtype(kind, max(left, right))
      {{:f, _}, _} -> left
      {_, {:f, _}} -> right
      {{:u, unsigned}, {:s, signed}} -> with_sign(unsigned, signed)
      {{:s, signed}, {:u, unsigned}} -> with_sign(unsigned, signed)
    end
  end

  defp with_sign(64, _signed), do: {:error, :u64}
  defp with_sign(unsigned, signed), do: dtype(:s, max(unsigned * 2, signed))

  defp merge_number({:error, _} = error, _n), do: error

  defp merge_number(type, n) do
    case parts(type) do
      {:f, _} -> type
      {:u, 64} when n < 0 -> {:error, :u64}
      {:u, bits} when n < 0 -> merge_number(dtype(:s, bits * 2), n)
      {:u, bits} -> widen(:u, [8, 16, 32, 64], bits, n)
      {:s, bits} -> widen(:s, [8, 16, 32, 64], bits, n)
    end
  end

  defp widen(kind, all, bits, n) do
    case Enum.find(all, &(&1 >= bits and fits?(n, dtype(kind, &1)))) do
      nil -> {:error, :large}
      bits -> dtype(kind, bits)
    end
  end

  @doc "True if an integer is in the range of the dtype."
  def fits?(n, dtype) do
    {lo, hi} = range(dtype)
    n >= lo and n <= hi
  end

  @doc "The smallest and the largest number of a dtype of integers."
  for dtype <- @integers do
    <<kind, bits::binary>> = Atom.to_string(dtype)
    bits = String.to_integer(bits)

    {lo, hi} =
      if kind == ?u,
        do: {0, Bitwise.<<<(1, bits) - 1},
        else: {-Bitwise.<<<(1, bits - 1), Bitwise.<<<(1, bits - 1) - 1}

    def range(unquote(dtype)), do: {unquote(lo), unquote(hi)}
  end

  @doc "The dtype of literals that meet no other type."
  def default({:int, _, hi}), do: if(fits?(hi, :s64), do: :s64, else: :u64)
  def default(:float), do: :f64
  def default(type), do: type

  @doc "A type in the text of an error."
  def name({:int, n, n}), do: "the number #{n}"
  def name({:int, _, _}), do: "an integer"
  def name(:float), do: "a float"
  def name(:bool), do: "a condition"
  def name(type), do: Atom.to_string(type)
end
