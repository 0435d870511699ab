defmodule Outrigger.FileNamesTest do
  # Names of files beyond ASCII, whatever the locale takes their bytes for.
  use Outrigger.DaemonCase, async: true

  @moduletag :own_daemon

  setup do
    folder = Path.join(System.tmp_dir!(), "outrigger_ü€_#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)
    {:ok, daemon} = Outrigger.Daemon.executable(%{daemon: nil})
    link = Path.join(folder, "outriggerd")
    File.write!(link, "#!/bin/sh\nexec '#{daemon}' \"$@\"\n")
    File.chmod!(link, 0o755)
    %{folder: folder, daemon: link}
  end

  @script """
  Process.flag(:trap_exit, true)
  daemon = System.get_env("OUTRIGGERD")
  IO.puts(:file.native_name_encoding())

  for options <- [
        [],
        [daemon: daemon],
        [daemon: "outriggerd"],
        [env: [{"Ä", "ü€"}]],
        [args: ["--log-file", "ü€.log"]],
        [log: "ü€.log"]
      ] do
    {:ok, server} = Outrigger.start_link(Keyword.merge([threads: 1, log: :none], options))
    :ok = Outrigger.ping(server)
  end

  {:ok, server} = Outrigger.start_link(threads: 1, log: :none)
  x = Outrigger.tensor(server, [1, 2])
  :ok = Outrigger.save_npy(x, "ä€.npy")
  :ok = Outrigger.save_npz([ü: x], "~/ä€.npz")
  true = File.exists?("ä€.npy")
  [1, 2] = Outrigger.load_npy(server, "./ä€.npy") |> Outrigger.to_list!()
  [1, 2] = Outrigger.load_npz(server, "~/ä€.npz", "ü") |> Outrigger.to_list!()
  IO.puts("all is well")
  """

  for locale <- ["C", "C.UTF-8"] do
    test "in a VM under LC_ALL=#{locale}", %{folder: folder, daemon: daemon} do
      # Elixir itself finds no script below such a folder.
      script = Path.join(System.tmp_dir!(), "outrigger_#{System.unique_integer([:positive])}.exs")
      File.write!(script, @script)
      on_exit(fn -> File.rm(script) end)

      {output, status} =
        System.cmd("elixir", ["-pa", Application.app_dir(:outrigger, "ebin"), script],
          cd: folder,
          env: [
            {"LC_ALL", unquote(locale)},
            {"OUTRIGGERD", daemon},
            {"HOME", folder},
            {"PATH", System.get_env("PATH") <> ":" <> folder}
          ],
          stderr_to_stdout: true
        )

      assert {0, output} == {status, output}
      assert output =~ if(unquote(locale) == "C", do: "latin1", else: "utf8")
      assert output =~ "all is well"

      assert File.exists?(Path.join(folder, "ä€.npy")) and
               File.exists?(Path.join(folder, "ä€.npz"))
    end
  end

  test "a file that may not be executed says so", %{daemon: daemon} do
    File.chmod!(daemon, 0o644)
    Process.flag(:trap_exit, true)

    assert {:error, %ConnectionError{reason: :daemon_not_found} = error} =
             Outrigger.start_link(daemon: daemon)

    assert Exception.message(error) =~ "the executable cannot be started: permission denied"
  end
end
