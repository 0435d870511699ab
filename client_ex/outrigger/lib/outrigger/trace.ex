defmodule Outrigger.Value do
  @moduledoc """
  A value of a program that is being traced. While `Outrigger.program/1` traces a function, the
  functions of `Outrigger.Op` and `Outrigger.InPlace` take and return values.
  """

  @enforce_keys [:id, :trace]
  defstruct [:id, :trace, :param]

  @typedoc "The fields of a value are private."
  @type t :: %__MODULE__{
          id: non_neg_integer,
          trace: reference,
          param: non_neg_integer | nil
        }

  defimpl Inspect do
    def inspect(value, _options), do: "#Outrigger.Value<%#{value.id}>"
  end
end

defmodule Outrigger.Trace do
  @moduledoc false
  # Traces programs. The builder is in the process dictionary. If there is a builder, an op goes
  # into it. Otherwise an op goes to the daemon at once.

  alias Outrigger.{Data, Execution, Program, Server, Tensor, Value}
  require Server

  @key {__MODULE__, :builder}

  # `captured` has the id of each tensor in `captures`. The keys of `callees` are server and id.
  # `kernels` has units by id.
  defstruct [:ref, next: 0, depth: 0, body: [], captures: [], captured: %{}, callees: %{}] ++
              [kernels: %{}]

  def active?, do: Process.get(@key) != nil

  @doc """
  Emits or sends an op. `attrs` are `{name, wire value}`. `in_place` is the position of the operand
  that is written, or nil.
  """
  def op(name, operands, attrs, in_place \\ nil) do
    if active?(),
      do: emit(name, operands, attrs, in_place),
      else: eager(name, operands, attrs, in_place)
  end

  @doc "As `op/4`, for an op with several results. Returns a tuple."
  def op_many(name, operands, attrs, results) do
    if active?(),
      do: List.to_tuple(emit_many(name, operands, attrs, results)),
      else: eager_many(name, operands, attrs, results)
  end

  @doc "Sends an op without operands to a server."
  def create(server, name, attrs) do
    if active?() do
      raise ArgumentError,
            "inside a program, Op.#{name} takes no server: leave the first argument out"
    end

    program = instruction_program(name, [], 0, attrs, nil, [0])
    Execution.run(Server.fetch!(server), program, [], [])
  end

  ## Eagerly

  defp eager(name, operands, attrs, in_place) do
    {ins, args, count} = number_operands(name, operands)
    if args == [], do: no_tensor(name, operands)
    written = in_place && Enum.at(operands, in_place)

    cond do
      in_place && not is_struct(written, Tensor) ->
        raise ArgumentError, "InPlace.#{name} writes into a tensor, got: #{inspect(written)}"

      in_place && not Program.view?(name) ->
        program = remembered(name, ins, count, attrs, in_place, [])
        Execution.run(hd(args).server, program, args, [])
        written

      true ->
        program = remembered(name, ins, count, attrs, in_place, [count])
        Execution.run(hd(args).server, program, args, [])
    end
  end

  defp eager_many(name, operands, attrs, results) do
    {ins, args, count} = number_operands(name, operands)
    if args == [], do: no_tensor(name, operands)
    outs = Enum.to_list(count..(count + results - 1))
    instruction = %{op: name, in: ins, out: outs, attrs: attrs, regions: [], in_place: nil}
    template = {:tuple, for(i <- 0..(results - 1), do: {:result, i})}
    program = Program.build(Enum.to_list(0..(count - 1)), [instruction], outs, template, [])
    Execution.run(hd(args).server, program, args, [])
  end

  defp no_tensor(name, []) do
    raise ArgumentError,
          "outside a program, the first argument is a server: Op.#{name}(MyApp.Compute, …)"
  end

  defp no_tensor(name, operands) do
    raise ArgumentError, "Op.#{name} needs a tensor among its operands: #{inspect(operands)}"
  end

  # The operands of an instruction, the tensors among them, and the number of tensors. The same
  # tensor twice is one parameter. Tensors of two servers may have the same handle, but are
  # different.
  defp number_operands(name, operands), do: number_operands(name, operands, [], [], %{})

  defp number_operands(name, [%Tensor{} = tensor | rest], ins, args, ids) do
    key = Tensor.key(tensor)

    case ids do
      %{^key => id} ->
        number_operands(name, rest, [id | ins], args, ids)

      _ ->
        id = map_size(ids)
        number_operands(name, rest, [id | ins], [tensor | args], Map.put(ids, key, id))
    end
  end

  defp number_operands(name, [number | rest], ins, args, ids) do
    number_operands(name, rest, [literal(name, number) | ins], args, ids)
  end

  defp number_operands(_name, [], ins, args, ids),
    do: {:lists.reverse(ins), :lists.reverse(args), map_size(ids)}

  # A process keeps remembered programs for its whole life, so they must be short.
  @remembered_operands_max 64

  # Loops repeat ops, so each process keeps the last program of each op.
  defp remembered(name, ins, count, attrs, in_place, outputs)
       when count > @remembered_operands_max,
       do: instruction_program(name, ins, count, attrs, in_place, outputs)

  defp remembered(name, ins, count, attrs, in_place, outputs) do
    case Process.get({__MODULE__, name}) do
      {^ins, ^attrs, ^in_place, program} ->
        program

      _ ->
        program = instruction_program(name, ins, count, attrs, in_place, outputs)
        memory = {ins, attrs, in_place, program}
        unless Enum.any?(ins, &zero?/1), do: Process.put({__MODULE__, name}, memory)
        program
    end
  end

  # Before OTP 27, 0.0 and -0.0 match each other.
  defp zero?({:number, %{"re" => re, "im" => im}}),
    do: zero?({:number, re}) or zero?({:number, im})

  defp zero?({:number, number}), do: is_float(number) and number == 0.0
  defp zero?(_id), do: false

  defp instruction_program(name, ins, count, attrs, in_place, outputs) do
    instruction = %{
      op: name,
      in: ins,
      out: [count],
      attrs: attrs,
      regions: [],
      in_place: in_place
    }

    params = if count == 0, do: [], else: Enum.to_list(0..(count - 1))
    template = if outputs == [], do: nil, else: {:result, 0}
    Program.build(params, [instruction], outputs, template, [])
  end

  defp literal(name, %Value{}) do
    raise ArgumentError,
          "Op.#{name} got a value of a program that is not being traced here; " <>
            "use a value only inside the function given to Outrigger.program/1"
  end

  defp literal(name, other) do
    case Data.literal(other) do
      {:ok, number} ->
        {:number, number}

      :error ->
        raise ArgumentError,
              "Op.#{name} takes tensors, values of the program and numbers, got: #{inspect(other)}"
    end
  end

  ## Traced

  defp emit(name, operands, attrs, in_place) do
    ins = Enum.map(operands, &operand(name, &1))
    [out] = fresh(1)
    target = in_place && Enum.at(operands, in_place)

    if in_place && not match?(%struct{} when struct in [Value, Tensor], target) do
      raise ArgumentError, "InPlace.#{name} writes into a tensor, got: #{inspect(target)}"
    end

    append(%{op: name, in: ins, out: [out], attrs: attrs, regions: [], in_place: in_place})

    param = if in_place && not Program.view?(name), do: param_of(target, Enum.at(ins, in_place))
    %Value{id: out, trace: builder().ref, param: param}
  end

  # The parameter whose tensor a value is, or nil.
  defp param_of(%Value{param: param}, _id), do: param
  defp param_of(%Tensor{}, id), do: id

  defp emit_many(name, operands, attrs, results) do
    ins = Enum.map(operands, &operand(name, &1))
    outs = fresh(results)
    append(%{op: name, in: ins, out: outs, attrs: attrs, regions: [], in_place: nil})
    for out <- outs, do: %Value{id: out, trace: builder().ref}
  end

  @doc "Emits an op with regions, or a call. Returns `count` values."
  def emit_regions(name, operands, regions, count, attrs \\ []) do
    ins = Enum.map(operands, &operand(name, &1))
    outs = fresh(count)
    append(%{op: name, in: ins, out: outs, attrs: attrs, regions: regions, in_place: nil})
    for out <- outs, do: %Value{id: out, trace: builder().ref}
  end

  @doc "Emits the call of a prepared program. Returns its results in its container."
  def call(%{program: program} = prepared, operands) do
    count = length(operands)

    if count != program.arity do
      raise ArgumentError, "#{inspect(prepared)} takes #{program.arity} operands, got #{count}"
    end

    operands = operands ++ program.captures
    attrs = [{"program_id", prepared.id}]
    results = emit_regions("call", operands, [], length(program.outputs), attrs)
    builder = builder()

    # Programs of two servers may have the same id. The run of a program that calls both is refused.
    key = {prepared.server, prepared.id}
    put(%{builder | callees: Map.put(builder.callees, key, prepared)})
    Execution.fill(program.template, operands, results)
  end

  @doc """
  Emits the call of a kernel, whose unit is `{id, encoded}`. Returns `count` values. `written` are
  the positions of the operands that it writes in place, or nil.
  """
  def kernel({id, encoded}, operands, count, written) do
    ins = Enum.map(operands, &operand("kernel", &1))
    outs = fresh(count)
    attrs = [{"kernel_id", id}]
    append(%{op: "kernel", in: ins, out: outs, attrs: attrs, regions: [], in_place: written})
    builder = builder()
    put(%{builder | kernels: Map.put(builder.kernels, id, encoded)})
    for out <- outs, do: %Value{id: out, trace: builder.ref}
  end

  @doc "An operand, as a value of the program."
  def same(%Value{} = value), do: value

  def same(%Tensor{} = tensor) do
    id = operand("kernel", tensor)
    %Value{id: id, trace: builder().ref, param: id}
  end

  @doc "Traces a function of `count` parameters into a region: `{region, returned}`."
  def region(count, fun) do
    outer = builder()
    Program.check_depth!(outer.depth + 1)
    params = fresh(count)
    put(%{builder() | body: [], depth: outer.depth + 1})
    returned = fun.(for id <- params, do: %Value{id: id, trace: outer.ref})
    outputs = returned |> values() |> Enum.map(&output_id/1)
    inner = builder()
    put(%{inner | body: outer.body, depth: outer.depth})
    {%{params: params, body: :lists.reverse(inner.body), outputs: outputs}, returned}
  end

  @doc "The values of a container: one value, a tuple or a list."
  def values(tuple) when is_tuple(tuple), do: Tuple.to_list(tuple)
  def values(list) when is_list(list), do: list
  def values(single), do: [single]

  @doc "Values in a container of the same form as the first argument."
  def like(tuple, values) when is_tuple(tuple), do: List.to_tuple(values)
  def like(list, values) when is_list(list), do: values
  def like(_single, [value]), do: value

  defp output_id(value) when is_struct(value, Value) or is_struct(value, Tensor),
    do: operand("output", value)

  defp output_id(number) when is_number(number) do
    raise ArgumentError,
          "a traced function returned the number #{number}; return a value, " <>
            "such as Op.constant(#{number}, :f32, {})"
  end

  defp output_id(other) do
    raise ArgumentError,
          "a traced function returns a value, or a tuple or list of values, got: #{inspect(other)}"
  end

  @doc "Traces a whole program."
  def program(arity, fun) do
    if active?(), do: raise(ArgumentError, "programs do not nest; Op.call/2 calls a program")
    put(%__MODULE__{ref: make_ref()})

    try do
      params = fresh(arity)
      ref = builder().ref
      returned = apply(fun, for(id <- params, do: %Value{id: id, trace: ref, param: id}))
      {template, outputs} = outputs(returned)
      %{body: body, captures: captures, callees: callees, kernels: kernels} = builder()
      captures = :lists.reverse(captures)
      {captured_ids, captured} = Enum.unzip(captures)
      params = params ++ captured_ids
      template = relocate(template, params |> Enum.with_index() |> Map.new())
      callees = Map.values(callees)
      kernels = Map.to_list(kernels)
      Program.build(params, :lists.reverse(body), outputs, template, captured, callees, kernels)
    after
      Process.delete(@key)
    end
  end

  # A returned parameter, or a value that was written in place into a parameter, becomes the
  # argument itself. Any other value that is returned twice is one result.
  defp outputs(returned) do
    {entries, {outputs, _indices}} =
      returned
      |> values()
      |> Enum.map_reduce({[], %{}}, fn value, {outputs, indices} ->
        id = output_id(value)

        case {value, indices} do
          {%Value{param: param}, _} when is_integer(param) ->
            {{:param, param}, {outputs, indices}}

          {%Tensor{}, _} ->
            {{:param, id}, {outputs, indices}}

          {_, %{^id => index}} ->
            {{:result, index}, {outputs, indices}}

          _ ->
            index = map_size(indices)
            {{:result, index}, {[id | outputs], Map.put(indices, id, index)}}
        end
      end)

    {like(returned, entries) |> wrap(returned), :lists.reverse(outputs)}
  end

  defp wrap(entries, returned) when is_tuple(returned), do: {:tuple, Tuple.to_list(entries)}
  defp wrap(entries, returned) when is_list(returned), do: {:list, entries}
  defp wrap(entry, _single), do: entry

  # The template names parameters by their place among the arguments.
  defp relocate({container, entries}, places) when container in [:tuple, :list] do
    {container, Enum.map(entries, &relocate(&1, places))}
  end

  defp relocate({:param, id}, places), do: {:param, Map.fetch!(places, id)}
  defp relocate({:result, index}, _places), do: {:result, index}

  defp operand(name, %Value{trace: ref} = value) do
    if ref != builder().ref, do: literal(name, value), else: value.id
  end

  # A tensor becomes a hidden argument of the program.
  defp operand(_name, %Tensor{} = tensor) do
    key = Tensor.key(tensor)

    case builder() do
      %{captured: %{^key => id}} ->
        id

      _ ->
        [id] = fresh(1)
        %{captures: captures, captured: captured} = builder = builder()
        captured = Map.put(captured, key, id)
        put(%{builder | captures: [{id, tensor} | captures], captured: captured})
        id
    end
  end

  defp operand(name, other), do: literal(name, other)

  defp fresh(0), do: []

  defp fresh(count) do
    builder = builder()
    put(%{builder | next: builder.next + count})
    Enum.to_list(builder.next..(builder.next + count - 1))
  end

  defp append(instruction) do
    builder = builder()
    put(%{builder | body: [instruction | builder.body]})
  end

  defp builder, do: Process.get(@key)
  defp put(builder), do: Process.put(@key, builder)
end
