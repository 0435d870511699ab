defmodule Outrigger.LinkTest do
  @moduledoc "The pure parts of links: addresses, frames, delays."
  use ExUnit.Case, async: true
  alias Outrigger.{Address, Backoff, Frames}

  doctest Address
  doctest Frames

  test "addresses" do
    for {text, kind, host, port} <- [
          {"unix:/run/outrigger.sock", :unix, "/run/outrigger.sock", 0},
          {"unix:///run/outrigger.sock", :unix, "/run/outrigger.sock", 0},
          {"tcp://127.0.0.1:7171", :tcp, {127, 0, 0, 1}, 7171},
          {"tls://[2001:db8::1]:1", :tls, {0x2001, 0xDB8, 0, 0, 0, 0, 0, 1}, 1},
          {"tls://a-b.example:65535", :tls, ~c"a-b.example", 65_535}
        ] do
      assert {:ok, %Address{kind: ^kind, host: ^host, port: ^port, text: ^text}} =
               Address.parse(text)
    end

    for text <- [
          "",
          "unix:",
          "tcp:127.0.0.1:7171",
          "tcp://:7171",
          "tcp://host:0",
          "tcp://host:65536",
          "tcp://host:7171/",
          "tcp://user@host:7171",
          "tcp://ho st:7171",
          "tcp://[127.0.0.1]:7171",
          "tcp://[::1:7171",
          "http://host:7171"
        ] do
      assert {:error, _} = Address.parse(text)
    end
  end

  test "frames at random splits" do
    seed = ExUnit.configuration()[:seed]
    :rand.seed(:exsss, seed)

    for _ <- 1..200 do
      payloads = for _ <- 1..:rand.uniform(8), do: :rand.bytes(:rand.uniform(300) - 1)

      stream =
        for payload <- payloads, into: <<>>, do: <<byte_size(payload)::32, payload::binary>>

      {taken, frames} = take_all(%Frames{}, stream, [])
      assert taken == payloads
      assert frames == %Frames{}
    end
  end

  test "a frame that came in pieces keeps no other bytes alive" do
    payload = :binary.copy(<<7>>, 10_000)
    stream = <<10_000::32, payload::binary, 20_000::32, :binary.copy(<<8>>, 9_000)::binary>>
    <<first::binary-size(5_000), second::binary>> = stream
    {:ok, [], frames} = Frames.take(%Frames{}, first, 30_000)
    {:ok, [taken], frames} = Frames.take(frames, second, 30_000)
    assert taken == payload
    assert :binary.referenced_byte_size(taken) <= 10_004
    assert frames.bytes == 9_004
    {:ok, [taken], _} = Frames.take(frames, :binary.copy(<<8>>, 11_000), 30_000)
    assert taken == :binary.copy(<<8>>, 20_000)
  end

  defp take_all(frames, <<>>, taken), do: {taken, frames}

  defp take_all(frames, stream, taken) do
    size = min(:rand.uniform(50), byte_size(stream))
    <<piece::binary-size(size), rest::binary>> = stream
    {:ok, payloads, frames} = Frames.take(frames, piece, 300)
    take_all(frames, rest, taken ++ payloads)
  end

  test "delays grow to a limit, and those of clients are drawn" do
    assert Enum.map(0..5, &Backoff.delay(:daemon, &1)) == [0, 10, 20, 40, 80, 100]
    assert Backoff.delay(:start, 100) == 5_000

    limits = [
      {:link, 50, 500},
      {:server, 100, 5_000},
      {:full, 1_000, 10_000},
      {:lasting, 2_000, 60_000}
    ]

    for {kind, first, max} <- limits, attempts <- [0, 1, 5, 1_000_000] do
      most = min(first * Integer.pow(2, min(attempts, 20)), max)
      delays = for _ <- 1..200, do: Backoff.delay(kind, attempts)
      assert Enum.min(delays) >= div(most, 2) and Enum.max(delays) <= most
      assert length(Enum.uniq(delays)) > 20
    end
  end
end
