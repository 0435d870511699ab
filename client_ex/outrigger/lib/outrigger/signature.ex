defmodule Outrigger.Signature do
  @moduledoc false
  # Derives the arguments of a function from an op's operands and attributes, at compile time. The
  # operands come first, in order. The attributes are keywords. The table has the attributes that
  # are positional in Nx.

  defstruct [:args, :operands, positional: [], options?: false, defaults: []]

  @exceptions %{
    "reshape" => [shape: :shape],
    "broadcast" => [shape: :shape],
    "as_type" => [type: :type],
    "bitcast" => [type: :type],
    "window_sum" => [window: :window],
    "window_product" => [window: :window],
    "window_max" => [window: :window],
    "window_min" => [window: :window],
    "window_scatter_max" => [window: :window],
    "window_scatter_min" => [window: :window],
    "constant" => [value: :value, type: :type, shape: :shape],
    "from_binary" => [data: :data, type: :type, shape: :shape],
    "iota" => [shape: :shape],
    "eye" => [shape: :shape]
  }

  @types %{
    "int" => "integer",
    "ints" => "integers, a list or tuple",
    "shape" => "shape",
    "number" => "number",
    "bool" => "boolean",
    "string" => "atom or string",
    "dtype" => "type",
    "binary" => "binary"
  }

  # As in Nx, indices and identities are s32 by default.
  @defaults %{"iota" => [type: :s32], "eye" => [type: :s32]}

  def of(%{"name" => "slice"} = op) do
    new(op, [:tensor, :starts, :lengths], call(:spread, [:tensor, :starts]), lengths: :lengths)
  end

  def of(%{"name" => "put_slice"} = op) do
    new(op, [:tensor, :starts, :slice], call(:spread, [:tensor, :slice, :starts]), [])
  end

  def of(%{"name" => name} = op) do
    positional = Map.get(@exceptions, name, [])
    operands = for operand <- op["operands"], do: String.to_atom(operand["name"])
    args = operands ++ Keyword.values(positional)
    new(op, args, operand_list(op["operands"]), positional)
  end

  defp new(op, args, operands, positional) do
    attrs = for attr <- op["attrs"], do: String.to_atom(attr["name"])

    %__MODULE__{
      args: args,
      operands: operands,
      positional: positional,
      options?: attrs -- Keyword.keys(positional) != [],
      defaults: Map.get(@defaults, op["name"], [])
    }
  end

  defp operand_list(operands) do
    {ones, many} = Enum.split_with(operands, &(&1["kind"] == "one"))
    ones = for operand <- ones, do: var(operand["name"])

    case many do
      [] -> ones
      [last] -> quote(do: unquote(ones) ++ unquote(__MODULE__).many(unquote(var(last["name"]))))
    end
  end

  defp call(function, args) do
    args = Enum.map(args, &var/1)
    quote(do: unquote(__MODULE__).unquote(function)(unquote_splicing(args)))
  end

  defp var(name) when is_binary(name), do: var(String.to_atom(name))
  defp var(name), do: Macro.var(name, Outrigger.Catalogue)

  def many(list) when is_list(list), do: list
  def many(tuple) when is_tuple(tuple), do: Tuple.to_list(tuple)
  def many(other), do: raise(ArgumentError, "expected a list of tensors, got: #{inspect(other)}")

  def spread(tensor, starts), do: [tensor | many(starts)]
  def spread(tensor, slice, starts), do: [tensor, slice | many(starts)]

  ## Types and docs

  def type(:shape), do: quote(do: Outrigger.Dtype.shape() | [non_neg_integer])
  def type(:type), do: quote(do: Outrigger.Dtype.accepted())
  def type(:window), do: quote(do: Outrigger.Dtype.shape() | [pos_integer])
  def type(:value), do: quote(do: Outrigger.Data.number_like())
  def type(:data), do: quote(do: binary)
  def type(:lengths), do: quote(do: [pos_integer] | tuple)
  def type(:starts), do: quote(do: [operand] | tuple)
  def type(:tensors), do: quote(do: [operand] | tuple)
  def type(_operand), do: quote(do: operand)

  def doc(op, signature, in_place?) do
    keyword = op["attrs"] |> Enum.reject(&Keyword.has_key?(signature.positional, atom(&1)))

    [
      op["doc"],
      if(in_place?, do: in_place_doc(op)),
      if(keyword != [], do: ["## Options\n\n", Enum.map(keyword, &attr_doc(&1, signature))])
    ]
    |> Enum.reject(&is_nil/1)
    |> Enum.intersperse("\n\n")
    |> IO.iodata_to_binary()
  end

  defp atom(attr), do: String.to_atom(attr["name"])

  defp in_place_doc(%{"name" => name}) when name in ~w(slice reshape squeeze transpose reverse) do
    "In place: returns a *mutable view*, a new tensor that shares memory with the operand. A " <>
      "write in place into one of the two changes both."
  end

  defp in_place_doc(op) do
    operand = Enum.at(op["operands"], op["in_place"])["name"]

    "In place: writes into `#{operand}`, which must have the result's type and shape, and " <>
      "returns it. Every holder of that tensor sees the change."
  end

  defp attr_doc(attr, signature) do
    required =
      cond do
        default = signature.defaults[atom(attr)] -> "default `#{inspect(default)}`"
        attr["required"] -> "required"
        attr["default"] -> "default #{attr["default"]}"
        true -> "optional"
      end

    "  * `:#{attr["name"]}` (#{@types[attr["type"]]}, #{required}) - #{attr["doc"]}\n"
  end
end
