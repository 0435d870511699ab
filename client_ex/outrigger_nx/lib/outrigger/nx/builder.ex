defmodule Outrigger.Nx.Value do
  @moduledoc false
  # A value of a program under construction. A known scalar has a `constant` instead of an id,
  # until an instruction needs it. If the number differs between calls of the program, `varies` is
  # its position among the numbers of the call, and the types from which it was cast, the newest
  # first.

  @enforce_keys [:type, :shape]
  defstruct [:id, :type, :shape, :constant, :varies]

  @type t :: %__MODULE__{
          id: non_neg_integer | nil,
          type: Nx.Type.t(),
          shape: tuple,
          constant: nil | {:number, number | atom | Complex.t()},
          varies: nil | {non_neg_integer, [Nx.Type.t()]}
        }
end

defmodule Outrigger.Nx.Builder do
  @moduledoc false
  # A program under construction. Purely functional: each step returns `{value, builder}`.

  alias Outrigger.Nx.{Types, Value}
  alias Outrigger.Program

  # The keys of `params` have `{id, source}`: the caller passes the source as an argument.
  defstruct next: 0, depth: 0, body: [], params: %{}, constants: %{}

  @type t :: %__MODULE__{}

  @doc """
  The parameter of a key, which is new if the key has none. A region may use the parameter, too.
  `source` describes the argument that the caller passes.
  """
  def parameter(%__MODULE__{} = b, key, source, type, shape) do
    case b.params do
      %{^key => {id, _}} ->
        {%Value{id: id, type: type, shape: shape}, b}

      params ->
        {[id], b} = fresh(b, 1)
        params = Map.put(params, key, {id, source})
        {%Value{id: id, type: type, shape: shape}, %{b | params: params}}
    end
  end

  @doc "The parameters as `{id, source}`, in the order of their creation."
  def params(%__MODULE__{params: params}),
    do: params |> Map.values() |> Enum.sort_by(&elem(&1, 0))

  @doc "The finished program of these parameters, `{id, source}`. Its results are a list."
  def program(%__MODULE__{} = b, params, outputs) do
    template = {:list, Enum.map(Enum.with_index(outputs), fn {_, at} -> {:result, at} end)}
    ids = for {id, _source} <- params, do: id
    program = Program.build(ids, Enum.reverse(b.body), outputs, template, [])
    # The cache keeps only the parts that a call needs.
    %{program | body: [], params: []}
  end

  @doc "A known scalar."
  def constant(number, type), do: %Value{type: type, shape: {}, constant: {:number, number}}

  @doc "A scalar that differs between calls: the number at position `at` among those of a call."
  def varying(number, type, at), do: %{constant(number, type) | varies: {at, []}}

  # Beside one of its numbers, a tensor of these types keeps its type.
  @literal_types for(size <- [8, 16, 32, 64], kind <- [:u, :s], do: {kind, size}) ++
                   [{:f, 8}, {:f, 16}, {:bf, 16}, {:f, 32}, {:f, 64}, {:c, 64}, {:c, 128}]

  @doc """
  The operand for a scalar that differs between calls and is beside a tensor of `type`: a parameter
  whose argument is a literal, if that has the effect of a scalar of this type. A literal is part of
  the call. A scalar needs a request of its own.
  """
  def literal(%Value{id: nil, varies: {_, _}, type: type} = value, type)
      when type in @literal_types,
      do: varying_literal(value)

  def literal(value, _type), do: value

  @doc "As `literal/2`, if the other value is a tensor."
  def beside(value, %Value{id: id, type: type}) when id != nil, do: literal(value, type)
  def beside(value, _other), do: value

  # The number already has the first of its types.
  defp varying_literal(%Value{id: nil, varies: {at, casts}, type: type}),
    do: {:literal, at, tl(Enum.reverse([type | casts]))}

  defp varying_literal(value), do: value

  @doc """
  Adds an instruction with one result of this type and shape. Operands are values, or numbers, which
  are sent as literals, or what `literal/2` returns.

  Options: `:attrs`, `:regions`, `:in_place`.
  """
  def emit(%__MODULE__{} = b, op, operands, type, shape, options \\ []) do
    {[value], b} = emit_many(b, op, operands, [{type, shape}], options)
    {value, b}
  end

  @doc "Adds an instruction with a result for each `{type, shape}`."
  def emit_many(%__MODULE__{} = b, op, operands, results, options \\ []) do
    {ins, b} = Enum.map_reduce(operands, b, &operand/2)
    {ids, b} = fresh(b, length(results))

    instruction = %{
      op: Atom.to_string(op),
      in: ins,
      out: ids,
      attrs: for({name, value} <- options[:attrs] || [], do: {Atom.to_string(name), value}),
      regions: options[:regions] || [],
      in_place: options[:in_place]
    }

    values =
      Enum.zip_with(ids, results, fn id, {type, shape} ->
        %Value{id: id, type: type, shape: shape}
      end)

    {values, %{b | body: [instruction | b.body]}}
  end

  defp operand(%Value{} = value, b), do: id(value, b)

  defp operand({:literal, _, _} = literal, b) do
    {value, b} = parameter(b, literal, literal, nil, {})
    {value.id, b}
  end

  defp operand(number, b), do: {{:number, number}, b}

  @doc "The id of a value. A constant gets an instruction now, or a parameter if it varies."
  def id(%Value{id: nil, varies: {at, casts}, type: type}, b) do
    source = {:number, at, Enum.reverse(casts), type}
    {value, b} = parameter(b, source, source, type, {})
    {value.id, b}
  end

  def id(%Value{id: nil, constant: {:number, number}, type: type}, b) do
    case b.constants do
      %{{^number, ^type} => id} when not (is_float(number) and number == 0.0) ->
        {id, b}

      _ ->
        {value, b} = scalar(b, number, type)
        {value.id, %{b | constants: Map.put(b.constants, {number, type}, value.id)}}
    end
  end

  def id(%Value{id: id}, b), do: {id, b}

  defp scalar(b, number, type) do
    case Types.number(number, type) do
      nil ->
        attrs = [type: Types.wire(type), shape: [], data: {:bin, Types.bytes(number, type)}]
        emit(b, :from_binary, [], type, {}, attrs: attrs)

      number ->
        emit(b, :constant, [], type, {},
          attrs: [value: number, type: Types.wire(type), shape: []]
        )
    end
  end

  @doc "The value in another type."
  def cast(b, %Value{type: type} = value, type), do: {value, b}

  # The daemon truncates a float that becomes an integer.
  def cast(b, %Value{constant: {:number, number}} = value, {kind, _} = type)
      when is_integer(number) or (is_float(number) and kind in [:f, :bf, :c, :f8_e4m3fn]) do
    varies = with {at, casts} <- value.varies, do: {at, [value.type | casts]}
    number = Types.hold(number, value.type)
    {%{value | type: type, constant: {:number, number}, varies: varies}, b}
  end

  def cast(b, %Value{} = value, type) do
    emit(b, :as_type, [value], type, value.shape, attrs: [type: Types.wire(type)])
  end

  @small_floats [{:f, 8}, {:f8_e4m3fn, 8}, {:f, 16}, {:bf, 16}]

  def small_floats, do: @small_floats

  @doc """
  Casts the operands of an op that computes in `type`. If `type` is a float below 32 bits, the
  operands stay as they are: the daemon converts each of them to f32 directly, and a cast would
  round it first.
  """
  def meet(b, values, type) when type in @small_floats do
    tensors = Enum.reject(values, &match?(%Value{id: nil, constant: {:number, _}}, &1))
    # A number does not change the common type of the tensors beside it.
    literals = tensors != [] and merged(tensors) == type

    cond do
      merged(values) != type -> Enum.map_reduce(values, b, &meet_one(&2, &1, type, literals))
      literals -> {Enum.map(values, &varying_literal/1), b}
      true -> {values, b}
    end
  end

  def meet(b, values, type), do: Enum.map_reduce(values, b, &cast(&2, &1, type))

  defp merged(values), do: values |> Enum.map(& &1.type) |> Enum.reduce(&Nx.Type.merge(&2, &1))

  defp meet_one(b, %Value{id: nil, varies: {_, _}} = value, _type, true),
    do: {varying_literal(value), b}

  defp meet_one(b, %Value{id: nil, constant: {:number, number}} = value, type, true)
       when is_number(number) do
    case Types.hold(number, value.type) do
      held when is_number(held) -> {held, b}
      _ -> cast(b, value, type)
    end
  end

  defp meet_one(b, %Value{id: id} = value, _type, true) when id != nil, do: {value, b}
  defp meet_one(b, value, type, _literals), do: cast(b, value, type)

  @doc """
  A region of parameters with these `{type, shape}`s. `fun` takes the builder and the values of the
  parameters, and returns `{outputs, builder}`. This function returns `{region, builder}`. A region
  sees values from outside. Values of a region are not visible outside.
  """
  def region(%__MODULE__{} = b, params, fun) do
    Program.check_depth!(b.depth + 1)
    {ids, inner} = fresh(%{b | body: [], depth: b.depth + 1}, length(params))

    values =
      Enum.zip_with(ids, params, fn id, {type, shape} ->
        %Value{id: id, type: type, shape: shape}
      end)

    {outputs, inner} = fun.(inner, values)
    {output_ids, inner} = Enum.map_reduce(outputs, inner, &id/2)
    region = %{params: ids, body: Enum.reverse(inner.body), outputs: output_ids}
    {region, %{b | next: inner.next, params: inner.params}}
  end

  defp fresh(b, count) do
    {Enum.to_list(b.next..(b.next + count - 1)//1), %{b | next: b.next + count}}
  end
end
