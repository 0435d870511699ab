defmodule Outrigger.Protocol do
  @moduledoc """
  Requests as frames, and frames as replies. Pure; `protocol/PROTOCOL.md` is the reference.

  This module frames, and not the port's `{:packet, 4}`. So several requests leave in one system
  call, and several replies arrive in one message. A stray byte from the daemon cannot make the VM
  allocate the size in a false header.
  """

  alias Outrigger.{Codec, Error}

  @version 1
  @codes ~w(bad_frame bad_request bad_program unknown_op unknown_program bad_attr bad_dtype
            bad_shape bad_axis bad_index bad_value bad_handle handle_in_use failed_operand
            out_of_memory limit_exceeded bad_file io_error cancelled deadline_exceeded
            unknown_name version_conflict unauthorized forbidden quota_exceeded too_many_clients
            timeout shutting_down internal bad_kernel unknown_kernel raised)
  @codes_by_name Map.new(@codes, &{&1, String.to_atom(&1)})

  @typedoc "A terminal reply: the keys of an `ok`, or an error."
  @type reply :: {:ok, map} | {:error, Error.t()}

  @typedoc "A change of a name, which answers no request."
  @type event :: {:published | :unpublished, String.t(), pos_integer}

  @doc "The protocol's version."
  @spec version() :: pos_integer
  def version, do: @version

  @doc """
  A request as a frame, with its length first.

      iex> IO.iodata_to_binary(Outrigger.Protocol.request(7, "ping"))
      <<0, 0, 0, 13, 0x82, 0xA2, "id", 7, 0xA2, "do", 0xA4, "ping">>
  """
  @spec request(pos_integer, String.t(), [{String.t(), Codec.value() | {:raw, iodata}}]) :: iodata
  def request(id, kind, fields \\ []) do
    payload = [
      Codec.map(2 + length(fields)),
      <<0xA2, "id">>,
      Codec.encode(id),
      <<0xA2, "do">>,
      Codec.encode(kind) | fields(fields)
    ]

    [<<IO.iodata_length(payload)::32>> | payload]
  end

  @doc """
  The frame of a `run` or `call` from its `head/2`. It has the bytes that `request/3` returns, in
  less time: each eager op needs such a frame.

      iex> alias Outrigger.Protocol
      iex> frame = Protocol.execute(7, Protocol.head("call", {"program_id", 5}), [1, 2], [300])
      iex> frame == IO.iodata_to_binary(Protocol.request(7, "call", [
      ...>   {"program_id", 5}, {"args", [1, 2]}, {"results", [300]}]))
      true
  """
  @spec execute(pos_integer, binary, [pos_integer], [pos_integer], list) :: binary
  def execute(id, head, args, results, options \\ [])

  def execute(id, head, args, results, []) do
    id = Codec.encode(id)
    args = Codec.integers(args)
    results = Codec.integers(results)
    size = 17 + byte_size(id) + byte_size(head) + byte_size(args) + byte_size(results)

    <<size::32, 0x85, 0xA2, "id", id::binary, head::binary, 0xA4, "args", args::binary, 0xA7,
      "results", results::binary>>
  end

  def execute(id, head, args, results, options) do
    payload = [
      [Codec.map(5 + length(options)), <<0xA2, "id">>, Codec.encode(id), head],
      fields([{"args", args}, {"results", results} | options])
    ]

    IO.iodata_to_binary([<<IO.iodata_length(payload)::32>> | payload])
  end

  @doc "The bytes that all frames of one program have in common."
  @spec head(String.t(), {String.t(), Codec.value() | {:raw, iodata}}) :: binary
  def head(kind, what) do
    IO.iodata_to_binary([<<0xA2, "do">>, Codec.encode(kind) | fields([what])])
  end

  defp fields([{key, {:raw, encoded}} | rest]), do: [Codec.encode(key), encoded | fields(rest)]
  defp fields([{key, value} | rest]), do: [Codec.encode(key), Codec.encode(value) | fields(rest)]
  defp fields([]), do: []

  @doc "The first request."
  @spec hello(pos_integer) :: iodata
  def hello(id) do
    version = to_string(Application.spec(:outrigger, :vsn) || "0")
    request(id, "hello", [{"protocol", @version}, {"client", "outrigger-elixir #{version}"}])
  end

  @doc """
  Splits the complete frames from the rest of a buffer.

  Returns `{:ok, payloads, rest}`, or `{:error, text}` if a header declares more than `limit`
  bytes.

      iex> Outrigger.Protocol.frames(<<1::32, "a", 2::32, "bc", 9::32, "d">>, 100)
      {:ok, ["a", "bc"], <<9::32, "d">>}
      iex> Outrigger.Protocol.frames("stray output", 100)
      {:error, ~s(a frame of 1937011297 bytes is declared: "stray output")}
  """
  @spec frames(binary, pos_integer) :: {:ok, [binary], binary} | {:error, String.t()}
  def frames(buffer, limit), do: frames(buffer, limit, [])

  defp frames(<<size::32, _::binary>> = buffer, limit, _acc) when size > limit do
    shown = binary_part(buffer, 0, min(byte_size(buffer), 64))
    {:error, "a frame of #{size} bytes is declared: #{inspect(shown)}"}
  end

  defp frames(<<size::32, payload::binary-size(size), rest::binary>>, limit, acc) do
    frames(rest, limit, [payload | acc])
  end

  defp frames(rest, _limit, acc), do: {:ok, :lists.reverse(acc), rest}

  @doc """
  Reads a reply, `{:ok, id, reply}`, or the event of a subscription, `{:event, id, event}`. Other
  bytes are `{:error, text}`.

      iex> alias Outrigger.{Codec, Protocol}
      iex> Protocol.reply(IO.iodata_to_binary(Codec.encode(%{id: 3, status: "ok", found: true})))
      {:ok, 3, {:ok, %{"found" => true, "id" => 3, "status" => "ok"}}}
      iex> event = %{event: "published", subscription: 2, name: "x", version: 7}
      iex> Protocol.reply(IO.iodata_to_binary(Codec.encode(event)))
      {:event, 2, {:published, "x", 7}}
  """
  @spec reply(binary) ::
          {:ok, non_neg_integer, reply} | {:event, pos_integer, event} | {:error, String.t()}
  def reply(payload) do
    case fast(payload) do
      nil -> slow(payload)
      reply -> reply
    end
  end

  # Most replies have one new tensor or none. This function reads the form that the daemon writes.
  # The decoder reads all other forms, with the same outcome.
  defp fast(<<0x83, 0xA2, "id", rest::binary>>) do
    case natural(rest) do
      {id, <<0xA6, "status", 0xA2, "ok", 0xA7, "results", results::binary>>} ->
        fast_results(id, results)

      _ ->
        nil
    end
  end

  defp fast(<<0x82, 0xA2, "id", rest::binary>>) do
    case natural(rest) do
      {id, <<0xA6, "status", 0xA2, "ok">>} -> {:ok, id, {:ok, %{}}}
      _ -> nil
    end
  end

  defp fast(_payload), do: nil

  defp fast_results(id, <<0x90>>), do: {:ok, id, {:ok, %{"results" => []}}}

  defp fast_results(id, <<0x91, 0x83, 0xA6, "handle", rest::binary>>) do
    with {handle,
          <<0xA5, "dtype", 0xA3, dtype::binary-3, 0xA5, "shape", 0x9::4, rank::4, rest::binary>>} <-
           natural(rest),
         dims when is_list(dims) <- naturals(rank, rest) do
      result = %{"handle" => handle, "dtype" => dtype, "shape" => dims}
      {:ok, id, {:ok, %{"results" => [result]}}}
    else
      _ -> nil
    end
  end

  defp fast_results(_id, _other), do: nil

  defp natural(<<0::1, n::7, rest::binary>>), do: {n, rest}
  defp natural(<<0xCC, n, rest::binary>>), do: {n, rest}
  defp natural(<<0xCD, n::16, rest::binary>>), do: {n, rest}
  defp natural(<<0xCE, n::32, rest::binary>>), do: {n, rest}
  defp natural(<<0xCF, n::64, rest::binary>>), do: {n, rest}
  defp natural(_other), do: nil

  defp naturals(0, <<>>), do: []

  defp naturals(count, rest) when count > 0 do
    with {n, rest} <- natural(rest), dims when is_list(dims) <- naturals(count - 1, rest) do
      [n | dims]
    end
  end

  defp naturals(_, _), do: nil

  defp slow(payload) do
    case Codec.decode_whole(payload) do
      {:ok, %{"id" => id, "status" => "ok"} = reply} when is_integer(id) ->
        if results?(Map.get(reply, "results", [])), do: {:ok, id, {:ok, reply}}, else: none(reply)

      {:ok, %{"id" => id, "status" => _, "error" => %{} = error}} when is_integer(id) ->
        {:ok, id, {:error, error(error)}}

      {:ok, %{"event" => kind, "subscription" => id, "name" => name, "version" => version}}
      when kind in ["published", "unpublished"] and is_integer(id) and is_binary(name) and
             is_integer(version) ->
        {:event, id, {if(kind == "published", do: :published, else: :unpublished), name, version}}

      {:ok, other} ->
        none(other)

      {:error, reason} ->
        {:error, reason}
    end
  end

  defp none(other), do: {:error, "not a reply: #{inspect(other, limit: 5, printable_limit: 64)}"}

  # A reply with other results must not end the connection, which all callers share.
  defp results?(results), do: list_of?(results, &result?/1)

  defp result?(%{"handle" => handle, "dtype" => dtype, "shape" => shape})
       when is_integer(handle) and is_binary(dtype),
       do: list_of?(shape, &natural?/1)

  defp result?(_other), do: false

  defp natural?(number), do: is_integer(number) and number >= 0
  defp list_of?(list, fun), do: is_list(list) and Enum.all?(list, fun)

  defp error(error) do
    code = Map.get(@codes_by_name, error["code"], :unknown)
    text = text(error["text"])

    %Error{
      code: code,
      message: Error.explained(code, text),
      op: if(is_binary(error["op"]), do: error["op"]),
      index: if(list_of?(error["index"], &natural?/1), do: error["index"]),
      at: place(error["at"]),
      cause: if(is_map(error["cause"]), do: error(error["cause"])),
      written: if(list_of?(error["written"], &natural?/1), do: error["written"], else: [])
    }
  end

  defp place(%{"file" => file, "line" => line})
       when is_binary(file) and is_integer(line) and line > 0,
       do: {file, line}

  defp place(_other), do: nil

  defp text(text) when is_binary(text) and text != "", do: text
  defp text(_), do: "no text was given"
end
