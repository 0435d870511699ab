defmodule Outrigger.PackagesTest do
  use ExUnit.Case, async: true

  @moduletag :own_daemon

  # In a checkout, the command `run` installs them; users are told by two texts.
  test "the texts for users name every package that building the daemon takes" do
    root = Path.expand("../../../..", __DIR__)
    [_, list] = Regex.run(~r/^build_packages=\(([^)]*)\)/m, File.read!(Path.join(root, "run")))
    needed = String.split(list) -- ["libgtest-dev", "elixir", "python3"]
    assert "cmake" in needed

    for text <- ["README.md", "lib/mix/tasks/compile.outriggerd.ex"] do
      named =
        Path.join(root, "client_ex/outrigger/#{text}") |> File.read!() |> String.split(~r/[\s"]+/)

      assert needed -- named == [], "#{text} does not name #{inspect(needed -- named)}"
    end
  end

  # With a CMake that only pretends: what is built is no concern here, but where it is found.
  @tag :tmp_dir
  @tag timeout: 300_000
  test "an application that depends on a checkout by path has the daemon in its first run", %{
    tmp_dir: tmp
  } do
    root = Path.expand("../../../..", __DIR__)
    checkout = Path.join(tmp, "checkout")

    for path <- ~w(CMakeLists.txt server/CMakeLists.txt protocol/ops.json
                   client_ex/outrigger/mix.exs client_ex/outrigger/lib) do
      to = Path.join(checkout, path)
      File.mkdir_p!(Path.dirname(to))
      File.cp_r!(Path.join(root, path), to)
    end

    write = fn path, text ->
      path = Path.join(tmp, path)
      File.mkdir_p!(Path.dirname(path))
      File.write!(path, text)
      File.chmod!(path, 0o755)
    end

    write.("bin/cmake", """
    #!/bin/sh
    if [ "$1" = --install ]; then
      mkdir -p "$4/bin" && printf '#!/bin/sh\n' >"$4/bin/outriggerd" && chmod +x "$4/bin/outriggerd"
    fi
    """)

    write.("app/mix.exs", """
    defmodule App.MixProject do
      use Mix.Project
      def project, do: [app: :app, version: "0.1.0", deps: deps()]
      defp deps, do: [{:outrigger, path: "../checkout/client_ex/outrigger"}]
    end
    """)

    script = "IO.inspect(Outrigger.Daemon.executable(%{daemon: nil}))"
    path = Path.join(tmp, "bin") <> ":" <> System.get_env("PATH")
    env = [{"PATH", path}, {"OUTRIGGERD", nil}, {"MIX_ENV", "dev"}]
    options = [cd: Path.join(tmp, "app"), env: env, stderr_to_stdout: true]
    {output, status} = System.cmd("mix", ["run", "-e", script], options)
    assert status == 0, output
    assert output =~ ~r/{:ok,\s+".*\/priv\/outriggerd\/bin\/outriggerd"}/, output
  end
end
