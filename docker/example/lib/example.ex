defmodule Example do
  @moduledoc """
  Numbers that a server in another container computes.

  `bin/example eval "Example.main()"` runs it in the image that `docker/example/Dockerfile` makes.
  """

  alias Outrigger.{InPlace, Op}

  @doc "Computes in the server's memory, and prints what it tells."
  def main do
    {:ok, _} = Application.ensure_all_started(:example)
    x = Outrigger.iota(Example.Numbers, {1_000_000}, type: :f64)
    IO.puts("sum of x: #{Outrigger.to_number!(Op.sum(x))}")

    # A write in place changes the server's tensor. Three numbers travel, not a million.
    InPlace.put_slice(x, [10], Outrigger.tensor(Example.Numbers, [0.5, 0.25, 0.125], type: :f64))
    IO.puts("x[9..13]: #{inspect(Outrigger.to_list!(Op.slice(x, [9], [5])))}")

    {:ok, info} = Outrigger.info(Example.Numbers)
    IO.puts("memory limit of the server: #{info.memory.limit} bytes")
  end

  @doc "Publishes a tensor, which outlives this application."
  def keep do
    {:ok, _} = Application.ensure_all_started(:example)
    x = Outrigger.tensor(Example.Numbers, [1.5, 2.5, 3.5], type: :f64)
    IO.puts("version #{Outrigger.publish!(x, "example/kept")}")
  end

  @doc "Finds the tensor of `keep/0` again, also after a restart of the server."
  def kept do
    {:ok, _} = Application.ensure_all_started(:example)
    [entry] = Outrigger.names!(Example.Numbers, prefix: "example/kept")
    IO.puts("version #{entry.version}")

    IO.puts(
      "kept: #{inspect(Outrigger.to_list!(Outrigger.open(Example.Numbers, "example/kept")))}"
    )
  end

  @doc "Computes for some seconds. A server that is told to stop finishes what it has begun."
  def long(turns) do
    {:ok, _} = Application.ensure_all_started(:example)
    x = Outrigger.iota(Example.Numbers, {4_000_000}, type: :f64)

    program =
      Outrigger.program(fn x ->
        {x, _} =
          Op.while(
            {x, 0},
            fn {_, turn} -> Op.less(turn, turns) end,
            fn {x, turn} -> {Op.sin(x), Op.add(turn, 1)} end
          )

        Op.sum(x)
      end)

    sum = Outrigger.run(Example.Numbers, program, [x])
    waiter = Task.async(fn -> Outrigger.await!(sum) end)
    await_begun(waiter)
    IO.puts("computing")
    Task.await(waiter, :infinity)
    IO.puts("done")
  end

  # Until the server computes: it answers `info` at once.
  defp await_begun(waiter) do
    if Process.alive?(waiter.pid) and Outrigger.info!(Example.Numbers).running == nil do
      Process.sleep(1)
      await_begun(waiter)
    end
  end
end
