defmodule Outrigger.Kernel.Interpreter do
  @moduledoc false
  # Runs a unit in Elixir. Each kernel becomes a function, each node a closure:
  #
  #   * an expression is a function of the frame and the variables, which gives a value
  #   * a statement is a function of both, which gives `{:next | :break | :continue, variables}` or
  #     `{:return, values}`
  #
  # The frame is `{tensors, dims}`, two tuples. A tensor is a window onto cells of :atomics.

  import Outrigger.Ask, only: [only!: 2]

  alias Outrigger.Kernel.{Arithmetic, NodeTypes, Operands}

  @doc "Runs the last kernel of a unit on operands of Elixir."
  def run(unit, args, options) do
    only!(options, [:trace])
    functions = functions(unit, options)
    kernel = List.last(unit.kernels)
    {scalars, tensors, dims} = Operands.read(kernel, args)
    values = List.last(functions).(scalars, tensors, dims)
    Operands.results(kernel, values, tensors)
  end

  defp functions(unit, options) do
    files = List.to_tuple(unit.files)

    unit.kernels
    |> Enum.reduce({[], []}, fn kernel, {done, functions} ->
      site = %{
        kernel: kernel,
        file: elem(files, kernel.file),
        types: NodeTypes.of(kernel, done),
        nodes: List.to_tuple(kernel.nodes),
        blocks: List.to_tuple(kernel.blocks),
        names: List.to_tuple(kernel.tensors),
        done: done,
        functions: functions,
        trace: Keyword.get(options, :trace, false)
      }

      {done ++ [kernel], functions ++ [function(site)]}
    end)
    |> elem(1)
  end

  defp function(site) do
    %{kernel: kernel} = site
    body = block(length(kernel.blocks) - 1, site)

    fn scalars, tensors, dims ->
      scratch =
        for {[dtype, sizes], name} <- Enum.zip(kernel.scratch, own_names(kernel, :scratch)),
            do: Operands.zeros(name, dtype, Enum.map(sizes, &Operands.size(&1, dims)))

      local =
        for {[dtype, length], name} <- Enum.zip(kernel.local, own_names(kernel, :local)),
            do: Operands.zeros(name, dtype, [length])

      frame = {List.to_tuple(tensors ++ scratch ++ local), dims}
      variables = scalars |> Enum.with_index() |> Map.new(fn {value, slot} -> {slot, value} end)

      case body.(frame, variables) do
        {:return, values} -> values
        {:next, _variables} -> []
      end
    end
  end

  defp own_names(kernel, :local), do: Enum.take(kernel.tensors, -length(kernel.local))

  defp own_names(kernel, :scratch) do
    kernel.tensors |> Enum.drop(-length(kernel.local)) |> Enum.take(-length(kernel.scratch))
  end

  defp block(number, site) do
    site.blocks |> elem(number) |> Enum.map(&statement(elem(site.nodes, &1), site)) |> sequence()
  end

  defp sequence([]), do: fn _frame, variables -> {:next, variables} end
  defp sequence([statement]), do: statement

  defp sequence([statement | rest]) do
    rest = sequence(rest)

    fn frame, variables ->
      case statement.(frame, variables) do
        {:next, variables} -> rest.(frame, variables)
        other -> other
      end
    end
  end

  defp statement([:set, _line, slot, e], site) do
    e = expression(e, site)
    fn frame, variables -> {:next, Map.put(variables, slot, e.(frame, variables))} end
  end

  defp statement([:store, line, tensor, indices, e], site) do
    e = expression(e, site)
    indices = Enum.map(indices, &expression(&1, site))

    fn frame, variables ->
      value = e.(frame, variables)
      indices = Enum.map(indices, & &1.(frame, variables))
      target = frame |> elem(0) |> elem(tensor)
      at = offset(target, indices, line, site)
      if site.trace, do: trace(target, indices, value, line, site)
      :atomics.put(target.cells, at + 1, Arithmetic.to_cell(value, target.dtype))
      {:next, variables}
    end
  end

  defp statement([:if, _line, condition, yes, no], site) do
    {condition, yes, no} = {expression(condition, site), block(yes, site), block(no, site)}

    fn frame, variables ->
      if condition.(frame, variables), do: yes.(frame, variables), else: no.(frame, variables)
    end
  end

  defp statement([:while, _line, first, condition, body], site) do
    {first, condition, body} =
      {block(first, site), expression(condition, site), block(body, site)}

    fn frame, variables -> while(first, condition, body, frame, variables) end
  end

  defp statement([:for, line, slot, a, b, step, body, _parallel], site) do
    [a, b, step] = Enum.map([a, b, step], &expression(&1, site))
    body = block(body, site)

    fn frame, variables ->
      [a, b, step] = for e <- [a, b, step], do: e.(frame, variables)
      if step == 0, do: fail(:bad_value, "the step of the range is 0", line, site)
      for_range(a, b, step, slot, body, frame, variables)
    end
  end

  defp statement([jump, _line], _site) when jump in [:break, :continue],
    do: fn _frame, variables -> {jump, variables} end

  defp statement([:return, _line, values], site) do
    values = Enum.map(values, &expression(&1, site))
    fn frame, variables -> {:return, Enum.map(values, & &1.(frame, variables))} end
  end

  defp statement([:raise, line, text, values], site) do
    values = Enum.map(values, &expression(&1, site))

    fn frame, variables ->
      numbers = Enum.map(values, & &1.(frame, variables))
      tail = if numbers != [], do: ": " <> Enum.map_join(numbers, ", ", &to_string/1)
      fail(:raised, "#{text}#{tail}", line, site)
    end
  end

  defp statement([:give, _line, call, slots], site) do
    call = call(elem(site.nodes, call), site)

    fn frame, variables ->
      values = call.(frame, variables)
      {:next, slots |> Enum.zip(values) |> Enum.into(variables)}
    end
  end

  defp while(first, condition, body, frame, variables) do
    {:next, variables} = first.(frame, variables)

    if condition.(frame, variables) do
      case body.(frame, variables) do
        {:break, variables} -> {:next, variables}
        {:return, _values} = return -> return
        {_next, variables} -> while(first, condition, body, frame, variables)
      end
    else
      {:next, variables}
    end
  end

  defp for_range(i, b, step, slot, body, frame, variables)
       when (step > 0 and i <= b) or (step < 0 and i >= b) do
    case body.(frame, Map.put(variables, slot, i)) do
      {:break, variables} -> {:next, variables}
      {:return, _values} = return -> return
      {_next, variables} -> for_range(i + step, b, step, slot, body, frame, variables)
    end
  end

  defp for_range(_i, _b, _step, _slot, _body, _frame, variables), do: {:next, variables}

  defp expression(at, site), do: site.nodes |> elem(at) |> expression(at, site)

  defp expression([:number, _line, dtype, n], _at, _site) do
    value = Arithmetic.number(n, dtype)
    fn _frame, _variables -> value end
  end

  defp expression([:slot, _line, slot], _at, _site),
    do: fn _frame, variables -> :erlang.map_get(slot, variables) end

  defp expression([:dim, _line, dim], _at, _site),
    do: fn {_tensors, dims}, _variables -> elem(dims, dim) end

  defp expression([:size, _line, tensor, axis], _at, _site),
    do: fn {tensors, _dims}, _variables -> Enum.at(elem(tensors, tensor).dims, axis) end

  defp expression([:load, line, tensor, indices], _at, site) do
    case Enum.map(indices, &expression(&1, site)) do
      [index] ->
        fn {tensors, _} = frame, variables ->
          load(elem(tensors, tensor), [index.(frame, variables)], line, site)
        end

      indices ->
        fn {tensors, _} = frame, variables ->
          load(elem(tensors, tensor), Enum.map(indices, & &1.(frame, variables)), line, site)
        end
    end
  end

  defp expression([:as, _line, dtype, e], _at, site) do
    from = site.types[e]
    e = expression(e, site)
    fn frame, variables -> Arithmetic.cast(e.(frame, variables), from, dtype) end
  end

  defp expression([:and, _line, a, b], _at, site) do
    {a, b} = {expression(a, site), expression(b, site)}
    fn frame, variables -> a.(frame, variables) and b.(frame, variables) end
  end

  defp expression([:or, _line, a, b], _at, site) do
    {a, b} = {expression(a, site), expression(b, site)}
    fn frame, variables -> a.(frame, variables) or b.(frame, variables) end
  end

  defp expression([:select, _line, c, a, b], _at, site) do
    {c, a, b} = {expression(c, site), expression(a, site), expression(b, site)}

    fn frame, variables ->
      if c.(frame, variables), do: a.(frame, variables), else: b.(frame, variables)
    end
  end

  defp expression([:call | _] = node, _at, site) do
    call = call(node, site)
    fn frame, variables -> hd(call.(frame, variables)) end
  end

  defp expression([op, line, a, b], _at, site) when op in [:quotient, :remainder] do
    divide = Arithmetic.binary(op, site.types[a])
    {a, b} = {expression(a, site), expression(b, site)}

    fn frame, variables ->
      a = a.(frame, variables)
      b = b.(frame, variables)
      if b == 0, do: fail(:bad_value, "division by zero", line, site)
      divide.(a, b)
    end
  end

  defp expression([op, _line, a, b], _at, site) do
    f = Arithmetic.binary(op, site.types[a])
    {a, b} = {expression(a, site), expression(b, site)}

    fn frame, variables ->
      a = a.(frame, variables)
      f.(a, b.(frame, variables))
    end
  end

  defp expression([op, _line, a], _at, site) do
    f = Arithmetic.unary(op, site.types[a])
    a = expression(a, site)
    fn frame, variables -> f.(a.(frame, variables)) end
  end

  defp call([:call, line, at, args], site) do
    function = Enum.at(site.functions, at)
    callee = Enum.at(site.done, at)

    args =
      for {param, arg} <- Enum.zip(callee.params, args) do
        case {param, arg} do
          {[:scalar, _], e} ->
            {:scalar, expression(e, site)}

          {[_mode, _, _], [tensor | indices]} ->
            {:tensor, tensor, Enum.map(indices, &expression(&1, site))}
        end
      end

    names = Enum.take(callee.tensors, Enum.count(args, &match?({:tensor, _, _}, &1)))

    fn frame, variables ->
      {scalars, tensors} = arguments(args, frame, variables, line, site)
      tensors = for {tensor, name} <- Enum.zip(tensors, names), do: %{tensor | name: name}

      case Operands.dims(callee, tensors) do
        {:ok, dims} -> function.(scalars, tensors, dims)
        {:error, text} -> fail(:bad_shape, "#{callee.name}: #{text}", line, site)
      end
    end
  end

  # In the order of the parameters.
  defp arguments(args, frame, variables, line, site) do
    values =
      for arg <- args do
        case arg do
          {:scalar, e} ->
            {:scalar, e.(frame, variables)}

          {:tensor, tensor, indices} ->
            indices = Enum.map(indices, & &1.(frame, variables))
            {:tensor, part(frame |> elem(0) |> elem(tensor), indices, line, site)}
        end
      end

    {for({:scalar, value} <- values, do: value), for({:tensor, tensor} <- values, do: tensor)}
  end

  # a[i], the part of a at index i of its first axis.
  defp part(tensor, [], _line, _site), do: tensor

  defp part(tensor, indices, line, site) do
    dims = Enum.drop(tensor.dims, length(indices))
    rest = List.duplicate(0, length(dims))

    inside = %{
      tensor
      | dims: Enum.take(tensor.dims, length(indices)) ++ Enum.map(rest, fn _ -> 1 end)
    }

    at = offset(%{inside | offset: 0}, indices ++ rest, line, site)
    %{tensor | dims: dims, offset: tensor.offset + at * Enum.product(dims)}
  end

  defp load(tensor, indices, line, site) do
    cell = :atomics.get(tensor.cells, offset(tensor, indices, line, site) + 1)
    Arithmetic.from_cell(cell, tensor.dtype)
  end

  defp offset(%{dims: [n], offset: offset}, [i], _line, _site) when i >= 0 and i < n,
    do: offset + i

  defp offset(tensor, indices, line, site) do
    tensor.dims
    |> Enum.zip(indices)
    |> Enum.with_index()
    |> Enum.reduce(0, fn {{n, i}, axis}, at ->
      if i < 0 or i >= n, do: bad_index(tensor, i, n, axis, line, site)
      at * n + i
    end)
    |> Kernel.+(tensor.offset)
  end

  defp bad_index(tensor, i, n, axis, line, site) do
    where = if length(tensor.dims) > 1, do: ", axis #{axis},"
    range = if n == 0, do: ", which has no elements", else: " of 0..#{n - 1}"
    fail(:bad_index, "index #{i} of #{tensor.name}#{where} is outside#{range}", line, site)
  end

  defp trace(tensor, indices, value, line, site) do
    at = Enum.map_join(indices, "", &"[#{&1}]")
    IO.puts("#{site.file}:#{line}: #{tensor.name}#{at} = #{value}")
  end

  # These raise on purpose: `raise` in a kernel, and an index outside of its axis.
  @dialyzer {:no_return, statement: 2, bad_index: 6}

  @spec fail(atom, String.t(), pos_integer, map) :: no_return
  defp fail(code, text, line, site) do
    raise Outrigger.Error, code: code, op: site.kernel.name, message: text, at: {site.file, line}
  end
end
