defmodule Rain.Screen do
  @moduledoc "Prints headings, a progress bar and tables. Prints plain text into a pipe."

  @width 78

  @doc "True if standard output is a terminal that can redraw a line."
  def terminal? do
    with {:ok, target} <- File.read_link("/proc/self/fd/1") do
      String.starts_with?(target, ["/dev/pts/", "/dev/tty"]) and System.get_env("TERM") != "dumb"
    else
      _ -> false
    end
  end

  def title(text), do: IO.puts(["\n", style(:bright, text)])

  def heading(text) do
    rule = String.duplicate("─", max(@width - String.length(text) - 4, 3))
    IO.puts(["\n", style(:cyan, ["── ", style(:bright, text), " ", style(:cyan, rule)]), "\n"])
  end

  def say(text), do: IO.puts(["  ", text])

  @doc "A line with a name and a value."
  def fact(name, value), do: say([String.pad_trailing(name, 22), value])

  @doc "A line with a tick: something that was checked."
  def checked(text), do: say([style(:green, "✓ "), text])

  ## Progress

  @doc "Draws the bar, or, without a terminal, a line at each quarter."
  def progress(done, total, since) do
    seconds = (System.monotonic_time(:millisecond) - since) / 1000
    speed = "#{percent(done, total)} %  #{thousands(done)} steps  #{decimals(seconds, 1)} s"

    cond do
      terminal?() ->
        IO.write(["\r  ", bar(done, total), "  ", speed, "\e[K"])
        if done == total, do: IO.puts("")

      quarter(done, total) ->
        say(speed)

      true ->
        :ok
    end
  end

  defp quarter(done, total), do: rem(done * 4, total) == 0 and done > 0

  defp bar(done, total) do
    size = 32
    full = div(done * size, total)

    [
      style(:blue, String.duplicate("█", full)),
      style(:faint, String.duplicate("░", size - full))
    ]
  end

  defp percent(done, total), do: String.pad_leading("#{div(100 * done, total)}", 3)

  ## Tables

  @doc "Rows of `{name, microseconds}`; the first is what the others are compared with."
  def table(caption, [{_, base} | _] = rows) do
    say([style(:bright, pad(caption, 50)), lead("time", 12), lead("speed", 12)])
    say(style(:faint, String.duplicate("─", @width - 4)))

    for {name, time} <- rows do
      say([pad(name, 50), lead(duration(time), 12), lead(ratio(base, time), 12)])
    end

    IO.puts("")
  end

  defp ratio(base, time) when base >= 10 * time, do: "#{thousands(round(base / time))} ×"
  defp ratio(base, time), do: "#{decimals(base / time, 1)} ×"

  @doc "Microseconds, for people."
  def duration(us) when us < 1_000, do: "#{round(us)} µs"
  def duration(us) when us < 100_000, do: "#{decimals(us / 1000, 2)} ms"
  def duration(us) when us < 1_000_000, do: "#{decimals(us / 1000, 0)} ms"
  def duration(us), do: "#{decimals(us / 1_000_000, 2)} s "

  @doc "The middle one."
  def median(list), do: list |> Enum.sort() |> Enum.at(div(length(list), 2))

  def decimals(number, 0), do: "#{round(number)}"
  def decimals(number, count), do: :erlang.float_to_binary(1.0 * number, decimals: count)

  @doc "138632 as 138,632."
  def thousands(integer) do
    integer |> Integer.to_string() |> String.replace(~r/(?<=\d)(?=(\d{3})+$)/, ",")
  end

  defp pad(text, width), do: String.pad_trailing(text, width)
  defp lead(text, width), do: String.pad_leading(text, width)

  defp style(which, text) do
    if terminal?(), do: IO.ANSI.format_fragment([which, text, :reset], true), else: text
  end
end
