defmodule Outrigger.Nx.GuidesTest do
  use ExUnit.Case, async: false
  import ExUnit.CaptureIO

  # Runs the Elixir cells of the guides in order, with the variables of the earlier cells. A cell
  # that ends with a comparison must be true.

  setup do
    options = Nx.Defn.default_options()
    on_exit(fn -> Nx.Defn.global_default_options(options) end)
  end

  for path <- Path.wildcard("guides/*.livemd") do
    @tag timeout: 300_000
    test Path.basename(path) do
      run(unquote(path))
    end
  end

  defp run(path) do
    cells = Regex.scan(~r/^```elixir\n(.*?)^```/ms, File.read!(path), capture: :all_but_first)
    assert length(cells) > 1
    {:ok, environment} = {:ok, Code.env_for_eval(file: path)}

    capture_io(fn ->
      Enum.reduce(cells, {[], environment}, fn [cell], {binding, environment} ->
        if cell =~ "Mix.install" do
          {binding, environment}
        else
          quoted = Code.string_to_quoted!(cell, file: path)
          {value, binding, environment} = Code.eval_quoted_with_env(quoted, binding, environment)
          if claim?(quoted), do: assert(value == true, "not true in #{path}:\n#{cell}")
          {binding, environment}
        end
      end)
    end)
  end

  defp claim?({:__block__, _, expressions}), do: claim?(List.last(expressions))
  defp claim?({operator, _, [_, _]}), do: operator in [:==, :<, :>, :and]
  defp claim?(_other), do: false
end
