defmodule Outrigger.Kernel.PlainTest do
  # Functions over lists as they stand, compiled by `def` and by `defkernel`: the same numbers.
  use ExUnit.Case, async: true

  @functions """
  WORD scatter(source, indices, destination) do
    Enum.zip_reduce(source, indices, destination, fn val, idx, dest ->
      List.replace_at(dest, idx, val)
    end)
  end

  WORD count_up(a, places) do
    Enum.reduce(places, a, fn at, a -> List.update_at(a, at, &(&1 + 1)) end)
  end

  WORD ledger(balances, from, amount) do
    {rest, refused, _} =
      Enum.zip_reduce(from, amount, {balances, 0, 0}, fn account, money, {all, refused, n} ->
        balance = Enum.at(all, account)

        if balance >= money do
          {List.replace_at(all, account, balance - money), refused, n + 1}
        else
          {all, refused + 1, n + 1}
        end
      end)

    {refused, rest}
  end

  WORD fibonacci(n) do
    {a, _b} = Enum.reduce(1..n, {0, 1}, fn _, {a, b} -> {b, a + b} end)
    a
  end

  WORD statistics(a) do
    n = length(a)
    mean = Enum.sum(a) / n
    spread = for x <- a, x > mean, reduce: 0.0 do
      acc -> acc + (x - mean)
    end

    {mean, spread, Enum.max(a), Enum.min(a), Enum.count(a, fn x -> x > mean end)}
  end

  WORD flags(a, limit) do
    x = if Enum.any?(a, &(&1 > limit)), do: 1, else: 0
    y = if Enum.all?(a, fn v -> v <= limit end), do: 1, else: 0
    {x, y, Enum.product(a)}
  end

  WORD own_names(a, x) do
    total = Enum.reduce(a, 0, fn v, total ->
      x = v * x
      x = x + 1
      total + x
    end)

    total + x
  end

  WORD weighted(a) do
    Enum.reduce(Enum.with_index(a), 0, fn {v, i}, sum -> sum + v * i end)
  end

  WORD prefix(a) do
    for i <- 1..(length(a) - 1), reduce: a do
      a -> List.replace_at(a, i, Enum.at(a, i) + Enum.at(a, i - 1))
    end
  end

  WORD shortest_first(a, b) do
    Enum.zip_reduce(a, b, 0, fn x, y, acc -> acc * 2 + x - y end)
  end

  WORD pairs(a) do
    for x <- a, y <- a, x < y, reduce: 0 do
      acc -> acc + y - x
    end
  end

  WORD defaults(a, i) do
    {Enum.at(a, i, -1), hd(a), Enum.at(a, -1)}
  end
  """

  source = fn word -> String.replace(@functions, "WORD", word) end

  Code.compile_string("defmodule #{__MODULE__}.Lists do\n#{source.("def")}\nend")

  Code.compile_string(
    "defmodule #{__MODULE__}.Kernels do\nuse Outrigger.Kernel\n#{source.("defkernel")}\nend"
  )

  setup do
    :rand.seed(:exsss, ExUnit.configuration()[:seed])
    :ok
  end

  defp list(n, range), do: for(_ <- 1..n, do: Enum.random(range))

  for {name, arguments} <- [
        scatter: quote(do: [list(5, 0..9), list(5, -8..8), list(6, 0..9)]),
        count_up: quote(do: [list(5, 0..9), list(20, -7..7)]),
        ledger: quote(do: [list(4, 0..50), list(30, 0..3), list(30, 1..20)]),
        fibonacci: quote(do: [Enum.random(1..80)]),
        statistics: quote(do: [Enum.map(1..6, fn _ -> :rand.normal() end)]),
        flags: quote(do: [list(3, -2..5), 2]),
        own_names: quote(do: [list(5, -9..9), 3]),
        weighted: quote(do: [list(7, -9..9)]),
        prefix: quote(do: [list(7, -9..9)]),
        shortest_first: quote(do: [list(3, 0..9), list(5, 0..9)]),
        pairs: quote(do: [list(6, 0..9)]),
        defaults: quote(do: [list(6, 0..9), Enum.random(-9..9)])
      ] do
    test "#{name}: #{Macro.to_string(arguments)}" do
      for _ <- 1..20 do
        args = unquote(arguments)
        expected = apply(__MODULE__.Lists, unquote(name), args)
        assert apply(__MODULE__.Kernels, unquote(name), args) == expected
      end
    end
  end

  @head "defmodule Outrigger.Kernel.PlainTest.Bad do\nuse Outrigger.Kernel\n"

  for {name, body, line, text} <- [
        {"used after it was given away",
         "b = List.replace_at(a, 0, 1)\nc = Enum.at(a, 0)\n{b, c}", 2,
         "a is used after line 4 gave it to a new value: a tensor has one owner"},
        {"given away in each turn",
         "Enum.reduce(1..3, 0, fn i, acc ->\nb = put_elem(a, 0, i)\nacc + Enum.at(b, 0)\nend)", 1,
         "each turn gives a to a new value"},
        {"updated while it is iterated",
         "Enum.reduce(a, a, fn x, acc -> List.replace_at(acc, 0, x) end)", 1,
         "a is used after line 4 gave it to a new name"},
        {"given away by an argument of its own update",
         "put_elem(a, 0, if n > 0 do\nb = put_elem(a, 1, 2)\nEnum.at(b, 0)\nelse\n0\nend)", 1,
         "a is used after line 5 gave it to a new value"},
        {"another form", "Enum.reduce(a, 0, fn x, acc -> {x, acc} end)", 1,
         "the function gives another form than the accumulator"},
        {"a tensor as a number", "1 + List.replace_at(a, 0, 1)", 1,
         "gives a tensor, which is no number"}
      ] do
    test "one owner: #{name}" do
      source = @head <> "defkernel f(a :: s64[n]) do\n#{unquote(body)}\nend\nend"
      error = assert_raise CompileError, fn -> Code.compile_string(source) end
      assert error.description =~ unquote(text)
      assert error.line == 3 + unquote(line)
    end
  end
end
