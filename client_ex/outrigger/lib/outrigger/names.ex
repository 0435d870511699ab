defmodule Outrigger.Names do
  @moduledoc """
  Tensors under names that belong to the daemon. `Outrigger` has the same functions.

  A tensor belongs to the connection that made it. A *published* tensor also has a name, and each
  client of the daemon can open it, also after the end of the client that published it. So models
  and tables stay in the memory of a server (the option `:connect`) while applications are deployed
  and restarted. A daemon that the VM itself has started has one client only. There, names work
  between the processes of the VM, and end with the daemon.

      {:ok, version} = Outrigger.publish(weights, "models/price")

      # In another application, or after a restart:
      weights = Outrigger.open(MyApp.Compute, "models/price")

  ## Names and versions

  A name is a string of 1 to 255 bytes of UTF-8 without control characters. The daemon keeps one
  version of each name, the last one. A version is an integer. Each `publish/3` gets a larger one
  than all earlier ones of the daemon.

  ## Values and live tensors

  `publish/3` publishes the value that the tensor has now, and `open/3` returns the value that the
  name has now. Neither copies elements: a later write copies them once. No later write through the
  one tensor changes the other.

  With `live: true`, `open/3` returns the published tensor itself. The ops of `Outrigger.InPlace`
  then change what all other live tensors of this version have, in each client, and what a later
  `open/3` returns. The daemon carries out one request at a time. So no client sees a part of the
  writes of one program.

  ## After a restart of the daemon

  A daemon that was started with `--data FOLDER` has the published tensors of its last *checkpoint*
  when it is started again, with the same versions. It writes a checkpoint some time after a change,
  when it is stopped, and when a client asks for one by `checkpoint/2`. If it is killed, all changes
  since the last checkpoint are lost. Tensors without a name are always lost.

  ## Events

  A process that calls `subscribe/3` gets a message when a name is published or unpublished:

      {:ok, ref} = Outrigger.subscribe(MyApp.Compute, "models/price")

      receive do
        {:outrigger, ^ref, {:published, "models/price", version}} -> …
      end

  ## Errors

  A name or an option of another form raises `ArgumentError`. The functions that wait return
  `{:error, %Outrigger.Error{}}`, and the tensor of `open/3` fails, with one of these codes:

    * `:unknown_name` - no tensor is published under the name
    * `:version_conflict` - the name has another version than `:expect` or `:version` says. The text
      has the version of the name
    * `:forbidden` - the token does not have the right. `publish/3`, `unpublish/3` and each write
      into a live tensor need `publish`, `checkpoint/2` needs `admin`; the others need `read`
    * `:limit_exceeded` - the daemon has 65,536 names, or the connection has 64 subscriptions
    * `:out_of_memory` - there is no memory for the name, or for the copy of a view
    * `:io_error` - the checkpoint could not be written; the text has the reason
  """

  alias Outrigger.{Ask, Dtype, Server, Tensor}
  import Outrigger.Ask, only: [ok!: 1, only!: 2, request: 4]

  @typedoc """
  A name in the daemon. `:ttl` is the rest of its lifetime in milliseconds, or nil. `:bytes` is the
  size of the elements. `:token` is the name of the token that published it, `""` if the daemon
  wants no tokens.
  """
  @type entry :: %{
          name: String.t(),
          version: pos_integer,
          type: Dtype.t(),
          shape: Dtype.shape(),
          bytes: non_neg_integer,
          ttl: non_neg_integer | nil,
          token: String.t()
        }

  @typedoc """
  A checkpoint of the published tensors. `:number` counts those of the folder, and is 0 if there is
  none. `:taken_at_ms` is in milliseconds since 1970, or nil. It wrote `:bytes` in `:duration_ms`.
  """
  @type checkpoint :: %{
          number: non_neg_integer,
          taken_at_ms: non_neg_integer | nil,
          names: non_neg_integer,
          bytes: non_neg_integer,
          duration_ms: non_neg_integer
        }

  @typedoc "A change of a name, in a message of `subscribe/3`."
  @type event :: {:published | :unpublished, String.t(), pos_integer}

  @name_bytes_max 255
  # The most names in one reply.
  @page 1000

  @doc """
  Publishes the value of a tensor under a name, and returns the version. A tensor that the name had
  before is replaced, with its lifetime; clients that have it open keep it. The tensor itself stays
  as it is, and may be released.

  ## Options

    * `:expect` - the version that the name must have now, or 0 if there must be no such name. If
      the name has another version, nothing changes, and the error is a `:version_conflict`
    * `:ttl` - the lifetime in milliseconds. At its end the name disappears, as by `unpublish/3`.
      Without this option, the name stays until it is unpublished, or until the end of the daemon
    * `:deadline` - as in all functions that wait. The name may be published although no answer came

  If the tensor has failed, nothing is published. If a write in place into the tensor has failed,
  its value without that write is published, and the error is returned, as by each read.

      iex> table = Outrigger.tensor(MyApp.Compute, [1, 2])
      iex> {:ok, version} = Outrigger.publish(table, "docs/table", expect: 0)
      iex> {:error, error} = Outrigger.publish(table, "docs/table", expect: 0)
      iex> error.code
      :version_conflict
      iex> {:ok, next} = Outrigger.publish(table, "docs/table", expect: version, ttl: 60_000)
      iex> next > version
      true
  """
  @spec publish(Tensor.t(), String.t(), keyword) :: {:ok, pos_integer} | Outrigger.error()
  def publish(%Tensor{} = tensor, name, options \\ []) do
    only!(options, [:expect, :ttl, :deadline])

    fields =
      [{"handle", tensor.handle}, {"name", name!(name)}] ++
        integer!(options, :expect, "expect", 0) ++ integer!(options, :ttl, "ttl_ms", 1)

    with {:ok, %{"version" => version}} <- request(tensor, "publish", fields, waits(options)),
         :ok <- Tensor.take_write_error(tensor),
         do: {:ok, version}
  end

  @doc "As `publish/3`, but returns the version, or raises."
  @spec publish!(Tensor.t(), String.t(), keyword) :: pos_integer
  def publish!(tensor, name, options \\ []), do: ok!(publish(tensor, name, options))

  @doc """
  A tensor with the value that a name has. It is returned at once, without a round trip. If there is
  no such name (`:unknown_name`), the tensor fails, and `Outrigger.await/2` returns the error.

  The tensor is an ordinary one. It keeps its value for good, whatever happens to the name.

  ## Options

    * `:version` - the version that the name must have. If it has another one, the tensor fails
      with `:version_conflict`
    * `:live` - with true, the tensor is the published one itself (false). Other clients see the
      writes of `Outrigger.InPlace` into it, and it shows those of others. It stays with its
      version: if the name is published again, open it again

  A write into a live tensor needs the right `publish`. If the token does not have it, the write
  fails with `:forbidden`, and changes nothing.

  A read shows a live tensor as it is between two requests of other clients. There is one exception:
  a token without the right `write` reads more than `:chunk_bytes` in several requests.

      iex> alias Outrigger.InPlace
      iex> Outrigger.publish!(Outrigger.tensor(MyApp.Compute, [1, 2]), "docs/counts")
      iex> value = Outrigger.open(MyApp.Compute, "docs/counts")
      iex> live = Outrigger.open(MyApp.Compute, "docs/counts", live: true)
      iex> InPlace.add(live, 10)
      iex> {Outrigger.to_list!(value), Outrigger.to_list!(live)}
      {[1, 2], [11, 12]}
      iex> Outrigger.open(MyApp.Compute, "docs/counts") |> Outrigger.to_list!()
      [11, 12]
  """
  @spec open(Outrigger.server(), String.t(), version: pos_integer, live: boolean) :: Tensor.t()
  def open(server, name, options \\ []) do
    only!(options, [:version, :live])
    live = options[:live] || false

    unless is_boolean(live) do
      raise ArgumentError, ":live must be true or false, got: #{inspect(live)}"
    end

    fields = [{"name", name!(name)} | integer!(options, :version, "version", 1)]
    Ask.make(server, "open", if(live, do: fields ++ [{"live", true}], else: fields))
  end

  @doc """
  The names of the daemon as maps (`t:entry/0`), in the order of their bytes.

  The options are `:prefix`, for the names that begin with this string, and `:deadline`. The daemon
  sends 1,000 names at a time. A name that is published or unpublished meanwhile may be in the list
  or not.

      iex> Outrigger.publish!(Outrigger.iota(MyApp.Compute, {2, 3}), "docs list/x")
      iex> {:ok, [entry]} = Outrigger.names(MyApp.Compute, prefix: "docs list/")
      iex> Map.delete(entry, :version)
      ...> |> Map.delete(:token)
      %{name: "docs list/x", type: :s32, shape: {2, 3}, bytes: 24, ttl: nil}
  """
  @spec names(Outrigger.server(), keyword) :: {:ok, [entry]} | Outrigger.error()
  def names(server, options \\ []) do
    only!(options, [:prefix, :deadline])
    fields = prefix(options[:prefix])

    with {:ok, server} <- Server.fetch(server),
         timeout = Ask.deadline(server, waits(options)),
         until = Server.until(timeout),
         {:ok, epoch} <- Server.ready(server, timeout),
         do: pages(server, epoch, fields, [], until, [])
  end

  @doc "As `names/2`, but returns the list, or raises."
  @spec names!(Outrigger.server(), keyword) :: [entry]
  def names!(server, options \\ []), do: ok!(names(server, options))

  # All pages come from one session: its end is an error, and not a list of two daemons.
  defp pages(server, epoch, fields, last, until, pages) do
    options = [epoch: epoch, deadline: Server.left(until)]

    with {:ok, reply} <- request(server, "names", fields ++ last ++ [{"limit", @page}], options) do
      page = Enum.map(reply["names"], &entry/1)
      pages = [page | pages]

      if reply["more"] == true and page != [],
        do: pages(server, epoch, fields, [{"after", List.last(page).name}], until, pages),
        else: {:ok, pages |> Enum.reverse() |> Enum.concat()}
    end
  end

  defp entry(%{"name" => name, "version" => version, "shape" => shape, "bytes" => bytes} = map) do
    {:ok, type} = Dtype.parse(map["dtype"])

    %{
      # Not a part of the whole reply.
      name: :binary.copy(name),
      version: version,
      type: type,
      shape: List.to_tuple(shape),
      bytes: bytes,
      ttl: map["ttl_ms"],
      token: :binary.copy(map["token"] || "")
    }
  end

  @doc """
  Takes a name away. Clients that have its tensor open keep it. Returns whether there was such a
  name.

  The options are `:expect`, the version that the name must have (`:version_conflict`), and
  `:deadline`.

      iex> Outrigger.publish!(Outrigger.iota(MyApp.Compute, {2}), "docs/gone")
      iex> Outrigger.unpublish(MyApp.Compute, "docs/gone")
      {:ok, true}
      iex> Outrigger.unpublish(MyApp.Compute, "docs/gone")
      {:ok, false}
  """
  @spec unpublish(Outrigger.server(), String.t(), keyword) :: {:ok, boolean} | Outrigger.error()
  def unpublish(server, name, options \\ []) do
    only!(options, [:expect, :deadline])
    fields = [{"name", name!(name)} | integer!(options, :expect, "expect", 1)]

    with {:ok, server} <- Server.fetch(server),
         {:ok, %{"found" => found}} <- request(server, "unpublish", fields, waits(options)),
         do: {:ok, found}
  end

  @doc "As `unpublish/3`, but returns whether there was such a name, or raises."
  @spec unpublish!(Outrigger.server(), String.t(), keyword) :: boolean
  def unpublish!(server, name, options \\ []), do: ok!(unpublish(server, name, options))

  @doc """
  Subscribes the calling process to a name, or to all names with a prefix: `"models/price"`, or
  `prefix: "models/"`. The prefix `""` stands for all names. The option is `:deadline`.

  The process then gets these messages:

    * `{:outrigger, ref, {:published, name, version}}` - the name has this version now. The first
      ones tell of the names that are there already
    * `{:outrigger, ref, {:unpublished, name, version}}` - the name is gone, or its lifetime has
      ended. The version is the last one that the name had
    * `{:outrigger, ref, {:error, exception}}` - after the connection broke, the server refused the
      subscription. The subscription has ended
    * `{:DOWN, ref, :process, pid, reason}` - the server was stopped or has failed. The subscription
      has ended

  If a name changes often, the daemon may leave out all changes but the last one. The subscription
  ends by `unsubscribe/2`, or with its process. A connection can have 64 subscriptions. For more
  processes, let one subscribe, and send the events on by `Registry` or `Phoenix.PubSub`.

  If the connection breaks, or the daemon dies, the subscription goes on with the next connection.
  The process then gets `:published` for each name that is there, also with a version that it knows:
  its tensors are stale, and it can open them again. For each name that it knew and that is gone,
  it gets `:unpublished` with the version that it knew. A daemon that was started again has no
  names, or those of its last checkpoint.

      iex> {:ok, ref} = Outrigger.subscribe(MyApp.Compute, "docs/news")
      iex> version = Outrigger.publish!(Outrigger.iota(MyApp.Compute, {2}), "docs/news")
      iex> receive do
      ...>   {:outrigger, ^ref, event} -> event == {:published, "docs/news", version}
      ...> end
      true
      iex> Outrigger.unsubscribe(MyApp.Compute, ref)
      :ok
  """
  @spec subscribe(Outrigger.server(), String.t() | [prefix: String.t()], keyword) ::
          {:ok, reference} | Outrigger.error()
  def subscribe(server, names, options \\ []) do
    field = subject!(names)

    with {:ok, server} <- Server.fetch(server),
         timeout = Ask.deadline(server, options),
         until = Server.until(timeout),
         {:ok, epoch} <- Server.ready(server, timeout) do
      # The end of this alias is the end of all messages.
      ref = :erlang.monitor(:process, server.connection, alias: :demonitor)
      message = &{:subscribe, epoch, ref, self(), field, &1}

      with {:error, error} <- Server.exchange(server, message, Server.left(until)) do
        silence(ref)
        send(server.connection, {:unsubscribe, ref})
        {:error, error}
      end
    end
  end

  @doc "As `subscribe/3`, but returns the reference, or raises."
  @spec subscribe!(Outrigger.server(), String.t() | [prefix: String.t()], keyword) :: reference
  def subscribe!(server, names, options \\ []), do: ok!(subscribe(server, names, options))

  @doc """
  Ends a subscription of the calling process. It gets no more messages of the subscription, and
  those in its mailbox are removed. The function does not wait for the daemon.
  """
  @spec unsubscribe(Outrigger.server(), reference) :: :ok
  def unsubscribe(server, ref) when is_reference(ref) do
    silence(ref)

    with {:ok, server} <- Server.fetch(server),
         do: send(server.connection, {:unsubscribe, ref})

    :ok
  end

  defp silence(ref) do
    :erlang.demonitor(ref, [:flush])
    flush(ref)
  end

  defp flush(ref) do
    receive do
      {:outrigger, ^ref, _event} -> flush(ref)
    after
      0 -> :ok
    end
  end

  @doc """
  Waits until the daemon's data folder has the published tensors as they are now, and returns what
  the checkpoint is. If nothing has changed since the last checkpoint, it returns that one.

  Other requests go on meanwhile. A write into a live tensor that is being written to the disk costs
  a copy of it; without memory for the copy, it waits. The option is `:deadline`: a checkpoint that
  has begun goes on after it.

  The token needs the right `admin`. A daemon that was started without `--data` has no folder:

      iex> {:error, error} = Outrigger.checkpoint(MyApp.Compute)
      iex> error.code
      :bad_request
  """
  @spec checkpoint(Outrigger.server(), keyword) :: {:ok, checkpoint} | Outrigger.error()
  def checkpoint(server, options \\ []) do
    only!(options, [:deadline])

    with {:ok, server} <- Server.fetch(server),
         {:ok, %{"checkpoint" => told}} <- request(server, "checkpoint", [], waits(options)) do
      {:ok,
       %{
         number: told["number"],
         taken_at_ms: told["taken_at_ms"],
         names: told["names"],
         bytes: told["bytes"],
         duration_ms: told["duration_ms"]
       }}
    end
  end

  @doc "As `checkpoint/2`, but returns the checkpoint, or raises."
  @spec checkpoint!(Outrigger.server(), keyword) :: checkpoint
  def checkpoint!(server, options \\ []), do: ok!(checkpoint(server, options))

  ## Arguments

  defp waits(options), do: Keyword.take(options, [:deadline])

  defp integer!(options, key, field, least) do
    case options[key] do
      nil ->
        []

      n when is_integer(n) and n >= least and n < 0x10000000000000000 ->
        [{field, n}]

      other ->
        raise ArgumentError,
              "#{inspect(key)} must be an integer from #{least} on, got: #{inspect(other)}"
    end
  end

  defp prefix(nil), do: []
  defp prefix(prefix), do: [{"prefix", text!(prefix, 0, "a prefix of names")}]

  defp subject!([{:prefix, prefix}]), do: {"prefix", text!(prefix, 0, "a prefix of names")}

  defp subject!(list) when is_list(list) do
    raise ArgumentError, "expected a name, or [prefix: prefix], got: #{inspect(list, limit: 5)}"
  end

  defp subject!(name), do: {"name", name!(name)}

  defp name!(name), do: text!(name, 1, "a name")

  defp text!(text, least, what) do
    if is_binary(text) and byte_size(text) in least..@name_bytes_max and String.valid?(text) and
         not String.match?(text, ~r/[\x00-\x1f\x7f]/) do
      text
    else
      raise ArgumentError,
            "#{what} is a string of #{least} to #{@name_bytes_max} bytes of UTF-8 without " <>
              "control characters, got: #{inspect(text, limit: 5, printable_limit: 64)}" <>
              size(text)
    end
  end

  defp size(text) when is_binary(text) and byte_size(text) > @name_bytes_max,
    do: " (#{byte_size(text)} bytes)"

  defp size(_text), do: ""
end
