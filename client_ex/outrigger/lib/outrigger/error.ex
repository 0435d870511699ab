defmodule Outrigger.Error do
  @moduledoc """
  The daemon refused a request, or the request failed.

  The daemon goes on. All tensors keep their contents, except those in `written`.

    * `:code` - the kind of error, an atom from the protocol's list: `:bad_shape`, `:bad_dtype`,
      `:bad_axis`, `:bad_index`, `:bad_value`, `:bad_attr`, `:bad_handle`, `:bad_program`,
      `:unknown_op`, `:failed_operand`, `:out_of_memory`, `:limit_exceeded`, `:bad_file`,
      `:io_error`, `:cancelled`, `:deadline_exceeded`, …; a code that this client does not know is
      `:unknown`
    * `:message` - a text with the op, its dtypes and its shapes
    * `:op` - the op that failed, or nil
    * `:index` - the position of the instruction in its program, or nil: `[3]` is the fourth
    * `:at` - the file and the line of a kernel's source, `{"lib/my_app/text.ex", 14}`, or nil
    * `:written` - handles of tensors whose contents had already changed
    * `:cause` - with `:failed_operand`, the first error in the chain of ops that led to the
      operand; nil otherwise
  """

  defexception [:code, :message, :op, :index, :cause, :at, written: []]

  @type t :: %__MODULE__{
          code: atom,
          message: String.t(),
          op: String.t() | nil,
          index: [non_neg_integer] | nil,
          cause: t | nil,
          at: {String.t(), pos_integer} | nil,
          written: [pos_integer]
        }

  @doc false
  # The daemon says only that it does not have the handle. This text adds the possible causes.
  def released(text) do
    "#{text}. The tensor was released, or no process held it: the bytes of " <>
      ":erlang.term_to_binary/1 do not hold a tensor. Keep the tensor itself, or store the " <>
      "bytes of Outrigger.to_binary/2"
  end

  @impl true
  def message(%__MODULE__{} = error) do
    where = if error.index not in [nil, []], do: " (instruction #{Enum.join(error.index, ".")})"
    line = with {file, line} <- error.at, do: " (#{file}:#{line})"
    what = if error.op && not String.contains?(error.message, error.op), do: "#{error.op}: "
    "#{what}#{error.message}#{where}#{line} [#{error.code}]"
  end
end

defmodule Outrigger.ConnectionError do
  @moduledoc """
  The daemon did not answer a request, or the request could not be sent.

  `:reason` is one of

    * `{:daemon_exited, status}` - the daemon ended while the request was pending. A status above
      128 is 128 plus the number of the signal: 137 is SIGKILL. The daemon may have carried out the
      request. The request is not sent again
    * `:stale_epoch` - the tensor belongs to a daemon that is gone. Make the tensor again, for
      instance in the `:on_restart` callback
    * `:not_connected` - no daemon started within the server's `:start_timeout`
    * `:deadline` - no answer came in time, or there was no daemon. The request was cancelled: a
      read, for instance, but not the op that computes the tensor (see `Outrigger.cancel/1`)
    * `:queue_full` - too many requests waited for the daemon, and no request ended in time
    * `:foreign_tensor` - the tensor belongs to another server, or to another node. Move its
      contents with `Outrigger.to_binary/2` and `Outrigger.from_binary/4`
    * `:protocol` - the daemon sent bytes that are not the protocol
    * `:closed` - the server does not run: it was stopped, it ended, or it was never started.
      Start the server, or find out why its supervisor has ended it
    * `:daemon_not_found` - there is no executable to start
    * `:handshake` - the daemon started, but did not answer the handshake as the protocol says
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
      "a new daemon starts, and tensors have to be made again"
  end

  defp text({:daemon_exited, status}) do
    "the daemon exited (status #{status}) while the request was pending; " <>
      "a new daemon starts, and tensors have to be made again"
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
end
