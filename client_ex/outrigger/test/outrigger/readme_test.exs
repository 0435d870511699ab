defmodule Outrigger.ReadmeTest do
  # The README's first program is examples/first_steps.exs, and it prints what the README says.
  use ExUnit.Case, async: false
  import ExUnit.CaptureIO

  @moduletag :own_daemon

  @root Path.expand("../../../..", __DIR__)
  @example Path.expand("../../examples/first_steps.exs", __DIR__)

  test "the first program of the README runs and prints the text in the README" do
    readme = File.read!(Path.join(@root, "README.md"))
    assert block(readme, "first_steps.exs", "elixir") == File.read!(@example)

    printed =
      capture_io(fn ->
        Code.eval_file(@example)
        Outrigger.stop(Numbers)
      end)

    assert printed == block(readme, "first_steps.exs prints", "")
  end

  # The fenced block behind a comment that names it.
  defp block(text, name, language) do
    [_, rest] = String.split(text, "<!-- #{name} -->\n```#{language}\n", parts: 2)
    [block, _] = String.split(rest, "```", parts: 2)
    block
  end
end
