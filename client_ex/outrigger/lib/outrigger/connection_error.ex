defmodule Outrigger.ConnectionError do
  @moduledoc """
  The daemon did not answer a request, or the request could not be sent.

  `:reason` is one of

    * `{:daemon_exited, status}` - the daemon ended while the request was pending. A status above
      128 is 128 plus the number of the signal: 137 is SIGKILL. The daemon may have carried out the
      request. The request is not sent again
    * `{:disconnected, why}` - the connection to a server (the option `:connect`) ended while the
      request was pending. The server may have carried out the request. `why` is `:closed`, an
      error of the system such as `:econnreset` or `:etimedout`, `:tls`, or what the server said
      last: `:shutting_down`, `:timeout`, `:bad_frame`
    * `:stale_epoch` - the tensor belongs to a daemon that is gone, or to a session that ended with
      its connection. Make the tensor again, for instance in the `:on_restart` callback
    * `:not_connected` - no daemon started, or no server was reached, within the server's
      `:start_timeout`
    * `:deadline` - no answer came in time, or there was no daemon. The request was cancelled: a
      read, for instance, but not the op that computes the tensor (see `Outrigger.cancel/1`)
    * `:queue_full` - too many requests waited for the daemon, and no request ended in time
    * `:foreign_tensor` - the tensor belongs to another server, or to another node. Move its
      contents with `Outrigger.to_binary/2` and `Outrigger.from_binary/4`
    * `:protocol` - the daemon sent bytes that are not the protocol
    * `:closed` - the server does not run: it was stopped, it ended, or it was never started.
      Start the server, or find out why its supervisor has ended it
    * `:daemon_not_found` - there is no executable to start
    * `:handshake` - the daemon did not answer the handshake as the protocol says

  With the option `:connect`, also

    * `:refused` - no server listens at the address
    * `:host_not_found` - the name of the host has no address
    * `:unreachable` - the host did not answer in time, or no route leads to it
    * `:not_permitted` - the system does not let this user connect to the Unix socket
    * `{:connect, posix}` - another error of the system
    * `:certificate` - the certificate of the server is not trusted, has expired, or has another
      name
    * `:tls` - TLS failed for another reason; for instance, the server wants a certificate of the
      client
    * `:unauthorized` - the server wants a token, or does not know this token
    * `:no_token` - the option `:token` gave no token
    * `:too_many_clients` - the server has as many clients as it may have
    * `:quota_exceeded` - the token has as many sessions as its quota allows
  """

  defexception [:reason, :detail]

  @type reason ::
          {:daemon_exited, integer | :unknown}
          | {:disconnected, atom}
          | {:connect, atom}
          | :stale_epoch
          | :not_connected
          | :deadline
          | :queue_full
          | :foreign_tensor
          | :protocol
          | :closed
          | :daemon_not_found
          | :handshake
          | :refused
          | :host_not_found
          | :unreachable
          | :not_permitted
          | :certificate
          | :tls
          | :unauthorized
          | :no_token
          | :too_many_clients
          | :quota_exceeded

  @type t :: %__MODULE__{reason: reason, detail: String.t() | nil}

  @impl true
  def message(%__MODULE__{reason: reason, detail: nil}), do: text(reason)

  def message(%__MODULE__{reason: :stale_epoch, detail: detail}),
    do: "the tensor belongs to a session that is gone (see :on_restart): #{detail}"

  def message(%__MODULE__{reason: reason, detail: detail}), do: "#{text(reason)}: #{detail}"

  defp text({:daemon_exited, status}) when is_integer(status) and status > 128 do
    "the daemon was killed by signal #{status - 128} while the request was pending; " <>
      "a new daemon starts, and tensors have to be made again"
  end

  defp text({:daemon_exited, status}) do
    "the daemon exited (status #{status}) while the request was pending; " <>
      "a new daemon starts, and tensors have to be made again"
  end

  defp text({:disconnected, _why}) do
    "the connection ended while the request was pending; " <>
      "a new connection is made, and tensors have to be made again"
  end

  defp text(:stale_epoch) do
    "the tensor belongs to a daemon that is gone; make the tensor again (see :on_restart)"
  end

  defp text(:not_connected), do: "no daemon is running"
  defp text(:deadline), do: "no answer in time; the request has been cancelled"
  defp text(:queue_full), do: "too many requests are waiting for the daemon"
  defp text(:foreign_tensor), do: "the tensor belongs to another Outrigger server"
  defp text(:protocol), do: "the daemon sent bytes that are not the protocol"
  defp text(:closed), do: "the Outrigger server is not running"
  defp text(:daemon_not_found), do: "the outriggerd executable was not found"
  defp text(:handshake), do: "the daemon did not answer the handshake as the protocol says"

  defp text(:refused),
    do: "no server listens at the address; start the server, or correct the option :connect"

  defp text(:host_not_found), do: "the host was not found; correct the option :connect"

  defp text(:unreachable),
    do: "the host does not answer; look at its address, its network and its firewall"

  defp text(:not_permitted),
    do: "the system does not permit the connection; run as the user of the server"

  defp text({:connect, _posix}), do: "no connection could be made"

  defp text(:certificate) do
    "the certificate of the server is not accepted; give the authority that signed it by " <>
      "ssl: [cacertfile: PATH], or connect to the name that is in the certificate"
  end

  defp text(:tls), do: "TLS failed"

  defp text(:unauthorized),
    do: "the server does not accept the token; give a token of the server's list by :token"

  defp text(:no_token), do: "the option :token gave no token"

  defp text(:too_many_clients),
    do: "the server has too many clients; end some, or let the server accept more"

  defp text(:quota_exceeded),
    do: "the token has too many sessions; end some, or raise its quota in the server's list"
end
