# Kernels in the daemon beside the same loops in plain Elixir, in turns within this run. Operands
# are resident. From client_ex/outrigger: mix run ../../bench/elixir/kernels.exs
Code.require_file("../../client_ex/outrigger/test/support/kernel_examples.exs", __DIR__)

defmodule KernelBench.Kernels do
  @moduledoc false
  use Outrigger.Kernel

  defkernel ledger(balances :: mut(s64[n]), from :: s64[m], amount :: s64[m]) :: s64 do
    refused = 0

    for i <- 0..(m - 1) do
      account = from[i]

      if balances[account] >= amount[i] do
        balances[account] = balances[account] - amount[i]
      else
        refused = refused + 1
      end
    end

    refused
  end

  defkernel scatter(source, indices, destination) do
    Enum.zip_reduce(source, indices, destination, fn val, idx, dest ->
      List.replace_at(dest, idx, val)
    end)
  end
end

defmodule KernelBench.Plain do
  @moduledoc false

  # The fastest plain form that was found: a map.
  def ledger(balances, from, amount) do
    {_balances, refused} =
      Enum.zip_reduce(from, amount, {balances, 0}, fn account, money, {all, refused} ->
        case all do
          %{^account => balance} when balance >= money ->
            {%{all | account => balance - money}, refused}

          _ ->
            {all, refused + 1}
        end
      end)

    refused
  end

  # Marks in :atomics, which are mutable.
  def sieve(n) do
    marks = :atomics.new(n, [])
    mark(2, n, marks)
    Enum.count(2..(n - 1), &(:atomics.get(marks, &1 + 1) == 0))
  end

  defp mark(i, n, _marks) when i * i >= n, do: :ok

  defp mark(i, n, marks) do
    if :atomics.get(marks, i + 1) == 0, do: multiples(i * i, i, n, marks)
    mark(i + 1, n, marks)
  end

  defp multiples(j, _i, n, _marks) when j >= n, do: :ok

  defp multiples(j, i, n, marks) do
    :atomics.put(marks, j + 1, 1)
    multiples(j + i, i, n, marks)
  end

  # Row by row, with lists.
  def edit_distance(a, b) do
    b = String.to_charlist(b)
    a |> rows(b, Enum.to_list(0..length(b))) |> List.last()
  end

  defp rows(<<x, rest::binary>>, b, [diagonal | above]),
    do: rows(rest, b, [diagonal + 1 | next(b, x, diagonal, above, diagonal + 1)])

  defp rows(<<>>, _b, row), do: row

  defp next([y | b], x, diagonal, [above | rest], left) do
    cost = if x == y, do: 0, else: 1
    best = min(diagonal + cost, min(above, left) + 1)
    [best | next(b, x, above, rest, best)]
  end

  defp next([], _x, _diagonal, [], _left), do: []

  # Parents in :atomics.
  def components(edges, n) do
    parents = :atomics.new(n, [])
    for i <- 1..n, do: :atomics.put(parents, i, i)

    Enum.reduce(edges, n, fn {x, y}, count ->
      case {find(parents, x + 1), find(parents, y + 1)} do
        {same, same} -> count
        {x, y} -> :atomics.put(parents, y, x) && count - 1
      end
    end)
  end

  defp find(parents, x) do
    case :atomics.get(parents, x) do
      ^x ->
        x

      parent ->
        grand = :atomics.get(parents, parent)
        :atomics.put(parents, x, grand)
        find(parents, grand)
    end
  end
end

defmodule KernelBench do
  @moduledoc false

  def row(name, plain, kernel, rounds) do
    {plain_us, ours_us} =
      for(_ <- 1..rounds, do: {us(plain), us(kernel)})
      |> Enum.unzip()
      |> then(fn {a, b} -> {Enum.min(a), Enum.min(b)} end)

    ratio = Float.round(plain_us / ours_us, 1)
    IO.puts("| #{name} | #{ms(plain_us)} | #{ms(ours_us)} | #{ratio} |")
  end

  defp us(fun), do: fun |> :timer.tc() |> elem(0)
  defp ms(us), do: :erlang.float_to_binary(us / 1000, decimals: 1)

  # The pure functions of the table are measured in a process of their own, as a request would be.
  def alone(fun), do: fn -> fun |> Task.async() |> Task.await(:infinity) end
