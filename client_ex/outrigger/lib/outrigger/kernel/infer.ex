defmodule Outrigger.Kernel.Infer do
  @moduledoc false
  # The types of variables and expressions.
  #
  # A variable has the common type of all values that it is given. A variable that is given literals
  # only takes the type of its first other operand in arithmetic. The types are found in rounds: a
  # round merges the types of all values that a variable is given, until nothing changes.

  alias Outrigger.Kernel.Types

  @compare [:equal, :not_equal, :less, :less_equal, :greater, :greater_equal]
  @float_only [:divide, :sqrt, :floor, :ceil, :trunc, :pow, :atan2] ++
                ~w(exp log sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh)a
  @integer_only ~w(quotient remainder bitwise_and bitwise_or bitwise_xor bitwise_not left_shift
                   right_shift population_count count_leading_zeros count_trailing_zeros)a

  def compare, do: @compare
  def float_only, do: @float_only
  def integer_only, do: @integer_only

  @doc "The types of the variables of a body. `s` has those of the parameters and the tensors."
  def solve(statements, s) do
    {sets, meetings} = gather_block(statements, {[], []})
    {sets, meetings} = {Enum.reverse(sets), Enum.reverse(meetings)}
    fixed = for {id, %{type: type}} <- s.vars, type != nil, into: %{}, do: {id, type}
    start = for {id, _} <- s.vars, into: %{}, do: {id, :none}
    all = Map.merge(start, fixed)
    types = settle(all, sets, fixed, meetings, s)
    defaults = Map.new(types, fn {id, type} -> {id, Types.default(type)} end)
    rounds(defaults, sets, fixed, s)
  end

  # Gives one variable after the other the type that it meets.
  defp settle(start, sets, fixed, meetings, s) do
    types = rounds(start, sets, fixed, s)

    case Enum.find_value(meetings, &adoption(&1, types, s)) do
      nil -> types
      {id, type} -> settle(%{start | id => type}, sets, fixed, meetings, s)
    end
  end

  defp rounds(types, sets, fixed, s) do
    next =
      Enum.reduce(sets, types, fn {id, e}, types ->
        if Map.has_key?(fixed, id) do
          types
        else
          Map.update!(types, id, &Types.merge(&1, given(e, types, s)))
        end
      end)

    if next == types, do: types, else: rounds(next, sets, fixed, s)
  end

  defp given({:given, dtype}, _types, _s), do: dtype
  defp given(e, types, s), do: type(e, types, s)

  # {id, type} of the first variable of literals that has met a type.
  defp adoption(operands, types, s) do
    known = Enum.map(operands, &{&1, type(&1, types, s)})

    Enum.find_value(known, fn {e, type} ->
      other = Enum.find_value(known, fn {_, other} -> if concrete?(other), do: other end)

      if other && adopts?(type, other) do
        case literal_variables(e, types, s) do
          [id | _] -> {id, other}
          [] -> nil
        end
      end
    end)
  end

  defp concrete?(type), do: Types.integer?(type) or Types.float?(type)
  defp adopts?({:int, _, _}, _other), do: true
  defp adopts?(:float, other), do: Types.float?(other)
  defp adopts?(_type, _other), do: false

  defp literal_variables({:slot, _, id}, types, _s),
    do: if(Types.weak?(types[id]), do: [id], else: [])

  defp literal_variables({:op, _, _, operands}, types, s),
    do: Enum.flat_map(operands, &literal_variables(&1, types, s))

  defp literal_variables({:if, _, _, {_, a}, {_, b}}, types, s),
    do: literal_variables(a, types, s) ++ literal_variables(b, types, s)

  defp literal_variables({:block, _, _, e}, types, s), do: literal_variables(e, types, s)
  defp literal_variables(_e, _types, _s), do: []

  @doc "The type of an expression."
  def type(nil, _types, _s), do: :none
  def type({:number, _, n}, _types, _s), do: Types.literal(n)
  def type({:bool, _, _}, _types, _s), do: :bool
  def type({:slot, _, id}, types, _s), do: Map.fetch!(types, id)
  def type({:dim, _, _}, _types, _s), do: :s64
  def type({:size, _, _, _}, _types, _s), do: :s64
  def type({:load, _, tensor, _}, _types, s), do: s.tensors[tensor].dtype
  def type({:as, _, dtype, _}, _types, _s), do: dtype
  def type({op, _, _, _}, _types, _s) when op in [:and, :or], do: :bool
  def type({:call, _, _, results, _}, _types, _s), do: List.first(results) || :none

  def type({:block, _, _, e}, types, s), do: type(e, types, s)

  def type({:if, _, _, {_, a}, {_, b}}, types, s),
    do: Types.merge(type(a, types, s), type(b, types, s))

  def type({:op, _, name, _}, _types, _s) when name in @compare, do: :bool
  def type({:op, _, name, _}, _types, _s) when name in [:not, :is_nan], do: :bool

  def type({:op, _, name, operands}, types, s) do
    case meeting(operands, types, s) do
      # Literals alone: 1 / 3 is an error, and 1.0 / 3 a float.
      {:int, _, _} = weak -> if name in @float_only, do: :float, else: weak
      type -> if name in @float_only and Types.integer?(type), do: :f32, else: type
    end
  end

  @doc "The type in which operands meet."
  def meeting(operands, types, s),
    do: operands |> Enum.map(&type(&1, types, s)) |> Enum.reduce(&Types.merge(&2, &1))

  # The values that variables are given, and the operands that meet in arithmetic, in reverse.
  defp gather_block(statements, acc), do: Enum.reduce(statements, acc, &gather_statement/2)

  defp gather_statement({:set, _, ids, values}, acc) do
    {sets, meetings} = gather(values, acc)
    {Enum.reverse(Enum.zip(ids, values)) ++ sets, meetings}
  end

  defp gather_statement({:give, _, {:call, _, _, results, _} = call, ids}, acc) do
    {sets, meetings} = gather(call, acc)
    given = for {id, dtype} <- Enum.zip(ids, results), do: {id, {:given, dtype}}
    {given ++ sets, meetings}
  end

  defp gather_statement({:if, _, c, yes, no}, acc),
    do: gather_block(no, gather_block(yes, gather(c, acc)))

  defp gather_statement({:while, _, c, body}, acc), do: gather_block(body, gather(c, acc))

  defp gather_statement({:for, _, _, a, b, step, body}, acc),
    do: gather_block(body, gather([a, b, step], acc))

  defp gather_statement({:store, _, _, indices, value, _}, acc),
    do: gather([value | indices], acc)

  defp gather_statement({:return, _, values}, acc), do: gather(values, acc)
  defp gather_statement({:raise, _, _, values}, acc), do: gather(values, acc)
  defp gather_statement({jump, _}, acc) when jump in [:break, :continue], do: acc

  defp gather(list, acc) when is_list(list), do: Enum.reduce(list, acc, &gather/2)
  defp gather({:load, _, _, indices}, acc), do: gather(indices, acc)
  defp gather({:as, _, _, e}, acc), do: gather(e, acc)
  defp gather({op, _, a, b}, acc) when op in [:and, :or], do: gather([a, b], acc)

  defp gather({:op, _, _, operands}, acc) do
    {sets, meetings} = gather(operands, acc)
    if length(operands) > 1, do: {sets, [operands | meetings]}, else: {sets, meetings}
  end

  defp gather({:block, _, statements, e}, acc), do: gather(e, gather_block(statements, acc))

  defp gather({:if, _, c, {s1, a}, {s2, b}}, acc) do
    acc = gather(a, gather_block(s1, gather(c, acc)))
    gather(b, gather_block(s2, acc))
  end

  defp gather({:call, _, _, _, args}, acc) do
    Enum.reduce(args, acc, fn
      {_, {:tensor, _, indices}}, acc -> gather(indices, acc)
      {_, e}, acc -> gather(e, acc)
    end)
  end

  defp gather(_leaf, acc), do: acc
end
