defmodule Mix.Tasks.Compile.Outriggerd do
  @shortdoc "Builds the daemon with CMake into priv/"

  @moduledoc """
  Builds `outriggerd` with CMake (preset `release`) and installs it in `priv/outriggerd`. The
  sources are in `native/` of the package, or above this folder in a checkout.

  Does nothing if a daemon is named by the environment variable `OUTRIGGERD` or by
  `config :outrigger, daemon: "/path/to/outriggerd"`.

  The environment variable `OUTRIGGER_CMAKE_ARGS` holds further arguments for CMake, for instance
  `-DOUTRIGGER_ISA_LEVELS=x86-64-v3` to build the kernels for fewer instruction sets.
  """

  use Mix.Task.Compiler

  @packages "cmake ninja-build g++ pkg-config libboost-dev libmsgpack-cxx-dev libeigen3-dev " <>
              "libspdlog-dev libcli11-dev libexpected-dev libsleef-dev libhwy-dev " <>
              "libxbyak-dev libopenblas0-openmp libzip-dev libssl-dev libxxhash-dev libseccomp-dev"

  @impl true
  def run(_args) do
    cond do
      System.get_env("OUTRIGGERD") ->
        :noop

      Application.get_env(:outrigger, :daemon) ->
        :noop

      sources() == nil ->
        error("the daemon's sources are neither in native/ nor beside this folder")

      System.find_executable("cmake") == nil ->
        error("cmake is missing")

      true ->
        build(sources())
    end
  end

  @impl true
  def clean do
    File.rm_rf!(target())
    :ok
  end

  defp build(source) do
    stamp = Path.join(target(), "bin/outriggerd")
    newest = newest(source)

    if File.exists?(stamp) and File.stat!(stamp, time: :posix).mtime >= newest do
      :noop
    else
      Mix.shell().info("Building outriggerd (some minutes)")
      build = Path.join(Mix.Project.build_path(), "outriggerd")
      extra = OptionParser.split(System.get_env("OUTRIGGER_CMAKE_ARGS", ""))
      configure = ["--preset", "release", "-B", build, "-DOUTRIGGER_TESTS=OFF" | extra]

      with :ok <- cmake(configure, source),
           :ok <- cmake(["--build", build], source),
           :ok <- cmake(["--install", build, "--prefix", target()], source) do
        File.touch!(stamp)
        # Mix links priv/ into _build before this compiler runs.
        Mix.Project.build_structure()
        :ok
      end
    end
  end

  defp cmake(args, directory) do
    case System.cmd("cmake", args, cd: directory, into: IO.stream(), stderr_to_stdout: true) do
      {_, 0} -> :ok
      {_, status} -> error("`cmake #{Enum.join(args, " ")}` ended with status #{status}")
    end
  end

  defp error(reason) do
    message = """
    outriggerd cannot be built: #{reason}.

    On Debian or Ubuntu, it needs

        apt-get install #{@packages}

    Or name a daemon that is built already: set the environment variable OUTRIGGERD, or put
    `config :outrigger, daemon: "/path/to/outriggerd"` into the configuration.
    """

    Mix.shell().error(message)

    diagnostic = %Mix.Task.Compiler.Diagnostic{
      compiler_name: "outriggerd",
      file: "CMakeLists.txt",
      message: message,
      position: 0,
      severity: :error
    }

    {:error, [diagnostic]}
  end

  defp sources do
    Enum.find(["native", "../.."], &File.regular?(Path.join(&1, "server/CMakeLists.txt")))
    |> then(&(&1 && Path.expand(&1)))
  end

  defp target, do: Path.join(File.cwd!(), "priv/outriggerd")

  defp newest(source) do
    [
      Path.join(source, "CMakeLists.txt")
      | Path.wildcard(Path.join(source, "{server,cmake}/**/*.*"))
    ]
    |> Enum.map(&File.stat!(&1, time: :posix).mtime)
    |> Enum.max()
  end
end
