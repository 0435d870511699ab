defmodule Outrigger.Error do
  @moduledoc """
  The daemon refused a request, or the request failed.

  The daemon goes on. All tensors keep their contents, except those in `written`.

    * `:code` - the kind of error, an atom from the protocol's list: `:bad_shape`, `:bad_dtype`,
      `:bad_axis`, `:bad_index`, `:bad_value`, `:bad_attr`, `:bad_handle`, `:bad_program`,
      `:unknown_op`, `:failed_operand`, `:out_of_memory`, `:limit_exceeded`, `:bad_file`,
      `:io_error`, `:cancelled`, `:deadline_exceeded`, `:raised` (a kernel raised it),
      `:forbidden` (the token of this server's connection does not have the right),
      `:quota_exceeded` (the sessions of the token have as much as its quota in the server's list
      allows), `:unknown_name` and `:version_conflict` (see `Outrigger.Names`), …; a code that this
      client does not know is `:unknown`
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
  # The daemon says only what it knows. These texts add the possible causes, or what to do.
  def explained(:bad_handle, text), do: released(text)

  def explained(:forbidden, text) do
    "#{text}. Use a token that has it (the option :token of Outrigger.start_link/1), or add the " <>
      "right in the server's list of tokens"
  end

  def explained(:unknown_name, text) do
    "#{text}. Outrigger.publish/3 publishes a tensor under a name, and Outrigger.names/2 lists " <>
      "the names"
  end

  def explained(:version_conflict, text) do
    "#{text}. The name was published or unpublished meanwhile: open it again, and use its " <>
      "present version (Outrigger.names/2)"
  end

  def explained(_code, text), do: text

  @doc false
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
