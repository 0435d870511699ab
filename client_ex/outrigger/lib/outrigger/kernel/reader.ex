defmodule Outrigger.Kernel.Reader do
  @moduledoc false
  # Elixir's AST of a body → statements with resolved names:
  #
  #     {:set, line, [id], [expression]}         {:store, line, tensor, [index], expression, source}
  #     {:if, line, condition, block, block}     {:while, line, condition, block}
  #     {:for, line, id, a, b, step, block}      {:break, line}    {:continue, line}
  #     {:return, line, [expression]}            {:raise, line, text, [expression]}
  #     {:give, line, call, [id]}
  #
  # A block is a list of statements. Outrigger.Kernel.Expression reads expressions. The reader walks
  # the body in the order of its execution, and checks on its way that variables are bound.

  import Outrigger.Kernel.Scope,
    only: [
      check_kept: 3,
      at: 2,
      bind: 2,
      deeper: 2,
      fail: 3,
      line: 2,
      meet: 2,
      name_key: 1,
      new_var: 4,
      tensor: 2
    ]

  alias Outrigger.Kernel.{Expression, Memory, Plain, Scope}

  @doc "Reads the whole body of a kernel. Returns its statements and the scope."
  def body(ast, s) do
    {statements, s} = tail(ast, s)

    if s.results != [] and s.bound != :dead do
      fail(
        s,
        last_meta(ast),
        "the kernel gives #{Enum.join(s.results, ", ")}: its last line is a value, or each way " <>
          "through it ends with `return`"
      )
    end

    {Enum.reverse(s.prologue) ++ statements, s}
  end

  # The last statement of a kernel with results is its value.
  defp tail(nil, s), do: {[], s}
  defp tail({:__block__, _, []}, s), do: {[], s}

  defp tail({:__block__, _, statements}, s) do
    {before, [last]} = Enum.split(statements, -1)
    {before, s} = block({:__block__, [], before}, s)
    {last, s} = tail(last, s)
    {before ++ last, s}
  end

  defp tail(_ast, %{bound: :dead} = s), do: {[], s}

  defp tail(ast, %{results: [], inferred: true} = s) do
    if inferred?(ast, s), do: give_inferred(ast, s), else: statement(ast, s)
  end

  defp tail(ast, %{results: []} = s), do: statement(ast, s)

  defp tail({form, meta, [condition, clauses]}, s) when form in [:if, :unless] do
    branches(form, meta, condition, clauses, s, &tail/2)
  end

  defp tail({:cond, meta, [[do: clauses]]}, s), do: cond_clauses(clauses, meta, s, &tail/2)

  defp tail({form, _, _} = ast, s)
       when form in [:=, :for, :while, :return, :raise, :break, :continue],
       do: statement(ast, s)

  defp tail({name, meta, _} = ast, s) when is_atom(name) do
    case Expression.expand(ast, s) do
      {:ok, expanded, s} -> tail(expanded, s)
      :error -> give_back(ast, meta, s)
    end
  end

  defp tail(ast, s), do: give_back(ast, meta(ast), s)

  defp give_back(ast, meta, s), do: statement({:return, meta, [ast]}, s)

  # True if the last line of a kernel without types of results is its value.
  defp inferred?({form, _, [_condition, [do: yes, else: no]]}, s) when form in [:if, :unless],
    do: inferred?(last(yes), s) or inferred?(last(no), s)

  defp inferred?({:for, _, _} = ast, _s), do: Plain.reduce?(ast)

  defp inferred?({form, _, _}, _s)
       when form in [:=, :while, :return, :raise, :break, :continue, :if, :unless, :cond],
       do: false

  defp inferred?({form, _, _} = ast, s) when form not in [:{}, :@] do
    case Expression.expand(ast, s) do
      {:ok, expanded, s} -> inferred?(expanded, s)
      :error -> Plain.function(ast) != nil or Expression.call(ast, s) == :error
    end
  end

  defp inferred?(_ast, _s), do: true

  defp last({:__block__, _, [_ | _] = lines}), do: List.last(lines)
  defp last(ast), do: ast

  defp give_inferred(ast, s) do
    {statements, value, s} = Plain.value(ast, s)
    parts = if match?({:tuple, _}, value), do: elem(value, 1), else: [value]
    line = s.line

    tensors =
      for {:tensor, tensor} <- parts, into: %{} do
        if not match?({:param, _}, tensor) do
          fail(s, line, "a tensor that is a result is a parameter, or new(…) in the head")
        end

        info = s.tensors[tensor]
        {tensor, if(info.mode == :in, do: %{info | mode: :consumed}, else: info)}
      end

    values = for {:scalar, e} <- parts, do: e
    s = %{s | returns: parts, tensors: Map.merge(s.tensors, tensors), bound: :dead}
    {statements ++ [{:return, line, values}], s}
  end

  @doc "Reads the statements of a block."
  def block({:__block__, _, statements}, s) do
    Enum.reduce(statements, {[], s}, fn ast, {done, s} ->
      {more, s} = statement(ast, s)
      {done ++ more, s}
    end)
  end

  def block(nil, s), do: {[], s}
  def block(ast, s), do: statement(ast, s)

  # Code that is never reached is not read.
  defp statement(_ast, %{bound: :dead} = s), do: {[], s}

  defp statement({:__block__, _, _} = ast, s), do: block(ast, s)

  defp statement({:=, meta, [{:{}, _, lefts}, right]}, s),
    do: tuple(lefts, right, meta, at(s, meta))

  defp statement({:=, meta, [{left1, left2}, right]}, s),
    do: tuple([left1, left2], right, meta, at(s, meta))

  defp statement({:=, meta, [{{:., _, [Access, :get]}, _, _} = left, right]}, s),
    do: store(left, right, meta, at(s, meta))

  defp statement({:=, meta, [{name, _, context} = left, right]}, s)
       when is_atom(name) and is_atom(context) do
    s = at(s, meta)

    case right do
      {kind, _, [type]} when kind in [:scratch, :local] ->
        Memory.declare(kind, left, type, meta, s)

      _ ->
        if Plain.value?(right), do: plain(left, right, meta, s), else: bind_scalar(left, right, s)
    end
  end

  defp statement({:=, meta, [left, _right]}, s) do
    fail(
      s,
      meta,
      "the left side of = is a variable, a tuple of variables or t[i], not #{text(left)}"
    )
  end

  defp statement({form, meta, [condition, clauses]}, s) when form in [:if, :unless],
    do: branches(form, meta, condition, clauses, s, &block/2)

  defp statement({:cond, meta, [[do: clauses]]}, s), do: cond_clauses(clauses, meta, s, &block/2)

  defp statement({:while, meta, [condition, [do: body]]}, s) do
    s = at(s, meta)
    {line, outer} = {s.line, s.breaks}
    {condition, s} = Expression.read(condition, %{s | breaks: nil})
    # The end of `while true` is reached by `break` only.
    leaves = if condition == {:bool, line, true}, do: :dead, else: s.bound
    names = s.names
    {body, s} = block(body, deeper(%{s | breaks: []}, meta))
    s = check_kept(s, names, meta)
    bound = Enum.reduce(s.breaks, leaves, &meet/2)
    {[{:while, line, condition, body}], %{s | bound: bound, breaks: outer, depth: s.depth - 1}}
  end

  defp statement({:for, meta, [_ | _] = args}, s) do
    {options, clauses} = args |> Enum.split_while(&(not Keyword.keyword?(&1))) |> options()

    case options do
      [do: body] ->
        generators(clauses, body, meta, at(s, meta))

      _ ->
        names = options |> Keyword.delete(:do) |> Keyword.keys() |> Enum.join(", ")
        fail(s, meta, "`for` of a kernel has no option #{names}")
    end
  end

  defp statement({form, meta, args}, s) when form in [:break, :continue] and args in [nil, []] do
    jump(form, meta, s)
  end

  defp statement({form, meta, context}, s)
       when form in [:break, :continue] and is_atom(context) do
    jump(form, meta, s)
  end

  defp statement({:return, meta, context}, s) when is_atom(context), do: return([], meta, s)
  defp statement({:return, meta, []}, s), do: return([], meta, s)
  defp statement({:return, meta, [{left, right}]}, s), do: return([left, right], meta, s)
  defp statement({:return, meta, [{:{}, _, values}]}, s), do: return(values, meta, s)
  defp statement({:return, meta, [value]}, s), do: return([value], meta, s)
  defp statement({:return, meta, values}, s), do: fail(s, meta, arity_text(length(values)))

  defp statement({:raise, meta, [text | values]}, s) when is_binary(text) do
    s = at(s, meta)
    line = s.line
    {values, s} = Expression.read_all(values, s)
    {[{:raise, line, text, values}], %{s | bound: :dead}}
  end

  defp statement({:raise, meta, _}, s) do
    fail(s, meta, "raise takes a text and numbers: raise \"negative weight\", w")
  end

  defp statement({form, meta, _} = ast, s) do
    with :error <- Expression.expand(ast, s),
         {:ok, call, s} <- Expression.call(ast, at(s, meta)) do
      {[{:give, line(meta, s), call, []}], s}
    else
      {:ok, expanded, s} -> statement(expanded, s)
      :error -> unused(form, ast, meta, s)
    end
  end

  defp statement(ast, s), do: fail(s, [], "the value #{text(ast)} is not used")

  defp bind_scalar(left, right, s) do
    line = s.line
    {value, s} = Expression.read(right, s)
    {id, s} = bind(s, left)
    {[{:set, line, [id], [value]}], s}
  end

  defp plain(left, right, meta, s) do
    {statements, value, s} = Plain.value(right, s)
    {more, s} = Plain.bind(left, value, meta, s)
    {statements ++ more, s}
  end

  defp unused(_form, ast, meta, s) do
    # An expression that cannot be read has a better error than one that is not used.
    {_value, _s} = Expression.read(ast, at(s, meta))
    fail(s, meta, "the value of #{text(ast)} is not used")
  end

  defp arity_text(n), do: "return takes one value or a tuple, not #{n} values: return {a, b}"

  # {a, b} = {b, a}, and {a, b} = kernel(…)
  defp tuple(lefts, right, meta, s) do
    line = s.line

    rights =
      case right do
        {:{}, _, values} -> values
        {left, right} -> [left, right]
        other -> other
      end

    cond do
      not Enum.all?(lefts, &variable?/1) ->
        fail(
          s,
          meta,
          "a tuple on the left side of = has variables only: write t[i] = … on a line of its own"
        )

      Plain.value?(right) ->
        plain({:{}, meta, lefts}, right, meta, s)

      is_list(rights) and length(rights) == length(lefts) ->
        {values, s} = Expression.read_all(rights, s)
        {ids, s} = Enum.map_reduce(lefts, s, &bind(&2, &1))
        {[{:set, line, ids, values}], s}

      is_list(rights) ->
        fail(
          s,
          meta,
          "#{length(lefts)} names stand left of = and #{length(rights)} values right of it"
        )

      true ->
        with :error <- Expression.expand(right, s),
             {:ok, call, s} <- Expression.call(right, s) do
          {:call, _, _, results, _} = call

          if length(results) != length(lefts) do
            fail(
              s,
              meta,
              "#{text(right)} gives #{length(results)} values for #{length(lefts)} names"
            )
          end

          {ids, s} = Enum.map_reduce(lefts, s, &bind(&2, &1))
          {[{:give, line, call, ids}], s}
        else
          {:ok, expanded, s} ->
            tuple(lefts, expanded, meta, s)

          :error ->
            fail(s, meta, "a tuple is given by a tuple or by a kernel, not by #{text(right)}")
        end
    end
  end

  defp variable?({name, _, context}), do: is_atom(name) and is_atom(context)
  defp variable?(_other), do: false

  # The value is evaluated before the indices.
  defp store(left, right, meta, s) do
    line = s.line
    {value, s} = Expression.read(right, s)
    {tensor, indices, s} = Expression.element(left, s)
    info = s.tensors[tensor]

    if info.mode == :in do
      fail(
        s,
        meta,
        "#{info.name} is read only: write #{info.name} :: mut(…) in the head to write it"
      )
    end

    {[{:store, line, tensor, indices, value, left}], s}
  end

  @doc """
  Reads `if` and `unless`, each side by `read`. Returns `{[statement], scope}`.
  """
  def branches(form, meta, condition, clauses, s, read) do
    if not Keyword.keyword?(clauses) or Keyword.keys(clauses) -- [:do, :else] != [],
      do: fail(s, meta, "#{form} has a `do` and an `else`")

    s = at(s, meta)
    line = s.line
    {condition, s} = Expression.read(condition, s)
    {yes, s1} = read.(clauses[:do], deeper(s, meta))
    {no, s2} = read.(clauses[:else], %{s1 | bound: s.bound})
    s = %{s2 | bound: meet(s1.bound, s2.bound), depth: s.depth}
    {first, second} = if form == :if, do: {yes, no}, else: {no, yes}
    {[{:if, line, condition, first, second}], s}
  end

  @doc "Reads the clauses of `cond`, each side by `read`."
  def cond_clauses([{:->, meta, [[condition], body]} | rest], cond_meta, s, read) do
    cond do
      condition == true -> read.(body, s)
      rest == [] -> fail(s, cond_meta, "the last clause of cond is `true -> …`")
      true -> cond_clause(condition, body, rest, meta, cond_meta, s, read)
    end
  end

  defp cond_clause(condition, body, rest, meta, cond_meta, s, read) do
    s = at(s, meta)
    line = s.line
    {condition, s} = Expression.read(condition, s)
    {yes, s1} = read.(body, deeper(s, meta))
    {no, s2} = cond_clauses(rest, cond_meta, %{s1 | bound: s.bound}, read)
    {[{:if, line, condition, yes, no}], %{s2 | bound: meet(s1.bound, s2.bound), depth: s.depth}}
  end

  defp options({clauses, rest}), do: {List.flatten(rest), clauses}

  # for i <- a..b, filter, j <- c..d do … end
  defp generators([{:<-, meta, [var, range]} | rest], body, for_meta, s) do
    if not variable?(var), do: fail(s, meta, "the left side of <- is a variable")
    s = at(s, meta)
    line = s.line
    {first, last, step} = range(range, meta, s)
    {[a, b, step], s} = Expression.read_all([first, last, step], s)
    {outer_names, outer_bound, outer_breaks} = {s.names, s.bound, s.breaks}
    {name, _, _} = var
    {id, s} = new_var(s, Atom.to_string(name), :s64, line)
    s = %{s | bound: MapSet.put(s.bound, id), breaks: []}
    s = if name == :_, do: s, else: %{s | names: Map.put(s.names, name_key(var), {:loop, id})}
    {body, s} = generators(rest, body, for_meta, deeper(s, meta))
    s = check_kept(s, outer_names, meta)
    s = %{s | names: hide(s.names, outer_names, name_key(var)), depth: s.depth - 1}
    {[{:for, line, id, a, b, step, body}], %{s | bound: outer_bound, breaks: outer_breaks}}
  end

  defp generators([], body, _for_meta, s), do: block(body, s)

  defp generators([{:=, meta, _} | _], _body, _for_meta, s) do
    fail(s, meta, "`for` has generators and filters: bind the variable in its body")
  end

  defp generators([filter | rest], body, for_meta, s) do
    line = line(meta(filter), s)
    {condition, s} = Expression.read(filter, s)
    bound = s.bound
    {inner, s} = generators(rest, body, for_meta, deeper(s, for_meta))
    {[{:if, line, condition, inner, []}], %{s | bound: meet(bound, s.bound), depth: s.depth - 1}}
  end

  defp range({:.., _, [first, last]}, _meta, _s), do: {first, last, 1}
  defp range({:"..//", _, [first, last, step]}, _meta, _s), do: {first, last, step}

  defp range(other, meta, s) do
    if tensor(s, other) do
      fail(
        s,
        meta,
        "`for` runs over a range: for i <- 0..(n - 1), and #{text(other)}[i] in the body"
      )
    else
      fail(s, meta, "`for` runs over a range a..b or a..b//step, not over #{text(other)}")
    end
  end

  # The variable of the loop ends with it; variables that its body binds do not.
  defp hide(names, outer, key) do
    case outer do
      %{^key => before} -> Map.put(names, key, before)
      _ -> Map.delete(names, key)
    end
  end

  defp jump(form, meta, %{breaks: nil} = s), do: fail(s, meta, "#{form} stands outside of a loop")

  defp jump(form, meta, s) do
    breaks = if form == :break, do: [s.bound | s.breaks], else: s.breaks
    {[{form, line(meta, s)}], %{s | breaks: breaks, bound: :dead}}
  end

  defp return(values, meta, s) do
    s = at(s, meta)
    line = s.line

    case values do
      [call] when length(s.results) > 1 -> return_call(call, meta, line, s)
      values when length(values) == length(s.results) -> return_values(values, line, s)
      values -> fail(s, meta, wrong_results(length(values), s.results))
    end
  end

  defp return_values(values, line, s) do
    {values, s} = Expression.read_all(values, s)
    {[{:return, line, values}], %{s | bound: :dead}}
  end

  # return kernel(…), of a kernel with several results
  defp return_call(call, meta, line, s) do
    vars = for n <- 1..length(s.results), do: {:"result#{n}", meta, Scope}
    {statements, s} = tuple(vars, call, meta, s)
    {values, s} = Expression.read_all(vars, s)
    {statements ++ [{:return, line, values}], %{s | bound: :dead}}
  end

  defp wrong_results(n, []) do
    "the kernel has no result, and #{n} stand here: write the type behind the head, f(…) :: s64"
  end

  defp wrong_results(n, results) do
    "the kernel gives #{Enum.join(results, ", ")}: #{length(results)} values, and #{n} stand here"
  end

  defp last_meta({:__block__, meta, []}), do: meta
  defp last_meta({:__block__, _, statements}), do: statements |> List.last() |> meta()
  defp last_meta(ast), do: meta(ast)

  defp meta({_, meta, _}) when is_list(meta), do: meta
  defp meta(_other), do: []

  defp text(ast), do: Macro.to_string(ast)
end
