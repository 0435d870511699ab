defmodule Outrigger.Backoff do
  @moduledoc false
  # The delays between the attempts to start a daemon, or to connect to a server. Pure, except for
  # the random numbers.

  # If a daemon or a connection has lived this long, its start is not the cause of its end.
  @settled_ms 1_000

  @typedoc """
  After the end of a daemon or link that was ready:

    * `:daemon` - an own daemon has died
    * `:link` - the link to a server broke

  After an attempt that failed:

    * `:start` - an own daemon does not start
    * `:server` - a server cannot be reached
    * `:full` - a server has too many clients
    * `:lasting` - a server will refuse the next attempt, too
  """
  @type kind :: :daemon | :link | :start | :server | :full | :lasting

  @doc "True if the ends count from the beginning again."
  @spec settled?(integer) :: boolean
  def settled?(lived_ms), do: lived_ms > @settled_ms

  @doc """
  The milliseconds before the next attempt. `count` is the number of such ends, or of such failures,
  before the last one. An own daemon starts again at once. Clients of one server draw their delays,
  so that they do not all come back at the same moment.
  """
  @spec delay(kind, non_neg_integer) :: non_neg_integer
  def delay(:daemon, 0), do: 0
  def delay(:daemon, count), do: grown(10, count - 1, 100)
  def delay(:link, count), do: drawn(50, count, 500)
  def delay(:start, count), do: grown(10, count, 5_000)
  def delay(:server, count), do: drawn(100, count, 5_000)
  def delay(:full, count), do: drawn(1_000, count, 10_000)
  def delay(:lasting, count), do: drawn(2_000, count, 60_000)

  defp drawn(first, count, max) do
    most = grown(first, count, max)
    half = div(most, 2)
    half + :rand.uniform(half + 1) - 1
  end

  # The exponent has a limit, because the attempts have none.
  defp grown(first, count, max), do: min(first * Integer.pow(2, min(count, 20)), max)
end
