# Without Hex, Mix cannot read the requirements of a dependency. This module replaces Hex where
# NX_PATH is set: a path overrides each requirement, so that Mix has nothing to fetch.
defmodule Outrigger.Nx.PathsOnly do
  @behaviour Mix.SCM

  def accepts_options(app, options), do: Keyword.put(options, :paths_only, app)
  def fetchable?, do: false
  def format(_options), do: "overridden"
  def format_lock(_options), do: nil
  def checked_out?(_options), do: false
  def lock_status(_options), do: :ok
  def equal?(left, right), do: left[:paths_only] == right[:paths_only]
  def managers(_options), do: []
  def checkout(_options), do: Mix.raise("without Hex there is nothing to fetch from")
  def update(options), do: checkout(options)
end

if System.get_env("NX_PATH") && not Code.ensure_loaded?(Hex) do
  Mix.SCM.append(Outrigger.Nx.PathsOnly)
end

defmodule Outrigger.Nx.MixProject do
  use Mix.Project

  @version "0.1.0"
  @source_url "https://github.com/outrigger-ex/outrigger"

  def project do
    [
      app: :outrigger_nx,
      version: @version,
      elixir: "~> 1.17",
      start_permanent: Mix.env() == :prod,
      # Nx's own tests implement its protocols for their containers.
      consolidate_protocols: Mix.env() != :test,
      elixirc_paths: elixirc_paths(Mix.env()),
      description:
        "Nx on Outrigger: a backend and a defn compiler, without native code in the VM",
      package: [licenses: ["Apache-2.0"], links: %{"GitHub" => @source_url}],
      deps: deps()
    ]
  end

  def application do
    [extra_applications: [:logger], mod: {Outrigger.Nx.Application, []}]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_env), do: ["lib"]

  defp deps, do: [{:outrigger, path: "../outrigger"} | nx(System.get_env("NX_PATH"))]

  # Without Hex, NX_PATH names the nx/ folder of a checkout. COMPLEX_PATH and TELEMETRY_PATH name
  # the dependencies of Nx, unless they are beside that checkout.
  defp nx(nil), do: [{:nx, "~> 0.13"}]

  defp nx(path) do
    [
      {:nx, path: Path.expand(path)},
      {:complex, path: beside(path, "COMPLEX_PATH", "complex"), override: true},
      {:telemetry,
       path: beside(path, "TELEMETRY_PATH", "telemetry"), override: true, manager: :rebar3}
    ]
  end

  defp beside(path, variable, name) do
    candidates = [Path.expand("../#{name}", path), Path.expand("../../#{name}", path)]

    System.get_env(variable) || Enum.find(candidates, &File.dir?/1) ||
      Mix.raise("#{variable} must name a checkout of #{name}: it is not beside NX_PATH")
  end
end
