defmodule Outrigger.Link.Tls do
  @moduledoc false
  # The options of a TLS connection. The server's certificate and its name are checked, unless the
  # user's options say otherwise.

  alias Outrigger.{Address, ConnectionError}

  @doc "All options of `:ssl.connect/3`: those of the user, and the defaults for the others."
  @spec options(Address.t(), keyword) :: {:ok, keyword} | {:error, ConnectionError.t()}
  def options(address, given) do
    with :ok <- start(address),
         {:ok, trust} <- trust(address, given) do
      defaults = [versions: [:"tlsv1.3"], verify: :verify_peer, log_level: :error]
      {:ok, Keyword.merge(defaults ++ trust ++ name(address.host, given), given)}
    end
  end

  # The application :ssl is not a dependency, because only tls:// addresses need it.
  defp start(address) do
    case Application.ensure_all_started(:ssl) do
      {:ok, _} ->
        :ok

      {:error, _} ->
        detail =
          "#{address.text}: the application :ssl is not there. Add :ssl to extra_applications " <>
            "in mix.exs"

        {:error, %ConnectionError{reason: :tls, detail: detail}}
    end
  end

  defp trust(address, given) do
    if given[:cacerts] || given[:cacertfile] || given[:verify] == :verify_none do
      {:ok, []}
    else
      {:ok, [cacerts: :public_key.cacerts_get()]}
    end
  rescue
    _no_certificates ->
      detail =
        "#{address.text}: the system has no certificates of authorities. Install them, or give " <>
          "the option ssl: [cacertfile: PATH]"

      {:error, %ConnectionError{reason: :certificate, detail: detail}}
  end

  # The user's name of the server replaces the one of the address.
  defp name(host, given) do
    cond do
      Keyword.has_key?(given, :server_name_indication) -> wildcards()
      is_tuple(host) -> [server_name_indication: :disable] ++ of_ip(host, given)
      true -> [server_name_indication: host] ++ wildcards()
    end
  end

  defp wildcards do
    match = :public_key.pkix_verify_hostname_match_fun(:https)
    [customize_hostname_check: [match_fun: match]]
  end

  # TLS has no name indication for an IP address, but a certificate may have the address.
  defp of_ip(ip, given) do
    if given[:verify] == :verify_none, do: [], else: [verify_fun: {&verify_ip/3, ip}]
  end

  defp verify_ip(certificate, :valid_peer, ip) do
    if :public_key.pkix_verify_hostname(certificate, ip: ip),
      do: {:valid, ip},
      else: {:fail, {:bad_cert, :hostname_check_failed}}
  end

  defp verify_ip(_certificate, {:bad_cert, _} = reason, _ip), do: {:fail, reason}
  defp verify_ip(_certificate, {:extension, _}, ip), do: {:unknown, ip}
  defp verify_ip(_certificate, :valid, ip), do: {:valid, ip}
end
