defmodule Outrigger.Backoff do
  @moduledoc false
  # The delays between the attempts to start a daemon, or to connect to a server. Pure, except for
  # the random numbers.

  # If a daemon or a connection has lived this long, its start is not the cause of its end.
  @settled_ms 1_000

  @typedoc """
    * `:daemon` - an own daemon that starts and dies
    * `:start` - an own daemon that does not start
    * `:server` - a server that cannot be reached, or a link that broke
    * `:full` - a server that has too many clients
    * `:lasting` - a server that will refuse the next attempt, too
  """
  @type kind :: :daemon | :start | :server | :full | :lasting

  @doc "Whether the attempts count from the beginning again."
  @spec settled?(integer) :: boolean
  def settled?(lived_ms), do: lived_ms > @settled_ms

  @doc """
  The milliseconds before the attempt after `attempts` failed ones. An own daemon starts again at
  once. Clients of one server draw their delays, so that they do not all come back at the same
  moment.
  """
  @spec delay(kind, non_neg_integer) :: non_neg_integer
  def delay(:daemon, attempts), do: own(attempts, 100)
  def delay(:start, attempts), do: own(attempts, 5_000)
  def delay(:server, attempts), do: drawn(100, attempts, 5_000)
  def delay(:full, attempts), do: drawn(1_000, attempts, 10_000)
  def delay(:lasting, attempts), do: drawn(2_000, attempts, 60_000)

  defp own(0, _max), do: 0
  defp own(attempts, max), do: grown(10, attempts - 1, max)

  defp drawn(first, attempts, max) do
    most = grown(first, attempts, max)
    half = div(most, 2)
    half + :rand.uniform(half + 1) - 1
  end

  # The exponent has a limit, because the attempts have none.
  defp grown(first, attempts, max), do: min(first * Integer.pow(2, min(attempts, 20)), max)
end
