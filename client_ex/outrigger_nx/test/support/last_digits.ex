defmodule Outrigger.Nx.LastDigits do
  @moduledoc false
  # Runs a module's doctests and compares the printed text up to the last digits of floats. Every
  # other character must be the same. A float may differ by `ulps` of the largest float in its
  # tensor. For the functions that `doctest` itself leaves out.

  @epsilon %{
    "bf16" => 2 ** -7,
    "f16" => 2 ** -10,
    "f32" => 2 ** -23,
    "f64" => 2 ** -52,
    "c64" => 2 ** -23,
    "c128" => 2 ** -52
  }
  @float ~r/[-+]?\d+\.\d+(?:e-?\d+)?/

  @doc "Defines a test for each of the functions, given as `name: arity`."
  defmacro last_digits(module, functions, options) do
    quote bind_quoted: [module: module, functions: functions, options: options] do
      for {name, arity} <- functions do
        @tag ulps: options[:ulps], examples: {module, name, arity}
        test "#{inspect(module)}.#{name}/#{arity}, up to #{options[:ulps]} ulps", context do
          {module, name, arity} = context.examples
          Outrigger.Nx.LastDigits.check(module, name, arity, context.ulps)
        end
      end
    end
  end

  def check(module, name, arity, ulps) do
    examples = examples(doc(module, name, arity))
    examples == [] && raise ArgumentError, "#{inspect(module)}.#{name}/#{arity} has no examples"
    Enum.each(examples, &run(&1, ulps))
  end

  defp doc(module, name, arity) do
    {:docs_v1, _, _, _, _, _, docs} = Code.fetch_docs(module)

    Enum.find_value(docs, fn
      {{:function, ^name, ^arity}, _, _, %{"en" => text}, _} -> text
      _ -> nil
    end) || raise ArgumentError, "#{inspect(module)}.#{name}/#{arity} has no doc"
  end

  # An example is a list of `{code, expected text}`; a blank line ends it, and its variables.
  defp examples(text) do
    text
    |> String.split("\n")
    |> Enum.map(&String.replace_prefix(&1, "    ", ""))
    |> Enum.chunk_by(&(String.trim(&1) == ""))
    |> Enum.filter(&match?(["iex>" <> _ | _], &1))
    |> Enum.map(&steps/1)
  end

  defp steps(["iex>" <> code | lines]) do
    {more, lines} = Enum.split_while(lines, &String.starts_with?(&1, "...>"))
    {expected, lines} = Enum.split_while(lines, &(not String.starts_with?(&1, "iex>")))
    code = Enum.join([code | Enum.map(more, &String.replace_prefix(&1, "...>", ""))], "\n")
    [{code, Enum.join(expected, "\n")} | steps(lines)]
  end

  defp steps([]), do: []

  defp run(example, ulps) do
    Enum.reduce(example, [], fn {code, expected}, binding ->
      try do
        Code.eval_string("import Nx, only: :sigils\n" <> code, binding)
      rescue
        error -> {error, binding}
      end
      |> then(fn {value, binding} ->
        expected == "" || compare(code, expected, shown(value), ulps)
        binding
      end)
    end)
  end

  defp shown(%{__exception__: true} = error),
    do: "** (#{inspect(error.__struct__)}) #{Exception.message(error)}"

  defp shown(value), do: inspect(value)

  defp compare(code, expected, actual, ulps) do
    [wanted, got] = for text <- [expected, actual], do: numbers(text)
    type = Regex.run(~r/\b(bf16|f16|f32|f64|c64|c128)\b/, expected) || [nil, "f32"]
    tolerance = ulps * @epsilon[Enum.at(type, 1)] * Enum.max([0.0 | Enum.map(wanted, &abs/1)])

    same =
      Regex.replace(@float, expected, "?") == Regex.replace(@float, actual, "?") and
        Enum.zip_with(wanted, got, &(abs(&1 - &2) <= tolerance)) |> Enum.all?()

    same || raise ExUnit.AssertionError, left: actual, right: expected, message: code
  end

  defp numbers(text), do: for([number] <- Regex.scan(@float, text), do: String.to_float(number))
end
