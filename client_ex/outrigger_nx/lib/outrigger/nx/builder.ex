defmodule Outrigger.Nx.Value do
  @moduledoc false
  # A value of a program under construction. A scalar that is known has a `constant` instead of an
  # id, until an instruction needs it.

  @enforce_keys [:type, :shape]
  defstruct [:id, :type, :shape, :constant]

  @type t :: %__MODULE__{
          id: non_neg_integer | nil,
          type: Nx.Type.t(),
          shape: tuple,
          constant: nil | {:number, number | atom | Complex.t()}
        }
end

defmodule Outrigger.Nx.Builder do
  @moduledoc false
  # A program under construction. Purely functional: each step gives `{value, builder}`.

  alias Outrigger.Nx.{Types, Value}
  alias Outrigger.Program

  # `params` are `{source, id}`: what the caller has to pass, newest first.
  defstruct next: 0, depth: 0, body: [], params: [], constants: %{}

  # A region costs four levels of the 256 that a frame may have.
  @depth_max 60

  @type t :: %__MODULE__{}

  @doc """
  The parameter that stands for a source, which is made if there is none yet. It can be asked for
  in a region, too. `program/2` gives the sources in the parameters' order.
  """
  def parameter(%__MODULE__{} = b, source, type, shape) do
    case List.keyfind(b.params, source, 0) do
      {_, id} ->
        {%Value{id: id, type: type, shape: shape}, b}

      nil ->
        {[id], b} = fresh(b, 1)
        {%Value{id: id, type: type, shape: shape}, %{b | params: [{source, id} | b.params]}}
    end
  end

  @doc "The finished program, whose results come as a list, and its parameters' sources."
  def program(%__MODULE__{} = b, outputs) do
    {ids, b} = Enum.map_reduce(outputs, b, &id/2)
    template = {:list, Enum.map(Enum.with_index(ids), fn {_, at} -> {:result, at} end)}
    {sources, params} = b.params |> Enum.reverse() |> Enum.unzip()
    # What is kept for long is only what a call needs.
    program = Program.build(params, Enum.reverse(b.body), ids, template, [])
    {%{program | body: [], params: []}, sources}
  end

  @doc "A scalar that is known."
  def constant(number, type), do: %Value{type: type, shape: {}, constant: {:number, number}}

  @doc """
  Adds an instruction with one result of this type and shape. Operands are values, or numbers: those
  are sent as literals.

  Options: `:attrs`, `:regions`, `:in_place`.
  """
  def emit(%__MODULE__{} = b, op, operands, type, shape, options \\ []) do
    {[value], b} = emit_many(b, op, operands, [{type, shape}], options)
    {value, b}
  end

  @doc "Adds an instruction with as many results as there are `{type, shape}`s."
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
  defp operand(number, b), do: {{:number, number}, b}

  @doc "The id of a value; a constant gets its instruction now."
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

  # A float as an integer has to be truncated, which is the daemon's business.
  def cast(b, %Value{constant: {:number, number}} = value, {kind, _} = type)
      when is_integer(number) or (is_float(number) and kind in [:f, :bf, :c, :f8_e4m3fn]) do
    {%{value | type: type, constant: {:number, Types.hold(number, value.type)}}, b}
  end

  def cast(b, %Value{} = value, type) do
    emit(b, :as_type, [value], type, value.shape, attrs: [type: Types.wire(type)])
  end

  @small_floats [{:f, 8}, {:f8_e4m3fn, 8}, {:f, 16}, {:bf, 16}]

  @doc """
  Operands of an op that computes in `type`: cast, but as they are where that is a float below 32
  bits, in which the daemon lets them meet. It takes each to f32 at once; a cast would round it first.
  """
  def meet(b, values, type) when type in @small_floats do
    if merged(values) == type do
      {values, b}
    else
      tensors = Enum.reject(values, &match?(%Value{id: nil, constant: {:number, _}}, &1))
      literals = tensors != [] and merged(tensors) == type
      Enum.map_reduce(values, b, &meet_one(&2, &1, type, literals))
    end
  end

  def meet(b, values, type), do: Enum.map_reduce(values, b, &cast(&2, &1, type))

  defp merged(values), do: values |> Enum.map(& &1.type) |> Enum.reduce(&Nx.Type.merge(&2, &1))

  # A number beside tensors that meet in the type does not change it.
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
  A region of parameters with these `{type, shape}`s: `fun` gets the builder and their values, and
  gives `{outputs, builder}`. Gives `{region, builder}`. Values from outside are visible inside, not
  the other way round.
  """
  def region(%__MODULE__{depth: @depth_max}, _params, _fun) do
    raise ArgumentError,
          "loops and conditions nest deeper than #{@depth_max} (each clause of a cond counts)"
  end

  def region(%__MODULE__{} = b, params, fun) do
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
