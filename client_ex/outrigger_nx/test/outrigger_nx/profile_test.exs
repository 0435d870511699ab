defmodule Outrigger.Nx.ProfileTest do
  use ExUnit.Case, async: true
  import ExUnit.CaptureIO

  defp profile(fun, args) do
    text =
      capture_io(fn ->
        result = Outrigger.Nx.profile(fun, args)
        send(self(), {:result, result})
      end)

    assert_received {:result, result}
    {result, String.split(text, "\n", trim: true)}
  end

  test "the result, and a line for each pass" do
    x = Nx.iota({100_000}, type: :f32)
    {sum, lines} = profile(fn x -> Nx.sum(Nx.exp(Nx.negate(Nx.multiply(x, 2)))) end, [x])
    assert_in_delta Nx.to_number(sum), 1.1565, 1.0e-3
    assert [head, pass, whole] = lines
    assert head =~ ~r/time +share +calls +bytes +GB\/s +step/
    # One pass: 400,000 bytes in, a number out.
    assert pass =~ ~r/ 1 +400\.0 kB +[\d.]+  multiply, negate, exp, sum$/
    assert whole =~ "the whole program"
  end

  test "steps in a loop count their turns" do
    fun = fn x ->
      {x, _} = Outrigger.Nx.ProfileTest.Loops.sines(x)
      x
    end

    {_, lines} = profile(fun, [Nx.iota({10_000}, type: :f32)])
    assert Enum.any?(lines, &(&1 =~ ~r/ 7 +560\.0 kB .* sin/))
  end

  test "options and several arguments; nothing is donated" do
    x = Nx.donatable(Nx.iota({2, 3}))
    {sum, _} = profile(&Nx.sum/2, [x, [axes: [0]]])
    assert Nx.to_flat_list(sum) == [3, 5, 7]
    assert Nx.to_flat_list(x) == [0, 1, 2, 3, 4, 5]
  end

  test "a function that calls back into the VM has no program" do
    fun = fn x -> Nx.runtime_call(x, x, fn x, _ -> x end) end

    assert_raise ArgumentError, ~r/no program to profile/, fn ->
      Outrigger.Nx.profile(fun, [Nx.iota({2})])
    end
  end

  defmodule Loops do
    import Nx.Defn

    defn sines(x) do
      while {x, i = 0}, i < 7 do
        {Nx.sin(x), i + 1}
      end
    end
  end
end
