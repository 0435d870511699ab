defmodule Outrigger.Request do
  @moduledoc false
  # The records that a request consists of, from its caller to the end of its life. They are tuples:
  # each is made and matched for each op.

  require Record

  @typedoc "A reference (an alias of its owner) that an answer is sent to."
  @type ref :: reference

  # What a caller hands to the connection. `program` is that of Program.kept/3, `deadline` is in
  # milliseconds or nil.
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

  # A request that was counted. `timer` is that of its deadline.
  Record.defrecord(:entry, [:want, :size, :pid, :timer])

  @type entry ::
          record(:entry,
            want: want,
            size: non_neg_integer,
            pid: pid,
            timer: reference | nil
          )

  # The request makes tensors under `handles`. It uses the handles `args`, writes in place into
  # those in `written`, and releases those in `donated`. With `ref`, its caller waits for the reply.
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
  What becomes of a reply.

    * `{:reply, ref}` - its caller gets it
    * `{:sync, ref}` - its caller gets it, or the first error of what it has sent
    * `{:prepare, program_id, ref}` - the daemon keeps a program, or does not
    * `{:released, handles}` - the daemon has released handles
    * `{:cancelled, id}` - the daemon tells whether it has that request
    * `:drop` - nobody needs the reply
    * `:unsure` - nobody needs the reply, and the daemon may never have got the request
  """
  @type want ::
          results
          | {:reply, ref}
          | {:sync, ref}
          | {:prepare, pos_integer, ref | nil}
          | {:released, [pos_integer]}
          | {:cancelled, pos_integer}
          | :drop
          | :unsure

  @doc "Does a caller wait for the reply itself?"
  def waits?(results(ref: ref)), do: ref != nil
  def waits?({kind, _ref}) when kind in [:reply, :sync], do: true
  def waits?(_want), do: false

  @doc "The reference that the reply goes to, or nil."
  def ref(results(ref: ref)), do: ref
  def ref({kind, ref}) when kind in [:reply, :sync], do: ref
  def ref({:prepare, _id, ref}), do: ref
  def ref(_want), do: nil
end
