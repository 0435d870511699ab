defmodule Outrigger.Request do
  @moduledoc false
  # The records of a request, from its caller to its end. They are records and not structs, because
  # each op makes and matches them.

  require Record

  @typedoc "The reference to which an answer is sent: an alias of the process that waits."
  @type ref :: reference

  # A caller hands this record to the connection. `program` is that of Program.kept/3. `deadline` is
  # in milliseconds or nil.
  Record.defrecord(:request, [:epoch, :id, :frame, :size, :want, :pid, :program, :deadline])

  @type request ::
          record(:request,
            epoch: non_neg_integer,
            id: pos_integer,
            frame: iodata,
            size: non_neg_integer,
            want: want,
            pid: pid,
            program: {non_neg_integer, binary, list} | nil,
            deadline: non_neg_integer | nil
          )

  # A request that the connection has counted. `timer` is the timer of its deadline.
  Record.defrecord(:entry, [:want, :size, :pid, :timer])

  @type entry ::
          record(:entry,
            want: want,
            size: non_neg_integer,
            pid: pid,
            timer: reference | nil
          )

  # The request makes tensors under `handles`. It uses the handles `args`, writes in place into
  # the handles `written`, and releases the handles `donated`. With `ref`, its caller waits for
  # the reply.
  Record.defrecord(:results, handles: [], args: [], written: [], donated: [], ref: nil)

  @type results ::
          record(:results,
            handles: [pos_integer],
            args: [pos_integer],
            written: [pos_integer],
            donated: [pos_integer],
            ref: ref | nil
          )

  @typedoc """
  The use of a reply.

    * `{:reply, ref}` - the caller gets the reply
    * `{:at_once, ref}` - the same; the request overtakes those that wait for the daemon's windows
    * `{:sync, ref}` - the caller gets the reply, or the first error of its requests
    * `{:prepare, program_id, ref}` - the daemon keeps a program, or does not
    * `{:subscribe, id, ref}`, `{:names, id, from}` - see Outrigger.Subscriptions
    * `{:released, handles}` - the daemon has released handles
    * `{:cancelled, id}` - the daemon says whether it has that request
    * `:drop` - no caller needs the reply
    * `:unsure` - no caller needs the reply, and the daemon may not have the request
  """
  @type want ::
          results
          | {:reply, ref}
          | {:at_once, ref}
          | {:sync, ref}
          | {:prepare, pos_integer | {:kernel, pos_integer}, ref | nil}
          | {:subscribe, pos_integer, ref | nil}
          | {:names, pos_integer, String.t()}
          | {:released, [pos_integer]}
          | {:cancelled, pos_integer}
          | :drop
          | :unsure

  @doc "True if the caller waits for the reply."
  def waits?(results(ref: ref)), do: ref != nil
  def waits?({kind, _ref}) when kind in [:reply, :at_once, :sync], do: true
  def waits?(_want), do: false

  @doc "The reference to which the reply is sent, or nil."
  def ref(results(ref: ref)), do: ref
  def ref({kind, ref}) when kind in [:reply, :at_once, :sync], do: ref
  def ref({kind, _id, ref}) when kind in [:prepare, :subscribe], do: ref
  def ref(_want), do: nil
end
