defmodule Outrigger.Nx.DifferentialTest do
  use ExUnit.Case, async: true
  # Random expressions in all dtypes. The eager backend and the compiler agree in each bit. With
  # Nx.BinaryBackend they agree exactly in integers, and in floats within ulps of the largest
  # intermediate value.

  @types for {kind, sizes} <- [
               u: [2, 4, 8, 16, 32, 64],
               s: [2, 4, 8, 16, 32, 64],
               f8_e4m3fn: [8],
               bf: [16],
               f: [8, 16, 32, 64],
               c: [64, 128]
             ],
             size <- sizes,
             do: {kind, size}

  @shapes [{}, {3}, {1}, {2, 3}, {2, 1}, {1, 3}]
  # Nx.BinaryBackend cuts the smaller ones off, the daemon rounds them.
  @epsilon %{
    {:f, 8} => 2 ** -2,
    {:f8_e4m3fn, 8} => 2 ** -3,
    {:bf, 16} => 2 ** -8,
    {:f, 16} => 2 ** -11,
    {:f, 32} => 2 ** -24,
    {:f, 64} => 2 ** -53,
    {:c, 64} => 2 ** -24,
    {:c, 128} => 2 ** -53
  }
  @ulps 64
  @coarse_ulps 4

  # Steps at which a rounding error would become a jump. Their operands must be exact.
  @jumps [:sign, :floor, :argmax, :logical_not, :equal, :less, :logical_and, :select]

  @any_unary [:negate, :as_type, :transpose, :reverse, :new_axis, :sum]
  @real_unary [:abs, :sign, :reduce_max, :floor, :sort, :argmax, :cumulative_sum, :logical_not]
  @float_unary [:tanh, :sin, :sigmoid, :sqrt_abs]
  @any_binary [:add, :subtract, :multiply, :equal, :select, :concatenate]
  @real_binary [:max, :min, :less, :logical_and]
  @integer_binary [:bitwise_and, :bitwise_xor, :quotient, :remainder]
  @exact [:negate, :transpose, :reverse, :new_axis, :abs, :reduce_max, :sort] ++ @jumps

  @expressions 400

  test "eager = compiled = BinaryBackend" do
    seed = String.to_integer(env("OUTRIGGER_SEED") || "#{:rand.uniform(1_000_000)}")
    :rand.seed(:exsss, seed)
    compared = Enum.count(1..@expressions, &compare(seed, &1))
    # Nx.BinaryBackend refuses values that it cannot hold.
    assert compared > 0.8 * @expressions, "OUTRIGGER_SEED=#{seed}: only #{compared} compared"
  end

  defp compare(seed, index) do
    inputs = for _ <- 1..3, do: input()
    term = term(:rand.uniform(4))
    note = "OUTRIGGER_SEED=#{seed}, expression #{index}: #{inspect(term)} of #{inspect(inputs)}"
    Process.put(:largest, 1.0)

    case reference(term, inputs) do
      :refused ->
        false

      {expected, epsilon} ->
        ulps = if epsilon > 0.1, do: @coarse_ulps, else: @ulps
        tolerance = ulps * epsilon * Process.get(:largest) ** 2

        eager = on(Outrigger.Nx.Backend, inputs, &value(term, &1))
        assert_close(expected, eager, tolerance, "eager, " <> note)

        compiled =
          on(Outrigger.Nx.Backend, inputs, fn inputs ->
            fun = fn a, b, c -> value(term, [a, b, c]) end
            apply(Nx.Defn.jit(fun, compiler: Outrigger.Nx), inputs)
          end)

        assert_close(expected, compiled, tolerance, "compiled, " <> note)
        assert Nx.to_binary(eager) == Nx.to_binary(compiled), "eager is not compiled: " <> note
        true
    end
  end

  defp reference(term, inputs) do
    Nx.with_default_backend(Nx.BinaryBackend, fn -> evaluate(term, tensors(inputs)) end)
  rescue
    ArgumentError -> :refused
  end

  defp on(backend, inputs, fun) do
    Nx.with_default_backend(backend, fn ->
      inputs |> tensors() |> fun.() |> Nx.backend_copy(Nx.BinaryBackend)
    end)
  end

  defp tensors(inputs) do
    for {values, type, shape} <- inputs,
        do: values |> Nx.tensor(type: type) |> Nx.reshape(shape)
  end

  defp env(name) do
    case System.get_env(name) do
      "" -> nil
      value -> value
    end
  end

  defp pick(list), do: Enum.random(list)

  defp input do
    {kind, _} = type = pick(@types)
    shape = pick(@shapes)

    values =
      for _ <- 1..Tuple.product(shape) do
        case kind do
          :u -> :rand.uniform(8) - 1
          :s -> :rand.uniform(15) - 8
          :c -> Complex.new(real(), real())
          _ -> real()
        end
      end

    {values, type, shape}
  end

  # Exact in each float type.
  defp real, do: (:rand.uniform(33) - 17) / 8

  defp term(0), do: {:input, :rand.uniform(3) - 1}

  defp term(depth) do
    if :rand.uniform(2) == 1,
      do: {:unary, :rand.uniform(100), pick(@types), term(depth - 1)},
      else: {:binary, :rand.uniform(100), term(depth - 1), term(:rand.uniform(depth) - 1)}
  end

  defp value(term, inputs), do: term |> evaluate(inputs) |> elem(0)

  # The tensor, and the relative error that it may have: 0 if it is exact. Which op a number means
  # depends on the operands: each is legal then.
  defp evaluate({:input, index}, inputs), do: {Enum.at(inputs, index), 0}

  defp evaluate({:unary, choice, type, term}, inputs) do
    {x, epsilon} = evaluate(term, inputs)

    ops =
      case x.type do
        {:c, _} -> @any_unary
        {kind, _} when kind in [:u, :s] -> @any_unary ++ @real_unary
        _ -> @any_unary ++ @real_unary ++ @float_unary
      end

    op = choose(ops, choice, epsilon)
    y = unary(op, x, type)
    {remember(y), if(op in @exact, do: epsilon, else: max(epsilon, epsilon(y)))}
  end

  defp evaluate({:binary, choice, left, right}, inputs) do
    {x, x_epsilon} = evaluate(left, inputs)
    {y, y_epsilon} = evaluate(right, inputs)
    epsilon = max(x_epsilon, y_epsilon)

    if compatible?(x.shape, y.shape) do
      kinds = [elem(x.type, 0), elem(y.type, 0)]

      ops =
        cond do
          :c in kinds -> @any_binary
          Enum.all?(kinds, &(&1 in [:u, :s])) -> @any_binary ++ @real_binary ++ @integer_binary
          true -> @any_binary ++ @real_binary
        end

      # Operands meet in one type, for a comparison as well.
      mixed = epsilon(%{x | type: Nx.Type.merge(x.type, y.type)})
      op = choose(ops, choice, if(x.type == y.type, do: epsilon, else: mixed))
      Enum.each([x, y], &held(&1, Nx.Type.merge(x.type, y.type)))
      z = binary(op, x, y)
      {remember(z), if(op in @jumps, do: epsilon, else: max(epsilon, epsilon(z)))}
    else
      {x, x_epsilon}
    end
  end

  # If the common type with a float cannot hold an integer, the integer is infinite, and a u64
  # beyond s64 wraps around, here as in XLA. Nx.BinaryBackend computes with the integer.
  defp held(%Nx.Tensor{data: %Nx.BinaryBackend{}, type: {kind, _}} = x, type)
       when kind in [:u, :s] do
    cast = Nx.as_type(x, type)

    held? =
      if Nx.Type.float?(type),
        do: Nx.to_number(Nx.any(Nx.is_infinity(cast))) == 0,
        else: Nx.to_flat_list(cast) == Nx.to_flat_list(x)

    unless held?, do: raise(ArgumentError, "out of the range of #{inspect(type)}")
  end

  defp held(_x, _type), do: :ok

  defp choose(ops, choice, 0), do: Enum.at(ops, rem(choice, length(ops)))
  defp choose(ops, choice, _), do: choose(ops -- @jumps, choice, 0)

  defp epsilon(%{type: type}), do: Map.get(@epsilon, type, 0)

  defp unary(:as_type, x, type) do
    cond do
      match?({:c, _}, x.type) and not match?({:c, _}, type) -> Nx.negate(x)
      # Other tests have values out of range.
      elem(type, 0) in [:u, :s] and elem(x.type, 0) not in [:u, :s] -> Nx.negate(x)
      true -> Nx.as_type(x, type)
    end
  end

  defp unary(:new_axis, x, _), do: if(Nx.rank(x) < 3, do: Nx.new_axis(x, 0), else: x)
  defp unary(:sqrt_abs, x, _), do: Nx.sqrt(Nx.abs(x))
  defp unary(:sum, x, _), do: if(Nx.rank(x) > 0, do: Nx.sum(x, axes: [-1]), else: Nx.sum(x))
  defp unary(:sort, x, _), do: if(Nx.rank(x) > 0, do: Nx.sort(x, axis: -1), else: x)
  defp unary(:cumulative_sum, x, _), do: if(Nx.rank(x) > 0, do: Nx.cumulative_sum(x), else: x)

  defp unary(:argmax, x, _),
    do: if(Nx.rank(x) > 0, do: Nx.argmax(x, axis: 0), else: x)

  defp unary(op, x, _), do: apply(Nx, op, [x])

  defp binary(:select, x, y) do
    zero = Nx.tensor(0, type: x.type)
    pred = if match?({:c, _}, x.type), do: Nx.equal(x, zero), else: Nx.greater(x, zero)
    [pred, y] = broadcast([pred, y])
    Nx.select(pred, y, Nx.tensor(1, type: y.type))
  end

  defp binary(:concatenate, x, y) do
    [x, y] = broadcast([x, y])
    if Nx.rank(x) > 0, do: Nx.concatenate([x, y], axis: 0), else: Nx.add(x, y)
  end

  # Division by zero is the subject of other tests.
  defp binary(op, x, y) when op in [:quotient, :remainder] do
    [zero, one] = for n <- [0, 1], do: Nx.tensor(n, type: y.type)
    apply(Nx, op, [x, Nx.select(Nx.equal(y, zero), one, y)])
  end

  defp binary(op, x, y), do: apply(Nx, op, [x, y])

  defp broadcast([x, y]) do
    shape = Nx.shape(Nx.add(Nx.broadcast(0, x.shape), Nx.broadcast(0, y.shape)))
    [Nx.broadcast(x, shape), Nx.broadcast(y, shape)]
  end

  defp compatible?(left, right) do
    [left, right] = Enum.map([left, right], &(&1 |> Tuple.to_list() |> Enum.reverse()))
    Enum.zip(left, right) |> Enum.all?(fn {m, n} -> m == n or m == 1 or n == 1 end)
  end

  # The largest magnitude on the way: errors are relative to it.
  defp remember(%Nx.Tensor{data: %Nx.BinaryBackend{}} = t) do
    largest = t |> Nx.abs() |> Nx.reduce_max() |> Nx.to_number()
    if is_number(largest), do: Process.put(:largest, max(Process.get(:largest), largest))
    t
  end

  defp remember(t), do: t

  defp assert_close(expected, actual, tolerance, note) do
    assert expected.type == actual.type, note
    assert expected.shape == actual.shape, note

    for {e, a} <- Enum.zip(Nx.to_flat_list(expected), Nx.to_flat_list(actual)) do
      unless close?(e, a, tolerance) do
        flunk("#{inspect(e)} expected, got #{inspect(a)}: #{note}")
      end
    end
  end

  defp close?(same, same, _tolerance), do: true

  defp close?(%Complex{} = e, %Complex{} = a, t),
    do: close?(e.re, a.re, t) and close?(e.im, a.im, t)

  defp close?(e, a, t) when is_number(e) and is_number(a), do: abs(e - a) <= t
  defp close?(_, _, _), do: false
end
