defmodule Outrigger.Error do
  @moduledoc """
  The daemon said no: a request was understood and refused, or it failed.

  The daemon lives and so does every tensor, but for those in `written`.

    * `:code` - what was wrong, an atom from the protocol's list: `:bad_shape`, `:bad_dtype`,
      `:bad_axis`, `:bad_index`, `:bad_value`, `:bad_attr`, `:bad_handle`, `:bad_program`,
      `:unknown_op`, `:failed_operand`, `:out_of_memory`, `:limit_exceeded`, `:bad_file`, `:io_error`,
      `:cancelled`, `:deadline_exceeded`, …; a code that this client does not know is `:unknown`
    * `:message` - for people: names the op, dtypes and shapes
    * `:op` - the op that failed, or nil
    * `:index` - where the instruction stands in its program: `[3]` is the fourth; or nil
    * `:written` - handles of tensors whose contents had changed already
    * `:cause` - of `:failed_operand`: the error for which the operand could not be made, however
      long the chain of ops from there; nil otherwise
  """

  defexception [:code, :message, :op, :index, :cause, written: []]

  @type t :: %__MODULE__{
          code: atom,
          message: String.t(),
          op: String.t() | nil,
          index: [non_neg_integer] | nil,
          cause: t | nil,
          written: [pos_integer]
        }

  @doc false
  # The daemon knows of a handle only that it has none. What a tensor may have lost it by:
  def released(text) do
    "#{text}. It has been released, or nobody has held it: what :erlang.term_to_binary/1 makes " <>
      "of a tensor does not hold it. Keep the tensor itself, or store what " <>
      "Outrigger.to_binary/2 gives"
  end

  @impl true
  def message(%__MODULE__{} = error) do
    where = if error.index not in [nil, []], do: " (instruction #{Enum.join(error.index, ".")})"
    what = if error.op && not String.contains?(error.message, error.op), do: "#{error.op}: "
    "#{what}#{error.message}#{where} [#{error.code}]"
  end
end

defmodule Outrigger.ConnectionError do
  @moduledoc """
  The link died, or could not carry the request: the daemon never answered it.

  `:reason` is one of

    * `{:daemon_exited, status}` - the daemon ended while the request was pending. A status above
      128 is 128 plus the signal's number: 137 is SIGKILL. The request may or may not have been
      carried out; it is not sent again
    * `:stale_epoch` - the tensor belongs to a daemon that is gone; make it again, for instance in
      the `:on_restart` callback
    * `:not_connected` - no daemon came up within the server's `:start_timeout`
    * `:deadline` - no answer in time, or no daemon; the request has been cancelled: a read, for instance, but not what
      computes the tensor (`Outrigger.cancel/1` does that)
    * `:queue_full` - too much was waiting for the daemon, and nothing moved in time
    * `:foreign_tensor` - the tensor belongs to another server than the one that it is used on, or was
      made on another node; move its contents by `Outrigger.to_binary/2` and `Outrigger.from_binary/4`
    * `:protocol` - the daemon sent something that is not the protocol
    * `:closed` - the server is not running: it was stopped, it ended, or there never was one. Start it,
      or look why its supervisor gave it up
    * `:daemon_not_found` - there is no executable to start
    * `:handshake` - the daemon started, but did not introduce itself as it should
  """

  defexception [:reason, :detail]

  @type reason ::
          {:daemon_exited, integer | :unknown}
          | :stale_epoch
          | :not_connected
          | :deadline
          | :queue_full
          | :foreign_tensor
          | :protocol
          | :closed
          | :daemon_not_found
          | :handshake

  @type t :: %__MODULE__{reason: reason, detail: String.t() | nil}

  @impl true
  def message(%__MODULE__{reason: reason, detail: nil}), do: text(reason)
  def message(%__MODULE__{reason: reason, detail: detail}), do: "#{text(reason)}: #{detail}"

  defp text({:daemon_exited, status}) when is_integer(status) and status > 128 do
    "the daemon was killed by signal #{status - 128} while the request was pending; " <>
      "it is being restarted, and tensors have to be made again"
  end

  defp text({:daemon_exited, status}) do
    "the daemon exited (status #{status}) while the request was pending; " <>
      "it is being restarted, and tensors have to be made again"
  end

  defp text(:stale_epoch) do
    "the tensor belongs to a daemon that is gone; make it again (see the option :on_restart)"
  end

  defp text(:not_connected), do: "no daemon is running"
  defp text(:deadline), do: "no answer in time; the request has been cancelled"
  defp text(:queue_full), do: "too many requests are waiting for the daemon"
  defp text(:foreign_tensor), do: "the tensor belongs to another Outrigger server"
  defp text(:protocol), do: "the daemon sent something that is not the protocol"
  defp text(:closed), do: "the Outrigger server is not running"
  defp text(:daemon_not_found), do: "the outriggerd executable was not found"
  defp text(:handshake), do: "the daemon did not introduce itself"
end
