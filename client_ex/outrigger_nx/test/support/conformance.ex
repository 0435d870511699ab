defmodule Outrigger.Nx.Conformance do
  @moduledoc false
  # Runs Nx's and EXLA's own tests against this package: their files are read from NX_PATH, and
  # none of them is copied.

  @nx System.get_env("NX_PATH")
  @defaults "setup do: Outrigger.Nx.Conformance.exla_defaults()"

  @doc "The path of Nx's checkout, or nil."
  def nx, do: @nx && Path.expand(@nx)

  @doc "Loads the support files of Nx's own tests."
  def load_support do
    for file <- ~w(helpers nx_case container backends distributed_servings) do
      path = Path.join(nx(), "test/support/#{file}.ex")

      # The comparison of close values runs on the backend of the tensors.
      source =
        path
        |> File.read!()
        |> String.replace(
          ~r/==\s+Nx\.tensor\(1, type: \{:u, 8\}\)/,
          "|> Nx.to_number() |> Kernel.==(1)"
        )

      Code.compile_string(source, path)
    end

    :ok
  end

  @doc "Defines the test modules of one of Nx's files."
  def nx_suite(file), do: compile(Path.join(nx(), "test/#{file}"), & &1)

  @doc """
  The same with Nx.BinaryBackend as default backend and this compiler, as EXLA runs its tests: for
  files whose functions capture tensors, which Nx wants on Nx.BinaryBackend.
  """
  def compiled_suite(file) do
    compile(Path.join(nx(), "test/#{file}"), fn source ->
      source
      |> String.replace(~r/^  use ExUnit\.Case.*$/m, "\\0; #{@defaults}")
      |> String.replace(~r/compiler: (Nx\.Defn\.)?Evaluator\b/, "compiler: Outrigger.Nx")
    end)
  end

  @doc "The same of EXLA's, with this compiler and backend in the place of EXLA's."
  def exla_suite(file) do
    compile(Path.join(nx(), "../exla/test/exla/#{file}"), fn source ->
      source
      |> String.replace(~r/EXLA\.Backend\b/, "Outrigger.Nx.Backend")
      |> String.replace(~r/buffer: %EXLA\.DeviceBuffer\{\} = (\w+)/, "ref: \\1")
      |> String.replace("buffer: %EXLA.DeviceBuffer{}", "ref: %Outrigger.Tensor{}")
      |> String.replace("{buffer: ", "{ref: ")
      |> String.replace("{Outrigger.Nx.Backend, client: :host}", "Outrigger.Nx.Backend")
      |> String.replace(~r/^  use EXLA\.Case.*$/m, "\\0; #{@defaults}")
      |> String.replace(~r/compiler: EXLA(, client: :host)?/, "compiler: Outrigger.Nx")
      |> String.replace(~r/, precision: :(highest|default)/, "")
    end)
  end

  @doc "Sets the defaults of EXLA's test_helper."
  def exla_defaults do
    Nx.default_backend(Nx.BinaryBackend)
    Nx.Defn.default_options(compiler: Outrigger.Nx)
    :ok
  end

  # Tensors in module attributes have to be values of Elixir. And `assert a == b` of Nx's tests
  # compares structs, which are handles here: it has to look at the elements.
  defp compile(path, fun) do
    path = Path.expand(path)

    if File.exists?(path) do
      source =
        path
        |> File.read!()
        |> fun.()
        |> exclude_here(path)
        # Run once, by doctest_test.exs.
        |> String.replace(~r/^  doctest Nx(\.LinAlg|\.Random)?(,\n.*)?$/m, "")
        |> String.replace(
          ~r/^  use (ExUnit|EXLA|Nx)\.Case.*$/m,
          "\\0; import ExUnit.Assertions, except: [assert: 1]; import Outrigger.Nx.TensorEquality"
        )
        |> String.replace(~s("test/fixtures), ~s("#{nx()}/test/fixtures))

      Nx.with_default_backend(Nx.BinaryBackend, fn ->
        Code.compile_string(source, Path.relative_to(path, nx()))
      end)
    else
      IO.puts("conformance: #{path} is not there, so it did not run")
    end

    :ok
  end

  @doc "The exclusions in ExUnit's form. conformance/exclusions.exs has the reasons."
  def excluded do
    [
      :excluded_here
      | for(name when is_binary(name) <- exclusions(), do: {:test, :"test #{name}"})
    ]
  end

  # Those that are named by their file.
  defp exclude_here(source, path) do
    for {file, name} <- exclusions(), String.ends_with?(path, file), reduce: source do
      source -> String.replace(source, ~r/^ *test "#{name}"/m, "@tag :excluded_here; \\0")
    end
  end

  defp exclusions do
    {exclusions, _} = Code.eval_file("conformance/exclusions.exs", Path.dirname(__DIR__))
    Enum.flat_map(exclusions, fn {_reason, tests} -> tests end)
  end
end

defmodule Outrigger.Nx.TensorEquality do
  @moduledoc false
  # `assert left == right` for terms with tensors in them: the elements count, not the handles.

  defmacro assert({:==, meta, [left, right]}) do
    compared =
      {:==, meta,
       [
         quote(do: unquote(__MODULE__).values(unquote(left))),
         quote(do: unquote(__MODULE__).values(unquote(right)))
       ]}

    quote(do: ExUnit.Assertions.assert(unquote(compared)))
  end

  defmacro assert(other), do: quote(do: ExUnit.Assertions.assert(unquote(other)))

  @doc "The term with its tensors on Nx.BinaryBackend."
  def values(%Nx.Tensor{data: %Outrigger.Nx.Backend{}} = t),
    do: Nx.backend_copy(t, Nx.BinaryBackend)

  def values(%Nx.Tensor{} = t), do: t
  def values(%module{} = s), do: {module, s |> Map.from_struct() |> values()}
  def values(%{} = map), do: Map.new(map, fn {key, value} -> {key, values(value)} end)
  def values([head | tail]), do: [values(head) | values(tail)]
  def values(tuple) when is_tuple(tuple), do: tuple |> Tuple.to_list() |> values()
  def values(other), do: other
end

defmodule Outrigger.Nx.ConformanceReport do
  @moduledoc false
  # An ExUnit formatter that counts by module, and writes the table of CONFORMANCE.md to the file
  # that OUTRIGGER_CONFORMANCE names.

  use GenServer

  @impl true
  def init(_options), do: {:ok, %{}}

  @impl true
  def handle_cast({:test_finished, %ExUnit.Test{module: module, state: state}}, counts) do
    kind =
      case state do
        nil -> :passed
        {:failed, _} -> :failed
        {:invalid, _} -> :failed
        {:excluded, _} -> :excluded
        {:skipped, _} -> :excluded
      end

    {:noreply, Map.update(counts, {module, kind}, 1, &(&1 + 1))}
  end

  def handle_cast({:suite_finished, _times}, counts) do
    case System.get_env("OUTRIGGER_CONFORMANCE") do
      path when path in [nil, ""] -> :ok
      path -> File.write!(path, table(counts))
    end

    {:noreply, counts}
  end

  def handle_cast(_event, counts), do: {:noreply, counts}

  defp table(counts) do
    modules = counts |> Map.keys() |> Enum.map(&elem(&1, 0)) |> Enum.uniq() |> Enum.sort()

    rows =
      for module <- modules do
        numbers = for kind <- [:passed, :failed, :excluded], do: counts[{module, kind}] || 0
        "| `#{inspect(module)}` | #{Enum.join(numbers, " | ")} |\n"
      end

    ["| suite | passed | failed | excluded |\n|---|---|---|---|\n" | rows]
  end
end
