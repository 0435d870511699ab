defmodule Outrigger.KernelExamples do
  @moduledoc false
  # Kernels that people write today as native code.

  use Outrigger.Kernel

  @doc "Levenshtein's distance of two byte strings."
  defkernel edit_distance(a :: u8[n], b :: u8[m]) :: s32 do
    row = scratch(s32[m + 1])
    for j <- 0..m, do: row[j] = s32(j)

    for i <- 0..(n - 1) do
      diagonal = row[0]
      row[0] = s32(i + 1)

      for j <- 0..(m - 1) do
        cost = if a[i] == b[j], do: 0, else: 1
        best = min(diagonal + cost, min(row[j + 1], row[j]) + 1)
        diagonal = row[j + 1]
        row[j + 1] = best
      end
    end

    row[m]
  end

  @doc "Marks composite numbers. Counts the primes."
  defkernel sieve(composite :: mut(u8[n])) :: s64 do
    i = 2

    while i * i < n do
      if composite[i] == 0 do
        for j <- (i * i)..(n - 1)//i, do: composite[j] = 1
      end

      i = i + 1
    end

    count = 0
    for k <- 2..(n - 1), composite[k] == 0, do: count = count + 1
    count
  end

  @doc "Sorts in place, from the bottom up."
  defkernel merge_sort(a :: mut(s64[n])) do
    t = scratch(s64[n])
    width = 1

    while width < n do
      lo = 0

      while lo < n do
        mid = min(lo + width, n)
        hi = min(mid + width, n)
        i = lo
        j = mid

        for k <- lo..(hi - 1) do
          if i < mid and (j >= hi or a[i] <= a[j]) do
            t[k] = a[i]
            i = i + 1
          else
            t[k] = a[j]
            j = j + 1
          end
        end

        lo = hi
      end

      for k <- 0..(n - 1), do: a[k] = t[k]
      width = width * 2
    end
  end

  @doc "Gauss-Seidel: each cell sees the new values of those before it."
  defkernel relax(a :: mut(f32[h][w]), steps :: s64) do
    for _ <- 1..steps, i <- 1..(h - 2), j <- 1..(w - 2) do
      a[i][j] = (a[i - 1][j] + a[i + 1][j] + a[i][j - 1] + a[i][j + 1]) * 0.25
    end
  end

  defkernelp find(parent :: mut(s32[n]), x :: s32) :: s32 do
    while parent[x] != x do
      parent[x] = parent[parent[x]]
      x = parent[x]
    end

    x
  end

  @doc "Connected components, by union-find."
  defkernel components(edges :: s32[m][2], parent :: mut(s32[n])) :: s64 do
    for i <- 0..(n - 1), do: parent[i] = s32(i)
    count = n

    for e <- 0..(m - 1) do
      x = find(parent, edges[e][0])
      y = find(parent, edges[e][1])

      if x != y do
        parent[y] = x
        count = count - 1
      end
    end

    count
  end

  @doc "Counts each byte."
  defkernel histogram(a :: u8[n], bins :: mut(s64[256])) do
    for i <- 0..(n - 1) do
      bins[a[i]] = bins[a[i]] + 1
    end
  end

  @doc "Dijkstra's shortest paths, with a binary heap. Counts the vertices that are reached."
  defkernel shortest(
              first :: s64[n + 1],
              to :: s32[m],
              weight :: f64[m],
              source :: s64,
              best :: new(f64[n])
            ) :: s64 do
    heap = scratch(s32[m + 1])
    key = scratch(f64[m + 1])
    for v <- 0..(n - 1), do: best[v] = infinity()
    best[source] = 0.0
    heap[0] = s32(source)
    size = 1
    settled = 0

    while size > 0 do
      v = heap[0]
      d = key[0]
      size = size - 1
      x = heap[size]
      k = key[size]
      root = 0
      child = 1

      while child < size do
        if child + 1 < size and key[child + 1] < key[child], do: child = child + 1
        if k <= key[child], do: break
        heap[root] = heap[child]
        key[root] = key[child]
        root = child
        child = 2 * root + 1
      end

      heap[root] = x
      key[root] = k

      if d <= best[v] do
        settled = settled + 1

        for e <- first[v]..(first[v + 1] - 1) do
          if weight[e] < 0.0, do: raise("negative weight", weight[e])
          u = to[e]

          if d + weight[e] < best[u] do
            best[u] = d + weight[e]
            hole = size
            size = size + 1

            while hole > 0 do
              up = div(hole - 1, 2)
              if key[up] <= best[u], do: break
              heap[hole] = heap[up]
              key[hole] = key[up]
              hole = up
            end

            heap[hole] = u
            key[hole] = best[u]
          end
        end
      end
    end

    settled
  end

  @doc "Solutions of the n queens problem: an array is the stack of the recursion."
  defkernel queens(n :: s64) :: s64 do
    columns = local(u64[33])
    left = local(u64[33])
    right = local(u64[33])
    free = local(u64[33])
    all = (u64(1) <<< u64(n)) - 1
    free[0] = all
    row = 0
    solutions = 0

    while row >= 0 do
      if free[row] == 0 do
        row = row - 1
      else
        bit = free[row] &&& 0 - free[row]
        free[row] = free[row] &&& bnot(bit)

        if row == n - 1 do
          solutions = solutions + 1
        else
          columns[row + 1] = columns[row] ||| bit
          left[row + 1] = (left[row] ||| bit) <<< 1
          right[row + 1] = (right[row] ||| bit) >>> 1
          row = row + 1
          free[row] = all &&& bnot(columns[row] ||| left[row] ||| right[row])
        end
      end
    end

    solutions
  end

  @doc "Conway's Game of Life: one generation."
  defkernel life(a :: u8[h][w], out :: new(u8[h][w])) do
    for i <- 1..(h - 2), j <- 1..(w - 2) do
      around =
        a[i - 1][j - 1] + a[i - 1][j] + a[i - 1][j + 1] + a[i][j - 1] + a[i][j + 1] +
          a[i + 1][j - 1] + a[i + 1][j] + a[i + 1][j + 1]

      out[i][j] = if around == 3 or (around == 2 and a[i][j] == 1), do: 1, else: 0
    end
  end

  @doc "Iterations until a point of the plane leaves the circle of radius 2."
  defkernel mandelbrot(out :: mut(s32[h][w]), limit :: s32) do
    for i <- 0..(h - 1), j <- 0..(w - 1) do
      cx = f64(j) * 3.0 / f64(w) - 2.0
      cy = f64(i) * 2.0 / f64(h) - 1.0
      {x, y, turns} = {0.0, 0.0, 0}

      while turns < limit and x * x + y * y <= 4.0 do
        {x, y} = {x * x - y * y + cx, 2.0 * x * y + cy}
        turns = turns + 1
      end

      out[i][j] = turns
    end
  end

  @doc "A sum that begins again where a flag is set."
  defkernel segmented_scan(a :: f64[n], flags :: u8[n], out :: new(f64[n])) do
    sum = 0.0

    for i <- 0..(n - 1) do
      sum = if flags[i] != 0, do: a[i], else: sum + a[i]
      out[i] = sum
    end
  end

  @doc "The minimum of a list, with an error for an empty one and for a value out of range."
  defkernel minimum(a :: s64[n], limit :: s64) :: s64 do
    if n == 0, do: raise("the list is empty")
    best = a[0]

    for i <- 0..(n - 1) do
      if a[i] > limit, do: raise("a value is out of range", a[i], i)
      if a[i] < best, do: best = a[i]
    end

    best
  end

  @doc "A hash join: for each key of the right, the position in the left, or -1."
  defkernel join(left :: s64[n], right :: s64[m], found :: new(s64[m])) do
    table = scratch(s64[n][2])

    for i <- 0..(n - 1) do
      at = rem(left[i] &&& 0x7FFFFFFF, n)
      while(table[at][1] != 0, do: at = rem(at + 1, n))
      table[at][0] = left[i]
      table[at][1] = i + 1
    end

    for i <- 0..(m - 1) do
      at = if n == 0, do: 0, else: rem(right[i] &&& 0x7FFFFFFF, n)
      found[i] = -1

      for _ <- 1..n do
        if table[at][1] == 0, do: break

        if table[at][0] == right[i] do
          found[i] = table[at][1] - 1
          break
        end

        at = rem(at + 1, n)
      end
    end
  end
end
