defmodule Outrigger.Nx.Wait do
  @moduledoc false

  @doc "Returns when `fun` gives true; fails the test if it does not within `ms` milliseconds."
  def wait_until(fun, ms \\ 10_000) do
    cond do
      fun.() -> :ok
      ms <= 0 -> ExUnit.Assertions.flunk("it did not happen")
      true -> Process.sleep(20) && wait_until(fun, ms - 20)
    end
  end
end
