defmodule Example.MixProject do
  use Mix.Project

  def project do
    [
      app: :example,
      version: "0.1.0",
      elixir: "~> 1.14",
      deps: [{:outrigger, path: "../../client_ex/outrigger"}]
    ]
  end

  def application do
    [extra_applications: [:logger, :ssl], mod: {Example.Application, []}]
  end
end
