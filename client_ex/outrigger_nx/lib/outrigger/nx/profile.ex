defmodule Outrigger.Nx.Profile do
  @moduledoc false
  # The table of Outrigger.Nx.profile/3.

  def run(fun, args, options) when is_function(fun) and is_list(args) do
    {device, options} = Keyword.pop(options, :device, :stdio)
    args = Enum.map(args, &keep/1)
    me = self()
    ref = make_ref()
    options = [compiler: Outrigger.Nx, profile: &send(me, {ref, &1})] ++ options
    Nx.Defn.jit_apply(fun, args, options)
    steps(ref)
    result = Nx.Defn.jit_apply(fun, args, options)
    IO.puts(device, table(steps(ref)))
    result
  end

  # An argument that a defn takes as an option.
  defp keep(arg) when is_number(arg) or is_list(arg) or is_function(arg), do: arg
  defp keep(arg) when is_tuple(arg) and is_function(elem(arg, 0)), do: arg

  defp keep(arg) do
    {arg, :ok} = Nx.LazyContainer.traverse(arg, :ok, fn _, tensor, :ok -> {tensor.(), :ok} end)
    Nx.Defn.Composite.traverse(arg, &%{&1 | donatable?: false})
  end

  defp steps(ref) do
    receive do
      {^ref, steps} -> steps
    after
      0 -> raise "a bug of outrigger_nx: the program ran unmeasured"
    end
  end

  @doc "The steps as lines of text."
  def table(steps) do
    whole = max(Enum.sum(Enum.map(steps, & &1.ns)), 1)
    # Views and constants take too little time for a line.
    shown = Enum.filter(steps, &(&1.bytes > 0 or &1.ns * 100 > whole))

    Enum.join(
      [line("time", "share", "calls", "bytes", "GB/s", "step")] ++
        Enum.map(shown, &line(&1, whole)) ++
        ["#{pad(time(whole), 12)}             the whole program"],
      "\n"
    )
  end

  defp line(step, whole) do
    share = "#{round(100 * step.ns / whole)} %"
    speed = if step.bytes > 0, do: float(step.bytes / max(step.ns, 1), 1), else: ""
    line(time(step.ns), share, step.calls, bytes(step.bytes), speed, Enum.join(step.ops, ", "))
  end

  defp line(time, share, calls, bytes, speed, step) do
    pad(time, 12) <>
      pad(share, 8) <> pad(calls, 8) <> pad(bytes, 12) <> pad(speed, 10) <> "  " <> step
  end

  defp pad(value, width), do: value |> to_string() |> String.pad_leading(width)

  defp time(ns) when ns >= 1.0e9, do: float(ns / 1.0e9, 2) <> " s"
  defp time(ns) when ns >= 1.0e6, do: float(ns / 1.0e6, 2) <> " ms"
  defp time(ns), do: float(ns / 1.0e3, 1) <> " µs"

  defp bytes(n) when n >= 1.0e9, do: float(n / 1.0e9, 2) <> " GB"
  defp bytes(n) when n >= 1.0e6, do: float(n / 1.0e6, 2) <> " MB"
  defp bytes(n) when n >= 1.0e3, do: float(n / 1.0e3, 1) <> " kB"
  defp bytes(n), do: "#{n} B"

  defp float(x, digits), do: :erlang.float_to_binary(x / 1, decimals: digits)
end
