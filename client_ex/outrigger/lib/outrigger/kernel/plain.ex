defmodule Outrigger.Kernel.Plain do
  @moduledoc false
  # Plain Elixir in a kernel: iteration by Enum, and functions that give the new value of a tensor.
  #
  # `value/2` reads an expression that may give a tensor or a tuple: `{statements, value, scope}`. A
  # value is `{:scalar, expression}`, `{:tensor, tensor}` or `{:tuple, [value]}`.
  #
  # A tensor has one owner. A name that is given to a function which makes a new value of the tensor
  # is consumed, and cannot be used afterwards: each update is in place.

  import Outrigger.Kernel.Scope, only: [at: 2, fail: 3, line: 2, meet: 2, name_key: 1, new_var: 4]
  alias Outrigger.Kernel.{Expression, Iteration, Reader}

  @updates [{:List, :replace_at, 3}, {:List, :update_at, 3}, {:Kernel, :put_elem, 3}]
  @reductions for {name, arity} <- [
                    reduce: 3,
                    zip_reduce: 4,
                    sum: 1,
                    product: 1,
                    min: 1,
                    max: 1,
                    count: 1,
                    count: 2,
                    any?: 2,
                    all?: 2
                  ],
                  do: {:Enum, name, arity}
  @reads [
    {:Kernel, :elem, 2},
    {:Kernel, :hd, 1},
    {:Kernel, :length, 1},
    {:Kernel, :tuple_size, 1},
    {:Enum, :at, 2},
    {:Enum, :at, 3}
  ]
  @known @updates ++ @reductions ++ @reads

  @doc "The `{module, function, arity}` of a call that this module reads, or nil."
  def function({{:., _, [{:__aliases__, _, [module]}, name]}, _, args}) when is_list(args),
    do: known({module, name, length(args)})

  def function({name, _, args}) when is_atom(name) and is_list(args),
    do: known({:Kernel, name, length(args)})

  def function(_ast), do: nil

  defp known(function), do: if(function in @known, do: function)

  @doc "True if the expression is read by `value/2`: it may give a tensor or a tuple."
  def value?(ast) do
    function(ast) in (@updates ++ @reductions) or reduce?(ast) or choice?(ast)
  end

  @doc "True for `for … reduce: acc do … end`."
  def reduce?({:for, _, args}) when is_list(args) do
    args |> Enum.filter(&Keyword.keyword?/1) |> List.flatten() |> Keyword.has_key?(:reduce)
  end

  def reduce?(_ast), do: false

  defp choice?({form, _, [_condition, [do: yes, else: no]]}) when form in [:if, :unless],
    do: Enum.any?([last(yes), last(no)], &(value?(&1) or tuple?(&1)))

  defp choice?(_ast), do: false

  defp tuple?({:{}, _, _}), do: true
  defp tuple?(ast), do: is_tuple(ast) and tuple_size(ast) == 2

  defp last({:__block__, _, [_ | _] = lines}), do: List.last(lines)
  defp last(ast), do: ast

  @doc "Reads a call of a function that gives a number, or `:error`."
  def scalar(ast, s) do
    case function(ast) || (reduce?(ast) && :reduce) do
      nil ->
        :error

      false ->
        :error

      function ->
        {_, meta, _} = ast
        s = at(s, meta)
        line = s.line

        case read(function, ast, s) do
          {[], {:scalar, e}, s} -> {:value, e, s}
          {statements, {:scalar, e}, s} -> {:value, {:block, line, statements, e}, s}
          {_, {:tensor, _}, _} -> fail(s, meta, "#{text(ast)} gives a tensor, which is no number")
          {_, {:tuple, _}, _} -> fail(s, meta, "#{text(ast)} gives a tuple: {a, b} = …")
        end
    end
  end

  @doc "Reads an expression that may give a tensor or a tuple."
  def value({:__block__, _, [_ | _] = lines}, s) do
    {before, [last]} = Enum.split(lines, -1)
    {statements, s} = Reader.block({:__block__, [], before}, s)
    {more, value, s} = value(last, s)
    {statements ++ more, value, s}
  end

  def value({left, right}, s), do: tuple([left, right], s)
  def value({:{}, _, parts}, s), do: tuple(parts, s)

  def value({form, meta, [condition, [do: yes, else: no]]}, s) when form in [:if, :unless],
    do: choice(form, meta, condition, yes, no, s)

  def value({name, meta, context} = var, s) when is_atom(name) and is_atom(context) do
    case s.names[name_key(var)] do
      {:tensor, tensor} -> {[], {:tensor, tensor}, consume(var, "a new name", meta, s)}
      _ -> number(var, s)
    end
  end

  def value(ast, s) do
    case function(ast) || (reduce?(ast) && :reduce) do
      function when function in [nil, false] ->
        case Expression.expand(ast, s) do
          {:ok, expanded, s} -> value(expanded, s)
          :error -> number(ast, s)
        end

      function ->
        read(function, ast, at(s, elem(ast, 1)))
    end
  end

  defp number(ast, s) do
    {e, s} = Expression.read(ast, s)
    {[], {:scalar, e}, s}
  end

  # A number waits in a variable, because a later part may write what it has read.
  defp tuple(parts, s) do
    {statements, values, s} =
      Enum.reduce(parts, {[], [], s}, fn ast, {statements, values, s} ->
        {more, value, s} = value(ast, s)
        {set, value, s} = hold(value, s)
        {statements ++ more ++ set, [value | values], s}
      end)

    {statements, {:tuple, Enum.reverse(values)}, s}
  end

  @doc "Keeps the numbers of a value in new variables: `{statements, value, scope}`."
  def hold({:scalar, {kind, _, _}} = value, s) when kind in [:number, :bool, :dim],
    do: {[], value, s}

  def hold({:scalar, e}, s) do
    {id, s} = hidden(s)
    {[{:set, s.line, [id], [e]}], {:scalar, {:slot, s.line, id}}, s}
  end

  def hold({:tensor, _} = value, s), do: {[], value, s}

  def hold({:tuple, values}, s) do
    {statements, values, s} =
      Enum.reduce(values, {[], [], s}, fn value, {statements, values, s} ->
        {more, value, s} = hold(value, s)
        {statements ++ more, [value | values], s}
      end)

    {statements, {:tuple, Enum.reverse(values)}, s}
  end

  @doc "A bound variable without a name."
  def hidden(s) do
    {id, s} = new_var(s, "a value", nil, s.line)
    {id, mark(s, id)}
  end

  defp mark(%{bound: :dead} = s, _id), do: s
  defp mark(s, id), do: %{s | bound: MapSet.put(s.bound, id)}

  defp choice(form, meta, condition, yes, no, s) do
    s = at(s, meta)
    line = s.line
    {condition, s} = Expression.read(condition, s)
    {first, left, s1} = value(yes, s)
    {second, right, s2} = value(no, %{s1 | bound: s.bound, names: s.names})
    names = s.names |> consumed_in(s1) |> consumed_in(s2)
    s = %{s2 | names: names, bound: meet(s1.bound, s2.bound)}

    case {left, right} do
      {{:scalar, a}, {:scalar, b}} ->
        sides = if form == :if, do: [{first, a}, {second, b}], else: [{second, b}, {first, a}]
        [yes, no] = sides
        {[], {:scalar, {:if, line, condition, yes, no}}, s}

      _ ->
        {left_sets, right_sets, value, s} = same(left, right, meta, s)
        {first, second} = {first ++ left_sets, second ++ right_sets}
        {yes, no} = if form == :if, do: {first, second}, else: {second, first}
        {[{:if, line, condition, yes, no}], value, s}
    end
  end

  # Names that one side has consumed are consumed.
  defp consumed_in(names, s) do
    Map.new(names, fn {key, entry} ->
      case s.names[key] do
        {:consumed, _, _, _} = consumed -> {key, consumed}
        _ -> {key, entry}
      end
    end)
  end

  # Numbers of both sides go to one variable; a tensor must be the same on both.
  defp same({:scalar, a}, {:scalar, b}, _meta, s) do
    {id, s} = hidden(s)
    set = &[{:set, s.line, [id], [&1]}]
    {set.(a), set.(b), {:scalar, {:slot, s.line, id}}, s}
  end

  defp same({:tensor, t}, {:tensor, t}, _meta, s), do: {[], [], {:tensor, t}, s}

  defp same({:tuple, left}, {:tuple, right}, meta, s) when length(left) == length(right) do
    {lefts, rights, values, s} =
      left
      |> Enum.zip(right)
      |> Enum.reduce({[], [], [], s}, fn {a, b}, {lefts, rights, values, s} ->
        {left, right, value, s} = same(a, b, meta, s)
        {lefts ++ left, rights ++ right, [value | values], s}
      end)

    {lefts, rights, {:tuple, Enum.reverse(values)}, s}
  end

  defp same(_left, _right, meta, s) do
    fail(s, meta, "both sides of a value are numbers, or the same tensor, or tuples of these")
  end

  defp read({:List, :replace_at, 3}, {_, meta, [tensor, index, value]}, s) do
    update(tensor, index, meta, s, :list, fn _element, s -> ahead(value, s) end)
  end

  defp read({:Kernel, :put_elem, 3}, {_, meta, [tensor, index, value]}, s) do
    update(tensor, index, meta, s, :tuple, fn _element, s -> ahead(value, s) end)
  end

  defp read({:List, :update_at, 3}, {_, meta, [tensor, index, fun]}, s) do
    update(tensor, index, meta, s, :list, fn element, s ->
      {statements, value, s} = apply_fun(fun, [element], meta, s)
      {[], statements, value, s}
    end)
  end

  defp read({:Kernel, :hd, 1}, {_, meta, [list]}, s),
    do: element(list, meta, s, fn _size -> {:number, line(meta, s), 0} end)

  defp read({:Kernel, :elem, 2}, {_, meta, [list, index]}, s) do
    {index, s} = Expression.read(index, s)
    element(list, meta, s, fn _size -> index end)
  end

  defp read({:Enum, :at, 2}, {_, meta, [list, index]}, s) do
    {index, s} = Expression.read(index, s)
    {set, {:scalar, index}, s} = hold({:scalar, index}, s)
    {more, value, s} = element(list, meta, s, &from_end(index, &1))
    {set ++ more, value, s}
  end

  defp read({:Enum, :at, 3}, {_, meta, [list, index, default]}, s) do
    {index, s} = Expression.read(index, s)
    {default, s} = Expression.read(default, s)
    {set, {:scalar, index}, s} = hold({:scalar, index}, s)
    {more, {:scalar, load}, s} = element(list, meta, s, &from_end(index, &1))
    size = {:size, s.line, elem(load, 2), 0}
    inside = inside(from_end(index, size), size)
    {set ++ more, {:scalar, {:if, s.line, inside, {[], load}, {[], default}}}, s}
  end

  defp read({:Kernel, name, 1}, {_, meta, [list]}, s) when name in [:length, :tuple_size],
    do: {[], {:scalar, {:size, line(meta, s), tensor!(list, meta, s), 0}}, s}

  defp read(function, ast, s), do: Iteration.read(function, ast, s)

  defp element(list, meta, s, index) do
    tensor = tensor!(list, meta, s)

    if s.tensors[tensor].rank != 1,
      do: fail(s, meta, "#{text(list)} has several axes: write #{text(list)}[i][j]")

    {[], {:scalar, {:load, s.line, tensor, [index.({:size, s.line, tensor, 0})]}}, s}
  end

  # Elixir's lists count a negative index from the end.
  defp from_end({:number, _, n} = index, _size) when n >= 0, do: index

  defp from_end(index, size) do
    line = elem(index, 1)
    negative = {:op, line, :less, [index, {:number, line, 0}]}
    {:if, line, negative, {[], {:op, line, :add, [index, size]}}, {[], index}}
  end

  defp inside(index, size) do
    line = elem(index, 1)
    not_below = {:op, line, :greater_equal, [index, {:number, line, 0}]}
    {:and, line, not_below, {:op, line, :less, [index, size]}}
  end

  # A new element that is evaluated, whatever the index is.
  defp ahead(ast, s) do
    {statements, value, s} = value(ast, s)
    {held, value, s} = hold(value, s)
    {statements ++ held, [], value, s}
  end

  # List.replace_at leaves a list alone if the index is outside; put_elem is an error.
  # The tensor is consumed when the arguments after it are evaluated: they may read it.
  defp update(source, index, meta, s, kind, new) do
    {statements, tensor, s} = target(source, meta, s)
    info = s.tensors[tensor]
    if info.rank != 1, do: fail(s, meta, "#{text(source)} has several axes: write t[i][j] = …")
    line = s.line
    size = {:size, line, tensor, 0}
    {index, s} = Expression.read(index, s)
    {set, {:scalar, index}, s} = hold({:scalar, index}, s)
    index = if kind == :list, do: from_end(index, size), else: index
    {set_index, {:scalar, index}, s} = hold({:scalar, index}, s)
    {ahead, more, new, s} = new.({:scalar, {:load, line, tensor, [index]}}, s)
    s = tensor |> written(s) |> consume_name(source, meta)

    case new do
      {:scalar, e} ->
        store = more ++ [{:store, line, tensor, [index], e, source}]

        store = if kind == :list, do: [{:if, line, inside(index, size), store, []}], else: store

        {statements ++ set ++ set_index ++ ahead ++ store, {:tensor, tensor}, s}

      _ ->
        fail(s, meta, "an element is a number")
    end
  end

  defp target({name, _, context} = var, meta, s) when is_atom(name) and is_atom(context),
    do: {[], tensor!(var, meta, s), s}

  defp target(source, meta, s) do
    {statements, value, s} = value(source, s)
    {statements, owned!(value, source, meta, s), s}
  end

  defp consume_name(s, {name, _, context} = var, meta) when is_atom(name) and is_atom(context),
    do: consume(var, "a new value", meta, s)

  defp consume_name(s, _source, _meta), do: s

  @doc "The tensor of a value that is one."
  def owned!({:tensor, tensor}, _source, _meta, _s), do: tensor
  def owned!(_value, source, meta, s), do: fail(s, meta, "#{text(source)} is no tensor")

  @doc "The tensor of a name, which is read."
  def tensor!(ast, meta, s) do
    Outrigger.Kernel.Scope.tensor(s, ast) || consumed!(ast, meta, s) ||
      fail(s, meta, "#{text(ast)} is no tensor of this kernel")
  end

  @doc "Raises an error if a name was consumed."
  def consumed!({name, _, context} = var, meta, s) when is_atom(name) and is_atom(context) do
    with {:consumed, _tensor, line, by} <- s.names[name_key(var)] do
      fail(
        s,
        meta,
        "#{name} is used after line #{line} gave it to #{by}: a tensor has one owner. Use the " <>
          "new value, or read #{name} before"
      )
    else
      _ -> nil
    end
  end

  def consumed!(_ast, _meta, _s), do: nil

  defp written(tensor, s) do
    info = s.tensors[tensor]
    mode = if info.mode == :in, do: :consumed, else: info.mode
    %{s | tensors: Map.put(s.tensors, tensor, %{info | mode: mode})}
  end

  @doc "Marks the name of a tensor as consumed."
  def consume({_, _, _} = var, by, meta, s) do
    tensor = tensor!(var, meta, s)
    %{s | names: Map.put(s.names, name_key(var), {:consumed, tensor, line(meta, s), by})}
  end

  @doc "Binds a pattern to a value: `{statements, scope}`."
  def bind({:_, _, context}, _value, _meta, s) when is_atom(context), do: {[], s}

  def bind({left, right}, value, meta, s), do: bind({:{}, meta, [left, right]}, value, meta, s)

  def bind({:{}, _, patterns}, {:tuple, values}, meta, s)
      when length(patterns) == length(values) do
    # All values are there before a name is bound again.
    {held, {:tuple, values}, s} = hold({:tuple, values}, s)

    patterns
    |> Enum.zip(values)
    |> Enum.reduce({held, s}, fn {pattern, value}, {statements, s} ->
      {more, s} = bind(pattern, value, meta, s)
      {statements ++ more, s}
    end)
  end

  def bind({name, _, context} = var, {:scalar, e}, _meta, s)
      when is_atom(name) and is_atom(context) do
    {id, s} = Outrigger.Kernel.Scope.bind(s, var)
    {[{:set, s.line, [id], [e]}], s}
  end

  def bind({name, _, context} = var, {:tensor, tensor}, meta, s)
      when is_atom(name) and is_atom(context) do
    key = name_key(var)

    case s.names[key] do
      {kind, _} when kind in [:var, :loop, :dim] ->
        fail(s, meta, "#{name} is a number before: use another name for the tensor")

      {:tensor, other} when other != tensor ->
        fail(s, meta, "#{name} is another tensor: use another name")

      _ ->
        {[], %{s | names: Map.put(s.names, key, {:tensor, tensor}), locals: local(s, key)}}
    end
  end

  def bind(pattern, _value, meta, s),
    do: fail(s, meta, "the value does not have the form of #{text(pattern)}")

  defp local(%{locals: nil}, _key), do: nil
  defp local(s, key), do: MapSet.put(s.locals, key)

  @doc "Applies a function of the source to values: `{statements, value, scope}`."
  def apply_fun(fun, values, meta, s) do
    {patterns, body} = clause(fun, length(values), meta, s)
    names = s.names
    locals = s.locals
    # The names of a function are its own: a name that it binds hides one of the same name.
    keys = patterns |> Macro.prewalk([], &keys/2) |> elem(1)
    s = %{s | names: Map.drop(names, keys), locals: MapSet.new()}

    {statements, s} =
      patterns
      |> Enum.zip(values)
      |> Enum.reduce({[], s}, fn {pattern, value}, {statements, s} ->
        {more, s} = bind(pattern, value, meta, s)
        {statements ++ more, s}
      end)

    {more, value, s} = value(body, s)
    {statements ++ more, value, %{s | names: consumed_outside(names, keys, s), locals: locals}}
  end

  defp keys({name, _, context} = var, keys) when is_atom(name) and is_atom(context),
    do: {var, [name_key(var) | keys]}

  defp keys(ast, keys), do: {ast, keys}

  # A name outside that the function has consumed stays consumed.
  defp consumed_outside(names, keys, s) do
    Map.new(names, fn {key, entry} ->
      inner = if key in keys or (s.locals && key in s.locals), do: nil, else: s.names[key]
      if match?({:consumed, _, _, _}, inner), do: {key, inner}, else: {key, entry}
    end)
  end

  defp clause({:fn, _, [{:->, _, [patterns, body]}]}, arity, _meta, _s)
       when length(patterns) == arity,
       do: {patterns, body}

  defp clause({:&, _, [{:/, _, [{name, _, context}, arity]}]}, arity, meta, _s)
       when is_atom(name) and is_atom(context) do
    vars = vars(arity, meta)
    {vars, {name, meta, vars}}
  end

  defp clause({:&, _, [body]}, arity, meta, _s) do
    vars = vars(arity, meta)

    body =
      Macro.prewalk(body, fn
        {:&, _, [n]} when is_integer(n) -> Enum.at(vars, n - 1)
        ast -> ast
      end)

    {vars, body}
  end

  defp clause(fun, arity, meta, s) do
    fail(
      s,
      meta,
      "#{text(fun)} is no function of #{arity} values with one clause: fn … -> … end"
    )
  end

  defp vars(arity, meta), do: for(n <- 1..arity, do: {:"&#{n}", meta, __MODULE__})

  defp text(ast), do: Macro.to_string(ast)
end
