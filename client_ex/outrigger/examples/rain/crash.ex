defmodule Rain.Crash do
  @moduledoc "Kills the daemon in the middle of a step, and looks at what is left."

  alias Rain.{Screen, Step, Terrain}

  @steps 400

  @doc "Raises if a check of this stage fails."
  def run(server, step, metres) do
    expected = rained(server, step, metres)
    Screen.checked("#{@steps} steps; their result is kept in the BEAM for later")

    heart = start_heart()
    %{os_pid: os_pid} = Outrigger.info!(server)
    {state, error, killed} = kill_midway(server, step, metres, os_pid)

    Screen.checked("the waiting caller got its error, a value like any other:\n")
    Screen.say("    {:error, %Outrigger.ConnectionError{reason: #{inspect(error.reason)}}}")
    Screen.say("    #{Exception.message(error) |> String.replace("; ", ";\n      ")}\n")

    {:error, %Outrigger.ConnectionError{reason: :stale_epoch}} = Outrigger.to_list(state.drained)
    Screen.checked("the old tensors say that they are gone: :stale_epoch")

    :ok = Outrigger.await_ready(server)
    time = System.monotonic_time(:microsecond) - killed
    %{os_pid: new_pid} = Outrigger.info!(server)
    true = new_pid != os_pid and not running?(os_pid)

    Screen.checked(
      "another daemon runs: process #{new_pid}, #{Screen.duration(time)} after the kill"
    )

    {beats, pause} = stop_heart(heart)
    true = beats > 0 and pause < 2_000
    Screen.checked("the BEAM never stopped: #{beats} beats of 5 ms, longest pause #{pause} ms")

    true = rained(server, step, metres) == expected
    Screen.checked("the same #{@steps} steps again, with the same prepared program:")
    Screen.say("  every byte of #{byte_size(expected)} is the same")
  end

  # The water after so many steps from dry ground.
  defp rained(server, step, metres) do
    {state, terrain, rain} = prepare(server, metres)
    for _ <- 1..@steps, do: Step.call(step, state, terrain, rain)
    Outrigger.to_binary!(state.water)
  end

  defp prepare(server, metres) do
    terrain = Terrain.load(server)
    {Step.dry(terrain), terrain, Step.rain(terrain, metres)}
  end

  defp kill_midway(server, step, metres, os_pid) do
    {state, terrain, rain} = prepare(server, metres)
    Outrigger.sync!(server)

    waiting =
      Task.async(fn ->
        for _ <- 1..@steps, do: Step.call(step, state, terrain, rain)
        Outrigger.to_binary(state.water)
      end)

    queue = await_steps(server, System.monotonic_time(:millisecond) + 30_000)
    killed = System.monotonic_time(:microsecond)
    {_, 0} = System.cmd("kill", ["-KILL", "#{os_pid}"])
    Screen.checked("kill -KILL #{os_pid}, in the middle of a step, #{queue} more waiting")

    {:error, %Outrigger.ConnectionError{reason: {:daemon_exited, 137}} = error} =
      Task.await(waiting)

    {state, error, killed}
  end

  # Waits until a step is being computed and others queue behind it; gives their number.
  defp await_steps(server, until) do
    if System.monotonic_time(:millisecond) > until, do: raise("no step was seen running")

    case Outrigger.info!(server) do
      %{running: id, queue: queue} when id != nil and queue in 50..(@steps - 100)//1 -> queue
      _ -> await_steps(server, until)
    end
  end

  defp running?(os_pid), do: File.exists?("/proc/#{os_pid}/exe")

  ## A process that notices if the BEAM stands still

  defp start_heart do
    spawn_link(fn -> beat(0, 0, System.monotonic_time(:millisecond)) end)
  end

  defp beat(beats, longest, last) do
    receive do
      {:stop, from} -> send(from, {self(), {beats, longest}})
    after
      5 ->
        now = System.monotonic_time(:millisecond)
        beat(beats + 1, max(longest, now - last), now)
    end
  end

  defp stop_heart(heart) do
    send(heart, {:stop, self()})

    receive do
      {^heart, answer} -> answer
    end
  end
end
