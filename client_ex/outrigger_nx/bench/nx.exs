# Compares Nx on Outrigger with Nx.BinaryBackend and JAX, and measures a call. Each figure has a
# goal. All ratios are within one run. `./run bench` runs this file where NX_PATH or Hex gives Nx.

defmodule Bench do
  import Nx.Defn
  alias Outrigger.Nx.Backend

  @n 1_000_000

  defn chain(x, y), do: Nx.sum(Nx.exp(-(x * x + y)) * 0.5 + Nx.sqrt(Nx.abs(y)))
  defn increment(x), do: x + 1

  defn puts(t, turns) do
    {t, _, _} =
      while {t, i = 0, turns}, i < turns do
        {Nx.indexed_put(t, Nx.new_axis(Nx.remainder(i, 1000), 0), i), i + 1, turns}
      end

    t
  end

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

  # The best of several rounds, in microseconds per call. Each result is dropped at once. A cheap
  # function runs some times before, so that its memory is not new.
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
  defp done(%Nx.Tensor{data: %Backend{ref: ref}} = t) when ref != nil do
    Outrigger.await!(ref)
    t
  end

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
    goal("geometric mean of these ratios", round(mean), mean >= 1_000, "at least 1,000")
  end

  def overhead do
    on(Backend, fn ->
      x = done(Nx.add(Nx.tensor([1.0]), 1)) |> Nx.squeeze()
      us = best(7, fn -> done(Enum.reduce(1..10_000, x, fn _, x -> Nx.add(x, 1.0) end)) end)
      row("an eager op on a scalar, amortized", us / 10_000)
      goal("  its µs", Float.round(us / 10_000, 2), us / 10_000 <= 10, "at most 10")

      server = x.data.ref.server
      program = Outrigger.program(&Outrigger.Op.add(&1, 1))
      prepared = Outrigger.prepare!(server, program)
      plain = fn -> Outrigger.call(prepared, [x.data.ref]) |> Outrigger.await!() end
      {plain, call} = in_turns(15, 500, plain, fn -> done(increment(x)) end)
      row("a prepared call of the plain client, waited for", plain)
      row("a defn call on a scalar, waited for", call)

      goal(
        "  as a multiple of the plain one",
        Float.round(call / plain, 2),
        call <= 2 * plain,
        "at most 2"
      )
    end)
  end

  def compiling do
    on(Backend, fn ->
      x = done(Nx.add(Nx.tensor([1.0, 2.0]), 1))

      # Another function each time, which nobody has compiled yet.
      first_call = fn step ->
        fun = fn x ->
          Enum.reduce(1..1_000, x, fn i, x -> Nx.sin(Nx.multiply(x, i + step)) end)
        end

        {us, _} = :timer.tc(fn -> done(Nx.Defn.jit(fun, compiler: Outrigger.Nx).(x)) end)
        us
      end

      us = Enum.min(for step <- 1..7, do: first_call.(step / 8))
      row("compiling 2,000 nodes and the first call", us)
      goal("  its ms", Float.round(us / 1000, 1), us < 50_000, "below 50")
    end)
  end

  # The copy of the argument is measured, too, but not the making of the argument.
  def loops do
    on(Backend, fn ->
      turns = 50_000
      [small, large] = for n <- [1_000, 10_000_000], do: done(Nx.broadcast(Nx.s32(0), {n}))

      {small, large} =
        in_turns(5, 1, fn -> done(puts(small, turns)) end, fn -> done(puts(large, turns)) end)

      row("#{turns} turns of indexed_put, 10³ elements", small)
      row("#{turns} turns of indexed_put, 10⁷ elements", large)

      goal(
        "  10⁷ as a multiple of 10³",
        Float.round(large / small, 2),
        large <= 1.5 * small,
        "about 1"
      )
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

      # Each step's parameters are the next one's to overwrite, as in JAX's.
      steps = fn ->
        1..20
        |> Enum.reduce(parameters, fn _, parameters ->
          {_loss, parameters} = step(parameters, x, labels)
          Nx.donatable(parameters)
        end)
        |> elem(0)
        |> done()
      end

      name = "a training step of a 784-128-10 MLP, batch 128"

      case jax() do
        nil ->
          row(name, best(15, steps) / 20, "JAX is not in bench/.venv: nothing beside it")

        jax ->
          for _ <- 1..3, do: {steps.(), jax.()}
          times = for _ <- 1..15, do: {elem(:timer.tc(steps), 0) / 20, jax.()}
          {ours, theirs} = Enum.unzip(times)
          {ours, theirs} = {Enum.min(ours), Enum.min(theirs)}
          row(name, ours)
          row("  the same in JAX", theirs)

          goal(
            "  as a multiple of JAX",
            Float.round(ours / theirs, 2),
            ours <= 1.2 * theirs,
            "at most 1.2"
          )
      end
    end)
  end

  # JAX of the peers' environment, in a process of its own; nil without one.
  defp jax do
    python = Path.expand("../../../bench/.venv/bin/python", __DIR__)
    check = "import importlib.util, sys; sys.exit(importlib.util.find_spec('jax') is None)"

    if File.exists?(python) and match?({_, 0}, System.cmd(python, ["-c", check])) do
      args = [Path.join(__DIR__, "mlp_jax.py")]
      port = Port.open({:spawn_executable, python}, [:binary, line: 64, args: args])

      fn ->
        Port.command(port, "\n")
        receive do: ({^port, {:data, {:eol, us}}} -> String.to_float(us))
      end
    end
  end

  # The best of two, in µs per call, which take turns.
  defp in_turns(times, count, one, other) do
    time = fn fun ->
      elem(:timer.tc(fn -> Enum.each(1..count, fn _ -> fun.() end) end), 0) / count
    end

    for _ <- 1..2, do: {time.(one), time.(other)}
    {ones, others} = Enum.unzip(for _ <- 1..times, do: {time.(one), time.(other)})
    {Enum.min(ones), Enum.min(others)}
  end

  def row(name, us, note \\ ""),
    do: IO.puts("  #{String.pad_trailing(name, 50)} #{us(us)}  #{note}")

  defp goal(name, value, met?, goal) do
    verdict = if met?, do: "", else: "  MISSED"

    figure = "#{String.pad_trailing(name, 50)} #{String.pad_leading("#{value}", 12)}"
    IO.puts("  #{figure}  goal: #{goal}#{verdict}")
  end

  defp us(us) when us >= 1000, do: String.pad_leading("#{Float.round(us / 1000, 2)} ms", 12)
  defp us(us), do: String.pad_leading("#{Float.round(us / 1, 2)} µs", 12)
end

IO.puts("== Nx #{Application.spec(:nx, :vsn)}, Elixir #{System.version()}")
parts = [:overhead, :compiling, :loops, :training, :beside_binary]

# Names of parts as arguments: only these.
for part <- parts, System.argv() == [] or Atom.to_string(part) in System.argv() do
  apply(Bench, part, [])
end
