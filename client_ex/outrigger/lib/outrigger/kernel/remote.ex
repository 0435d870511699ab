defmodule Outrigger.Kernel.Remote do
  @moduledoc false
  # Calls of kernels on tensors of a daemon, and on values of a program that is traced. A call is
  # one instruction, `kernel`. The program around it has the unit, by the id that the unit's hash
  # gives it; the connection defines the unit before the first program of a session that needs it.

  alias Outrigger.{Data, Tensor, Trace, Value}
  alias Outrigger.Kernel.{Operands, Types}

  @doc "True if the arguments are not those of the interpreter."
  def call?(args), do: Trace.active?() or Enum.any?(args, &tensor?/1)

  defp tensor?(arg), do: is_struct(arg, Tensor) or is_struct(arg, Value)

  @doc """
  Calls the last kernel of a unit. With `in_place?`, it writes the operands of `mut` parameters;
  otherwise their new values are results, and they stay as they are.
  """
  def call(unit, args, in_place?) do
    kernel = List.last(unit.kernels)
    passed = Enum.reject(kernel.params, &match?([:new | _], &1))

    if length(passed) != length(args) do
      raise ArgumentError,
            "#{kernel.name} takes #{length(passed)} arguments, got #{length(args)}"
    end

    for {param, arg} <- Enum.zip(passed, args), do: check(param, arg, kernel)

    results =
      if Trace.active?(),
        do: emit(unit, kernel, args, in_place?),
        else: eager(unit, kernel, args, in_place?)

    case results do
      [] -> :ok
      [one] -> one
      several -> List.to_tuple(several)
    end
  end

  defp check([:scalar, dtype], arg, kernel) do
    unless tensor?(arg) or match?({:ok, _}, Data.literal(arg)) do
      raise ArgumentError,
            "#{kernel.name} takes a #{dtype}: a number or a tensor without axes, " <>
              "not #{inspect(arg, limit: 5)}"
    end
  end

  defp check([_mode, dtype, dims], arg, kernel) do
    unless tensor?(arg) do
      raise ArgumentError,
            "#{kernel.name} takes a tensor of #{dtype} with #{length(dims)} axes, not " <>
              "#{inspect(arg, limit: 5)}: make one with Outrigger.tensor/3"
    end
  end

  defp eager(unit, kernel, args, in_place?) do
    server =
      case Enum.find(args, &is_struct(&1, Tensor)) do
        %{server: server} -> server
        nil -> raise ArgumentError, "outside a program, one of the arguments must be a tensor"
      end

    program = Trace.program(0, fn -> List.to_tuple(emit(unit, kernel, args, in_place?)) end)
    server |> Outrigger.run(program, []) |> Tuple.to_list()
  end

  defp emit(unit, kernel, args, in_place?) do
    tensors = tensors(kernel.params)
    consumed = for number <- kernel.consumed, do: tensors |> Enum.at(number) |> elem(1)
    written = for {:mut, arg} <- tensors, do: arg
    in_place? = in_place? and written -- consumed != []
    # A kernel that writes in place writes a copy of an operand that is to stay as it is.
    operands = if in_place?, do: copied(args, kernel, consumed), else: args

    declared = length(kernel.results)
    fresh = Enum.count(tensors, &match?({:new, _}, &1))
    named = declared + fresh + if(in_place?, do: 0, else: length(written))
    given = Trace.kernel(unit.wire, operands, named, if(in_place?, do: written))

    {values, given} = Enum.split(given, declared)
    {fresh, new_values} = Enum.split(given, fresh)

    new_values =
      if in_place?,
        do: for(at <- written, do: Trace.same(Enum.at(operands, at))),
        else: new_values

    in_order(kernel, values, fresh, new_values, tensors)
  end

  # The modes of the tensor parameters, with the positions of their arguments; `new` ones have none.
  defp tensors(params) do
    {params, _count} =
      Enum.map_reduce(params, 0, fn
        [:new | _], at -> {{:new, nil}, at}
        [mode | _], at -> {{mode, at}, at + 1}
      end)

    Enum.reject(params, &match?({:scalar, _}, &1))
  end

  # Another value with the same elements, which is copied when it is written.
  defp copied(args, kernel, positions) do
    passed = Enum.reject(kernel.params, &match?([:new | _], &1))

    for {{param, arg}, at} <- passed |> Enum.zip(args) |> Enum.with_index() do
      if at in positions do
        [_mode, _dtype, dims] = param
        Trace.op("transpose", [arg], [{"axes", Enum.to_list(0..(length(dims) - 1))}])
      else
        arg
      end
    end
  end

  defp in_order(%{returns: nil}, values, fresh, new_values, _tensors),
    do: values ++ fresh ++ new_values

  # The results of plain Elixir are in the order of the source.
  defp in_order(%{returns: returns}, values, fresh, new_values, tensors) do
    {by_number, _} =
      Enum.map_reduce(tensors, {fresh, new_values}, fn
        {:new, _}, {[next | fresh], written} -> {next, {fresh, written}}
        {:mut, _}, {fresh, [next | written]} -> {next, {fresh, written}}
        {:in, _}, rest -> {nil, rest}
      end)

    for part <- returns do
      case part do
        {:value, at} -> Enum.at(values, at)
        {:tensor, number} -> Enum.at(by_number, number)
      end
    end
  end

  @doc "As `Operands.type/1`, for a tensor of a daemon, too."
  def type(%Tensor{} = tensor) do
    with {:ok, {dtype, shape}} <- Tensor.await(tensor, tensor.server.timeout) do
      if dtype in Types.dtypes() do
        {dtype, tuple_size(shape)}
      else
        raise ArgumentError,
              "kernels have no #{dtype}: cast the tensor to one of " <>
                Enum.join(Types.dtypes(), ", ")
      end
    else
      {:error, error} -> raise error
    end
  end

  def type(%Value{}) do
    raise ArgumentError,
          "inside a program, the types of operands are not known: write the types of all " <>
            "parameters in the head of the kernel"
  end

  def type(other), do: Operands.type(other)
end
