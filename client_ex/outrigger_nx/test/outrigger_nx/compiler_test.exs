defmodule Outrigger.Nx.CompilerTest do
  use ExUnit.Case, async: true
  import Nx.Defn

  setup do
    Nx.Defn.default_options(compiler: Outrigger.Nx)
    :ok
  end

  defp list(t), do: Nx.to_list(t)

  defn factorial(n) do
    {_, product} =
      while {n, product = 1}, n > 1 do
        {n - 1, product * n}
      end

    product
  end

  defn branches(x) do
    double = x * 2

    cond do
      Nx.sum(x) > 100 -> double + 1
      Nx.sum(x) > 10 -> double * 10
      Nx.sum(x) > 5 -> Nx.as_type(x, :s32)
      true -> Nx.sum(double) + x
    end
  end

  defn nested(x) do
    {x, _} =
      while {x, i = 0}, i < 3 do
        x = if Nx.remainder(i, 2) == 0, do: x + branches(x), else: x - 1
        {x, i + 1}
      end

    x
  end

  defn containers(%{a: a, b: {b, c}}), do: {a + b, %{c: c, d: {a, a}}}

  defn reduction(x), do: Nx.reduce(x, 0, [axes: [0]], fn a, b -> Nx.max(a, b) + 1 end)

  defn puts(t, n) do
    {t, _, _} =
      while {t, i = 0, n}, i < n do
        {Nx.indexed_put(t, Nx.new_axis(i, 0), i), i + 1, n}
      end

    t
  end

  defn hooked(x), do: io_call(x + 1, :after_add) * 2

  deftransform calls_back(x), do: Nx.runtime_call(x, x, &__MODULE__.twice/2)
  def twice(x, _options), do: Nx.multiply(x, 2)

  test "loops" do
    assert Nx.to_number(factorial(5)) == 120
  end

  test "conditions: the first that holds, and what they share" do
    assert list(branches(Nx.tensor([100, 1]))) == [201, 3]
    assert list(branches(Nx.tensor([10, 1]))) == [200, 20]
    assert list(branches(Nx.tensor([5, 1]))) == [5, 1]
    assert list(branches(Nx.tensor([1, 1]))) == [5, 5]
  end

  test "the same as the evaluator: conditions in loops" do
    for x <- [[1, 1], [3, 4], [50, 60]] do
      expected = Nx.Defn.jit(&nested/1, compiler: Nx.Defn.Evaluator).(Nx.tensor(x))
      assert list(nested(Nx.tensor(x))) == list(expected)
    end
  end

  test "containers, and one tensor in several places" do
    {sum, rest} = containers(%{a: Nx.tensor([1, 2]), b: {10, Nx.tensor(3.5)}})
    assert list(sum) == [11, 12]
    assert Nx.to_number(rest.c) == 3.5
    {one, two} = rest.d
    Nx.backend_deallocate(one)
    assert list(two) == [1, 2]
  end

  test "results that are arguments or constants" do
    assert list(Nx.Defn.jit(&Function.identity/1).(Nx.tensor([1, 2]))) == [1, 2]
    assert Nx.to_number(Nx.Defn.jit(fn _ -> 3 end).(Nx.tensor(1))) == 3
    assert list(Nx.Defn.jit(fn -> Nx.iota({3}) end).()) == [0, 1, 2]
    {} = Nx.Defn.jit(fn _ -> {} end).(Nx.tensor(1))
  end

  test "tensors of the expression itself, small and large" do
    small = Nx.tensor([1, 2, 3], backend: Nx.BinaryBackend)
    large = Nx.iota({10_000}, backend: Nx.BinaryBackend)
    fun = Nx.Defn.jit(fn x -> {Nx.add(small, x), Nx.sum(Nx.add(large, x))} end)

    for x <- [1, 2] do
      {a, b} = fun.(x)
      assert list(a) == [1 + x, 2 + x, 3 + x]
      assert Nx.to_number(b) == 49_995_000 + 10_000 * x
    end
  end

  test "vectorized arguments" do
    x = Nx.tensor([[1, 2], [3, 4]]) |> Nx.vectorize(:rows)
    sum = Nx.Defn.jit(&Nx.sum/1).(x)
    assert sum.vectorized_axes == [rows: 2]
    assert sum |> Nx.devectorize() |> list() == [3, 7]
  end

  test "donated arguments are gone after the call, others stay" do
    fun = Nx.Defn.jit(fn a, b -> {a, Nx.add(a, b)} end)
    a = Nx.donatable(Nx.iota({3}))
    b = Nx.iota({3})
    {same, sum} = fun.(a, b)
    assert list(same) == [0, 1, 2]
    assert list(sum) == [0, 2, 4]
    assert list(b) == [0, 1, 2]
    refute Nx.donatable?(same)
    error = assert_raise Outrigger.Error, fn -> Nx.to_binary(a) end
    assert Exception.message(error) =~ "donated"
    assert inspect(a) =~ "released"
    # The same function without the mark is another program.
    {_, sum} = fun.(b, b)
    assert list(sum) == [0, 2, 4]
    assert list(b) == [0, 1, 2]
    # A number in the VM, or a tensor of another backend, has nothing to release.
    {_, sum} =
      fun.(Nx.donatable(Nx.tensor(1)), Nx.donatable(Nx.iota({2}, backend: Nx.BinaryBackend)))

    assert list(sum) == [1, 2]
  end

  test "a donated argument's memory is free once the program has run" do
    name = :"donation_#{System.unique_integer([:positive])}"
    start_supervised!({Outrigger, name: name, threads: 1})
    backend = {Outrigger.Nx.Backend, server: name}
    used = fn -> Outrigger.info!(name).memory.used end
    fun = Nx.Defn.jit(&Nx.sum/1)
    x = Nx.iota({1_000_000}, type: :f64, backend: backend)
    assert Nx.to_number(fun.(x)) == 499_999_500_000
    assert used.() >= 8_000_000
    assert Nx.to_number(fun.(Nx.donatable(x))) == 499_999_500_000
    Outrigger.sync!(name)
    assert used.() < 1_000_000
  end

  test "hooks without a function cost nothing; others are called" do
    assert Nx.to_number(hooked(1)) == 4
    me = self()
    hooks = %{after_add: &send(me, {:hooked, Nx.to_number(&1)})}
    assert Nx.to_number(Nx.Defn.jit(&hooked/1, hooks: hooks).(1)) == 4
    assert_received {:hooked, 2}
  end

  test "functions of Elixir on the way" do
    assert list(Nx.Defn.jit(&calls_back/1).(Nx.tensor([1, 2]))) == [2, 4]
  end

  test "a compiled program is used again, and the cache has limits" do
    me = self()

    fun = fn x ->
      send(me, :traced)
      Nx.add(x, 1)
    end

    jitted = Nx.Defn.jit(fun)
    for x <- 1..3, do: assert(Nx.to_number(jitted.(x)) == x + 1)
    assert_received :traced
    refute_received :traced
    assert list(jitted.(Nx.tensor([1, 2]))) == [2, 3]
    assert_received :traced
    %{size: size, max: max} = Outrigger.Nx.Cache.stats()
    assert size <= max + 8
  end

  test "a loop over a large tensor updates it in place" do
    steps = 5_000

    time = fn size ->
      t = Nx.broadcast(Nx.tensor(0, type: :s32), {size})
      Nx.to_binary(puts(t, 1)[0])

      Enum.min(
        for _ <- 1..2 do
          {us, _} = :timer.tc(fn -> Nx.to_number(puts(t, steps)[steps - 1]) end)
          us
        end
      )
    end

    small = time.(10_000)
    large = time.(10_000_000)

    # The large loop may cost one copy of its argument (40 MB) more. 5,000 copies take half a
    # minute.
    assert large < small + 3_000_000, "10⁴: #{small} µs, 10⁷: #{large} µs"
  end

  test "compiling 2,000 nodes is quick" do
    fun = fn x -> Enum.reduce(1..1_000, x, fn i, x -> Nx.sin(Nx.multiply(x, i)) end) end
    x = Nx.tensor([1.0, 2.0])
    {us, result} = :timer.tc(fn -> Nx.Defn.jit(fun).(x) end)
    assert Enum.all?(list(result), &(abs(&1) <= 1))
    # The figure is in bench/; here only that nothing is quadratic.
    assert us < 2_000_000
  end

  test "many clauses nest, too many are refused" do
    chain = fn count ->
      fn x ->
        clauses = for i <- 1..count, do: {Nx.equal(x, i), Nx.tensor(i * 10)}
        Nx.Defn.Expr.cond(clauses, Nx.tensor(-1))
      end
    end

    jit = fn count -> Nx.Defn.jit(chain.(count)) end

    Nx.with_default_backend(Nx.BinaryBackend, fn ->
      assert Nx.to_number(jit.(50).(Nx.tensor(47))) == 470
      assert_raise ArgumentError, ~r/nest deeper/, fn -> jit.(200).(Nx.tensor(3)) end
    end)
  end

  test "the errors of the daemon name the operation" do
    result = Nx.Defn.jit(&Nx.take/2).(Nx.tensor([1, 2]), Nx.tensor([7]))
    assert_raise Outrigger.Error, ~r/take.*7/, fn -> Nx.to_binary(result) end
  end

  test "Nx.Serving as a process, which passes options of its own on" do
    serving = Nx.Serving.jit(&Nx.multiply(&1, 2), compiler: Outrigger.Nx)
    start_supervised!({Nx.Serving, serving: serving, name: __MODULE__.Doubling, batch_size: 4})
    batch = Nx.Batch.concatenate([Nx.tensor([1, 2]), Nx.tensor([3])])
    assert list(Nx.Serving.batched_run(__MODULE__.Doubling, batch)) == [2, 4, 6]
  end

  test "a square is a product, and the transpose of a product the product the other way round" do
    values = [-1.5, 0.1, 3.0e30, :infinity, :nan]

    for {type, list} <- [f32: values, bf16: values, f64: values, s8: [-12, 3], u64: [5, 2 ** 63]] do
      x = Nx.tensor(list, type: type)
      assert Nx.to_binary(Nx.pow(x, 2)) == Nx.to_binary(Nx.multiply(x, x))
      assert Nx.to_binary(Nx.Defn.jit(&Nx.pow(&1, 1)).(x)) == Nx.to_binary(x)
    end

    {a, b} = {Nx.iota({2, 3, 4}), Nx.iota({5, 3})}

    fun = fn a, b ->
      product = Nx.dot(a, [1], b, [1])
      {Nx.transpose(product, axes: [2, 0, 1]), Nx.transpose(product, axes: [2, 1, 0]), product}
    end

    for axes <- [[2, 0, 1], [2, 1, 0], [0, 1, 2]] do
      jitted = Nx.Defn.jit(fn a, b -> a |> Nx.dot([1], b, [1]) |> Nx.transpose(axes: axes) end)
      evaluated = a |> Nx.dot([1], b, [1]) |> Nx.transpose(axes: axes)
      assert list(jitted.(a, b)) == list(evaluated)
    end

    # The product has other uses, before and behind.
    for {one, other} <-
          Enum.zip(Tuple.to_list(Nx.Defn.jit(fun).(a, b)), Tuple.to_list(fun.(a, b))) do
      assert list(one) == list(other)
    end

    batched = Nx.iota({2, 3, 4})
    fun = fn x -> x |> Nx.dot([1], [0], x, [1], [0]) |> Nx.transpose(axes: [0, 2, 1]) end
    assert list(Nx.Defn.jit(fun).(batched)) == list(fun.(batched))
  end

  test "a defn without tensors among its arguments runs where the caller makes its own" do
    name = :"default_#{System.unique_integer([:positive])}"
    start_supervised!({Outrigger, name: name, threads: 1})

    Nx.with_default_backend({Outrigger.Nx.Backend, server: name}, fn ->
      for t <- [Nx.Defn.jit(fn -> Nx.iota({3}) end).(), Nx.Defn.jit(&Nx.add(&1, 1)).(1)] do
        assert name in t.data.ref.server.key
      end
    end)
  end

  describe "options" do
    import ExUnit.CaptureLog

    test "of other compilers and libraries are none of ours" do
      others = [mode: :train, seed: 1, print_values: true, client: :host, debug: true, cache: "x"]

      log =
        capture_log(fn ->
          assert Nx.to_number(Nx.Defn.jit(&Nx.add/2, others).(1, 2)) == 3
          assert Nx.to_number(Nx.Defn.compile(&Nx.add/2, [1, 2], others).(1, 2)) == 3
        end)

      refute log =~ "did you mean"
    end

    test "of ours that are misspelt get a warning, once for each function" do
      jitted = Nx.Defn.jit(fn x -> Nx.add(x, 1) end, sever: :x, hook: %{}, garbage_colect: true)
      log = capture_log(fn -> assert Nx.to_number(jitted.(1)) == 2 end)
      assert log =~ "ignores the option :sever of Nx.Defn; did you mean :server?"
      assert log =~ ":hook of Nx.Defn; did you mean :hooks?"
      assert log =~ ":garbage_colect of Nx.Defn; did you mean :garbage_collect?"
      refute capture_log(fn -> jitted.(1) end) =~ "did you mean"
    end

    test "of Nx.Serving" do
      assert [[server: :a], [server: :b]] = Outrigger.Nx.__partitions_options__(servers: [:a, :b])
      assert {Outrigger.Nx.Backend, [server: :a]} = Outrigger.Nx.__to_backend__(server: :a)
    end
  end

  describe "functions of Elixir on the way, on a server that is not the default one" do
    defn prints(x), do: print_value(x) + Nx.iota({3})

    setup do
      name = :"callbacks_#{System.unique_integer([:positive])}"
      start_supervised!({Outrigger, name: name, threads: 1})
      %{backend: {Outrigger.Nx.Backend, server: name}, server: name}
    end

    defp on?(tensor, server), do: server in tensor.data.ref.server.key

    defp printed(fun) do
      me = self()
      text = ExUnit.CaptureIO.capture_io(fn -> send(me, {:result, fun.()}) end)
      assert text =~ "Nx.Tensor"
      assert_received {:result, result}
      result
    end

    test "where the default backend says", %{backend: backend, server: server} do
      Nx.with_default_backend(backend, fn ->
        sum = printed(fn -> prints(1) end)
        assert {list(sum), on?(sum, server)} == {[1, 2, 3], true}
        assert {Outrigger.Nx.Backend, options} = Nx.default_backend()
        assert options[:server] == server
      end)
    end

    test "where the arguments are", %{backend: backend, server: server} do
      x = Nx.tensor([1, 2, 3], backend: backend)
      default = Nx.default_backend()
      sum = printed(fn -> prints(x) end)
      assert {list(sum), on?(sum, server)} == {[1, 3, 5], true}
      # A scalar is known in the VM, and yet of a server.
      sum = printed(fn -> prints(Nx.tensor(1, backend: backend)) end)
      assert {list(sum), on?(sum, server)} == {[1, 2, 3], true}
      twice = Nx.Defn.jit(&Nx.add(calls_back(&1), Nx.iota({3}))).(x)
      assert {list(twice), on?(twice, server)} == {[2, 5, 8], true}
      hooks = %{after_add: fn _ -> :ok end}
      hooked = Nx.Defn.jit(&Nx.add(hooked(&1), Nx.iota({3})), hooks: hooks).(x)
      assert {list(hooked), on?(hooked, server)} == {[4, 7, 10], true}
      assert Nx.default_backend() == default
    end
  end

  describe "an expression of Nx whose types do not fit" do
    defn grows(x) do
      {y, _} =
        while {y = x, i = 0}, i < 2 do
          {y * y * 1.05, i + 1}
        end

      Nx.sum(y)
    end

    defn slope(x), do: grad(x, &grows/1)
    defn value_and_slope(x), do: value_and_grad(x, &grows/1)

    # y = 1.05³ x⁴, and its derivative.
    test "the gradient of a loop in f64 has the right values" do
      for type <- [:f64, :f32, :bf16], x = Nx.tensor([1.0, 2.0], type: type) do
        tolerance = %{f64: 1.0e-5, f32: 1.0e-5, bf16: 3.0e-2}[type]
        {value, slope} = value_and_slope(x)
        assert_in_delta Nx.to_number(value) / 19.679625, 1, tolerance

        for slope <- [slope, slope(x)], {got, due} <- Enum.zip(list(slope), [4.6305, 37.044]) do
          assert_in_delta got / due, 1, tolerance
        end
      end
    end

    test "is not called a bug of ours" do
      x = Nx.tensor([1.0, 2.0], type: :f64)
      mistyped = Nx.Defn.jit(&slope/1, compiler: Nx.Defn.Evaluator).(x)
      error = assert_raise RuntimeError, fn -> Nx.to_binary(mistyped) end
      assert error.message =~ "Nx takes the tensor for f32[2], but it is f64[2] in the daemon"
      assert error.message =~ "compiler: Outrigger.Nx"
    end
  end
end
