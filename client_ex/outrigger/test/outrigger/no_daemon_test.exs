defmodule Outrigger.NoDaemonTest do
  @moduledoc "No daemon can start, or it does not read: deadlines hold, and the VM can end."
  use Outrigger.DaemonCase, async: true

  @moduletag :capture_log
  @moduletag :own_daemon

  # A server whose daemon is gone and cannot be started again. A call that waits for one would wait
  # for longer than any test may take.
  defp stranded do
    folder =
      Path.join(System.tmp_dir!(), "outrigger_stranded_#{System.unique_integer([:positive])}")

    File.mkdir_p!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)
    daemon = Path.join(folder, "daemon")
    File.ln_s!(fake(), daemon)
    server = start_server(daemon: daemon, args: ["--mode", "obedient"], start_timeout: 3_600_000)
    {:ok, prepared} = Outrigger.prepare(server, Outrigger.program(fn -> Op.iota({2}) end))
    os_pid = os_pid(server)
    File.rm!(daemon)
    kill(os_pid, "KILL")
    assert eventually(fn -> Outrigger.Server.epoch(Outrigger.Server.fetch!(server)) == 0 end)
    {server, prepared}
  end

  test "deadlines hold" do
    {server, prepared} = stranded()
    program = Outrigger.program(fn -> Op.iota({2}) end)

    calls = [
      ping: fn -> Outrigger.ping(server, deadline: 50) end,
      info: fn -> Outrigger.info(server, deadline: 50) end,
      sync: fn -> Outrigger.sync(server, deadline: 50) end,
      prepare: fn -> Outrigger.prepare(server, program, deadline: 50) end,
      run: fn -> Outrigger.run(server, program, [], deadline: 50) end,
      call: fn -> Outrigger.call(prepared, [], deadline: 50) end,
      call_and_wait: fn -> Outrigger.call_and_wait(prepared, [], deadline: 50) end,
      profile: fn -> Outrigger.profile(prepared, [], deadline: 50) end
    ]

    for {name, call} <- calls do
      task =
        Task.async(fn ->
          try do
            call.()
          rescue
            error in ConnectionError -> {:error, error}
          end
        end)

      assert {:ok, result} = Task.yield(task, 60_000) || Task.shutdown(task, :brutal_kill)

      assert match?({:error, %ConnectionError{reason: :deadline}}, result),
             "#{name}: #{inspect(result)}"
    end

    assert {:error, %ConnectionError{reason: :not_connected}} =
             Outrigger.await_ready(server, deadline: 50)

    # The server forgets callers that no longer wait.
    connection = Outrigger.Server.fetch!(server).connection
    assert :sys.get_state(connection).traffic.waits == %Outrigger.Waits{}
  end

  test "without a deadline, calls wait for as long as a start may take" do
    {server, _} = stranded()
    struct = %{Outrigger.Server.fetch!(server) | start_timeout: 50}
    assert {:error, %ConnectionError{reason: :not_connected}} = Outrigger.ping(struct)
    assert_raise ConnectionError, ~r/no daemon/, fn -> Outrigger.tensor(struct, 1) end
  end

  # The daemon is stopped, and there is more for it than its pipe takes.
  @script """
  {:ok, _} = Outrigger.start_link(name: Stuck, threads: 1, log: :none)
  daemon = Outrigger.info!(Stuck).os_pid
  System.cmd("kill", ["-STOP", to_string(daemon)])
  data = :binary.copy(<<0>>, 8_000_000)
  for _ <- 1..8, do: spawn(fn -> Outrigger.from_binary(Stuck, data, :u8, {8_000_000}) end)
  # Until the port takes no more: these bytes wait in the VM.
  port = Enum.find(Port.list(), &match?({:os_pid, ^daemon}, Port.info(&1, :os_pid)))
  wait = fn wait ->
    case Port.info(port, :queue_size) do
      {:queue_size, size} when size > 0 -> :ok
      _ -> Process.sleep(10) && wait.(wait)
    end
  end
  wait.(wait)
  IO.puts("daemon \#{daemon} beam \#{System.pid()}")
  """

  for {how, line} <- [
        stop: "System.stop(0); Process.sleep(:infinity)",
        terminated: "Process.sleep(:infinity)",
        end_of_script: ":ok"
      ] do
    test "a VM with a daemon that does not read ends: #{how}" do
      ebin = Path.join(Mix.Project.build_path(), "lib/outrigger/ebin")

      port =
        Port.open({:spawn_executable, System.find_executable("elixir")}, [
          :binary,
          :exit_status,
          {:line, 1000},
          args: ["-pa", ebin, "-e", @script <> unquote(line)]
        ])

      assert_receive {^port, {:data, {:eol, "daemon " <> text}}}, 60_000
      [daemon, "beam", beam] = String.split(text)
      if unquote(how) == :terminated, do: kill(beam, "TERM")

      # The daemon is stopped for good: without help the VM would wait for ever.
      unless eventually(fn -> not alive?(String.to_integer(beam)) end, 60_000) do
        kill(beam, "KILL")
        kill(daemon, "KILL")
        flunk("the VM has not ended")
      end

      assert_receive {^port, {:exit_status, 0}}, 5000
      assert_os_pid_exited(String.to_integer(daemon), 5000)
    end
  end
end
