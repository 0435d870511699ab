defmodule Outrigger.Link.Failure do
  @moduledoc false
  # The errors of sockets, of TLS and of refused handshakes, as exceptions. Pure.

  alias Outrigger.{Address, ConnectionError, Error}

  @unreachable [:ehostunreach, :enetunreach, :ehostdown, :enetdown, :etimedout, :timeout]

  @doc "The error of a connection that could not be made."
  @spec connect(Address.t(), term) :: ConnectionError.t()
  def connect(address, reason) do
    kind =
      cond do
        reason in [:econnrefused, :enoent] -> :refused
        reason == :nxdomain -> :host_not_found
        reason in [:eacces, :eperm] -> :not_permitted
        reason in @unreachable -> :unreachable
        true -> {:connect, reason}
      end

    error(kind, address, words(reason))
  end

  @doc "The error of a TLS handshake."
  @spec tls(Address.t(), term) :: ConnectionError.t()
  def tls(address, {:tls_alert, {alert, text}}) do
    # The text of an alert names the cause only for a certificate that this side refused.
    text = String.trim(to_string(text))
    kind = if certificate?(alert, text), do: :certificate, else: :tls
    error(kind, address, text)
  end

  def tls(address, :closed),
    do: error(:tls, address, "the server closed the connection during the TLS handshake")

  def tls(address, :timeout),
    do: error(:unreachable, address, "no answer to the TLS handshake in time")

  # The value may be a secret, such as the password of a key.
  def tls(address, {:options, {key, _value}}) when is_atom(key),
    do: error(:tls, address, "the option :ssl has a bad value for #{inspect(key)}")

  def tls(address, {:options, _}), do: error(:tls, address, "the option :ssl has a bad value")
  def tls(address, reason), do: error(:tls, address, words(reason))

  @refused_by_us [:unknown_ca, :certificate_expired, :certificate_revoked, :certificate_unknown]
  @refused_by_us @refused_by_us ++ [:bad_certificate, :unsupported_certificate]

  defp certificate?(alert, text),
    do: (alert in @refused_by_us and text =~ "CLIENT ALERT") or text =~ "hostname_check_failed"

  @doc "The error of a server that does not answer `hello`."
  @spec no_answer(Address.t(), term) :: ConnectionError.t()
  def no_answer(address, {:tls_alert, _} = alert), do: tls_later(address, alert)
  def no_answer(address, :timeout), do: error(:handshake, address, "no answer to hello in time")
  def no_answer(address, reason), do: error(:handshake, address, "no answer: #{words(reason)}")

  @doc "The error of TLS after its handshake: for instance, the server wants a certificate."
  @spec tls_later(Address.t(), term) :: ConnectionError.t()
  def tls_later(address, {:tls_alert, {alert, _}})
      when alert in [:certificate_required, :bad_certificate, :unknown_ca, :handshake_failure] do
    detail =
      "the server does not accept the certificate of this client (#{alert}); give one that it " <>
        "trusts by certfile: and keyfile: in the option :ssl"

    error(:tls, address, detail)
  end

  def tls_later(address, reason), do: disconnected(address, reason)

  @doc "The error of pending requests when a socket has ended."
  @spec disconnected(Address.t(), term) :: ConnectionError.t()
  def disconnected(address, reason) do
    why =
      case reason do
        # The socket is closed already, or its process has ended.
        :einval -> :closed
        {:dialer, _} -> :closed
        posix when is_atom(posix) -> posix
        _ -> :tls
      end

    error({:disconnected, why}, address, words(reason))
  end

  @doc "The error of a handshake that the daemon refused."
  @spec refused(Error.t(), Address.t() | nil) :: ConnectionError.t()
  def refused(%Error{code: code} = error, address) do
    kind =
      if code in [:unauthorized, :too_many_clients, :quota_exceeded], do: code, else: :handshake

    error(kind, address, error.message)
  end

  @doc """
  The error of pending requests, with the daemon's last frame. This frame tells why the daemon has
  closed the link.
  """
  @spec with_last_frame(ConnectionError.t(), Error.t() | nil) :: ConnectionError.t()
  def with_last_frame(error, nil), do: error

  def with_last_frame(%{reason: {:disconnected, _}} = error, last),
    do: %{error | reason: {:disconnected, last.code}, detail: last.message}

  def with_last_frame(error, last),
    do: %{error | detail: "its last frame: #{Exception.message(last)}"}

  @doc """
  True if another attempt can only succeed after a change of the options or of the server. Callers
  then get the error at once, and the next attempt comes late.
  """
  @spec lasting?(ConnectionError.t()) :: boolean
  def lasting?(%{reason: reason}),
    do: reason in [:unauthorized, :certificate, :tls, :not_permitted, :no_token]

  defp error(kind, nil, detail), do: %ConnectionError{reason: kind, detail: detail}

  defp error(kind, address, detail),
    do: %ConnectionError{reason: kind, detail: "#{address.text}: #{detail}"}

  defp words(:timeout), do: "no answer in time"
  defp words(:closed), do: "the server closed the connection"
  defp words(:nxdomain), do: "the name has no address"
  defp words(:einval), do: words(:closed)
  defp words({:dialer, _}), do: "the process that writes has ended"
  defp words({:tls_alert, {_, text}}), do: String.trim(to_string(text))

  defp words(posix) when is_atom(posix) do
    case :inet.format_error(posix) do
      ~c"unknown POSIX error" ++ _ -> inspect(posix)
      text -> to_string(text)
    end
  end

  # The term may hold options.
  defp words(_term), do: "an error of TLS or of the socket"
end
