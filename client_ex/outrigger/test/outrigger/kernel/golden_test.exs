Code.require_file("../../support/kernel_golden.exs", __DIR__)

defmodule Outrigger.Kernel.GoldenTest do
  # protocol/golden/kernels has units, operands and results, for each implementation of kernels.
  use ExUnit.Case, async: true

  alias Outrigger.{Codec, KernelGolden}
  alias Outrigger.Kernel.Unit

  test "the file has the units of this compiler (OUTRIGGER_GOLDEN=write writes it)" do
    if System.get_env("OUTRIGGER_GOLDEN") == "write" do
      File.mkdir_p!(Path.dirname(KernelGolden.path()))
      File.write!(KernelGolden.path(), KernelGolden.bytes())
    end

    # Versions of Erlang order the keys of a map differently.
    assert Codec.decode_whole(File.read!(KernelGolden.path())) ==
             Codec.decode_whole(KernelGolden.bytes())
  end

  test "units from the wire give the results of the file" do
    {:ok, cases} = Codec.decode_whole(File.read!(KernelGolden.path()))

    for one <- cases do
      outcome =
        one["unit"]
        |> Unit.from_wire()
        |> KernelGolden.outcome(KernelGolden.arguments(one["in"]))

      {:ok, outcome} = outcome |> Codec.encode() |> IO.iodata_to_binary() |> Codec.decode_whole()

      assert {one["name"], outcome} ==
               {one["name"], Map.take(one, ["out", "error", "message", "op", "at"])}
    end
  end
end
