defmodule Outrigger.PackagesTest do
  use ExUnit.Case, async: true

  # In a checkout, the command `run` installs them; users are told by two texts.
  test "the texts for users name every package that building the daemon takes" do
    root = Path.expand("../../../..", __DIR__)
    [_, list] = Regex.run(~r/^build_packages=\(([^)]*)\)/m, File.read!(Path.join(root, "run")))
    needed = String.split(list) -- ["libgtest-dev", "elixir", "python3"]
    assert "cmake" in needed

    for text <- ["README.md", "lib/mix/tasks/compile.outriggerd.ex"] do
      named =
        Path.join(root, "client_ex/outrigger/#{text}") |> File.read!() |> String.split(~r/[\s"]+/)

      assert needed -- named == [], "#{text} does not name #{inspect(needed -- named)}"
    end
  end
end
