defmodule Outrigger.Kernel.Operands do
  @moduledoc false
  # Operands and results of the interpreter: lists, binaries and numbers of Elixir, and tensors as
  # windows onto cells of :atomics.

  alias Outrigger.Data
  alias Outrigger.Kernel.{Arithmetic, Types}

  @doc """
  The `{dtype, rank}` of an argument for a parameter without a type. Elixir's integers are s64 and
  its floats f64, so that numbers are those of the same function in Elixir.
  """
  def type(bytes) when is_binary(bytes), do: {:u8, 1}

  def type(list) when is_list(list) do
    rank = list |> Data.shape() |> tuple_size()
    integers? = list |> List.flatten() |> Enum.all?(&is_integer/1)
    {if(integers?, do: :s64, else: :f64), rank}
  end

  def type(n) when is_integer(n), do: {:s64, 0}
  def type(_float), do: {:f64, 0}

  @doc "A tensor of zeros."
  def zeros(name, dtype, dims) do
    signed = match?({:s, _}, Types.parts(dtype))
    cells = :atomics.new(max(Enum.product(dims), 1), signed: signed)
    %{cells: cells, offset: 0, dims: dims, dtype: dtype, name: name}
  end

  @doc "A size: an integer, or `[name, plus]`."
  def size([dim, plus], dims), do: max(elem(dims, dim) + plus, 0)
  def size(n, _dims), do: n

  @doc """
  Reads the arguments of a kernel, without `new` ones. Returns the numbers, the tensors (`new` ones,
  too), and the sizes of the dimension names.
  """
  def read(kernel, args) do
    passed = Enum.reject(kernel.params, &match?([:new | _], &1))
    values = for {param, arg} <- Enum.zip(passed, args), do: operand(param, arg, kernel)
    scalars = for {:scalar, value} <- values, do: value
    given = for {:tensor, tensor} <- values, do: tensor

    # The sizes follow from the tensors that are passed; those of `new` ones from the sizes.
    given_params = Enum.reject(passed, &match?([:scalar | _], &1))
    given_names = names(kernel, &(&1 != :new))
    given = for {tensor, name} <- Enum.zip(given, given_names), do: %{tensor | name: name}

    dims =
      case bind(kernel, given_params, given) do
        {:ok, dims} -> dims
        {:error, text} -> raise Outrigger.Error, code: :bad_shape, op: kernel.name, message: text
      end

    fresh =
      for {[:new, dtype, sizes], name} <-
            Enum.zip(
              Enum.filter(kernel.params, &match?([:new | _], &1)),
              names(kernel, &(&1 == :new))
            ),
          do: zeros(name, dtype, Enum.map(sizes, &size(&1, dims)))

    {scalars, in_order(kernel, given, fresh), dims}
  end

  defp in_order(kernel, given, fresh) do
    {tensors, _rest} =
      for [mode | _] when mode != :scalar <- kernel.params, reduce: {[], {given, fresh}} do
        {done, {given, [next | fresh]}} when mode == :new -> {[next | done], {given, fresh}}
        {done, {[next | given], fresh}} -> {[next | done], {given, fresh}}
      end

    Enum.reverse(tensors)
  end

  # The names of the tensor parameters with such a mode.
  defp names(kernel, fun) do
    modes = for [mode | _] when mode != :scalar <- kernel.params, do: mode
    for {mode, name} <- Enum.zip(modes, kernel.tensors), fun.(mode), do: name
  end

  @doc "The sizes of the dimension names, from all tensors of a call: `{:ok, tuple}` or an error."
  def dims(kernel, tensors) do
    bind(kernel, Enum.reject(kernel.params, &match?([:scalar | _], &1)), tensors)
  end

  defp bind(kernel, params, tensors) do
    sizes =
      for {[_mode, _dtype, dims], tensor} <- Enum.zip(params, tensors),
          {{dim, size}, axis} <- Enum.with_index(Enum.zip(dims, tensor.dims)),
          do: {dim, size, axis, tensor.name}

    bound =
      Enum.reduce_while(sizes, %{}, fn {dim, size, axis, name}, bound ->
        case check(dim, size, bound) do
          {:ok, bound} ->
            {:cont, bound}

          {:error, expected} ->
            {:halt, "axis #{axis} of #{name} has the size #{size}, not #{expected}"}
        end
      end)

    if is_map(bound),
      do: {:ok, for(dim <- 0..(kernel.dims - 1)//1, do: bound[dim]) |> List.to_tuple()},
      else: {:error, bound}
  end

  defp check(nil, _size, bound), do: {:ok, bound}
  defp check(size, size, bound) when is_integer(size), do: {:ok, bound}
  defp check(expected, _size, _bound) when is_integer(expected), do: {:error, expected}

  defp check([dim, plus], size, bound) do
    case bound do
      %{^dim => n} when n + plus == size -> {:ok, bound}
      %{^dim => n} -> {:error, n + plus}
      _ when size - plus < 0 -> {:error, "#{plus} or more"}
      _ -> {:ok, Map.put(bound, dim, size - plus)}
    end
  end

  defp operand([:scalar, dtype], value, kernel), do: {:scalar, element(value, dtype, kernel)}

  defp operand([_mode, :u8, [_] = dims], value, kernel) when is_binary(value),
    do: operand([:in, :u8, dims], :binary.bin_to_list(value), kernel)

  defp operand([_mode, dtype, dims], list, kernel) when is_list(list) do
    shape = list |> Data.shape() |> Tuple.to_list()
    rank = length(dims)
    # An empty list says nothing of the axes after it.
    shape = if 0 in shape, do: Enum.take(shape ++ List.duplicate(0, rank), rank), else: shape

    if length(shape) != rank do
      raise ArgumentError,
            "#{kernel.name} takes a tensor of rank #{rank}, not a list of rank #{length(shape)}"
    end

    tensor = zeros("", dtype, shape)

    for {x, at} <- list |> List.flatten() |> Enum.with_index(1) do
      :atomics.put(tensor.cells, at, x |> element(dtype, kernel) |> Arithmetic.to_cell(dtype))
    end

    {:tensor, tensor}
  end

  defp operand([_mode, dtype, dims], other, kernel) do
    raise ArgumentError,
          "#{kernel.name} takes a list for a tensor of #{dtype} with #{length(dims)} axes, " <>
            "not #{inspect(other, limit: 5)}"
  end

  defp element(x, dtype, _kernel)
       when dtype in [:f32, :f64] and (is_number(x) or x in [:nan, :infinity, :neg_infinity]),
       do: Arithmetic.number(x, dtype)

  defp element(n, dtype, kernel) do
    if is_integer(n) and Types.integer?(dtype) and Types.fits?(n, dtype),
      do: n,
      else: raise(ArgumentError, "#{kernel.name}: #{inspect(n, limit: 5)} is no #{dtype}")
  end

  @doc """
  The results: those that are declared, then `new` tensors, then the new values of `mut` ones. One
  result stands alone; none is `:ok`.
  """
  def results(kernel, values, tensors) do
    case all_results(kernel, values, tensors) do
      [] -> :ok
      [one] -> one
      several -> List.to_tuple(several)
    end
  end

  defp all_results(%{returns: nil} = kernel, values, tensors) do
    modes = for [mode | _] when mode != :scalar <- kernel.params, do: mode
    tensors = Enum.zip(modes, tensors)

    values ++
      for({:new, tensor} <- tensors, do: to_list(tensor)) ++
      for({:mut, tensor} <- tensors, do: to_list(tensor))
  end

  # The results of plain Elixir are in the order of the source.
  defp all_results(%{returns: returns}, values, tensors) do
    for part <- returns do
      case part do
        {:value, at} -> Enum.at(values, at)
        {:tensor, at} -> tensors |> Enum.at(at) |> to_list()
      end
    end
  end

  defp to_list(tensor) do
    cells = for at <- 1..Enum.product(tensor.dims)//1, do: :atomics.get(tensor.cells, at)
    cells |> Enum.map(&Arithmetic.from_cell(&1, tensor.dtype)) |> nest(tensor.dims)
  end

  defp nest(list, [_]), do: list
  defp nest(_list, [n | dims]) when n == 0 or hd(dims) == 0, do: List.duplicate([], n)

  defp nest(list, [_ | dims]) do
    list |> Enum.chunk_every(Enum.product(dims)) |> Enum.map(&nest(&1, dims))
  end
end
