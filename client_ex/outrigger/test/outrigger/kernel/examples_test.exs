Code.require_file("../../support/kernel_examples.exs", __DIR__)

defmodule Outrigger.Kernel.ExamplesTest do
  # The kernels of test/support/kernel_examples.exs beside plain Elixir.
  use ExUnit.Case, async: true

  import Outrigger.Kernel, only: [interpret: 2]
  alias Outrigger.KernelExamples, as: Examples

  setup do
    seed = ExUnit.configuration()[:seed]
    :rand.seed(:exsss, seed)
    :ok
  end

  defp random(n, range), do: for(_ <- 1..n//1, do: Enum.random(range))

  test "edit distance" do
    assert interpret(&Examples.edit_distance/2, ["kitten", "sitting"]) == 3
    assert interpret(&Examples.edit_distance/2, ["", "abc"]) == 3
    assert interpret(&Examples.edit_distance/2, ["", ""]) == 0

    for _ <- 1..20 do
      [a, b] = for _ <- 1..2, do: random(:rand.uniform(12), ?a..?c)
      assert interpret(&Examples.edit_distance/2, [a, b]) == distance(a, b)
    end
  end

  defp distance(a, b) do
    first = Enum.to_list(0..length(b))

    a
    |> Enum.with_index(1)
    |> Enum.reduce(first, fn {x, i}, row ->
      [row, tl(row), b]
      |> Enum.zip()
      |> Enum.scan({nil, nil, i}, fn
        {diagonal, above, y}, before ->
          left = if is_tuple(before), do: i, else: before
          Enum.min([diagonal + if(x == y, do: 0, else: 1), above + 1, left + 1])
      end)
      |> then(&[i | &1])
    end)
    |> List.last()
  end

  test "sieve" do
    for n <- [0, 1, 2, 3, 4, 50, 400] do
      {count, composite} = interpret(&Examples.sieve/1, [List.duplicate(0, n)])
      prime? = fn k -> k > 1 and Enum.all?(2..(k - 1)//1, &(rem(k, &1) != 0)) end
      assert count == Enum.count(0..(n - 1)//1, prime?)
      for {flag, k} <- Enum.with_index(composite), k >= 2, do: assert(flag == 0 == prime?.(k))
    end
  end

  test "merge sort" do
    for n <- [0, 1, 2, 3, 17, 100] do
      list = random(n, -50..50)
      assert interpret(&Examples.merge_sort/1, [list]) == Enum.sort(list)
    end
  end

  test "a stencil in place rounds to f32 at each operation" do
    grid = for _ <- 1..5, do: for(_ <- 1..6, do: f32(:rand.uniform() * 100))
    assert interpret(&Examples.relax/2, [grid, 3]) == Enum.reduce(1..3, grid, &relax/2)
    assert interpret(&Examples.relax/2, [grid, 0]) == grid
  end

  defp relax(_step, grid) do
    for i <- 1..3, j <- 1..4, reduce: grid do
      grid ->
        at = fn i, j -> grid |> Enum.at(i) |> Enum.at(j) end
        sum = f32(f32(f32(at.(i - 1, j) + at.(i + 1, j)) + at.(i, j - 1)) + at.(i, j + 1))
        List.update_at(grid, i, &List.replace_at(&1, j, f32(sum * 0.25)))
    end
  end

  defp f32(x) do
    <<rounded::float-32>> = <<x::float-32>>
    rounded
  end

  test "connected components" do
    for _ <- 1..10 do
      n = 20
      edges = for _ <- 1..15, do: random(2, 0..(n - 1))
      {count, parent} = interpret(&Examples.components/2, [edges, List.duplicate(0, n)])
      sets = Enum.reduce(edges, Enum.map(0..(n - 1), &[&1]), &unite/2)
      assert count == length(sets)

      root = fn root, x ->
        if Enum.at(parent, x) == x, do: x, else: root.(root, Enum.at(parent, x))
      end

      for set <- sets,
          do: assert(set |> Enum.map(&root.(root, &1)) |> Enum.uniq() |> length() == 1)
    end
  end

  defp unite([a, b], sets) do
    {touched, others} = Enum.split_with(sets, &(a in &1 or b in &1))
    [Enum.concat(touched) | others]
  end

  test "the first bad index of the data is an error with its line" do
    error =
      assert_raise Outrigger.Error, fn ->
        interpret(&Examples.components/2, [[[0, 1], [1, 7]], [0, 0, 0]])
      end

    assert error.code == :bad_index
    assert {"test/support/kernel_examples.exs", line} = error.at
    assert line_of("while parent[x] != x do") == line

    assert Exception.message(error) ==
             "Outrigger.KernelExamples.find/2: index 7 of parent is outside of 0..2 " <>
               "(test/support/kernel_examples.exs:#{line}) [bad_index]"
  end

  defp line_of(text) do
    "test/support/kernel_examples.exs"
    |> File.read!()
    |> String.split("\n")
    |> Enum.find_index(&String.contains?(&1, text))
    |> Kernel.+(1)
  end

  test "histogram" do
    bytes = :rand.bytes(500)
    bins = interpret(&Examples.histogram/2, [bytes, List.duplicate(1, 256)])
    counts = Enum.frequencies(:binary.bin_to_list(bytes))
    assert bins == for(byte <- 0..255, do: 1 + Map.get(counts, byte, 0))
  end

  test "shortest paths" do
    for _ <- 1..10 do
      {n, m} = {8, 20}

      edges =
        Enum.sort(
          for _ <- 1..m, do: {Enum.random(0..(n - 1)), Enum.random(0..(n - 1)), :rand.uniform()}
        )

      first = for v <- 0..n, do: Enum.count(edges, &(elem(&1, 0) < v))
      to = Enum.map(edges, &elem(&1, 1))
      weight = Enum.map(edges, &elem(&1, 2))
      {settled, best} = interpret(&Examples.shortest/4, [first, to, weight, 2])
      assert best == bellman_ford(edges, n, 2)
      assert settled == Enum.count(best, &(&1 != :infinity))
    end
  end

  defp bellman_ford(edges, n, source) do
    start = List.replace_at(List.duplicate(:infinity, n), source, 0.0)

    for _ <- 1..n, {from, to, weight} <- edges, reduce: start do
      best ->
        case Enum.at(best, from) do
          :infinity -> best
          d -> List.update_at(best, to, &min(&1, d + weight))
        end
    end
  end

  test "an error that the kernel raises" do
    error =
      assert_raise Outrigger.Error, fn ->
        interpret(&Examples.shortest/4, [[0, 1, 1], [1], [-1.5], 0])
      end

    assert error.code == :raised
    assert Exception.message(error) =~ "shortest/4: negative weight: -1.5 (test/support/"
    assert error.at == {"test/support/kernel_examples.exs", line_of(~s(raise("negative weight"))}
  end

  test "shapes are checked at the call" do
    error =
      assert_raise Outrigger.Error, fn ->
        interpret(&Examples.shortest/4, [[0, 1, 1], [1], [1.0, 2.0], 0])
      end

    assert Exception.message(error) =~ "axis 0 of weight has the size 2, not 1 [bad_shape]"

    error =
      assert_raise Outrigger.Error, fn -> interpret(&Examples.shortest/4, [[], [], [], 0]) end

    assert Exception.message(error) =~ "axis 0 of first has the size 0, not 1 or more [bad_shape]"
  end

  test "n queens" do
    assert for(n <- 1..6, do: interpret(&Examples.queens/1, [n])) == [1, 0, 0, 2, 10, 4]
  end

  test "life" do
    glider = [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]

    assert interpret(&Examples.life/1, [glider]) ==
             [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]]
  end

  test "mandelbrot" do
    {h, w, limit} = {6, 8, 30}
    turns = interpret(&Examples.mandelbrot/2, [List.duplicate(List.duplicate(0, w), h), limit])

    expected =
      for i <- 0..(h - 1) do
        for j <- 0..(w - 1) do
          {cx, cy} = {j * 3.0 / w - 2.0, i * 2.0 / h - 1.0}

          Enum.reduce_while(1..limit, {0.0, 0.0, 0}, fn _, {x, y, turns} ->
            if x * x + y * y <= 4.0,
              do: {:cont, {x * x - y * y + cx, 2.0 * x * y + cy, turns + 1}},
              else: {:halt, {x, y, turns}}
          end)
          |> elem(2)
        end
      end

    assert turns == expected
  end

  test "segmented scan" do
    assert interpret(&Examples.segmented_scan/2, [[1.0, 2.0, 3.0, 4.0], [0, 0, 1, 0]]) ==
             [1.0, 3.0, 3.0, 7.0]
  end

  test "minimum" do
    assert interpret(&Examples.minimum/2, [[3, -1, 2], 10]) == -1
    assert Examples.minimum([3, -1, 2], 10) == -1

    for {list, text} <- [
          {[], "the list is empty ("},
          {[1, 11], "a value is out of range: 11, 1 ("}
        ] do
      error = assert_raise Outrigger.Error, fn -> Examples.minimum(list, 10) end
      assert Exception.message(error) =~ "minimum/2: #{text}"
    end
  end

  test "hash join" do
    left = Enum.shuffle(Enum.take_random(-100..100, 30))
    right = random(50, -120..120)

    assert interpret(&Examples.join/2, [left, right]) ==
             Enum.map(right, &(Enum.find_index(left, fn x -> x == &1 end) || -1))

    assert interpret(&Examples.join/2, [[], [1, 2]]) == [-1, -1]
  end
end
