defmodule Outrigger do
  @moduledoc """
  Mutable tensors in a supervised daemon.

  Put a server into a supervision tree:

      children = [
        {Outrigger, name: MyApp.Compute, memory_limit: "2GiB", threads: 2}
      ]

  The server starts `outriggerd`, a C++ program. This daemon holds the tensors in its own memory and
  computes with them. Elixir gets handles of the tensors, each an `Outrigger.Tensor`:

      iex> x = Outrigger.tensor(MyApp.Compute, [[1, 2], [3, 4]], type: :f32)
      iex> y = x |> Outrigger.Op.multiply(10) |> Outrigger.Op.sum(axes: [0])
      iex> Outrigger.to_list(y)
      {:ok, [40.0, 60.0]}

  ## Ops

    * `Outrigger.Op` - functional ops: each returns a new tensor
    * `Outrigger.InPlace` - ops that write into an operand, under the same names
    * `program/1` - traces ops of both modules into one program, which is sent once and runs as a
      whole

  This module has the functions for all else. `Outrigger.Creation`, `Outrigger.Files`,
  `Outrigger.Read`, `Outrigger.Names`, `Outrigger.Program` and `Outrigger.Status` have the full docs
  of those that they share with it.

  ## Functions that wait, and functions that do not

  Functions that only send (ops, `tensor/3`, `run/4`, `call/3`, `load_npy/2`, …) return their
  tensors at once, without a round trip. Thousands of requests can be under way. The functions that
  upload more than 2 MiB wait until the daemon has received all but the last pieces. A function that
  cannot send raises:

    * `ArgumentError` for bad arguments
    * `Outrigger.Error` for a program that is too long for the daemon
    * `Outrigger.ConnectionError` for a tensor whose daemon is gone (`:stale_epoch`), and for a
      tensor of another server (`:foreign_tensor`)

  If too many requests are under way, these functions wait. If no request ends meanwhile, they raise
  an `Outrigger.ConnectionError` with the reason `:queue_full`.

  Functions that need the daemon's answer (`to_list/2`, `shape/2`, `await/2`, `sync/2`, …) return
  `{:ok, value}` or `{:error, exception}`. The function of the same name with `!` raises. The
  exception is an `Outrigger.Error` if the daemon refused or failed, and an
  `Outrigger.ConnectionError` if there was no answer.

  The option `:deadline` of these functions is in milliseconds, or `:infinity`. Its default is the
  `:timeout` of the server. The caller gets its answer in time even if the daemon hangs. At the
  deadline the request is cancelled: a read, for instance, but not the op that computes the tensor
  (see `cancel/1` and the `:deadline` of `run/4`).

  If an op fails after it was sent, its result fails. A read of that tensor returns the error. A
  read of a tensor that was computed from it returns `:failed_operand`, with the first error as
  its `cause`. `sync/2` returns the first failure of all requests of this process.

  ## When the daemon dies

  Each waiting call gets one `Outrigger.ConnectionError` at once, and the server starts a new
  daemon. The old tensors are gone (`:stale_epoch`). The `:on_restart` callback can make them
  again. The server never sends a request again by itself. It keeps prepared programs, and the
  next call prepares them again.

  Each function waits for the new daemon until its deadline, or for the server's `:start_timeout`.
  If the server itself is gone, the reason is `:closed`. Then `release/1` does nothing, and
  `cancel/1` returns false.

  ## A server of its own

  With the option `:connect`, no daemon is started. The server of the supervision tree is then a
  client of an `outriggerd` that listens on a socket, on this machine or on another one:

      {Outrigger,
       name: MyApp.Compute,
       connect: "tls://compute.example:7171",
       token: {:file, "/run/secrets/outrigger"},
       ssl: [cacertfile: "/etc/outrigger/authority.pem"]}

  All functions are the same. The differences are

    * The server's machine has the files of `load_npy/2`, `save_npy/3` and so on. Give absolute
      paths: a relative one is completed with the working directory of this VM.
    * Tensors belong to the connection. If it breaks, each waiting call gets one
      `Outrigger.ConnectionError` with the reason `{:disconnected, why}`, and the server frees the
      tensors, also if it goes on itself. A new connection is made, with delays that grow up to five
      seconds, and `:on_restart` is called. The error of an old tensor (`:stale_epoch`) says whether
      the connection broke or the server was started again.
    * A published tensor belongs to the server, and each client can open it (`Outrigger.Names`).
    * A server that refuses the token, or whose certificate is not trusted, is asked again once in a
      while, at most once in a minute. Calls get this error at once.
    * If the server ends the connection because it was idle, the next call makes a new one.
    * A host that has vanished without a word is noticed after half a minute.
    * The token may not have the right that a request needs. The error is an `Outrigger.Error` with
      the code `:forbidden`.

  ## How tensors are freed

  A tensor is freed when no process of the node holds it any more, at once by `release/1`, or at the
  end of a `scope/2`. See `Outrigger.Tensor`.
  """

  alias Outrigger.{
    Connection,
    ConnectionError,
    Creation,
    Data,
    Dtype,
    Files,
    Names,
    Op,
    Options,
    Prepared,
    Program,
    Read,
    Scope,
    Server,
    Status,
    Tensor
  }

  import Outrigger.Ask, only: [deadline: 2, ok!: 1, request: 4, tensors!: 1]

  @typedoc "A server: its name, or its pid."
  @type server :: atom | pid | {:global, term} | {:via, module, term}

  @typedoc "The result of a function that waits, if there is no value."
  @type error :: {:error, Outrigger.Error.t() | ConnectionError.t()}

  @typedoc "Tensors in the container that the program's function returned: one, a tuple, a list."
  @type results :: Tensor.t() | tuple | [Tensor.t()]

  ## Starting

  @doc """
  A child specification. The options are those of `start_link/1`.

      iex> Outrigger.child_spec(name: MyApp.Other).id
      MyApp.Other
  """
  @spec child_spec(keyword) :: Supervisor.child_spec()
  def child_spec(options) do
    %{
      id: options[:name] || __MODULE__,
      start: {__MODULE__, :start_link, [Options.hide(options)]},
      type: :supervisor
    }
  end

  @doc """
  Starts a daemon, or connects to a server, and waits until it is ready.

  ## Options

    * `:name` - an atom, `{:global, term}` or `{:via, module, term}`
    * `:memory_limit` - for tensors and temporaries: bytes, a text such as `"2GiB"`, or a share of
      the memory of the machine or its container, such as `"50%"`; 0 for no limit (`"80%"`)
    * `:threads` - the number of threads that compute, at most 1,024; default: all processors that
      the daemon may use
    * `:on_restart` - a function of one argument (the server) or `{module, function, args}`. It runs
      in its own process when a new daemon has replaced a dead daemon
    * `:timeout` - the default deadline of calls that wait, in milliseconds or `:infinity` (60,000)
    * `:daemon` - the path of `outriggerd`. The default is the environment variable `OUTRIGGERD`,
      then `config :outrigger, daemon: path`, then the daemon that `mix compile` built
    * `:args` - more arguments for the daemon, a list of strings
    * `:env` - environment variables for the daemon, pairs of strings
    * `:log` - where the daemon logs: `:stderr`, `:none` or the path of a file (`:stderr`)
    * `:start_timeout` - the longest time of a start, and of a call's wait for a restart, in
      milliseconds (10,000)
    * `:queue_max`, `:queue_bytes_max` - the requests and bytes that may be under way at once
      (16,384 requests, 64 MiB). Above these limits, senders wait
    * `:chunk_bytes` - the size of the pieces of large data, in bytes (256 KiB)

  To connect to a server that listens, instead of starting a daemon:

    * `:connect` - the address: `"unix:/run/outrigger.sock"`, `"tcp://127.0.0.1:7171"` or
      `"tls://compute.example:7171"`. An IPv6 address stands in brackets: `"tls://[::1]:7171"`. The
      options `:memory_limit`, `:threads`, `:daemon`, `:args`, `:env` and `:log` are then options of
      `outriggerd`. `:start_timeout` is also the longest time of an attempt to connect
    * `:token` - the token that the server wants: a string, `{:file, path}`, or a function without
      arguments. A file is read, and a function called, for each connection. Over `tcp://` anyone on
      the way can read the token. No log, error or `inspect/1` shows it
    * `:ssl` - options of `:ssl.connect/3` for `tls://`, for instance `[cacertfile: path]` for an
      authority of your own, or `[certfile: path, keyfile: path]` if the server wants a certificate
      of the client. The server's certificate and its name are checked. The default authorities are
      those of the system. The version is TLS 1.3
    * `:sync_connect` - whether `start_link/1` waits for the first connection and returns its error
      (true). With false, it returns at once, attempts go on, and calls wait for the connection

  Returns `{:error, %Outrigger.ConnectionError{}}` if the daemon cannot be started, or the server
  not be reached.
  """
  @spec start_link(keyword) :: Supervisor.on_start() | {:error, ConnectionError.t()}
  def start_link(options \\ []), do: Outrigger.Supervisor.start_link(Options.new!(options))

  @doc """
  Stops a server. Its daemon ends by itself, or is killed. With the option `:connect`, only the
  connection and its tensors end.
  """
  @spec stop(server) :: :ok
  def stop(server) do
    Supervisor.stop(server)
  catch
    :exit, {:noproc, _} -> raise Server.closed(nil)
    :exit, :noproc -> raise Server.closed(nil)
  end

  ## Making tensors

  @doc """
  A tensor from a number or a nested list. The option is `:type`. See `Outrigger.Creation.tensor/3`.
  """
  @spec tensor(server, Data.nested(), type: Dtype.accepted()) :: Tensor.t()
  defdelegate tensor(server, value, options \\ []), to: Creation

  @doc """
  A tensor from bytes: elements in C order, little-endian. See `Outrigger.Creation.from_binary/4`.
  """
  @spec from_binary(server, binary, Dtype.accepted(), Dtype.shape()) :: Tensor.t()
  defdelegate from_binary(server, data, type, shape), to: Creation

  @doc """
  A tensor of the numbers of a range. The option is `:type`. See `Outrigger.Creation.from_range/3`.
  """
  @spec from_range(server, Range.t(), type: Dtype.accepted()) :: Tensor.t()
  defdelegate from_range(server, range, options \\ []), to: Creation

  @doc """
  A tensor that counts up from 0, along `:axis` or through all elements.

      iex> Outrigger.iota(MyApp.Compute, {2, 2}, type: :u8) |> Outrigger.to_list!()
      [[0, 1], [2, 3]]
  """
  @spec iota(server, Dtype.shape(), keyword) :: Tensor.t()
  def iota(server, shape, options \\ []), do: Op.iota(server, shape, options)

  ## Files

  @doc "A tensor from a `.npy` file. See `Outrigger.Files.load_npy/2`."
  @spec load_npy(server, Path.t()) :: Tensor.t()
  defdelegate load_npy(server, path), to: Files

  @doc """
  A tensor from a member of a `.npz` file; the only one by default. See
  `Outrigger.Files.load_npz/3`.
  """
  @spec load_npz(server, Path.t(), String.t() | atom) :: Tensor.t()
  defdelegate load_npz(server, path, member \\ nil), to: Files

  @doc """
  A tensor of the bytes of a file, which the daemon maps: from byte `:offset` (0) on. See
  `Outrigger.Files.load_raw/5`.
  """
  @spec load_raw(server, Path.t(), Dtype.accepted(), Dtype.shape(), offset: non_neg_integer) ::
          Tensor.t()
  defdelegate load_raw(server, path, type, shape, options \\ []), to: Files

  @doc """
  A tensor `{lines, columns}` from a CSV file. The options are `:type`, `:separator` and
  `:header`. See `Outrigger.Files.load_csv/3`.
  """
  @spec load_csv(server, Path.t(),
          type: Dtype.accepted(),
          separator: String.t(),
          header: boolean
        ) :: Tensor.t()
  defdelegate load_csv(server, path, options \\ []), to: Files

  @doc "Writes a tensor to a `.npy` file, whole or not at all. See `Outrigger.Files.save_npy/3`."
  @spec save_npy(Tensor.t(), Path.t(), keyword) :: :ok | error
  defdelegate save_npy(tensor, path, options \\ []), to: Files

  @doc "As `save_npy/3`, but raises."
  @spec save_npy!(Tensor.t(), Path.t(), keyword) :: :ok
  defdelegate save_npy!(tensor, path, options \\ []), to: Files

  @doc """
  Writes tensors with names to a `.npz` file, deflated with `compress: true`. See
  `Outrigger.Files.save_npz/3`.
  """
  @spec save_npz(Files.named(), Path.t(), keyword) :: :ok | error
  defdelegate save_npz(tensors, path, options \\ []), to: Files

  @doc "As `save_npz/3`, but raises."
  @spec save_npz!(Files.named(), Path.t(), keyword) :: :ok
  defdelegate save_npz!(tensors, path, options \\ []), to: Files

  ## Reading tensors

  @doc "The elements as a nested list. A scalar is a number. See `Outrigger.Read.to_list/2`."
  @spec to_list(Tensor.t(), keyword) :: {:ok, Data.nested()} | error
  defdelegate to_list(tensor, options \\ []), to: Read

  @doc "As `to_list/2`, but raises."
  @spec to_list!(Tensor.t(), keyword) :: Data.nested()
  defdelegate to_list!(tensor, options \\ []), to: Read

  @doc "The elements as a flat list, in C order. See `Outrigger.Read.to_flat_list/2`."
  @spec to_flat_list(Tensor.t(), keyword) :: {:ok, [Data.number_like()]} | error
  defdelegate to_flat_list(tensor, options \\ []), to: Read

  @doc "As `to_flat_list/2`, but raises."
  @spec to_flat_list!(Tensor.t(), keyword) :: [Data.number_like()]
  defdelegate to_flat_list!(tensor, options \\ []), to: Read

  @doc """
  The bytes of the elements, or of the first `:limit`: C order, little-endian. See
  `Outrigger.Read.to_binary/2`.
  """
  @spec to_binary(Tensor.t(), keyword) :: {:ok, binary} | error
  defdelegate to_binary(tensor, options \\ []), to: Read

  @doc "As `to_binary/2`, but raises."
  @spec to_binary!(Tensor.t(), keyword) :: binary
  defdelegate to_binary!(tensor, options \\ []), to: Read

  @doc "As `to_binary/2`, but as iodata, in half the memory. See `Outrigger.Read.to_iodata/2`."
  @spec to_iodata(Tensor.t(), keyword) :: {:ok, iodata} | error
  defdelegate to_iodata(tensor, options \\ []), to: Read

  @doc "As `to_iodata/2`, but raises."
  @spec to_iodata!(Tensor.t(), keyword) :: iodata
  defdelegate to_iodata!(tensor, options \\ []), to: Read

  @doc "The number of a tensor with one element. See `Outrigger.Read.to_number/2`."
  @spec to_number(Tensor.t(), keyword) :: {:ok, Data.number_like()} | error
  defdelegate to_number(tensor, options \\ []), to: Read

  @doc "As `to_number/2`, but raises."
  @spec to_number!(Tensor.t(), keyword) :: Data.number_like()
  defdelegate to_number!(tensor, options \\ []), to: Read

  @doc """
  The first `count` elements, in C order. The daemon sends no others. See `Outrigger.Read.peek/3`.
  """
  @spec peek(Tensor.t(), pos_integer, keyword) :: {:ok, [Data.number_like()]} | error
  defdelegate peek(tensor, count, options \\ []), to: Read

  @doc "As `peek/3`, but raises."
  @spec peek!(Tensor.t(), pos_integer, keyword) :: [Data.number_like()]
  defdelegate peek!(tensor, count, options \\ []), to: Read

  @doc "The shape, a tuple. See `Outrigger.Read.shape/2`."
  @spec shape(Tensor.t(), keyword) :: {:ok, Dtype.shape()} | error
  defdelegate shape(tensor, options \\ []), to: Read

  @doc "As `shape/2`, but raises."
  @spec shape!(Tensor.t(), keyword) :: Dtype.shape()
  defdelegate shape!(tensor, options \\ []), to: Read

  @doc "The type, one of `t:Outrigger.Dtype.t/0`. See `Outrigger.Read.type/2`."
  @spec type(Tensor.t(), keyword) :: {:ok, Dtype.t()} | error
  defdelegate type(tensor, options \\ []), to: Read

  @doc "As `type/2`, but raises."
  @spec type!(Tensor.t(), keyword) :: Dtype.t()
  defdelegate type!(tensor, options \\ []), to: Read

  ## Names

  @doc "Publishes a tensor under a name, and returns the version. See `Outrigger.Names.publish/3`."
  @spec publish(Tensor.t(), String.t(), keyword) :: {:ok, pos_integer} | error
  defdelegate publish(tensor, name, options \\ []), to: Names

  @doc "As `publish/3`, but raises."
  @spec publish!(Tensor.t(), String.t(), keyword) :: pos_integer
  defdelegate publish!(tensor, name, options \\ []), to: Names

  @doc "A tensor with the value of a name, or the published one. See `Outrigger.Names.open/3`."
  @spec open(server, String.t(), version: pos_integer, live: boolean) :: Tensor.t()
  defdelegate open(server, name, options \\ []), to: Names

  @doc "The names of the daemon, as maps. See `Outrigger.Names.names/2`."
  @spec names(server, keyword) :: {:ok, [Names.entry()]} | error
  defdelegate names(server, options \\ []), to: Names

  @doc "As `names/2`, but raises."
  @spec names!(server, keyword) :: [Names.entry()]
  defdelegate names!(server, options \\ []), to: Names

  @doc "Takes a name away, and returns whether it was there. See `Outrigger.Names.unpublish/3`."
  @spec unpublish(server, String.t(), keyword) :: {:ok, boolean} | error
  defdelegate unpublish(server, name, options \\ []), to: Names

  @doc "As `unpublish/3`, but raises."
  @spec unpublish!(server, String.t(), keyword) :: boolean
  defdelegate unpublish!(server, name, options \\ []), to: Names

  @doc "Sends this process a message for each change of names. See `Outrigger.Names.subscribe/3`."
  @spec subscribe(server, String.t() | [prefix: String.t()], keyword) :: {:ok, reference} | error
  defdelegate subscribe(server, names, options \\ []), to: Names

  @doc "As `subscribe/3`, but raises."
  @spec subscribe!(server, String.t() | [prefix: String.t()], keyword) :: reference
  defdelegate subscribe!(server, names, options \\ []), to: Names

  @doc "Ends a subscription of the calling process. See `Outrigger.Names.unsubscribe/2`."
  @spec unsubscribe(server, reference) :: :ok
  defdelegate unsubscribe(server, ref), to: Names

  @doc "Waits until published tensors are on the disk. See `Outrigger.Names.checkpoint/2`."
  @spec checkpoint(server, keyword) :: {:ok, Names.checkpoint()} | error
  defdelegate checkpoint(server, options \\ []), to: Names

  @doc "As `checkpoint/2`, but raises."
  @spec checkpoint!(server, keyword) :: Names.checkpoint()
  defdelegate checkpoint!(server, options \\ []), to: Names

  ## Programs

  @doc "Traces a function of ops into a program. See `Outrigger.Program.trace/1`."
  @spec program(fun) :: Program.t()
  defdelegate program(fun), to: Program, as: :trace

  @doc """
  Runs a program once, and returns the tensors of its results at once. The options are `:deadline`,
  `:atomic` and `:donated`. See `Outrigger.Program.run/4`.
  """
  @spec run(server, Program.t(), [Tensor.t()], keyword) :: results
  defdelegate run(server, program, args, options \\ []), to: Program

  @doc """
  Sends a program to a server, which keeps it for `call/3`. See `Outrigger.Program.prepare/3`.
  """
  @spec prepare(server, Program.t(), keyword) :: {:ok, Prepared.t()} | error
  defdelegate prepare(server, program, options \\ []), to: Program

  @doc "As `prepare/3`, but raises."
  @spec prepare!(server, Program.t(), keyword) :: Prepared.t()
  defdelegate prepare!(server, program, options \\ []), to: Program

  @doc """
  Calls a prepared program, and returns the tensors of its results at once. The options are those of
  `run/4`. See `Outrigger.Program.call/3`.
  """
  @spec call(Prepared.t(), [Tensor.t()], keyword) :: results
  defdelegate call(prepared, args, options \\ []), to: Program

  @doc """
  Calls a prepared program and waits until it has run, in one round trip. See
  `Outrigger.Program.call_and_wait/3`.
  """
  @spec call_and_wait(Prepared.t(), [Tensor.t()], keyword) :: {:ok, results} | error
  defdelegate call_and_wait(prepared, args, options \\ []), to: Program

  @doc "As `call_and_wait/3`, but raises."
  @spec call_and_wait!(Prepared.t(), [Tensor.t()], keyword) :: results
  defdelegate call_and_wait!(prepared, args, options \\ []), to: Program

  @doc """
  Calls a prepared program, waits until it has run, and returns the time of each step. See
  `Outrigger.Program.profile/3`.
  """
  @spec profile(Prepared.t(), [Tensor.t()], keyword) :: {:ok, results, [map]} | error
  defdelegate profile(prepared, args, options \\ []), to: Program

  ## Waiting

  @doc """
  Waits until tensors exist, that is, until the ops that make them have run. Takes a tensor or a
  container of tensors, and returns it. Writes in place make no tensor: `sync/2` waits for them.

      iex> {:ok, t} = Outrigger.await(Outrigger.iota(MyApp.Compute, {3}))
      iex> inspect(t)
      "#Outrigger.Tensor<s32[3]>"
  """
  @spec await(results | map, keyword) :: {:ok, results | map} | error
  def await(tensors, options \\ []) do
    Enum.find_value(tensors!(tensors), {:ok, tensors}, fn tensor ->
      with {:ok, _meta} <- Tensor.await(tensor, deadline(tensor.server, options)), do: nil
    end)
  end

  @doc "As `await/2`, but raises."
  @spec await!(results | map, keyword) :: results | map
  def await!(tensors, options \\ []), do: ok!(await(tensors, options))

  @doc """
  Waits until the daemon has carried out all requests of this process. Returns the first failure
  since the last `sync/2`, if there was one.

      iex> alias Outrigger.{InPlace, Op}
      iex> t = Outrigger.tensor(MyApp.Compute, [1, 2])
      iex> InPlace.add(t, Op.iota(MyApp.Compute, {3}))
      iex> {:error, error} = Outrigger.sync(MyApp.Compute)
      iex> {error.code, error.op}
      {:bad_shape, "add"}
      iex> Outrigger.sync(MyApp.Compute)
      :ok
  """
  @spec sync(server, keyword) :: :ok | error
  def sync(server, options \\ []) do
    # A release keeps its place in the order of requests. A ping overtakes.
    with {:ok, server} <- Server.fetch(server),
         {:ok, _} <- request(server, "release", [{"handles", []}], [want: :sync] ++ options),
         do: :ok
  end

  @doc "As `sync/2`, but raises."
  @spec sync!(server, keyword) :: :ok
  def sync!(server, options \\ []), do: ok!(sync(server, options))

  @doc """
  Cancels the op or program that computes a tensor, if it waits or runs. The tensor then fails with
  `:cancelled`. Returns whether there was something to cancel.
  """
  @spec cancel(Tensor.t()) :: boolean
  def cancel(%Tensor{server: server, handle: handle} = tensor) do
    with :ok <- Tensor.check(tensor),
         {:ok, found} <-
           Server.exchange(server, &{:cancel_handle, handle, &1}, server.timeout) do
      found
    else
      {:error, _} -> false
    end
  end

  ## Lifetime

  @doc """
  Frees tensors now: one tensor, or a container of tensors. The next requests of this process can
  use their memory. A later use of such a tensor is a `:bad_handle`.

      iex> t = Outrigger.iota(MyApp.Compute, {3})
      iex> Outrigger.release(t)
      iex> {:error, error} = Outrigger.to_list(t)
      iex> error.code
      :bad_handle
  """
  @spec release(results | map) :: :ok
  def release(tensors) do
    live = Enum.filter(tensors!(tensors), &live?/1)

    for {{server, epoch}, handles} <- Enum.group_by(live, &{&1.server, &1.epoch}, & &1.handle),
        do: Server.release(server, epoch, handles)

    :ok
  end

  defp live?(tensor) do
    case Tensor.check(tensor) do
      :ok -> true
      {:error, %ConnectionError{reason: reason}} when reason in [:stale_epoch, :closed] -> false
      {:error, error} -> raise error
    end
  end

  @doc """
  Runs a function, and then frees all tensors that this process made in it, on any server. Tensors
  that the function returns are not freed.

      iex> alias Outrigger.Op
      iex> t = Outrigger.scope(MyApp.Compute, fn ->
      ...>   MyApp.Compute |> Op.iota({1000}) |> Op.multiply(2) |> Op.sum()
      ...> end)
      iex> Outrigger.to_number!(t)
      999000
  """
  @spec scope(server, (() -> result)) :: result when result: term
  def scope(server, fun) when is_function(fun, 0) do
    Server.fetch!(server)
    Scope.run(fun)
  end

  @doc """
  Frees now the tensors that no process holds, before the next poll. The calling process collects
  its garbage first. A tensor that another process has dropped is freed after the next garbage
  collection of that process.
  """
  @spec collect(server) :: :ok
  def collect(server) do
    :erlang.garbage_collect()
    Connection.poll_leases(Server.fetch!(server), [])
  end

  ## Status

  @doc """
  Asks the daemon for a sign of life. The daemon answers also while it computes. See
  `Outrigger.Status.ping/2`.
  """
  @spec ping(server, keyword) :: :ok | error
  defdelegate ping(server, options \\ []), to: Status

  @doc "Describes a server or a tensor, as a map. See `Outrigger.Status.info/2`."
  @spec info(server | Tensor.t(), keyword) :: {:ok, map} | error
  defdelegate info(subject, options \\ []), to: Status

  @doc "As `info/2`, but raises."
  @spec info!(server | Tensor.t(), keyword) :: map
  defdelegate info!(subject, options \\ []), to: Status

  @doc "Waits until a daemon is running. See `Outrigger.Status.await_ready/2`."
  @spec await_ready(server, keyword) :: :ok | {:error, ConnectionError.t()}
  defdelegate await_ready(server, options \\ []), to: Status
end
