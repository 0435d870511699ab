defmodule Outrigger.Nx.Options do
  @moduledoc false
  # The compiler's options. Libraries pass on all of their options, so an unknown option is not an
  # error. The compiler warns only about a name that is nearly one of its own.

  require Logger

  @ours [:server, :servers, :max_concurrency, :profile, :hooks, :garbage_collect]
  # From this `String.jaro_distance/2` on, two names are nearly the same.
  @almost 0.8

  @doc "Warns about misspelt options. Returns the warnings."
  @spec warn_misspelt(keyword) :: [String.t()]
  def warn_misspelt(options) do
    for {name, _} <- options, name not in @ours, close = nearest(name) do
      warning =
        "Outrigger.Nx ignores the option #{inspect(name)} of Nx.Defn; " <>
          "did you mean #{inspect(close)}?"

      Logger.warning(warning)
      warning
    end
  end

  defp nearest(name) do
    {distance, close} =
      @ours
      |> Enum.map(&{String.jaro_distance(Atom.to_string(name), Atom.to_string(&1)), &1})
      |> Enum.max()

    if distance >= @almost, do: close
  end
end
