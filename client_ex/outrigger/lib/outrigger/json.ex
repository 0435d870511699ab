defmodule Outrigger.JSON do
  @moduledoc false
  # Reads the op catalogue at compile time, because OTP 25 has no JSON module.

  def decode!(text) do
    {value, rest} = value(skip(text))
    "" = skip(rest)
    value
  end

  defp value("{" <> rest), do: object(skip(rest), %{})
  defp value("[" <> rest), do: array(skip(rest), [])
  defp value("\"" <> rest), do: string(rest, [])
  defp value("true" <> rest), do: {true, rest}
  defp value("false" <> rest), do: {false, rest}
  defp value("null" <> rest), do: {nil, rest}

  defp value(text) do
    [number] = Regex.run(~r/\A-?\d+(\.\d+)?([eE][+-]?\d+)?/, text, capture: :first)
    rest = binary_part(text, byte_size(number), byte_size(text) - byte_size(number))

    case Integer.parse(number) do
      {integer, ""} -> {integer, rest}
      _ -> {elem(Float.parse(number), 0), rest}
    end
  end

  defp object("}" <> rest, acc), do: {acc, rest}

  defp object("\"" <> rest, acc) do
    {key, rest} = string(rest, [])
    ":" <> rest = skip(rest)
    {value, rest} = value(skip(rest))
    acc = Map.put(acc, key, value)

    case skip(rest) do
      "," <> rest -> object(skip(rest), acc)
      "}" <> rest -> {acc, rest}
    end
  end

  defp array("]" <> rest, acc), do: {Enum.reverse(acc), rest}

  defp array(text, acc) do
    {value, rest} = value(text)

    case skip(rest) do
      "," <> rest -> array(skip(rest), [value | acc])
      "]" <> rest -> {Enum.reverse([value | acc]), rest}
    end
  end

  defp string("\"" <> rest, acc), do: {acc |> Enum.reverse() |> IO.iodata_to_binary(), rest}
  defp string("\\n" <> rest, acc), do: string(rest, ["\n" | acc])
  defp string("\\t" <> rest, acc), do: string(rest, ["\t" | acc])
  defp string("\\r" <> rest, acc), do: string(rest, ["\r" | acc])

  defp string("\\u" <> <<hex::binary-4, rest::binary>>, acc) do
    string(rest, [<<String.to_integer(hex, 16)::utf8>> | acc])
  end

  defp string(<<"\\", char::utf8, rest::binary>>, acc), do: string(rest, [<<char::utf8>> | acc])
  defp string(<<char::utf8, rest::binary>>, acc), do: string(rest, [<<char::utf8>> | acc])

  defp skip(<<c, rest::binary>>) when c in ~c" \n\r\t", do: skip(rest)
  defp skip(text), do: text
end
