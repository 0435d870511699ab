defmodule Outrigger.Frames do
  @moduledoc false
  # The bytes of an incomplete frame. They stay in pieces: a join at each message would take
  # quadratic time. Pure.

  alias Outrigger.Protocol

  defstruct pieces: [], bytes: 0, needed: 4

  @type t :: %__MODULE__{pieces: iodata, bytes: non_neg_integer, needed: pos_integer}

  @doc """
  Takes bytes of the stream: `{:ok, payloads, frames}`, or `{:error, text}` if a frame is longer
  than `limit`.

      iex> alias Outrigger.Frames
      iex> {:ok, [], frames} = Frames.take(%Frames{}, <<0, 0, 0>>, 100)
      iex> {:ok, ["ab"], frames} = Frames.take(frames, <<2, "ab", 0>>, 100)
      iex> frames.bytes
      1
  """
  @spec take(t, binary, pos_integer) :: {:ok, [binary], t} | {:error, String.t()}
  def take(%{bytes: 0} = frames, data, limit), do: split(frames, data, limit)

  # An improper list is the shortest iodata.
  @dialyzer {:no_improper_lists, take: 3}
  def take(%{bytes: bytes, needed: needed} = frames, data, limit) do
    cond do
      bytes + byte_size(data) < needed ->
        {:ok, [], %{frames | pieces: [frames.pieces | data], bytes: bytes + byte_size(data)}}

      # The length of the frame is not known.
      needed == 4 ->
        split(frames, IO.iodata_to_binary([frames.pieces | data]), limit)

      # The frame becomes a binary of its own size. A binary with the beginning of the next frame
      # would live as long as the bytes of this one, which may be a part of a large tensor.
      true ->
        missing = needed - bytes
        <<last::binary-size(missing), rest::binary>> = data
        <<_::32, payload::binary>> = IO.iodata_to_binary([frames.pieces | last])

        with {:ok, payloads, frames} <- split(%__MODULE__{}, rest, limit),
             do: {:ok, [payload | payloads], frames}
    end
  end

  defp split(frames, data, limit) do
    with {:ok, payloads, rest} <- Protocol.frames(data, limit),
         do: {:ok, payloads, keep(frames, rest)}
  end

  defp keep(%{bytes: 0} = frames, <<>>), do: frames
  defp keep(_frames, <<>>), do: %__MODULE__{}

  defp keep(_frames, <<size::32, _::binary>> = rest),
    do: %__MODULE__{pieces: rest, bytes: byte_size(rest), needed: size + 4}

  defp keep(_frames, rest), do: %__MODULE__{pieces: rest, bytes: byte_size(rest)}
end
