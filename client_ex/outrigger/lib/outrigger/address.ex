defmodule Outrigger.Address do
  @moduledoc false
  # The address of a server that listens on a socket. Pure.

  @enforce_keys [:kind, :text]
  defstruct [:kind, :text, :host, :port]

  @typedoc """
  `host` is the path of a Unix socket, an IP address, or the name of a host. `text` is the address
  as the user wrote it.
  """
  @type t :: %__MODULE__{
          kind: :unix | :tcp | :tls,
          text: String.t(),
          host: binary | :inet.ip_address() | charlist,
          port: :inet.port_number()
        }

  # The length of `sun_path`, without the byte that ends it.
  @path_bytes_max 107

  @doc """
  Reads an address: `{:ok, address}`, or `{:error, text}` that says what is expected.

      iex> {:ok, address} = Outrigger.Address.parse("tls://[::1]:7171")
      iex> {address.kind, address.host, address.port}
      {:tls, {0, 0, 0, 0, 0, 0, 0, 1}, 7171}
      iex> {:ok, address} = Outrigger.Address.parse("tcp://compute.example:7171")
      iex> address.host
      ~c"compute.example"
      iex> Outrigger.Address.parse("tcp://compute.example")
      {:error, "a host and a port, such as tcp://compute.example:7171"}
  """
  @spec parse(String.t()) :: {:ok, t} | {:error, String.t()}
  def parse("unix:" <> path = text) when path != "" do
    path = Outrigger.FileName.expand(path)

    if byte_size(path) <= @path_bytes_max,
      do: {:ok, %__MODULE__{kind: :unix, text: text, host: path, port: 0}},
      else: {:error, "a path of at most #{@path_bytes_max} bytes after unix:"}
  end

  def parse("tcp://" <> rest = text), do: host_and_port(:tcp, rest, text)
  def parse("tls://" <> rest = text), do: host_and_port(:tls, rest, text)

  def parse(_other),
    do: {:error, ~s("unix:PATH", "tcp://HOST:PORT" or "tls://HOST:PORT")}

  defp host_and_port(kind, rest, text) do
    with [_, host, port] <- Regex.run(~r/\A(\[[^\[\]]+\]|[^\[\]:\/@\s]+):(\d{1,5})\z/, rest),
         {:ok, host} <- host(host),
         port = String.to_integer(port),
         true <- port in 1..65_535 do
      {:ok, %__MODULE__{kind: kind, text: text, host: host, port: port}}
    else
      _ -> {:error, "a host and a port, such as #{kind}://compute.example:7171"}
    end
  end

  defp host("[" <> rest) do
    rest
    |> binary_part(0, byte_size(rest) - 1)
    |> String.to_charlist()
    |> :inet.parse_ipv6strict_address()
  end

  defp host(name) do
    charlist = String.to_charlist(name)

    case :inet.parse_ipv4strict_address(charlist) do
      {:ok, ip} -> {:ok, ip}
      {:error, _} -> if name =~ ~r/\A[a-zA-Z0-9._-]+\z/, do: {:ok, charlist}, else: :error
    end
  end
end
