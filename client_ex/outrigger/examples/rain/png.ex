defmodule Rain.Png do
  @moduledoc "Writes RGB pictures as PNG, with nothing but `:zlib`."

  @signature <<0x89, "PNG\r\n", 0x1A, "\n">>

  @doc "Writes a picture from its rows, each a binary of 3 bytes per pixel."
  def write!(path, rows) do
    width = div(byte_size(hd(rows)), 3)
    header = <<width::32, length(rows)::32, 8, 2, 0, 0, 0>>
    # Filter 1: each byte is stored as the difference from the pixel on its left.
    pixels = :zlib.compress(for row <- rows, do: [1 | differences(row)])

    File.write!(path, [
      @signature,
      chunk("IHDR", header),
      chunk("IDAT", pixels),
      chunk("IEND", "")
    ])
  end

  defp chunk(type, data) do
    <<byte_size(data)::32, type::binary, data::binary, :erlang.crc32([type, data])::32>>
  end

  defp differences(row), do: differences(row, 0, 0, 0)

  defp differences(<<r, g, b, rest::binary>>, left_r, left_g, left_b) do
    [<<r - left_r, g - left_g, b - left_b>> | differences(rest, r, g, b)]
  end

  defp differences(<<>>, _, _, _), do: []
end
