# Nx on Outrigger beside Nx.BinaryBackend, and what a call costs. Ratios within one run; run by
# ./run bench where NX_PATH or Hex gives Nx.

defmodule Bench do
  import Nx.Defn
  alias Outrigger.Nx.Backend

  @n 1_000_000

  defn chain(x, y), do: Nx.sum(Nx.exp(-(x * x + y)) * 0.5 + Nx.sqrt(Nx.abs(y)))
  defn increment(x), do: x + 1

  defn loss({w1, b1, w2, b2}, x, labels) do
    hidden = Nx.max(Nx.dot(x, w1) + b1, 0)
    logits = Nx.dot(hidden, w2) + b2
    shifted = logits - Nx.reduce_max(logits, axes: [1], keep_axes: true)
    log_softmax = shifted - Nx.log(Nx.sum(Nx.exp(shifted), axes: [1], keep_axes: true))
    -Nx.mean(Nx.sum(log_softmax * labels, axes: [1]))
  end

  defn step(parameters, x, labels) do
    {value, {g1, gb1, g2, gb2}} = value_and_grad(parameters, &loss(&1, x, labels))
    {w1, b1, w2, b2} = parameters
    {value, {w1 - 0.1 * g1, b1 - 0.1 * gb1, w2 - 0.1 * g2, b2 - 0.1 * gb2}}
  end

  # The best of several, in microseconds per call. Results are dropped as they come; what is cheap runs
  # often enough before that its memory has been used before.
  def best(times, count \\ 1, fun) do
    {us, _} = :timer.tc(fun)
    if us < 50_000, do: Enum.each(1..40, fn _ -> fun.() end)
    run = fn -> Enum.each(1..count, fn _ -> fun.() end) end
    Enum.min(for _ <- 1..times, do: elem(:timer.tc(run), 0)) / count
  end

  def on(backend, fun) do
    compiler = if backend == Backend, do: Outrigger.Nx, else: Nx.Defn.Evaluator

    Nx.with_default_backend(backend, fn ->
      previous = Nx.Defn.default_options(compiler: compiler)
      result = fun.()
      Nx.Defn.default_options(previous)
      result
    end)
  end

  # A result counts when it is there; its bytes need not travel.
  defp done(%Nx.Tensor{data: %Backend{ref: ref}} = t) when ref != nil,
    do:
      (
        Outrigger.await!(ref)
        t
      )

  defp done(t), do: t

  def workloads do
    f = Nx.divide(Nx.iota({@n}, type: :f32), @n)
    g = Nx.reverse(f)
    places = Nx.multiply(Nx.iota({100_000, 1}), 7)
    updates = Nx.iota({100_000}, type: :f32)
    slice = Nx.iota({1000}, type: :f32)
    mixed = Nx.remainder(Nx.multiply(Nx.iota({@n}), 7919), 1_000_003)
    a = Nx.divide(Nx.iota({256, 256}, type: :f32), 65_536)

    [
      add: fn -> done(Nx.add(f, g)) end,
      sum: fn -> done(Nx.sum(f)) end,
      exp: fn -> done(Nx.exp(f)) end,
      chain: fn -> done(chain(f, g)) end,
      indexed_put: fn -> done(Nx.indexed_put(f, places, updates)) end,
      indexed_add: fn -> done(Nx.indexed_add(f, places, updates)) end,
      put_slice: fn -> done(Nx.put_slice(f, [500_000], slice)) end,
      sort: fn -> done(Nx.sort(mixed)) end,
      dot: fn -> done(Nx.dot(a, a)) end
    ]
  end

  def beside_binary do
    ours = on(Backend, fn -> for {name, fun} <- workloads(), do: {name, best(7, 5, fun)} end)

    theirs =
      on(Nx.BinaryBackend, fn -> for {name, fun} <- workloads(), do: {name, best(1, fun)} end)

    ratios =
      for {{name, us}, {_, binary_us}} <- Enum.zip(ours, theirs) do
        row("#{name}, 1M elements", us, "BinaryBackend / Outrigger: #{round(binary_us / us)}")
        binary_us / us
      end

    mean = :math.exp(Enum.sum(Enum.map(ratios, &:math.log/1)) / length(ratios))
    IO.puts("  geometric mean of the ratios: #{round(mean)}")
  end

  def overhead do
    on(Backend, fn ->
      x = done(Nx.add(Nx.tensor([1.0]), 1)) |> Nx.squeeze()
      us = best(5, fn -> done(Enum.reduce(1..10_000, x, fn _, x -> Nx.add(x, 1.0) end)) end)
      row("an eager op on a scalar, amortized", us / 10_000)

      server = x.data.ref.server
      program = Outrigger.program(&Outrigger.Op.add(&1, 1))
      prepared = Outrigger.prepare!(server, program)

      plain =
        best(5, 1_000, fn -> Outrigger.call(prepared, [x.data.ref]) |> Outrigger.await!() end)

      call = best(5, 1_000, fn -> done(increment(x)) end)
      row("a prepared call of the plain client, waited for", plain)
      row("a defn call on a scalar, waited for", call, "ratio #{Float.round(call / plain, 2)}")

      fun = fn x -> Enum.reduce(1..1_000, x, fn i, x -> Nx.sin(Nx.multiply(x, i)) end) end
      {us, _} = :timer.tc(fn -> done(Nx.Defn.jit(fun, compiler: Outrigger.Nx).(x)) end)
      row("compiling 2,000 nodes and the first call", us)
    end)
  end

  def training do
    on(Backend, fn ->
      key = Nx.Random.key(1)
      {w1, key} = Nx.Random.normal(key, 0.0, 0.05, shape: {784, 128})
      {w2, key} = Nx.Random.normal(key, 0.0, 0.05, shape: {128, 10})
      {x, _key} = Nx.Random.uniform(key, shape: {128, 784})
      labels = Nx.equal(Nx.remainder(Nx.iota({128, 1}), 10), Nx.iota({1, 10}))
      parameters = {w1, Nx.broadcast(0.0, {128}), w2, Nx.broadcast(0.0, {10})}

      us =
        best(5, fn ->
          Enum.reduce(1..20, parameters, fn _, parameters ->
            {_loss, parameters} = step(parameters, x, labels)
            parameters
          end)
          |> elem(0)
          |> done()
        end)

      row("a training step of a 784-128-10 MLP, batch 128", us / 20)
    end)
  end

  def row(name, us, note \\ ""),
    do: IO.puts("  #{String.pad_trailing(name, 50)} #{us(us)}  #{note}")

  defp us(us) when us >= 1000, do: String.pad_leading("#{Float.round(us / 1000, 2)} ms", 12)
  defp us(us), do: String.pad_leading("#{Float.round(us / 1, 2)} µs", 12)
end

IO.puts("== Nx #{Application.spec(:nx, :vsn)}, Elixir #{System.version()}")
Bench.overhead()
Bench.training()
Bench.beside_binary()
