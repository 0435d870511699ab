defmodule Outrigger.CodecTest do
  use ExUnit.Case, async: true
  alias Outrigger.Codec
  doctest Codec

  defp encoded(term), do: IO.iodata_to_binary(Codec.encode(term))

  @boundaries [0, 1, 127, 128, 255, 256, 65_535, 65_536, 4_294_967_295, 4_294_967_296] ++
                [18_446_744_073_709_551_615, -1, -32, -33, -128, -129, -32_768, -32_769] ++
                [-2_147_483_648, -2_147_483_649, -9_223_372_036_854_775_808]

  test "integers at each format's ends, in their shortest form" do
    for n <- @boundaries, do: assert(Codec.decode(encoded(n)) == {:ok, n, ""})
    assert encoded(127) == <<127>>
    assert encoded(128) == <<0xCC, 128>>
    assert encoded(-32) == <<0xE0>>
    assert_raise ArgumentError, fn -> encoded(18_446_744_073_709_551_616) end
    assert_raise ArgumentError, fn -> encoded(-9_223_372_036_854_775_809) end
  end

  test "strings, binaries and containers at each format's ends" do
    for size <- [0, 31, 32, 255, 256, 65_535, 65_536] do
      text = String.duplicate("a", size)
      assert Codec.decode(encoded(text)) == {:ok, text, ""}
      assert Codec.decode(encoded({:bin, [text]})) == {:ok, text, ""}
    end

    for count <- [0, 15, 16, 65_535, 65_536] do
      list = List.duplicate(7, count)
      assert Codec.decode(encoded(list)) == {:ok, list, ""}
      map = Map.new(Enum.take(1..65_536, count), &{"#{&1}", &1})
      assert Codec.decode(encoded(map)) == {:ok, map, ""}
    end
  end

  test "floats that Elixir cannot hold" do
    assert Codec.decode(<<0xCB, 0x7FF0000000000000::64>>) == {:ok, :infinity, ""}
    assert Codec.decode(<<0xCB, 0xFFF0000000000000::64>>) == {:ok, :neg_infinity, ""}
    assert Codec.decode(<<0xCB, 0x7FF8000000000001::64>>) == {:ok, :nan, ""}
    assert Codec.decode(<<0xCA, 0x7F800000::32>>) == {:ok, :infinity, ""}
    assert Codec.decode(<<0xCA, 0xFF800000::32>>) == {:ok, :neg_infinity, ""}
    assert Codec.decode(<<0xCA, 0x7FC00000::32>>) == {:ok, :nan, ""}
    assert Codec.decode(<<0xCA, 1.5::float-32>>) == {:ok, 1.5, ""}
  end

  test "a value cut at any byte is incomplete, and never wrong" do
    for seed <- 1..200 do
      bytes = encoded(random_term(seed))

      for size <- 0..(byte_size(bytes) - 1) do
        assert Codec.decode(binary_part(bytes, 0, size)) == :more
      end
    end
  end

  test "random terms come back" do
    for seed <- 1..2000 do
      term = random_term(seed)
      assert Codec.decode(encoded(term) <> "rest") == {:ok, term, "rest"}
    end
  end

  test "random bytes never raise" do
    :rand.seed(:exsss, ExUnit.configuration()[:seed])

    for _ <- 1..20_000 do
      bytes = :rand.bytes(:rand.uniform(40))

      case Codec.decode(bytes) do
        {:ok, _, rest} -> assert is_binary(rest)
        :more -> :ok
        {:error, reason} -> assert is_binary(reason)
      end
    end
  end

  test "declared counts take no memory, and depth is bounded" do
    assert Codec.decode(<<0xDD, 0xFFFFFFFF::32>>) == :more
    assert Codec.decode(<<0xC6, 0xFFFFFFFF::32, "short">>) == :more
    assert {:error, "values nest" <> _} = Codec.decode(String.duplicate(<<0x91>>, 1000))
  end

  test "extension types are refused" do
    assert {:error, _} = Codec.decode(<<0xD4, 1, 2>>)
    assert {:error, _} = Codec.decode(<<0xC7, 1, 1, 1>>)
  end

  defp random_term(seed) do
    :rand.seed(:exsss, {seed, ExUnit.configuration()[:seed], 0})
    random(4)
  end

  defp random(0), do: random_leaf()

  defp random(depth) do
    case :rand.uniform(4) do
      1 -> for _ <- 1..:rand.uniform(6)//1, do: random(depth - 1)
      2 -> for _ <- 1..:rand.uniform(6)//1, into: %{}, do: {random_text(), random(depth - 1)}
      _ -> random_leaf()
    end
  end

  defp random_leaf do
    case :rand.uniform(7) do
      1 -> nil
      2 -> true
      3 -> false
      4 -> Enum.random(@boundaries)
      5 -> :rand.normal() * 1.0e10
      6 -> random_text()
      7 -> :rand.uniform(1000) - 500
    end
  end

  defp random_text, do: Base.encode64(:rand.bytes(:rand.uniform(40)))
end
