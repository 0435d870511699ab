defmodule Rain.Demo do
  @moduledoc "The stages of the demo, one after the other."

  alias Outrigger.Op
  alias Rain.{Compare, Crash, Render, Screen, Step, Terrain}

  @steps 3000
  @metres 1.0e-4
  # Steps that are on their way at once, between two looks at the progress bar.
  @batch 50

  def run(arguments) do
    directory = directory(arguments)
    File.mkdir_p!(directory)
    started = System.monotonic_time(:millisecond)
    Screen.title("Outrigger: rain on the Jacksboro fault, Tennessee")

    server = Rain.Compute
    {:ok, _} = Supervisor.start_link([{Outrigger, name: server}], strategy: :one_for_one)

    Screen.heading("The land")
    terrain = land(server)
    step = Outrigger.prepare!(server, Step.program(terrain.cells))

    Screen.heading("The rain")
    state = rain(terrain, step)

    Screen.heading("The pictures")
    pictures(directory, terrain, state)

    Screen.heading("The price of a step")
    Compare.step(terrain, step, @metres)
    Outrigger.release([state.water, state.passed, state.drained])

    Screen.heading("The forum's question")
    Compare.forum(server)

    Screen.heading("The crash")
    Crash.run(server, step, @metres)

    seconds = (System.monotonic_time(:millisecond) - started) / 1000
    Screen.title("Done in #{Screen.decimals(seconds, 1)} s. The pictures are in #{directory}.\n")
  end

  defp directory([directory | _]), do: directory
  defp directory([]), do: System.get_env("OUTRIGGER_DEMO_OUT", "./demo_out")

  defp land(server) do
    {time, terrain} = :timer.tc(fn -> Terrain.load(server) end)
    info = Outrigger.info!(server)
    {dx, dy} = terrain.spacing
    lowest = terrain.heights |> Op.reduce_min() |> Outrigger.to_number!()
    highest = terrain.heights |> Op.reduce_max() |> Outrigger.to_number!()

    Screen.fact("daemon", "#{info.server}, process #{info.os_pid}, #{info.threads} threads")
    Screen.fact("heights", "#{Terrain.file()}")
    Screen.fact("as a tensor", "#{inspect(terrain.heights)}")
    Screen.fact("cells", "#{Screen.thousands(terrain.cells)}, of #{round(dx)} m × #{round(dy)} m")
    Screen.fact("from, to", "#{lowest} m, #{highest} m")
    Screen.fact("read and prepared in", Screen.duration(time))
    terrain
  end

  defp rain(terrain, step) do
    Screen.say(
      "#{@steps} steps. In each, every cell gets 0.1 mm and gives to its lowest neighbour."
    )

    Screen.say("A step is one call of a prepared program that changes its tensors in place.\n")

    state = Step.dry(terrain)
    rain = Step.rain(terrain, @metres)
    since = System.monotonic_time(:millisecond)
    Screen.progress(0, @steps, since)

    for done <- @batch..@steps//@batch do
      for _ <- 1..@batch, do: Step.call(step, state, terrain, rain)
      Outrigger.sync!(terrain.server)
      Screen.progress(done, @steps, since)
    end

    IO.puts("")
    balance(terrain, state)
    state
  end

  # All fallen water is still on the map, or has left it.
  defp balance(terrain, state) do
    fallen = @steps * @metres * terrain.cells
    left = state.water |> Op.sum() |> Outrigger.to_number!()
    drained = state.drained |> Op.sum() |> Outrigger.to_number!()
    deepest = state.water |> Op.reduce_max() |> Outrigger.to_number!()
    {dx, dy} = terrain.spacing
    volume = &"#{Screen.decimals(&1 * dx * dy / 1.0e6, 3)} million m³"

    Screen.fact("rain that fell", volume.(fallen))
    Screen.fact("on the land", "#{volume.(left)}, at most #{Screen.decimals(deepest, 1)} m deep")
    Screen.fact("off the map", volume.(drained))
    lost = abs(left + drained - fallen) / fallen
    true = lost < 1.0e-9
    Screen.checked("nothing is lost: the sums differ by #{scientific(lost)} of the rain")
  end

  defp scientific(number), do: :erlang.float_to_binary(number, scientific: 1)

  defp pictures(directory, terrain, state) do
    for {name, draw} <- [
          {"rain_relief.png", &Render.relief/3},
          {"rain_drainage.png", &Render.drainage/3}
        ] do
      path = Path.join(directory, name)
      {time, :ok} = :timer.tc(fn -> draw.(path, terrain, state) end)
      kib = div(File.stat!(path).size, 1024)
      size = "#{2 * terrain.cols}×#{2 * terrain.rows}, #{kib} KiB, #{Screen.duration(time)}"
      Screen.checked("#{path}  (#{size})")
    end
  end
end
