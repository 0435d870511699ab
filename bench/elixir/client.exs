# Measures the client and the daemon together, as an application uses them. All ratios are within
# this run. `./run bench` runs this file.
alias Outrigger.{InPlace, Op}

defmodule Bench do
  @moduledoc false

  @doc """
  Microseconds of the fastest of `rounds` rounds: other programs on the machine only make a round
  slower.
  """
  def fastest(rounds, fun) do
    for(_ <- 1..rounds, do: fun |> :timer.tc() |> elem(0)) |> Enum.min()
  end

  @doc "Median microseconds of one call among `count`."
  def median(count, fun) do
    times = for _ <- 1..count, do: nanoseconds(fun)
    (times |> Enum.sort() |> Enum.at(div(count, 2))) / 1000
  end

  defp nanoseconds(fun) do
    start = System.monotonic_time(:nanosecond)
    fun.()
    System.monotonic_time(:nanosecond) - start
  end

  def echo(port, frame) do
    Port.command(port, frame)

    receive do
      {^port, {:data, ^frame}} -> :ok
    end
  end

  @doc """
  The same with one process between: it owns the port, and the caller writes to it. This is the
  smallest cost of a shared connection.
  """
  def relay(program) do
    caller = self()

    spawn_link(fn ->
      forward(Port.open({:spawn_executable, program}, [:binary, packet: 4]), caller)
    end)

    receive do: ({:relay, port} -> port)
  end

  defp forward(port, caller) do
    send(caller, {:relay, port})
    forward_all(port, caller)
  end

  defp forward_all(port, caller) do
    receive do: ({^port, {:data, frame}} -> send(caller, {port, frame}))
    forward_all(port, caller)
  end

  def relayed(port, frame) do
    Port.command(port, frame, [:nosuspend])
    receive do: ({^port, ^frame} -> :ok)
  end

  def row(name, value, unit, note),
    do:
      IO.puts([
        String.pad_trailing(name, 44),
        String.pad_leading(value, 12),
        " ",
        String.pad_trailing(unit, 9),
        note
      ])

  def number(x) when x >= 100, do: :erlang.float_to_binary(x * 1.0, decimals: 0)
  def number(x), do: :erlang.float_to_binary(x * 1.0, decimals: 2)
end

{:ok, _} = Outrigger.start_link(name: B, threads: System.schedulers_online())
:ok = Outrigger.await_ready(B)

IO.puts("client and daemon\n")

# Round trip of a prepared call on a tiny tensor, beside a bare echo of a frame of the same size.
port = Port.open({:spawn_executable, System.fetch_env!("OUTRIGGER_ECHO")}, [:binary, packet: 4])
tiny = Outrigger.tensor(B, [1.0, 2.0, 3.0], type: :f32)
step = Outrigger.prepare!(B, Outrigger.program(fn x -> InPlace.add(x, 1) end))
call = fn -> Outrigger.call_and_wait!(step, [tiny]) end
frame = :binary.copy(<<7>>, 64)
relay = Bench.relay(System.fetch_env!("OUTRIGGER_ECHO"))
for _ <- 1..2000, do: {call.(), Bench.echo(port, frame), Bench.relayed(relay, frame)}

rounds =
  for _ <- 1..20 do
    {
      Bench.median(500, call),
      Bench.median(500, fn -> Bench.echo(port, frame) end),
      Bench.median(500, fn -> Bench.relayed(relay, frame) end)
    }
  end

[trip, bare, hop] = for i <- 0..2, do: rounds |> Enum.map(&elem(&1, i)) |> Enum.min()
[_, bare_worst, hop_worst] = for i <- 0..2, do: rounds |> Enum.map(&elem(&1, i)) |> Enum.max()

Bench.row(
  "round trip, prepared call",
  Bench.number(trip),
  "us",
  "bare echo #{Bench.number(bare)} us"
)

Bench.row(
  "  the echo through a process",
  Bench.number(hop),
  "us",
  "in the worst round #{Bench.number(hop_worst)}, the bare echo #{Bench.number(bare_worst)}"
)

Bench.row("  ratio (goal 1.5)", Bench.number(trip / bare), "", "")

# Pipelined submission from one process.
count = 50_000

submit = fn ->
  for _ <- 1..count, do: InPlace.add(tiny, 1)
  Outrigger.sync!(B)
end

submit.()
in_place = count / Bench.fastest(5, submit) * 1.0e6

eager = fn ->
  for _ <- 1..count, do: Op.add(tiny, 1)
  Outrigger.sync!(B)
end

eager.()
created = count / Bench.fastest(5, eager) * 1.0e6
Bench.row("pipelined ops in place (goal 100,000)", Bench.number(in_place), "ops/s", "")
Bench.row("pipelined ops that make a tensor", Bench.number(created), "ops/s", "")

# One million elements, against Nx.BinaryBackend as it was measured once on another machine.
n = 1_000_000
x = Outrigger.iota(B, {n}, type: :f32)
y = Outrigger.iota(B, {n}, type: :f32)
slice = Outrigger.iota(B, {1000}, type: :f32)
index = Outrigger.tensor(B, for(_ <- 1..100_000, do: :rand.uniform(n) - 1), type: :s32)
rows = Outrigger.Op.reshape(index, {100_000, 1})
updates = Outrigger.iota(B, {100_000}, type: :f32)
Outrigger.sync!(B)

timed = fn fun ->
  reps = 50

  Bench.fastest(7, fn ->
    for _ <- 1..reps, do: fun.()
    Outrigger.sync!(B)
  end) / reps / 1000
end

figures =
  for {name, fun, binary_backend_ms} <- [
        {"put_slice of 1k into 1M, in place", fn -> InPlace.put_slice(x, [1234], slice) end,
         4200},
        {"indexed_put of 100k into 1M, in place", fn -> InPlace.indexed_put(x, rows, updates) end,
         958},
        {"indexed_add of 100k into 1M, in place", fn -> InPlace.indexed_add(x, rows, updates) end,
         1299},
        {"add of 1M, in place", fn -> InPlace.add(x, y) end, 629},
        {"add of 1M, a new tensor each", fn -> Outrigger.release(Op.add(x, y)) end, 629}
      ] do
    ms = timed.(fun)

    Bench.row(
      name,
      Bench.number(ms),
      "ms",
      "Nx.BinaryBackend #{binary_backend_ms} ms: #{round(binary_backend_ms / ms)}x"
    )

    {name, ms, binary_backend_ms}
  end

json = [
  ~s({"round_trip_us": #{trip}, "echo_us": #{bare}, "relayed_echo_us": #{hop}, ),
  ~s("in_place_ops_per_s": #{in_place}, "eager_ops_per_s": #{created}, ),
  ~s("against_binary_backend": [),
  Enum.map_join(figures, ", ", fn {name, ms, reference} ->
    ~s({"name": "#{name}", "ours_ms": #{ms}, "binary_backend_ms": #{reference}})
  end),
  "]}\n"
]

[path] = System.argv()
File.write!(path, json)
