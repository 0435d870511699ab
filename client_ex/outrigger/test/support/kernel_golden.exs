Code.require_file("kernel_examples.exs", __DIR__)

defmodule Outrigger.KernelGolden do
  @moduledoc false
  # The cases of protocol/golden/kernels/examples.msgpack.

  alias Outrigger.{Codec, Data, Dtype}
  alias Outrigger.Kernel.{Interpreter, Unit}
  alias Outrigger.KernelExamples, as: Examples

  def path, do: Path.expand("../../../../protocol/golden/kernels/examples.msgpack", __DIR__)

  # name, kernel, arguments
  defp calls do
    [
      {"edit_distance/words", &Examples.edit_distance/2, ["kitten", "sitting"]},
      {"edit_distance/empty", &Examples.edit_distance/2, ["", "abc"]},
      {"sieve/50", &Examples.sieve/1, [List.duplicate(0, 50)]},
      {"sieve/0", &Examples.sieve/1, [[]]},
      {"merge_sort/9", &Examples.merge_sort/1, [[5, -2, 9, 0, 5, 3, -7, 1, 4]]},
      {"relax/4x5", &Examples.relax/2,
       [for(i <- 0..3, do: for(j <- 0..4, do: i * 1.7 + j / 3)), 2]},
      {"components/6", &Examples.components/2,
       [[[0, 1], [2, 3], [1, 3], [4, 4]], List.duplicate(0, 6)]},
      {"components/bad_index", &Examples.components/2, [[[0, 1], [1, 7]], [0, 0, 0]]},
      {"histogram", &Examples.histogram/2, ["outrigger", List.duplicate(1, 256)]},
      {"histogram/bad_shape", &Examples.histogram/2, ["a", [0, 0]]},
      {"shortest/4", &Examples.shortest/4,
       [[0, 2, 3, 4, 4], [1, 2, 2, 0], [1.0, 4.0, 2.5, 0.5], 0]},
      {"shortest/unreachable", &Examples.shortest/4, [[0, 0, 0], [], [], 1]},
      {"shortest/raised", &Examples.shortest/4, [[0, 1, 1], [1], [-1.5], 0]},
      {"shortest/source", &Examples.shortest/4, [[0, 0], [], [], 5]},
      {"queens/6", &Examples.queens/1, [6]},
      {"life/5x5", &Examples.life/1,
       [[[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]]},
      {"mandelbrot/3x4", &Examples.mandelbrot/2, [List.duplicate([0, 0, 0, 0], 3), 20]},
      {"segmented_scan", &Examples.segmented_scan/2, [[1.0, :infinity, 3.0, :nan], [0, 0, 1, 0]]},
      {"minimum", &Examples.minimum/2, [[3, -1, 2], 10]},
      {"minimum/empty", &Examples.minimum/2, [[], 10]},
      {"minimum/raised", &Examples.minimum/2, [[1, 11], 10]},
      {"join", &Examples.join/2, [[7, -3, 12, 0], [0, 5, 12]]}
    ]
  end

  @doc "The cases, as maps of the wire."
  def cases, do: Enum.map(calls(), &case_of/1)

  @doc "The bytes of the file."
  def bytes, do: cases() |> Codec.encode() |> IO.iodata_to_binary()

  defp case_of({name, kernel, args}) do
    info = Function.info(kernel)
    {:ok, unit} = info[:module].__kernel__(info[:name], info[:arity])
    own = List.last(unit.kernels)
    passed = Enum.reject(own.params, &match?([:new | _], &1))
    operands = for {param, arg} <- Enum.zip(passed, args), do: operand(param, arg)
    Map.merge(%{name: name, unit: Unit.to_wire(unit), in: operands}, outcome(unit, args))
  end

  @doc "The results or the error of a unit."
  def outcome(unit, args) do
    own = List.last(unit.kernels)
    results = Interpreter.run(unit, args, [])

    types =
      Enum.map(own.results, &{&1, 0}) ++
        for(mode <- [:new, :mut], [^mode, dtype, dims] <- own.params, do: {dtype, length(dims)})

    results =
      case {results, types} do
        {:ok, []} -> []
        {one, [_]} -> [one]
        {several, _} -> Tuple.to_list(several)
      end

    %{
      out: for({value, {dtype, rank}} <- Enum.zip(results, types), do: tensor(value, dtype, rank))
    }
  rescue
    error in Outrigger.Error ->
      at = with {file, line} <- error.at, do: %{file: file, line: line}
      %{error: Atom.to_string(error.code), message: error.message, op: error.op, at: at}
  end

  defp operand([:scalar, dtype], n), do: tensor(n, dtype, 0)

  defp operand([_mode, dtype, dims], bytes) when is_binary(bytes),
    do: tensor(:binary.bin_to_list(bytes), dtype, length(dims))

  defp operand([_mode, dtype, dims], list), do: tensor(list, dtype, length(dims))

  defp tensor(n, dtype, 0), do: %{dtype: dtype, shape: [], data: {:bin, Data.encode(n, dtype)}}

  defp tensor(list, dtype, rank) do
    shape = list |> Data.shape() |> Tuple.to_list()
    shape = Enum.take(shape ++ List.duplicate(0, rank), rank)
    %{dtype: dtype, shape: shape, data: {:bin, Data.encode(list, dtype)}}
  end

  @doc "The arguments of the interpreter, from operands of a case."
  def arguments(operands) do
    for %{"dtype" => dtype, "shape" => shape, "data" => data} <- operands do
      {:ok, dtype} = Dtype.parse(dtype)
      nest(Data.decode(data, dtype), shape)
    end
  end

  defp nest([n], []), do: n
  defp nest(list, [_]), do: list
  defp nest([], [n | _]), do: List.duplicate([], n)

  defp nest(list, [n | rest]),
    do: list |> Enum.chunk_every(div(length(list), n)) |> Enum.map(&nest(&1, rest))
end