end

alias KernelBench.{Kernels, Plain}
alias Outrigger.{KernelExamples, Op}

{:ok, _} = Outrigger.start_link(name: Bench, threads: 1)
:rand.seed(:exsss, 17)
number = &Outrigger.to_number!(&1, deadline: :infinity)
longs = &Outrigger.tensor(Bench, &1, type: :s64)

IO.puts(
  "| loop | plain Elixir, ms | kernel in the daemon, ms | times as fast |\n|---|--:|--:|--:|"
)

steps = 1_000_000
accounts = 10_000
from = for _ <- 1..steps, do: :rand.uniform(accounts) - 1
amount = for _ <- 1..steps, do: :rand.uniform(100)
balances = Map.new(0..(accounts - 1), &{&1, 3000})
{from_t, amount_t} = {longs.(from), longs.(amount)}
fresh = Outrigger.tensor(Bench, List.duplicate(3000, accounts), type: :s64)

ledger = fn ->
  {refused, _} = Kernels.ledger(Op.reverse(Op.reverse(fresh)), from_t, amount_t)
  number.(refused)
end

plain = fn -> Plain.ledger(balances, from, amount) end
true = plain.() == ledger.()
KernelBench.row("ledger of 10⁶ steps, 10⁴ accounts", KernelBench.alone(plain), ledger, 7)

n = 10_000_000

sieve = fn ->
  {count, _} = KernelExamples.sieve(Op.constant(Bench, 0, :u8, {n}))
  number.(count)
end

664_579 = sieve.()
664_579 = Plain.sieve(n)
plain = KernelBench.alone(fn -> Plain.sieve(n) end)
KernelBench.row("sieve of 10⁷ (plain: `:atomics`)", plain, sieve, 3)

word = fn n -> for(_ <- 1..n, into: "", do: <<?a + :rand.uniform(4)>>) end
{a, b} = {word.(5000), word.(5000)}
bytes = &Outrigger.from_binary(Bench, &1, :u8, {byte_size(&1)})
{a_t, b_t} = {bytes.(a), bytes.(b)}
distance = fn -> number.(KernelExamples.edit_distance(a_t, b_t)) end
true = distance.() == Plain.edit_distance(a, b)
plain = KernelBench.alone(fn -> Plain.edit_distance(a, b) end)
KernelBench.row("edit distance 5000²", plain, distance, 3)

nodes = 500_000
edges = for _ <- 1..1_000_000, do: {:rand.uniform(nodes) - 1, :rand.uniform(nodes) - 1}
edges_t = Outrigger.tensor(Bench, Enum.map(edges, &Tuple.to_list/1), type: :s32)

components = fn ->
  {count, _} = KernelExamples.components(edges_t, Op.constant(Bench, 0, :s32, {nodes}))
  number.(count)
end

true = components.() == Plain.components(edges, nodes)

KernelBench.row(
  "union-find, 10⁶ edges (plain: `:atomics`)",
  KernelBench.alone(fn -> Plain.components(edges, nodes) end),
  components,
  3
)

places = 10_000_000
source = for i <- 1..1_000_000, do: i
indices = for _ <- 1..1_000_000, do: :rand.uniform(places) - 1
{source_t, indices_t} = {longs.(source), longs.(indices)}
destination = Op.constant(Bench, 0, :s64, {places})
array = :array.new(places, default: 0)

scatter = fn ->
  d = Kernels.scatter(source_t, indices_t, destination)
  number.(Op.sum(Op.slice(d, [0], [1])))
end

plain = fn ->
  Enum.zip_reduce(source, indices, array, fn val, idx, dest -> :array.set(idx, val, dest) end)
end

plain.()
scatter.()

KernelBench.row(
  "the forum's scatter, 10⁶ into 10⁷ (plain: `:array`)",
  KernelBench.alone(plain),
  scatter,
  3
)
