defmodule Outrigger.Kernel.Emit do
  @moduledoc false
  # Statements with resolved names and types → the flat nodes and blocks of a unit.
  #
  # Each type is spelled out: an operand of another type gets an `as` node. Whatever does not meet
  # its place without a loss is a compile error.

  import Outrigger.Kernel.Scope, only: [fail: 3]
  alias Outrigger.Kernel.{Infer, Types}

  defstruct [:s, :types, :tensors, count: 0, nodes: [], blocks: [], slots: [], statements: []]

  @doc "The kernel of the wire, from the statements of its body."
  def kernel(name, file, params, statements, s) do
    types = Infer.solve(statements, s)
    tensors = numbers(s)

    # A variable without a type is never given a value that is used.
    slots = for id <- 0..(map_size(s.vars) - 1)//1, do: slot_type(types[id])
    s = %{s | results: results(s, types)}
    m = %__MODULE__{s: s, types: types, tensors: tensors, slots: Enum.reverse(slots)}
    {_body, m} = block(statements, m)

    %{
      name: name,
      file: file,
      dims: Enum.count(s.names, &match?({_, {:dim, _}}, &1)),
      params: params(params, s),
      scratch: s.scratch,
      local: s.local,
      tensors: names(s, tensors),
      slots: Enum.reverse(m.slots),
      results: s.results,
      returns: returns(s, tensors),
      consumed: consumed(s, tensors),
      nodes: Enum.reverse(m.nodes),
      blocks: Enum.reverse(m.blocks)
    }
  end

  # A tensor that the kernel has consumed is written in place.
  defp params(params, s) do
    {params, _count} =
      Enum.map_reduce(params, 0, fn
        [:scalar, _] = param, number ->
          {param, number}

        [mode, dtype, dims], number ->
          consumed = s.tensors[{:param, number}].mode == :consumed
          {[if(consumed, do: :mut, else: mode), dtype, dims], number + 1}
      end)

    params
  end

  # The numbers of the parameters that the kernel has consumed: for the caller they are values.
  defp consumed(s, tensors),
    do: for({{:param, _} = key, %{mode: :consumed}} <- s.tensors, do: tensors[key])

  defp results(%{returns: nil} = s, _types), do: s.results

  defp results(s, types),
    do: for({:scalar, e} <- s.returns, do: e |> Infer.type(types, s) |> result_type(e, s))

  defp result_type({:error, reason}, e, s), do: fail(s, elem(e, 1), clash(reason))

  defp result_type(:bool, e, s),
    do: fail(s, elem(e, 1), "a result is a number: if c, do: 1, else: 0")

  defp result_type(type, _e, _s), do: Types.default(type)

  # The results for the caller: numbers and tensors, in the order of the source.
  defp returns(%{returns: nil}, _tensors), do: nil

  defp returns(s, tensors) do
    {parts, _count} =
      Enum.map_reduce(s.returns, 0, fn
        {:scalar, _}, count -> {{:value, count}, count + 1}
        {:tensor, tensor}, count -> {{:tensor, tensors[tensor]}, count}
      end)

    parts
  end

  defp slot_type(type) when type in [:none] or is_tuple(type), do: :s64
  defp slot_type(type), do: type

  # Tensor parameters, then scratch, then local.
  defp numbers(s) do
    order = %{param: 0, scratch: 1, local: 2}

    s.tensors
    |> Map.keys()
    |> Enum.sort_by(fn {kind, number} -> {order[kind], number} end)
    |> Enum.with_index()
    |> Map.new()
  end

  defp names(s, tensors) do
    for {tensor, _} <- Enum.sort_by(tensors, &elem(&1, 1)), do: s.tensors[tensor].name
  end

  defp node(m, node), do: {m.count, %{m | count: m.count + 1, nodes: [node | m.nodes]}}

  defp statement_node(m, node) do
    {at, m} = node(m, node)
    %{m | statements: [at | m.statements]}
  end

  # Returns the number of the block.
  defp block(statements, m),
    do: block_of(m, &Enum.reduce(statements, &1, fn s, m -> statement(s, m) end))

  defp block_of(m, fill) do
    outer = m.statements
    close(fill.(%{m | statements: []}), outer)
  end

  defp close(m, outer) do
    blocks = [Enum.reverse(m.statements) | m.blocks]
    {length(m.blocks), %{m | blocks: blocks, statements: outer}}
  end

  defp temporary(m, type), do: {length(m.slots), %{m | slots: [type | m.slots]}}

  defp statement({:set, line, [id], [e]}, m) do
    {at, m} = set_value(id, e, line, m)
    statement_node(m, [:set, line, id, at])
  end

  defp statement({:set, line, ids, values}, m) do
    {temporaries, m} =
      Enum.zip(ids, values)
      |> Enum.map_reduce(m, fn {id, e}, m ->
        {at, m} = set_value(id, e, line, m)
        {slot, m} = temporary(m, m.types[id])
        {slot, statement_node(m, [:set, line, slot, at])}
      end)

    ids
    |> Enum.zip(temporaries)
    |> Enum.reduce(m, fn {id, slot}, m ->
      {at, m} = node(m, [:slot, line, slot])
      statement_node(m, [:set, line, id, at])
    end)
  end

  defp statement({:store, line, tensor, indices, e, source}, m) do
    %{dtype: dtype} = m.s.tensors[tensor]
    fits!(m, line, dtype, e, fn -> "#{Macro.to_string(source)} holds #{dtype}" end)
    index_types = Enum.map(indices, &index_type(&1, line, m))
    {[value | indices], m} = ordered([{e, dtype} | Enum.zip(indices, index_types)], m)
    statement_node(m, [:store, line, m.tensors[tensor], indices, value])
  end

  defp statement({:if, line, condition, yes, no}, m) do
    {condition, m} = condition(condition, line, m)
    {yes, m} = block(yes, m)
    {no, m} = block(no, m)
    statement_node(m, [:if, line, condition, yes, no])
  end

  defp statement({:while, line, condition, body}, m) do
    outer = m.statements
    {condition, m} = condition(condition, line, %{m | statements: []})
    {first, m} = close(m, outer)
    {body, m} = block(body, m)
    statement_node(m, [:while, line, first, condition, body])
  end

  defp statement({:for, line, id, a, b, step, body}, m) do
    for {e, what} <- [{a, "the begin"}, {b, "the end"}, {step, "the step"}],
        do: fits!(m, line, :s64, e, "#{what} of a range is s64")

    {[a, b, step], m} = ordered([{a, :s64}, {b, :s64}, {step, :s64}], m)
    {body, m} = block(body, m)
    statement_node(m, [:for, line, id, a, b, step, body, nil])
  end

  defp statement({:return, line, values}, m) do
    for {e, dtype} <- Enum.zip(values, m.s.results),
        do: fits!(m, line, dtype, e, "the result is #{dtype}")

    {values, m} = ordered(Enum.zip(values, m.s.results), m)
    statement_node(m, [:return, line, values])
  end

  defp statement({:raise, line, text, values}, m) do
    {values, m} = ordered(Enum.map(values, &{&1, own_type(&1, line, m)}), m)
    statement_node(m, [:raise, line, text, values])
  end

  # The call gives its own types. A variable of another type takes a conversion.
  defp statement({:give, line, {:call, _, _, results, _} = call, ids}, m) do
    {call, m} = call(call, m)

    {slots, m} =
      ids
      |> Enum.zip(results)
      |> Enum.map_reduce(m, fn {id, dtype}, m ->
        fits_type!(m, line, m.types[id], dtype, "#{m.s.vars[id].name} is #{m.types[id]}")
        if m.types[id] == dtype, do: {id, m}, else: temporary(m, dtype)
      end)

    m = statement_node(m, [:give, line, call, slots])

    for {id, slot} <- Enum.zip(ids, slots), id != slot, reduce: m do
      m ->
        {at, m} = node(m, [:slot, line, slot])
        {at, m} = node(m, [:as, line, m.types[id], at])
        statement_node(m, [:set, line, id, at])
    end
  end

  defp statement({jump, line}, m), do: statement_node(m, [jump, line])

  # The value of a variable. A parameter's type is declared; each other variable has the type in
  # which its values meet.
  defp set_value(id, e, line, m) do
    case m.types[id] do
      {:error, reason} ->
        fail(
          m.s,
          line,
          "#{m.s.vars[id].name} is given values without a common type: " <> clash(reason)
        )

      type ->
        fits!(m, line, type, e, "#{m.s.vars[id].name} is #{type}")
        expression(e, type, m)
    end
  end

  defp condition(e, line, m) do
    type = checked(Infer.type(e, m.types, m.s), line, m)

    if type != :bool do
      fail(m.s, line, "#{Types.name(type)} is no condition: write a comparison, x != 0")
    end

    expression(e, :bool, m)
  end

  # Checks that the value fits the place without a change of the place's type.
  defp fits!(m, line, place, e, text) do
    type = checked(Infer.type(e, m.types, m.s), line(e, line), m)
    fits_type!(m, line, place, type, text)
  end

  defp fits_type!(m, line, place, type, text) do
    if Types.merge(place, type) != place, do: does_not_fit(m, line, place, type, text)
  end

  defp does_not_fit(m, line, place, type, text) do
    text = if is_function(text), do: text.(), else: text

    problem =
      cond do
        place == :bool -> "#{text}, the value is #{Types.name(type)}"
        type == :bool -> "#{text}, the value is a condition: if c, do: 1, else: 0"
        true -> "#{text}, the value is #{Types.name(type)}: #{place}(…)"
      end

    fail(m.s, line, problem)
  end

  defp checked({:error, reason}, line, m), do: fail(m.s, line, clash(reason))
  defp checked(type, _line, _m), do: type

  defp clash(:u64),
    do: "u64 and a type with a sign have no common integer: write s64(…) or u64(…)"

  defp clash(:bool), do: "a condition and a number have no common type: if c, do: 1, else: 0"
  defp clash(:large), do: "a literal needs more than 64 bits"

  defp line(e, _default) when is_tuple(e), do: elem(e, 1)
  defp line(_e, default), do: default

  # The type of an expression on its own: literals become s64 or f64.
  defp own_type(e, line, m),
    do: e |> Infer.type(m.types, m.s) |> checked(line, m) |> Types.default()

  defp index_type(e, line, m) do
    type = own_type(e, line, m)

    if Types.integer?(type),
      do: type,
      else: fail(m.s, line, "an index is an integer, not #{Types.name(type)}")
  end

  # Expressions that are evaluated in this order. If a later one consists of statements, the values
  # of those before it wait in variables.
  defp ordered(pairs, m) do
    statements = Enum.map(pairs, fn {e, _type} -> statements?(e) end)

    later =
      statements |> Enum.reverse() |> Enum.scan(&(&1 or &2)) |> Enum.reverse() |> Enum.drop(1)

    {ats, m} =
      pairs
      |> Enum.zip(later ++ [false])
      |> Enum.map_reduce(m, fn
        {{e, type}, true}, m when elem(e, 0) not in [:number, :bool, :dim, :size] ->
          {at, m} = expression(e, type, m)
          {slot, m} = temporary(m, type)
          {{:slot, line(e, 0), slot}, statement_node(m, [:set, line(e, 0), slot, at])}

        {{e, type}, _}, m ->
          expression(e, type, m)
      end)

    Enum.map_reduce(ats, m, fn
      {:slot, line, slot}, m -> node(m, [:slot, line, slot])
      at, m -> {at, m}
    end)
  end

  # True if an expression needs statements before it.
  defp statements?({:if, _, c, {s1, a}, {s2, b}}),
    do: s1 != [] or s2 != [] or Enum.any?([c, a, b], &statements?/1)

  defp statements?({:block, _, _, _}), do: true
  defp statements?({:load, _, _, indices}), do: Enum.any?(indices, &statements?/1)
  defp statements?({:as, _, _, e}), do: statements?(e)
  defp statements?({op, _, a, b}) when op in [:and, :or], do: statements?(a) or statements?(b)
  defp statements?({:op, _, _, operands}), do: Enum.any?(operands, &statements?/1)

  defp statements?({:call, _, _, _, args}) do
    Enum.any?(args, fn
      {_, {:tensor, _, indices}} -> Enum.any?(indices, &statements?/1)
      {_, e} -> statements?(e)
    end)
  end

  defp statements?(_leaf), do: false

  # The node of an expression, converted to `want`. Literals are made in that type.
  defp expression(e, want, m) do
    type = checked(Infer.type(e, m.types, m.s), line(e, 0), m)
    own = if Types.weak?(type) or type == :none, do: want, else: type
    {at, m} = build(e, own, m)
    if own == want, do: {at, m}, else: node(m, [:as, line(e, 0), want, at])
  end

  defp build({:number, line, n}, type, m), do: node(m, [:number, line, type, literal(n, type)])
  defp build({:bool, line, flag}, :bool, m), do: node(m, [:number, line, :bool, flag])
  defp build({:dim, line, number}, :s64, m), do: node(m, [:dim, line, number])

  defp build({:size, line, tensor, axis}, :s64, m),
    do: node(m, [:size, line, m.tensors[tensor], axis])

  defp build({:slot, line, id}, _type, m), do: node(m, [:slot, line, id])

  defp build({:load, line, tensor, indices}, _type, m) do
    {indices, m} = ordered(Enum.map(indices, &{&1, index_type(&1, line, m)}), m)
    node(m, [:load, line, m.tensors[tensor], indices])
  end

  defp build({:as, line, dtype, {:number, _, n} = e}, dtype, m) when is_integer(n) do
    if Types.float?(dtype) or Types.fits?(n, dtype) do
      node(m, [:number, line, dtype, literal(n, dtype)])
    else
      convert(line, dtype, e, m)
    end
  end

  defp build({:as, line, dtype, e}, dtype, m), do: convert(line, dtype, e, m)

  defp build({op, line, a, b}, :bool, m) when op in [:and, :or] do
    for e <- [a, b], do: bool!(e, op, line, m)

    if statements?(b) do
      {slot, m} = temporary(m, :bool)
      {a, m} = expression(a, :bool, m)
      m = statement_node(m, [:set, line, slot, a])
      {b_block, m} = block_of(m, &set_temporary(b, :bool, slot, &1))
      {empty, m} = block([], m)
      {condition, m} = node(m, [:slot, line, slot])
      {yes, no} = if op == :and, do: {b_block, empty}, else: {empty, b_block}
      m = statement_node(m, [:if, line, condition, yes, no])
      node(m, [:slot, line, slot])
    else
      {a, m} = expression(a, :bool, m)
      {b, m} = expression(b, :bool, m)
      node(m, [op, line, a, b])
    end
  end

  defp build({:if, line, c, {s1, a}, {s2, b}} = e, type, m) do
    if statements?(e) do
      {slot, m} = temporary(m, type)
      {c, m} = condition(c, line, m)
      {yes, m} = side(s1, a, type, slot, m)
      {no, m} = side(s2, b, type, slot, m)
      m = statement_node(m, [:if, line, c, yes, no])
      node(m, [:slot, line, slot])
    else
      {c, m} = condition(c, line, m)
      {a, m} = expression(a, type, m)
      {b, m} = expression(b, type, m)
      node(m, [:select, line, c, a, b])
    end
  end

  defp build({:block, _, statements, e}, type, m),
    do: expression(e, type, Enum.reduce(statements, m, &statement/2))

  defp build({:call, _, _, _, _} = call, _type, m), do: call(call, m)

  defp build({:op, line, :not, [a]}, :bool, m) do
    bool!(a, :not, line, m)
    {a, m} = expression(a, :bool, m)
    node(m, [:not, line, a])
  end

  defp build({:op, line, name, operands}, type, m) do
    meeting = checked(Infer.meeting(operands, m.types, m.s), line, m)
    check_operands(name, meeting, line, m)

    # Literals on their own are computed in the type that the place wants.
    compute =
      cond do
        not Types.weak?(meeting) -> meeting
        name in Infer.compare() or name == :is_nan -> Types.default(meeting)
        true -> type
      end

    {ats, m} = ordered(Enum.map(operands, &{&1, compute}), m)
    node(m, [name, line | ats])
  end

  defp convert(line, dtype, e, m) do
    own = own_type(e, line, m)

    if own == :bool,
      do: fail(m.s, line, "#{dtype}(…) takes a number, not a condition: if c, do: 1, else: 0")

    {at, m} = expression(e, own, m)
    if own == dtype, do: {at, m}, else: node(m, [:as, line, dtype, at])
  end

  defp bool!(e, op, line, m) do
    type = checked(Infer.type(e, m.types, m.s), line, m)

    if type != :bool,
      do:
        fail(m.s, line, "`#{op}` takes conditions, and #{Types.name(type)} is none: write x != 0")
  end

  defp check_operands(name, type, line, m) do
    integer = Types.integer?(type) or match?({:int, _, _}, type)

    cond do
      type == :bool ->
        fail(m.s, line, "#{name} takes numbers, not conditions")

      name == :divide and integer ->
        fail(m.s, line, "/ divides floats: write div(a, b), or f64(a) / b")

      name in Infer.float_only() and integer ->
        fail(m.s, line, "#{name} takes floats: #{name}(f64(…))")

      name in Infer.integer_only() and not integer ->
        instead = %{quotient: ": write a / b", remainder: ": write a - trunc(a / b) * b"}[name]
        fail(m.s, line, "#{name} takes integers, not #{Types.name(type)}#{instead}")

      name == :is_nan and integer ->
        fail(m.s, line, "is_nan takes floats: an integer is never NaN")

      true ->
        :ok
    end
  end

  # A side of a value, as a block that sets the variable of the value.
  defp side(statements, value, type, slot, m) do
    block_of(m, fn m ->
      m = Enum.reduce(statements, m, &statement/2)
      if value == nil, do: m, else: set_temporary(value, type, slot, m)
    end)
  end

  defp set_temporary(e, type, slot, m) do
    {at, m} = expression(e, type, m)
    statement_node(m, [:set, line(e, 0), slot, at])
  end

  defp call({:call, line, key, _results, args}, m) do
    for {[:scalar, dtype], e} <- args, do: fits!(m, line, dtype, e, "the parameter is #{dtype}")

    pairs =
      Enum.flat_map(args, fn
        {_, {:tensor, _, indices}} -> Enum.map(indices, &{&1, index_type(&1, line, m)})
        {[:scalar, dtype], e} -> [{e, dtype}]
      end)

    {ats, m} = ordered(pairs, m)

    {args, []} =
      Enum.map_reduce(args, ats, fn
        {_, {:tensor, tensor, indices}}, ats ->
          {own, rest} = Enum.split(ats, length(indices))
          {[m.tensors[tensor] | own], rest}

        {_, _e}, [at | rest] ->
          {at, rest}
      end)

    node(m, [:call, line, key, args])
  end

  defp literal(n, dtype) when dtype in [:f32, :f64] and is_integer(n), do: n * 1.0
  defp literal(n, _dtype), do: n
end
