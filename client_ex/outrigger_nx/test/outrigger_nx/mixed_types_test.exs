defmodule Outrigger.Nx.MixedTypesTest do
  use ExUnit.Case, async: true

  # Operands that meet in a float below 32 bits are not rounded to it first: against
  # Nx.BinaryBackend, which computes with their own values.

  @integers [{:u, 8}, {:u, 16}, {:u, 32}, {:s, 8}, {:s, 16}, {:s, 32}, {:s, 64}]
  # Nx.BinaryBackend rounds ties of f8_e4m3fn, and truncates bf16: see the conformance notes.
  @small [{:f, 16}]

  defp numbers({:u, 8}), do: [0, 1, 17, 255]
  defp numbers({:s, 8}), do: [0, -1, 17, 127]
  defp numbers({:u, _}), do: [0, 257, 2049, 60_001]
  defp numbers({:s, _}), do: [-3, 257, 2049, 32_767]

  defp on(backend, list, type), do: Nx.tensor(list, type: type, backend: backend)

  defp same(fun) do
    # Nx makes tensors of its own on the way, on the default backend.
    expected = Nx.with_default_backend(Nx.BinaryBackend, fn -> fun.(Nx.BinaryBackend) end)
    result = fun.(Outrigger.Nx.Backend)
    assert result.type == expected.type
    assert result.shape == expected.shape
    assert Nx.to_flat_list(result) == Nx.to_flat_list(expected)
  end

  test "the case that a rounded operand gets wrong" do
    left = on(Outrigger.Nx.Backend, 2049, {:s, 32})
    right = on(Outrigger.Nx.Backend, 2048, {:f, 16})
    assert Nx.to_number(Nx.subtract(left, right)) == 1.0
    assert Nx.to_number(Nx.equal(left, right)) == 0
    assert Nx.to_number(Nx.subtract(2049, right)) == 1.0
    assert Nx.to_number(Nx.clip(left, 0, right)) == 2048
  end

  for name <- [:add, :subtract, :multiply, :min, :max, :equal, :less, :greater_equal] do
    test "#{name} of integers and small floats" do
      for small <- @small, integer <- @integers, turned <- [false, true] do
        same(fn backend ->
          x = on(backend, numbers(integer), integer)
          y = on(backend, [2048, 1.0, 0.5, 0.25], small)
          if turned, do: apply(Nx, unquote(name), [y, x]), else: apply(Nx, unquote(name), [x, y])
        end)
      end
    end

    test "#{name} of a small float and a number" do
      for small <- @small, number <- [2049, 257, 0.1, 1.0e-3] do
        same(fn backend ->
          apply(Nx, unquote(name), [on(backend, [16, 1.0, 0.5, 0.25], small), number])
        end)

        same(fn backend ->
          apply(Nx, unquote(name), [number, on(backend, [16, 1.0, 0.5, 0.25], small)])
        end)
      end
    end
  end

  test "dot, conv, indexed_add, window_scatter_max" do
    same(fn backend ->
      Nx.dot(on(backend, [2049, 3], {:s, 32}), on(backend, [1.0, -2.0], {:f, 16}))
    end)

    same(fn backend ->
      x = on(backend, [[[2049, 2047, 5]]], {:s, 32})
      Nx.conv(x, on(backend, [[[1.0, -1.0]]], {:f, 16}))
    end)

    same(fn backend ->
      target = on(backend, [2048, 2048], {:f, 16})
      indices = on(backend, [[0], [1], [0]], {:s, 32})
      Nx.indexed_add(target, indices, on(backend, [1, 2049, 1], {:s, 32}))
    end)

    same(fn backend ->
      target = on(backend, [2049, 2048], {:s, 32})
      Nx.indexed_add(target, on(backend, [[0]], {:s, 32}), on(backend, [-2048.0], {:f, 16}))
    end)

    same(fn backend ->
      x = on(backend, [2049, 2048], {:s, 32})
      source = on(backend, [2049], {:s, 32})
      Nx.window_scatter_max(x, source, on(backend, -2048, {:f, 16}), {2})
    end)
  end

  test "in a defn" do
    left = on(Outrigger.Nx.Backend, 2049, {:s, 32})
    right = on(Outrigger.Nx.Backend, 2048, {:f, 16})
    assert Nx.to_number(Nx.Defn.jit(&Nx.subtract/2, compiler: Outrigger.Nx).(left, right)) == 1.0
    minus = Nx.Defn.jit(&Nx.subtract(&1, 2049), compiler: Outrigger.Nx)
    assert Nx.to_number(minus.(right)) == -1.0
  end
end
