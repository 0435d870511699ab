defmodule Rain.Forum do
  @moduledoc """
  A question that comes up in every forum of a functional language:

      for i in 0..1_000_000: destination[indices[i]] = source[i]

  with 10 million elements in `destination`. Whole numbers, so that plain Elixir has its best case:
  they need no memory of their own.
  """

  import Bitwise
  alias Outrigger.InPlace

  @elements 10_000_000
  @updates 1_000_000
  # Updates are packed into one small integer: where, and which.
  @shift 24

  def sizes, do: {@elements, @updates}

  @doc "Destination, indices, source, as lists. The same on each run."
  def lists do
    :rand.seed(:exsss, 1)
    indices = for _ <- 1..@updates, do: :rand.uniform(@elements) - 1
    {Enum.to_list(0..(@elements - 1)), indices, Enum.to_list(-@updates..-1)}
  end

  @doc """
  Lists in, list out. Sorts the updates and merges them into the destination, which was the fastest
  of what we tried: a map of the updates and `:array` took longer.
  """
  def plain(destination, indices, source) do
    source = List.to_tuple(source)
    indices |> pack(0) |> Enum.sort() |> merge(0, destination, source)
  end

  defp pack([index | rest], n), do: [(index <<< @shift) + n | pack(rest, n + 1)]
  defp pack([], _), do: []

  # If a place has two updates, the later one counts.
  defp merge([one, two | rest], at, destination, source) when one >>> @shift == two >>> @shift do
    merge([two | rest], at, destination, source)
  end

  defp merge([update | rest], at, [_ | destination], source) when update >>> @shift == at do
    value = elem(source, update &&& (1 <<< @shift) - 1)
    [value | merge(rest, at + 1, destination, source)]
  end

  defp merge([], _, destination, _), do: destination

  defp merge(updates, at, [value | destination], source) do
    [value | merge(updates, at + 1, destination, source)]
  end

  @doc "The BEAM's own mutable memory, filled. It holds 64-bit integers and nothing else."
  def atomics(destination) do
    reference = :atomics.new(@elements, [])

    Enum.reduce(destination, 1, fn value, at ->
      :atomics.put(reference, at, value)
      at + 1
    end)

    reference
  end

  def atomics_put(reference, [index | indices], [value | source]) do
    :atomics.put(reference, index + 1, value)
    atomics_put(reference, indices, source)
  end

  def atomics_put(_reference, [], []), do: :ok

  @doc "Puts the three lists into the daemon."
  def upload(server, {destination, indices, source}) do
    {
      Outrigger.tensor(server, destination, type: :s64),
      # One column: each row names a place.
      server |> Outrigger.tensor(indices, type: :s64) |> Outrigger.Op.reshape({@updates, 1}),
      Outrigger.tensor(server, source, type: :s64)
    }
  end

  @doc "In place, in the daemon."
  def put(server, {destination, indices, source}) do
    InPlace.indexed_put(destination, indices, source)
    Outrigger.sync!(server)
  end

  @doc "Lists in, list out, by way of the daemon."
  def through(server, lists) do
    {destination, _, _} = tensors = upload(server, lists)
    put(server, tensors)
    list = Outrigger.to_flat_list!(destination)
    Outrigger.release(destination)
    list
  end
end
