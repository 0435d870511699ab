defmodule Outrigger.Link do
  @moduledoc false
  # The stream of bytes between a connection and a daemon: a Port (Outrigger.Link.OwnDaemon) or a
  # socket (Outrigger.Link.Socket). A link belongs to its connection process and never blocks that
  # process. A dead link is not repaired: the connection opens another one.

  alias Outrigger.{ConnectionError, Options}

  @type t :: struct

  @typedoc """
  The meaning of a message for a link.

    * `{:opened, link, data}` - the handshake has been written, and perhaps answered by `data`
    * `{:data, binary}` - bytes of the daemon
    * `{:going, link}` - nothing for the connection; the state has changed
    * `{:down, error}` - the end of the link. The system's resources are released
    * `:unknown` - the message is not for this link
  """
  @type event ::
          {:opened, t, binary}
          | {:data, binary}
          | {:going, t}
          | {:down, ConnectionError.t()}
          | :unknown

  @typedoc """
  The needs of a link besides the options. `id` draws the ids of the requests of the handshake.
  `hello` is the id of the request `hello`.
  """
  @type needs :: %{watcher: pid, hello: pos_integer, auth: pos_integer}

  @doc """
  Opens a link and writes the handshake. Returns `{:opened, link}` if that is done, or
  `{:opening, link}` if an event will tell.
  """
  @callback open(Options.t(), needs) ::
              {:opened, t} | {:opening, t} | {:error, ConnectionError.t()}

  @doc "Reads a message of the connection's mailbox."
  @callback event(t, message :: term) :: event

  @doc "Writes bytes. Returns false, and writes nothing, if too many bytes wait already."
  @callback command(t, iodata, bytes :: non_neg_integer) :: boolean

  @doc "The port that callers may write to, or nil."
  @callback port(t) :: port | nil

  @doc "Ends the link at once. No event follows."
  @callback close(t) :: :ok

  @doc "Writes a last frame, gives the daemon a moment to end, and closes the link."
  @callback say_goodbye(t, iodata) :: :ok

  @doc "The error of a link that gave no answer to `hello` in time."
  @callback timed_out(t, ms :: non_neg_integer) :: ConnectionError.t()

  @doc "The module of the link that the options choose."
  @spec module(Options.t()) :: module
  def module(%{connect: nil}), do: Outrigger.Link.OwnDaemon
  def module(_options), do: Outrigger.Link.Socket

  def event(%module{} = link, message), do: module.event(link, message)
  def event(nil, _message), do: :unknown
  def command(%module{} = link, data, bytes), do: module.command(link, data, bytes)
  def port(%module{} = link), do: module.port(link)
  def close(%module{} = link), do: module.close(link)
  def say_goodbye(%module{} = link, frame), do: module.say_goodbye(link, frame)
  def timed_out(%module{} = link, ms), do: module.timed_out(link, ms)
end
