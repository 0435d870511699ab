defmodule Outrigger.Kernel.Iteration do
  @moduledoc false
  # Enum's reductions and `for … reduce:` as loops.

  import Outrigger.Kernel.Scope,
    only: [at: 2, check_kept: 3, deeper: 2, fail: 3, line: 2, new_var: 4]

  alias Outrigger.Kernel.{Expression, Plain}

  @doc "Reads a reduction: `{statements, value, scope}`."
  def read({:Enum, :reduce, 3}, {_, meta, [source, init, fun]}, s) do
    accumulate([source], init, meta, s, fn sources, acc, s ->
      turns(sources, meta, s, fn [element], s -> step(fun, [element, acc], acc, meta, s) end)
    end)
  end

  def read({:Enum, :zip_reduce, 4}, {_, meta, [left, right, init, fun]}, s) do
    accumulate([left, right], init, meta, s, fn sources, acc, s ->
      turns(sources, meta, s, fn elements, s -> step(fun, elements ++ [acc], acc, meta, s) end)
    end)
  end

  def read({:Enum, :sum, 1}, {_, meta, [source]}, s), do: fold(source, 0, :add, meta, s)
  def read({:Enum, :product, 1}, {_, meta, [source]}, s), do: fold(source, 1, :multiply, meta, s)

  def read({:Enum, name, 1}, {_, meta, [source]}, s) when name in [:min, :max] do
    tensor = Plain.tensor!(source, meta, s)
    line = line(meta, s)
    empty = {:op, line, :equal, [{:size, line, tensor, 0}, {:number, line, 0}]}
    check = {:if, line, empty, [{:raise, line, "Enum.#{name}/1 of no elements", []}], []}
    first = {:load, line, tensor, [{:number, line, 0}]}
    {statements, value, s} = fold_from(source, first, name, meta, s)
    {[check | statements], value, s}
  end

  def read({:Enum, :count, 1}, {_, meta, [source]}, s) do
    count(source, meta, s, fn _element, s -> {[], nil, s} end)
  end

  def read({:Enum, :count, 2}, {_, meta, [source, fun]}, s) do
    count(source, meta, s, &condition(fun, &1, meta, &2))
  end

  def read({:Enum, name, 2}, {_, meta, [source, fun]}, s) when name in [:any?, :all?] do
    line = line(meta, s)
    {id, s} = Plain.hidden(s)
    start = {:set, line, [id], [{:bool, line, name == :all?}]}

    {statements, s} =
      loop([source], meta, s, fn [element], s ->
        {statements, condition, s} = condition(fun, element, meta, s)
        found = if name == :any?, do: condition, else: {:op, line, :not, [condition]}
        leave = [{:set, line, [id], [{:bool, line, name == :any?}]}, {:break, line}]
        {statements ++ [{:if, line, found, leave, []}], s}
      end)

    {[start | statements], {:scalar, {:slot, line, id}}, s}
  end

  # for x <- source, filter, reduce: acc do acc -> … end
  def read(:reduce, {:for, meta, args}, s) do
    {generators, options} = Enum.split_while(args, &(not Keyword.keyword?(&1)))
    options = List.flatten(options)

    case {generators, Keyword.delete(options, :do), options[:do]} do
      {[{:<-, _, [first, source]} | rest], [reduce: init], [{:->, _, [[pattern], body]}]} ->
        fun = {:fn, meta, [{:->, meta, [[pattern], body]}]}

        accumulate([source], init, meta, s, fn sources, acc, s ->
          generator(first, sources, rest, meta, s, &step(fun, [acc], acc, meta, &1))
        end)

      _ ->
        fail(s, meta, "for … reduce: has no other option, and one clause: do acc -> … end")
    end
  end

  defp generators([{:<-, meta, [pattern, source]} | rest], for_meta, s, body) do
    {statements, sources, s} = sources([source], meta, s)
    {loop, s} = generator(pattern, sources, rest, for_meta, s, body)
    {statements ++ loop, s}
  end

  defp generators([], _meta, s, body), do: body.(s)

  defp generators([filter | rest], meta, s, body) do
    line = line(meta, s)
    {condition, s} = Expression.read(filter, s)
    {statements, s} = generators(rest, meta, s, body)
    {[{:if, line, condition, statements, []}], s}
  end

  defp generator(pattern, sources, rest, meta, s, body) do
    names = s.names

    {statements, s} =
      turns(sources, meta, s, fn [element], s ->
        {bind, s} = Plain.bind(pattern, element, meta, %{s | locals: MapSet.new()})
        {statements, s} = generators(rest, meta, s, body)
        {bind ++ statements, s}
      end)

    # The variables of a generator end with it.
    {statements, %{s | names: keep(names, s.names)}}
  end

  defp keep(names, inner) do
    Map.new(names, fn {key, entry} ->
      if match?({:consumed, _, _, _}, inner[key]), do: {key, inner[key]}, else: {key, entry}
    end)
  end

  # The accumulator: numbers in variables, tensors in place. The sources of the loop come first.
  defp accumulate(sources, init, meta, s, loop) do
    locals = s.locals
    {before, sources, s} = sources(sources, meta, s)
    {statements, value, s} = Plain.value(init, s)
    {sets, acc, s} = variables(value, s)
    {body, s} = loop.(sources, acc, s)
    {before ++ statements ++ sets ++ body, acc, %{s | locals: locals}}
  end

  defp variables({:scalar, e}, s) do
    {id, s} = Plain.hidden(s)
    {[{:set, s.line, [id], [e]}], {:scalar, {:slot, s.line, id}}, s}
  end

  defp variables({:tensor, _} = value, s), do: {[], value, s}

  defp variables({:tuple, values}, s) do
    {statements, values, s} =
      Enum.reduce(values, {[], [], s}, fn value, {statements, values, s} ->
        {more, value, s} = variables(value, s)
        {statements ++ more, [value | values], s}
      end)

    {statements, {:tuple, Enum.reverse(values)}, s}
  end

  # One turn: the function's value is the next accumulator.
  defp step(fun, values, acc, meta, s) do
    names = s.names
    {statements, value, s} = Plain.apply_fun(fun, values, meta, s)
    check_kept(s, names, meta)
    {held, value, s} = Plain.hold(value, s)
    {statements ++ held ++ assign(acc, value, meta, s), s}
  end

  defp assign({:scalar, {:slot, line, id}}, {:scalar, e}, _meta, _s),
    do: [{:set, line, [id], [e]}]

  defp assign({:tensor, t}, {:tensor, t}, _meta, _s), do: []

  defp assign({:tuple, lefts}, {:tuple, rights}, meta, s) when length(lefts) == length(rights) do
    lefts |> Enum.zip(rights) |> Enum.flat_map(fn {a, b} -> assign(a, b, meta, s) end)
  end

  defp assign(_acc, _value, meta, s) do
    fail(
      s,
      meta,
      "the function gives another form than the accumulator: the same numbers and tensors"
    )
  end

  defp fold(source, n, op, meta, s),
    do: fold_from(source, {:number, line(meta, s), n}, op, meta, s)

  defp fold_from(source, start, op, meta, s) do
    line = line(meta, s)
    {id, s} = Plain.hidden(s)
    slot = {:slot, line, id}

    {statements, s} =
      loop([source], meta, s, fn [{:scalar, e}], s ->
        {[{:set, line, [id], [{:op, line, op, [slot, e]}]}], s}
      end)

    {[{:set, line, [id], [start]} | statements], {:scalar, slot}, s}
  end

  defp count(source, meta, s, condition) do
    line = line(meta, s)
    {id, s} = Plain.hidden(s)
    slot = {:slot, line, id}
    more = {:set, line, [id], [{:op, line, :add, [slot, {:number, line, 1}]}]}

    {statements, s} =
      loop([source], meta, s, fn [element], s ->
        case condition.(element, s) do
          {[], nil, s} -> {[more], s}
          {statements, condition, s} -> {statements ++ [{:if, line, condition, [more], []}], s}
        end
      end)

    {[{:set, line, [id], [{:number, line, 0}]} | statements], {:scalar, slot}, s}
  end

  defp condition(fun, element, meta, s) do
    case Plain.apply_fun(fun, [element], meta, s) do
      {statements, {:scalar, e}, s} -> {statements, e, s}
      _ -> fail(s, meta, "the function gives a condition")
    end
  end

  # A loop over ranges and first axes, as long as the shortest. The body gets the elements.
  defp loop(sources, meta, s, body) do
    {statements, sources, s} = sources(sources, meta, s)
    {loop, s} = turns(sources, meta, s, body)
    {statements ++ loop, s}
  end

  # The ends of a range are evaluated here. A tensor is a name, which must not be consumed when the
  # loop begins.
  defp sources([range], meta, s) do
    case source(range) do
      {:range, ends} ->
        {ends, s} = Expression.read_all(ends, at(s, meta))
        values = Enum.map(ends, &{:scalar, &1})
        {statements, {:tuple, held}, s} = Plain.hold({:tuple, values}, s)
        {statements, [{:range, Enum.map(held, &elem(&1, 1))}], s}

      source ->
        {[], [source], s}
    end
  end

  defp sources(asts, meta, s) do
    sources = Enum.map(asts, &source/1)

    if Enum.any?(sources, &match?({:range, _}, &1)),
      do: fail(s, meta, "a range beside another source: use with_index, or the index of a loop")

    {[], sources, s}
  end

  defp source({:.., _, [first, last]}), do: {:range, [first, last, 1]}
  defp source({:"..//", _, [first, last, step]}), do: {:range, [first, last, step]}

  defp source({{:., _, [{:__aliases__, _, [:Enum]}, :with_index]}, _, [list]}),
    do: {:indexed, list}

  defp source(list), do: {:tensor, list}

  defp turns([{:range, [first, last, step]}], meta, s, body) do
    turn(first, last, step, meta, s, fn i, s -> body.([{:scalar, i}], s) end)
  end

  defp turns(sources, meta, s, body) do
    s = at(s, meta)
    line = s.line
    sources = for {kind, list} <- sources, do: {kind, one_axis!(list, meta, s)}
    sizes = for {_, tensor} <- sources, do: {:size, line, tensor, 0}
    size = Enum.reduce(sizes, &{:op, line, :min, [&2, &1]})
    last = {:op, line, :subtract, [size, {:number, line, 1}]}

    turn({:number, line, 0}, last, {:number, line, 1}, meta, s, fn i, s ->
      {elements, {statements, s}} =
        Enum.map_reduce(sources, {[], s}, fn {kind, tensor}, {statements, s} ->
          {more, element, s} = Plain.hold({:scalar, {:load, line, tensor, [i]}}, s)
          value = if kind == :tensor, do: element, else: {:tuple, [element, {:scalar, i}]}
          {value, {statements ++ more, s}}
        end)

      {rest, s} = body.(elements, s)
      {statements ++ rest, s}
    end)
  end

  defp turn(first, last, step, meta, s, body) do
    s = at(s, meta)
    line = s.line
    {outer, breaks} = {s.bound, s.breaks}
    {id, s} = new_var(s, "an index", :s64, line)
    s = %{s | bound: MapSet.put(s.bound, id), breaks: nil}
    {statements, s} = body.({:slot, line, id}, deeper(s, meta))
    s = %{s | bound: outer, breaks: breaks, depth: s.depth - 1}
    {[{:for, line, id, first, last, step, statements}], s}
  end

  defp one_axis!(list, meta, s) do
    tensor = Plain.tensor!(list, meta, s)

    if s.tensors[tensor].rank != 1 do
      fail(s, meta, "#{Macro.to_string(list)} has several axes: loop over its indices")
    end

    tensor
  end
end
