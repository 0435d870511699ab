defmodule Outrigger.ProtocolTest do
  use ExUnit.Case, async: true
  alias Outrigger.{Codec, JSON, Protocol}
  doctest Protocol

  @frames Path.expand("../../../../protocol/golden/frames", __DIR__)
  @good Path.wildcard(Path.join(@frames, "good/*.hex"))
  @bad Path.wildcard(Path.join(@frames, "bad/*.hex"))

  defp read(path) do
    {comments, bytes} =
      path |> File.read!() |> String.split("\n", trim: true) |> Enum.split_with(&(&1 =~ ~r/^#/))

    facts =
      for comment <- comments,
          [_, key, value] <- [Regex.run(~r/^# (\w+): (.*)$/, comment)],
          into: %{},
          do: {key, value}

    {facts, bytes |> Enum.join() |> String.replace(~r/\s/, "") |> Base.decode16!(case: :mixed)}
  end

  # {"$hex": …} is a binary; `bin` says how to show one.
  defp binaries(%{"$hex" => hex}, bin), do: bin.(Base.decode16!(hex, case: :mixed))
  defp binaries(%{} = map, bin), do: Map.new(map, fn {k, v} -> {k, binaries(v, bin)} end)
  defp binaries(list, bin) when is_list(list), do: Enum.map(list, &binaries(&1, bin))
  defp binaries(other, _bin), do: other

  test "there are golden frames" do
    assert length(@good) > 20 and length(@bad) > 20
  end

  for path <- @good do
    test "good/#{Path.basename(path)}" do
      {facts, bytes} = read(unquote(path))
      value = JSON.decode!(facts["value"])
      assert {:ok, [payload], ""} = Protocol.frames(bytes, 1_048_576)
      assert Codec.decode_whole(payload) == {:ok, binaries(value, & &1)}

      case facts["kind"] do
        "event" ->
          assert {:event, id, {kind, name, version}} = Protocol.reply(payload)
          assert {id, to_string(kind)} == {value["subscription"], value["event"]}
          assert {name, version} == {value["name"], value["version"]}

        "reply" ->
          assert {:ok, id, reply} = Protocol.reply(payload)
          assert id == value["id"]
          assert elem(reply, 0) == if(value["status"] == "ok", do: :ok, else: :error)

        # This client asks for none.
        "monitored" ->
          assert value["event"] == "request"

        _request ->
          fields = value |> Map.drop(["id", "do"]) |> binaries(&{:bin, &1}) |> Map.to_list()
          frame = IO.iodata_to_binary(Protocol.request(value["id"], value["do"], fields))
          <<size::32, encoded::binary>> = frame
          assert size == byte_size(encoded)
          assert Codec.decode_whole(encoded) == Codec.decode_whole(payload)
          # Nothing that has to be a binary is sent as a string, or the other way round.
          assert byte_size(encoded) <= byte_size(payload)
      end
    end
  end

  for path <- @bad do
    test "bad/#{Path.basename(path)} does not disturb the decoder" do
      {_facts, bytes} = read(unquote(path))

      case Protocol.frames(bytes, 1_048_576) do
        {:ok, payloads, _rest} -> for payload <- payloads, do: Protocol.reply(payload)
        {:error, text} -> assert is_binary(text)
      end
    end
  end

  test "frames are found wherever the stream is cut" do
    payloads = for n <- [0, 1, 5, 300], do: :binary.copy("x", n)
    stream = for payload <- payloads, into: "", do: <<byte_size(payload)::32, payload::binary>>

    for at <- 0..byte_size(stream) do
      <<first::binary-size(at), second::binary>> = stream
      assert {:ok, before, rest} = Protocol.frames(first, 1000)
      assert {:ok, later, ""} = Protocol.frames(rest <> second, 1000)
      assert before ++ later == payloads
    end
  end

  test "the quick way to read a reply has the outcome of the decoder" do
    for handle <- [1, 200, 70_000, 5_000_000_000], shape <- [[], [3], [2, 300, 70_000]] do
      results = [[{"handle", handle}, {"dtype", "f32"}, {"shape", shape}]]
      quick = reply_bytes([{"id", 9}, {"status", "ok"}, {"results", results}])
      slow = reply_bytes([{"results", results}, {"id", 9}, {"status", "ok"}])
      assert {:ok, 9, {:ok, %{"results" => [result]}}} = Protocol.reply(quick)
      assert {:ok, 9, {:ok, %{"results" => [^result]}}} = Protocol.reply(slow)

      for size <- 0..(byte_size(quick) - 1) do
        assert {:error, _} = Protocol.reply(binary_part(quick, 0, size))
      end
    end
  end

  test "a reply with parts of other types is no reply, or an error that can be read" do
    good = %{"handle" => 1, "dtype" => "f32", "shape" => [2]}

    for results <- [7, nil, %{}, [7], [%{}]] ++ for({k, _} <- good, do: [Map.put(good, k, nil)]) do
      reply = %{"id" => 3, "status" => "ok", "results" => results}
      assert {:error, text} = Protocol.reply(IO.iodata_to_binary(Codec.encode(reply)))
      assert text =~ "not a reply"
    end

    for key <- ~w(code text op index written cause),
        value <- [7, "x", [nil], ["x"], %{"a" => 1}] do
      error = Map.put(%{"code" => "bad_shape", "text" => "t"}, key, value)
      reply = %{"id" => 3, "status" => "error", "error" => error}
      assert {:ok, 3, {:error, error}} = Protocol.reply(IO.iodata_to_binary(Codec.encode(reply)))
      assert is_binary(Exception.message(error)) and is_list(error.written)
    end
  end

  defp reply_bytes(pairs), do: IO.iodata_to_binary(ordered(pairs))

  # A map whose keys keep their order.
  defp ordered([{_, _} | _] = pairs) do
    [Codec.map(length(pairs)) | for({k, v} <- pairs, do: [Codec.encode(k), ordered(v)])]
  end

  defp ordered([[{_, _} | _] | _] = list),
    do: [Codec.array(length(list)) | Enum.map(list, &ordered/1)]

  defp ordered(other), do: Codec.encode(other)
end
