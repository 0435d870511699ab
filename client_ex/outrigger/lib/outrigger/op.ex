defmodule Outrigger.Op do
  @moduledoc """
  Functional ops: each returns a new tensor and changes none. Names and meanings are those of Nx.

  The functions take

    * tensors: the function sends the op, and returns its result without a wait. A read of the
      result returns the error of a failed op, and so does `Outrigger.sync/2`
    * values, inside `Outrigger.program/1`: the op becomes an instruction. A tensor that is used
      there becomes a hidden argument of the program

  Operands may also be numbers, `:nan`, `:infinity` and `:neg_infinity`, and complex numbers as
  `{re, im}`. Beside a tensor, a number has the tensor's type, as in Nx.

  Outside a program, the first argument of a function without operands (`iota`, `eye`, `constant`,
  `from_binary`) is a server.

      iex> t = Outrigger.tensor(MyApp.Compute, [1.0, 4.0, 9.0])
      iex> t |> Outrigger.Op.sqrt() |> Outrigger.Op.add(1) |> Outrigger.to_list!()
      [2.0, 3.0, 4.0]

  These functions are generated from the daemon's catalogue.
  """

  alias Outrigger.Trace
  require Outrigger.Catalogue
  require Outrigger.Server

  @typedoc "A tensor, a value of the program that is being traced, or a number."
  @type operand :: Outrigger.Tensor.t() | Outrigger.Value.t() | Outrigger.Data.number_like()

  @typedoc "One value, or a tuple or a list of values."
  @type container :: operand | tuple | [operand]

  Outrigger.Catalogue.generate(in_place: false)

  @doc """
  Repeats `body` while `condition` returns a scalar that is not zero.

  Both functions have one argument, of the form of `init`: a value, or a tuple of values. `body`
  returns the next values, with the same types and shapes. The daemon writes loop values in place
  where this cannot be observed.

      iex> alias Outrigger.Op
      iex> program = Outrigger.program(fn n ->
      ...>   condition = fn {i, _} -> Op.greater(i, 1) end
      ...>   body = fn {i, f} -> {Op.subtract(i, 1), Op.multiply(f, i)} end
      ...>   {_, factorial} = Op.while({n, Op.constant(1, :s64, {})}, condition, body)
      ...>   factorial
      ...> end)
      iex> n = Outrigger.tensor(MyApp.Compute, 5, type: :s64)
      iex> Outrigger.run(MyApp.Compute, program, [n]) |> Outrigger.to_number!()
      120
  """
  @spec while(container, (container -> operand), (container -> container)) :: container
  def while(init, condition, body) when is_function(condition, 1) and is_function(body, 1) do
    eagerly_or(init, fn ->
      values = Trace.values(init)
      count = length(values)
      {test, _} = Trace.region(count, fn params -> condition.(Trace.like(init, params)) end)
      {next, returned} = Trace.region(count, fn params -> body.(Trace.like(init, params)) end)
      given = length(Trace.values(returned))

      if given != count do
        raise ArgumentError, "while: the body returns #{given} values for #{count} initial values"
      end

      Trace.like(init, Trace.emit_regions("while", values, [test, next], count))
    end)
  end

  @doc """
  Carries out one of two functions: `on_true` if the scalar `predicate` is not zero, otherwise
  `on_false`. Both functions have no argument, and may use values from outside. Both return the same
  types and shapes.

      iex> alias Outrigger.Op
      iex> halve = Outrigger.program(fn x ->
      ...>   Op.cond(Op.greater(x, 10), fn -> Op.divide(x, 2) end, fn -> Op.multiply(x, 1.0) end)
      ...> end)
      iex> x = Outrigger.tensor(MyApp.Compute, 12.0)
      iex> Outrigger.run(MyApp.Compute, halve, [x]) |> Outrigger.to_number!()
      6.0
  """
  @spec cond(operand, (() -> container), (() -> container)) :: container
  def cond(predicate, on_true, on_false)
      when is_function(on_true, 0) and is_function(on_false, 0) do
    eagerly_or(predicate, fn ->
      {first, returned} = Trace.region(0, fn [] -> on_true.() end)
      {second, other} = Trace.region(0, fn [] -> on_false.() end)
      count = length(Trace.values(returned))

      if length(Trace.values(other)) != count do
        raise ArgumentError, "cond: the functions return different numbers of values"
      end

      Trace.like(returned, Trace.emit_regions("cond", [predicate], [first, second], count))
    end)
  end

  @doc """
  Folds the elements over axes with a function of an element and the accumulator. The accumulator
  starts as `acc`.

  The function takes scalars, returns the next accumulator, and may use values from outside. A
  function of elementwise ops runs on many results at once.

  Options: `:axes`, `:keep_axes`, and `:type`, the type of the result (by default the common type of
  the tensor and `acc`).

      iex> alias Outrigger.Op
      iex> t = Outrigger.tensor(MyApp.Compute, [[1, 2], [3, 4]])
      iex> horner = fn x, acc -> acc |> Op.multiply(10) |> Op.add(x) end
      iex> t |> Op.reduce(0, [axes: [1]], horner) |> Outrigger.to_list!()
      [12, 34]
  """
  @spec reduce(operand, operand, keyword, (operand, operand -> operand)) :: operand
  def reduce(tensor, acc, options \\ [], fun) when is_function(fun, 2),
    do: fold("reduce", [tensor, acc], options, 2, fn [x, acc] -> fun.(x, acc) end)

  @doc """
  Folds the elements of each window, as `reduce/4` does. The padding has the value `acc`.

  Options: `:strides`, `:padding_low`, `:padding_high`, `:window_dilations`.

      iex> alias Outrigger.Op
      iex> t = Outrigger.tensor(MyApp.Compute, [1, 5, 2, 4])
      iex> t |> Op.window_reduce(0, {2}, &Op.max/2) |> Outrigger.to_list!()
      [5, 5, 4]
  """
  @spec window_reduce(operand, operand, tuple, keyword, (operand, operand -> operand)) :: operand
  def window_reduce(tensor, acc, window, options \\ [], fun) when is_function(fun, 2) do
    options = [window: window] ++ options
    fold("window_reduce", [tensor, acc], options, 2, fn [x, acc] -> fun.(x, acc) end)
  end

  @doc """
  Applies a function of a scalar to each element. Options: `:type`, the type of the result.

      iex> alias Outrigger.Op
      iex> t = Outrigger.tensor(MyApp.Compute, [1, 2, 3])
      iex> t |> Op.map(fn x -> x |> Op.multiply(x) |> Op.add(1) end) |> Outrigger.to_list!()
      [2, 5, 10]
  """
  @spec map(operand, keyword, (operand -> operand)) :: operand
  def map(tensor, options \\ [], fun) when is_function(fun, 1),
    do: fold("map", [tensor], options, 1, fn [x] -> fun.(x) end)

  defp fold(name, operands, options, count, fun) do
    attrs = Outrigger.Catalogue.attrs!(name, options)

    eagerly_or(operands, fn ->
      {region, _} = Trace.region(count, fun)
      [out] = Trace.emit_regions(name, operands, [region], 1, attrs)
      out
    end)
  end

  @doc """
  Calls a prepared program inside another program. Its instructions become part of the other
  program, and fuse with the instructions around them. Returns the results in the same container
  as `Outrigger.call/3`. A write in place into a parameter writes into the operand.

      iex> alias Outrigger.Op
      iex> square = Outrigger.prepare!(MyApp.Compute, Outrigger.program(&Op.multiply(&1, &1)))
      iex> norm = Outrigger.program(fn x, y ->
      ...>   Op.sqrt(Op.add(Op.call(square, [x]), Op.call(square, [y])))
      ...> end)
      iex> {x, y} = {Outrigger.tensor(MyApp.Compute, 3.0), Outrigger.tensor(MyApp.Compute, 4.0)}
      iex> Outrigger.run(MyApp.Compute, norm, [x, y]) |> Outrigger.to_number!()
      5.0

  Outside a program, this function is `Outrigger.call/3`.
  """
  @spec call(Outrigger.Prepared.t(), [operand]) :: container | nil
  def call(%Outrigger.Prepared{} = prepared, operands) do
    if Trace.active?(),
      do: Trace.call(prepared, List.wrap(operands)),
      else: Outrigger.call(prepared, operands)
  end

  # Outside a program, the op becomes a program, which captures the tensors.
  defp eagerly_or(operands, emit) do
    if Trace.active?() do
      emit.()
    else
      case Enum.find(Trace.values(operands), &is_struct(&1, Outrigger.Tensor)) do
        %{server: server} -> Outrigger.run(server, Trace.program(0, emit), [])
        nil -> raise ArgumentError, "outside a program, one of the operands must be a tensor"
      end
    end
  end
end
