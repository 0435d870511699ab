defmodule Outrigger.Nx.Options do
  @moduledoc false
  # The compiler's options. Libraries hand all of theirs on, so one that is unknown is somebody
  # else's; only one that is almost ours is worth a warning.

  require Logger

  @ours [:server, :servers, :max_concurrency, :profile, :hooks, :garbage_collect]
  # `String.jaro_distance/2` of two names that are one name with a mistake in it.
  @almost 0.8

  @doc "Warns of options that are ours but for their spelling. Gives the warnings."
  @spec warn_misspelt(keyword) :: [String.t()]
  def warn_misspelt(options) do
    for {name, _} <- options, name not in @ours, close = nearest(name) do
      warning =
        "Outrigger.Nx ignores the option #{inspect(name)} of Nx.Defn; did you mean #{inspect(close)}?"

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
