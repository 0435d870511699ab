defmodule Outrigger.KernelPlain do
  @moduledoc false
  # Functions over lists as the forum has them, by `def` and by `defkernel`.

  @functions """
  WORD scatter(source, indices, destination) do
    Enum.zip_reduce(source, indices, destination, fn val, idx, dest ->
      List.replace_at(dest, idx, val)
    end)
  end

  WORD ledger(balances, from, amount) do
    {rest, refused} =
      Enum.zip_reduce(from, amount, {balances, 0}, fn account, money, {all, refused} ->
        balance = Enum.at(all, account)

        if balance >= money do
          {List.replace_at(all, account, balance - money), refused}
        else
          {all, refused + 1}
        end
      end)

    {refused, rest}
  end
  """

  @doc "The functions, defined by this word."
  def functions(word), do: @functions |> String.replace("WORD", word) |> Code.string_to_quoted!()
end

defmodule Outrigger.KernelPlain.Lists do
  @moduledoc false
  Code.eval_quoted(Outrigger.KernelPlain.functions("def"), [], __ENV__)

  @doc "The primes below n."
  def primes(n) do
    Enum.count(2..(n - 1), fn k -> Enum.all?(2..k//1, &(&1 * &1 > k or rem(k, &1) != 0)) end)
  end

  @doc "Levenshtein's distance, row by row."
  def distance(a, b) do
    b = String.to_charlist(b)
    first = Enum.to_list(0..length(b))

    for <<x <- a>>, reduce: first do
      [above | _] = row ->
        {next, _} =
          Enum.zip(b, Enum.zip(row, tl(row)))
          |> Enum.map_reduce(above + 1, fn {y, {diagonal, above}}, left ->
            cost = if x == y, do: 0, else: 1
            best = Enum.min([diagonal + cost, above + 1, left + 1])
            {best, best}
          end)

        [above + 1 | next]
    end
    |> List.last()
  end

  @doc "The number of components of a graph with n nodes, by labels that spread."
  def components(edges, n) do
    labels = Map.new(0..(n - 1), &{&1, &1})

    edges
    |> Enum.reduce(labels, fn [x, y], labels ->
      {from, to} = {labels[y], labels[x]}
      Map.new(labels, fn {node, label} -> {node, if(label == from, do: to, else: label)} end)
    end)
    |> Map.values()
    |> Enum.uniq()
    |> length()
  end
end

defmodule Outrigger.KernelPlain.Kernels do
  @moduledoc false
  use Outrigger.Kernel
  Code.eval_quoted(Outrigger.KernelPlain.functions("defkernel"), [], __ENV__)
end
