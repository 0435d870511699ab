defmodule Outrigger.MixProject do
  use Mix.Project

  @version "0.1.0"
  @source_url "https://github.com/outrigger-ex/outrigger"

  def project do
    [
      app: :outrigger,
      version: @version,
      elixir: "~> 1.14",
      start_permanent: Mix.env() == :prod,
      elixirc_paths: elixirc_paths(Mix.env()),
      compilers: Mix.compilers() ++ [:outriggerd],
      description:
        "Mutable tensors in a supervised C++ daemon: fast, and no native code in the VM",
      package: [
        licenses: ["Apache-2.0"],
        links: %{"GitHub" => @source_url},
        # In the folder that `./run package` assembles: the daemon's sources come along.
        files: ~w(lib native priv/ops.json mix.exs .formatter.exs README.md CHANGELOG.md LICENSE)
      ],
      deps: []
    ]
  end

  def application do
    # :ssl is for tls:// addresses only.
    extra = [:logger, ssl: :optional, public_key: :optional]
    [extra_applications: extra, mod: {Outrigger.Application, []}]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_env), do: ["lib"]
end
