defmodule Outrigger do
  @moduledoc """
  Mutable tensors in a supervised daemon.

  Put a server into a supervision tree:

      children = [
        {Outrigger, name: MyApp.Compute, memory_limit: "2GiB", threads: 2}
      ]

  It starts `outriggerd`, a C++ program that holds tensors in its own memory and computes with
  them. What comes back are handles, `Outrigger.Tensor`s:

      iex> x = Outrigger.tensor(MyApp.Compute, [[1, 2], [3, 4]], type: :f32)
      iex> y = x |> Outrigger.Op.multiply(10) |> Outrigger.Op.sum(axes: [0])
      iex> Outrigger.to_list(y)
      {:ok, [40.0, 60.0]}

  ## Three modules of ops, one set of names

    * `Outrigger.Op` - functional ops, each gives a new tensor
    * `Outrigger.InPlace` - the ops that can write into their operand, and do
    * `program/1` traces either into a program, which is sent once and runs as one

  ## What waits and what does not

  Functions that only send (ops, `tensor/3`, `run/4`, `call/3`, `load_npy/2`, …) return their
  tensors at once, without a round trip: thousands can be on their way. (Data of more than 2 MiB is
  sent as the daemon takes it in, in its turn.) They raise if nothing could be sent: `ArgumentError`
  for bad arguments, `Outrigger.ConnectionError` for a tensor whose daemon is gone,
  `Outrigger.Error` for a program that is too long for a frame.

  Functions that need the daemon's answer (`to_list/2`, `shape/2`, `await/2`, `sync/2`, …) return
  `{:ok, value}` or `{:error, exception}`, and have a twin with `!` that raises. The exception is
  an `Outrigger.Error` if the daemon said no, or an `Outrigger.ConnectionError` if there was no
  answer. They take the option `:deadline`, in milliseconds or `:infinity` (default: the server's
  `:timeout`); the answer to the caller is on time even if the daemon hangs, and what it was asked is
  cancelled: a read, for instance, but not what computes the tensor (see `cancel/1` and the
  `:deadline` of `run/4`). A server that does not exist raises.

  An op that fails after it was sent fails its result: reading that gives the error; reading what was
  computed from it gives a `:failed_operand` with the first error as its `cause`. `sync/2` tells the
  first failure of all that this process has sent.

  ## When the daemon dies

  Each waiting call gets one `Outrigger.ConnectionError` at once, and a new daemon is started. The
  old tensors are gone (`:stale_epoch`); the `:on_restart` callback can make them again. Nothing
  that was sent is ever sent again by itself. Prepared programs are not lost.

  ## How tensors are freed

  When no process of the node holds a tensor any more; by `release/1`, at once; or at the end of a
  `scope/2`. See `Outrigger.Tensor`.
  """

  alias Outrigger.{
    Connection,
    ConnectionError,
    Data,
    Dtype,
    Files,
    Op,
    Options,
    Prepared,
    Program,
    Scope,
    Server,
    Tensor,
    Trace,
    Transfer
  }

  @typedoc "A server: the name it was started with, or its pid."
  @type server :: atom | pid | {:global, term} | {:via, module, term}

  @typedoc "What a function that waits gives if it has no value."
  @type error :: {:error, Outrigger.Error.t() | ConnectionError.t()}

  @typedoc "Tensors in the container that the program's function returned: one, a tuple, a list."
  @type results :: Tensor.t() | tuple | [Tensor.t()]

  ## Starting

  @doc """
  A child specification; the options are those of `start_link/1`.

      iex> Outrigger.child_spec(name: MyApp.Other).id
      MyApp.Other
  """
  @spec child_spec(keyword) :: Supervisor.child_spec()
  def child_spec(options) do
    %{
      id: options[:name] || __MODULE__,
      start: {__MODULE__, :start_link, [options]},
      type: :supervisor
    }
  end

  @doc """
  Starts a daemon and waits until it is ready.

  ## Options

    * `:name` - an atom, `{:global, term}` or `{:via, module, term}`
    * `:memory_limit` - for tensors and temporaries: bytes, or a text such as `"2GiB"` or, of the
      machine's memory or its container's, `"50%"`; 0 for no limit; default: `"80%"`
    * `:threads` - threads that compute, at most 1,024; default: all the daemon may use
    * `:on_restart` - a function of one argument (the server) or `{module, function, args}`, called
      in a process of its own when a new daemon has replaced a dead one
    * `:timeout` - default deadline of calls that wait, in milliseconds or `:infinity` (60 000)
    * `:daemon` - path of `outriggerd`; otherwise the environment variable `OUTRIGGERD`, then
      `config :outrigger, daemon: path`, then the one built by `mix compile`
    * `:args`, `:env` - more arguments for it, a list of strings, and environment variables, pairs of
      strings
    * `:log` - where the daemon logs: `:stderr`, `:none` or a file's path (`:stderr`)
    * `:start_timeout` - how long a start may take, and how long calls wait for a restart (10 000)
    * `:queue_max`, `:queue_bytes_max` - what may be on its way at once (16 384 requests, 64 MiB);
      above it, senders are held back
    * `:chunk_bytes` - large data travels in pieces of this size (256 KiB)

  Returns `{:error, %Outrigger.ConnectionError{}}` if the daemon cannot be started.
  """
  @spec start_link(keyword) :: Supervisor.on_start() | {:error, ConnectionError.t()}
  def start_link(options \\ []), do: Outrigger.Supervisor.start_link(Options.new!(options))

  @doc "Stops a server: says bye to the daemon and, if need be, kills it."
  @spec stop(server) :: :ok
  def stop(server), do: Supervisor.stop(server)

  ## Making tensors

  @doc """
  A tensor from a number or a nested list.

  The type is `:s32` for integers and `:f32` as soon as there is a float, as in Nx, unless
  `:type` says otherwise.

      iex> Outrigger.tensor(MyApp.Compute, [[1, 2.5], [:nan, 4]]) |> Outrigger.to_list!()
      [[1.0, 2.5], [:nan, 4.0]]
  """
  @spec tensor(server, Data.nested(), type: Dtype.accepted()) :: Tensor.t()
  def tensor(server, value, options \\ [])

  def tensor(server, value, options)
      when is_list(value) or is_number(value) or is_atom(value) or is_struct(value, Complex) or
             (is_tuple(value) and tuple_size(value) == 2) do
    only!(options, [:type])

    type =
      if options[:type], do: Dtype.normalize!(options[:type]), else: elem(Data.infer(value), 0)

    shape = Data.shape(value)
    flat? = is_list(value) and tuple_size(shape) == 1
    data = if flat?, do: value, else: IO.iodata_to_binary(Data.encode(value, type))
    Transfer.upload(Server.fetch!(server), data, type, shape)
  end

  def tensor(_server, value, _options) do
    raise ArgumentError,
          "expected a number or a nested list of numbers, got: #{inspect(value, limit: 5)}"
  end

  @doc """
  A tensor from bytes: elements in C order, little-endian.

      iex> Outrigger.from_binary(MyApp.Compute, <<1, 2, 3, 4>>, :u8, {2, 2}) |> Outrigger.to_list!()
      [[1, 2], [3, 4]]
  """
  @spec from_binary(server, binary, Dtype.accepted(), Dtype.shape()) :: Tensor.t()
  def from_binary(server, data, type, shape) when is_binary(data) do
    {type, shape} = {Dtype.normalize!(type), Dtype.shape!(shape)}
    size = Dtype.byte_size(type, shape)

    if byte_size(data) != size do
      raise ArgumentError,
            "#{type}#{Tensor.dims(shape)} takes #{size} bytes, got #{byte_size(data)}"
    end

    Transfer.upload(Server.fetch!(server), data, type, shape)
  end

  @doc """
  A tensor of the numbers of a range, made by the daemon. Type `:s32` unless `:type` says otherwise;
  as in `tensor/3`, integers that it cannot hold wrap around.

      iex> Outrigger.from_range(MyApp.Compute, 10..0//-5) |> Outrigger.to_list!()
      [10, 5, 0]
  """
  @spec from_range(server, Range.t(), type: Dtype.accepted()) :: Tensor.t()
  def from_range(server, %Range{first: first, step: step} = range, options \\ []) do
    only!(options, [:type])
    type = Dtype.normalize!(options[:type] || :s32)

    program =
      program(fn ->
        Op.iota({Range.size(range)}, type: :s64)
        |> Op.multiply(step)
        |> Op.add(first)
        |> Op.as_type(type)
      end)

    run(server, program, [])
  end

  @doc """
  A tensor that counts up from 0, along `:axis` or through all elements.

      iex> Outrigger.iota(MyApp.Compute, {2, 2}, type: :u8) |> Outrigger.to_list!()
      [[0, 1], [2, 3]]
  """
  @spec iota(server, Dtype.shape(), keyword) :: Tensor.t()
  def iota(server, shape, options \\ []), do: Op.iota(server, shape, options)

  @doc "A tensor from a `.npy` file, which the daemon reads itself."
  @spec load_npy(server, Path.t()) :: Tensor.t()
  def load_npy(server, path), do: Files.load(server, path)

  @doc """
  A tensor from a member of an `.npz` file (its name without `.npy`); the member may be left out
  if there is only one.
  """
  @spec load_npz(server, Path.t(), String.t() | nil) :: Tensor.t()
  def load_npz(server, path, member \\ nil) do
    Files.load(server, path, if(member, do: [{"member", to_string(member)}], else: []))
  end

  @doc """
  A tensor of a file's bytes: elements in C order, little-endian, as `from_binary/4` takes them, from
  byte `:offset` (0) on.

  The daemon maps the file: a page is read when it is used. What is written in place goes to copies of the
  pages, never to the file. While the tensor lives, nobody should write to the file; if it is cut short,
  every use of the tensor is an error that says so.

      points = Outrigger.load_raw(MyApp.Compute, "points.f32", :f32, {1_000_000, 3})
  """
  @spec load_raw(server, Path.t(), Dtype.accepted(), Dtype.shape(), offset: non_neg_integer) ::
          Tensor.t()
  def load_raw(server, path, type, shape, options \\ []) do
    only!(options, [:offset])
    Files.load_raw(server, path, type, shape, options)
  end

  @doc """
  A tensor `{lines, columns}` from a file of numbers, which the daemon reads with all its threads.

    * `:type` - `:f32` unless said otherwise; complex ones are not possible
    * `:separator` - one character, `","`
    * `:header` - whether the first line has names; `false`

  Lines with nothing but spaces are left out; a separator is something, also if it is a space or a tab. Fields
  may have spaces or double quotes around them; a name in quotes may have separators and line breaks in it. A
  field that is empty, or says `NA`, is NaN in floats and an error in integers; one has at most 4,096 bytes. Errors
  (`:bad_file`) name the line and the column.

      {:ok, table} = Outrigger.load_csv(MyApp.Compute, "table.csv", header: true) |> Outrigger.await()
  """
  @spec load_csv(server, Path.t(),
          type: Dtype.accepted(),
          separator: String.t(),
          header: boolean
        ) :: Tensor.t()
  def load_csv(server, path, options \\ []) do
    only!(options, [:type, :separator, :header])
    Files.load_csv(server, path, options)
  end

  @doc "Writes a tensor to a `.npy` file; the daemon does. The file appears whole or not at all."
  @spec save_npy(Tensor.t(), Path.t(), keyword) :: :ok | error
  def save_npy(%Tensor{} = tensor, path, options \\ []) do
    fields = [{"handle", tensor.handle}, {"path", Path.expand(path)}]
    with {:ok, _} <- request(tensor, "save", fields, options), do: Tensor.take_write_error(tensor)
  end

  @doc "As `save_npy/3`, but raises."
  @spec save_npy!(Tensor.t(), Path.t(), keyword) :: :ok
  def save_npy!(tensor, path, options \\ []), do: ok!(save_npy(tensor, path, options))

  @doc """
  Writes tensors to a `.npz` file, each under its name (a string or atom); the daemon does. With
  `compress: true` they are deflated.

      iex> path = Path.join(System.tmp_dir!(), "outrigger_doc.npz")
      iex> {x, y} = {Outrigger.tensor(MyApp.Compute, [1, 2]), Outrigger.tensor(MyApp.Compute, 0.5)}
      iex> :ok = Outrigger.save_npz(%{x: x, y: y}, path)
      iex> Outrigger.load_npz(MyApp.Compute, path, :x) |> Outrigger.to_list!()
      [1, 2]
  """
  @spec save_npz(%{(String.t() | atom) => Tensor.t()} | keyword(Tensor.t()), Path.t(), keyword) ::
          :ok | error
  def save_npz(tensors, path, options \\ []) do
    {compress, options} = Keyword.pop(options, :compress, false)
    {tensor, fields} = Files.npz(tensors, path, compress)

    with {:ok, _} <- request(tensor, "save_npz", fields, options) do
      Enum.find_value(tensors, :ok, fn {_name, tensor} ->
        with :ok <- Tensor.take_write_error(tensor), do: nil
      end)
    end
  end

  @doc "As `save_npz/3`, but raises."
  @spec save_npz!(%{(String.t() | atom) => Tensor.t()} | keyword(Tensor.t()), Path.t(), keyword) ::
          :ok
  def save_npz!(tensors, path, options \\ []), do: ok!(save_npz(tensors, path, options))

  ## Reading tensors

  @doc """
  The elements as a nested list; a scalar gives the number.

  Floats that Elixir cannot hold are `:nan`, `:infinity` and `:neg_infinity`. A complex number is
  `{re, im}`.
  """
  @spec to_list(Tensor.t(), keyword) :: {:ok, Data.nested()} | error
  def to_list(%Tensor{} = tensor, options \\ []) do
    with {:ok, list, _type, shape} <- download_list(tensor, :all, options) do
      {:ok, Data.nest(list, shape)}
    end
  end

  @doc "As `to_list/2`, but raises."
  @spec to_list!(Tensor.t(), keyword) :: Data.nested()
  def to_list!(tensor, options \\ []), do: ok!(to_list(tensor, options))

  @doc """
  The elements as a flat list, in C order.

      iex> Outrigger.tensor(MyApp.Compute, [[1], [2]]) |> Outrigger.to_flat_list()
      {:ok, [1, 2]}
  """
  @spec to_flat_list(Tensor.t(), keyword) :: {:ok, [Data.number_like()]} | error
  def to_flat_list(%Tensor{} = tensor, options \\ []) do
    with {:ok, list, _type, _shape} <- download_list(tensor, :all, options) do
      {:ok, list}
    end
  end

  @doc "As `to_flat_list/2`, but raises."
  @spec to_flat_list!(Tensor.t(), keyword) :: [Data.number_like()]
  def to_flat_list!(tensor, options \\ []), do: ok!(to_flat_list(tensor, options))

  @doc """
  The elements' bytes: C order, little-endian; integers below 8 bits are
  packed. With `:limit`, only of the first so many elements.

      iex> Outrigger.tensor(MyApp.Compute, [1, 2], type: :u8) |> Outrigger.to_binary()
      {:ok, <<1, 2>>}
      iex> Outrigger.iota(MyApp.Compute, {1000}, type: :u8) |> Outrigger.to_binary(limit: 2)
      {:ok, <<0, 1>>}
  """
  @spec to_binary(Tensor.t(), keyword) :: {:ok, binary} | error
  def to_binary(%Tensor{} = tensor, options \\ []) do
    {limit, options} = Keyword.pop(options, :limit, :all)
    if limit != :all, do: positive!(:limit, limit)

    with {:ok, data, _type, _shape} <- download(tensor, limit, options), do: {:ok, data}
  end

  @doc "As `to_binary/2`, but raises."
  @spec to_binary!(Tensor.t(), keyword) :: binary
  def to_binary!(tensor, options \\ []), do: ok!(to_binary(tensor, options))

  @doc """
  The number of a tensor with one element.

      iex> Outrigger.tensor(MyApp.Compute, 1.5) |> Outrigger.to_number()
      {:ok, 1.5}
  """
  @spec to_number(Tensor.t(), keyword) :: {:ok, Data.number_like()} | error
  def to_number(%Tensor{} = tensor, options \\ []) do
    with {:ok, list, type, shape} <- download_list(tensor, 2, options) do
      case list do
        [number] ->
          {:ok, number}

        _ ->
          raise ArgumentError, "#{type}#{Tensor.dims(shape)} has not one element: use to_list/2"
      end
    end
  end

  @doc "As `to_number/2`, but raises."
  @spec to_number!(Tensor.t(), keyword) :: Data.number_like()
  def to_number!(tensor, options \\ []), do: ok!(to_number(tensor, options))

  @doc """
  The first elements, in C order. Only these are sent.

      iex> Outrigger.iota(MyApp.Compute, {1000, 1000}) |> Outrigger.peek(3)
      {:ok, [0, 1, 2]}
  """
  @spec peek(Tensor.t(), pos_integer, keyword) :: {:ok, [Data.number_like()]} | error
  def peek(%Tensor{} = tensor, count, options \\ []) do
    positive!(:count, count)

    with {:ok, list, _type, _shape} <- download_list(tensor, count, options) do
      {:ok, list}
    end
  end

  @doc "As `peek/3`, but raises."
  @spec peek!(Tensor.t(), pos_integer, keyword) :: [Data.number_like()]
  def peek!(tensor, count, options \\ []), do: ok!(peek(tensor, count, options))

  @doc """
  The shape; waits only if the tensor's op has not been answered yet.

      iex> Outrigger.iota(MyApp.Compute, {2, 3}) |> Outrigger.shape()
      {:ok, {2, 3}}
  """
  @spec shape(Tensor.t(), keyword) :: {:ok, Dtype.shape()} | error
  def shape(%Tensor{} = tensor, options \\ []) do
    with {:ok, {_type, shape}} <- meta(tensor, options), do: {:ok, shape}
  end

  @doc "As `shape/2`, but raises."
  @spec shape!(Tensor.t(), keyword) :: Dtype.shape()
  def shape!(tensor, options \\ []), do: ok!(shape(tensor, options))

  @doc """
  The type; waits only if the tensor's op has not been answered yet.

      iex> Outrigger.iota(MyApp.Compute, {2, 3}) |> Outrigger.type!()
      :s32
  """
  @spec type(Tensor.t(), keyword) :: {:ok, Dtype.t()} | error
  def type(%Tensor{} = tensor, options \\ []) do
    with {:ok, {type, _shape}} <- meta(tensor, options), do: {:ok, type}
  end

  @doc "As `type/2`, but raises."
  @spec type!(Tensor.t(), keyword) :: Dtype.t()
  def type!(tensor, options \\ []), do: ok!(type(tensor, options))

  @doc """
  Waits until tensors exist: what made them has run. (Writes in place make none: `sync/2` waits for
  them.) Takes one or a container of them and gives it back.

      iex> {:ok, t} = Outrigger.await(Outrigger.iota(MyApp.Compute, {3}))
      iex> inspect(t)
      "#Outrigger.Tensor<s32[3]>"
  """
  @spec await(results | map, keyword) :: {:ok, results | map} | error
  def await(tensors, options \\ []) do
    Enum.find_value(tensors!(tensors), {:ok, tensors}, fn tensor ->
      with {:ok, _meta} <- meta(tensor, options), do: nil
    end)
  end

  @doc "As `await/2`, but raises."
  @spec await!(results | map, keyword) :: results | map
  def await!(tensors, options \\ []), do: ok!(await(tensors, options))

  ## Programs

  @doc """
  Traces a function into a program. Its parameters stand for the tensors that the program will be
  run with; it returns a value, or a tuple or list of them.

      iex> alias Outrigger.Op
      iex> program = Outrigger.program(fn x, y -> x |> Op.multiply(y) |> Op.add(1.0) |> Op.tanh() end)
      #Outrigger.Program<arity 2, 3 instructions>
      iex> x = Outrigger.tensor(MyApp.Compute, [0.0])
      iex> Outrigger.run(MyApp.Compute, program, [x, x]) |> Outrigger.to_list!()
      [0.7615941762924194]

  Ops become instructions in the order of their calls, so writes in place keep theirs. A value
  that was written in place into an argument, and an argument itself, are returned as that
  argument's tensor.

  The function runs once, now. Elixir's own `if`, `case` and comparisons would decide now, too, and
  know nothing of the values: use `Outrigger.Op.cond/3`, `Outrigger.Op.select/3` and
  `Outrigger.Op.greater/2`; and `Outrigger.Op.add/2` for `+`.
  """
  @spec program(fun) :: Program.t()
  def program(fun) when is_function(fun) do
    {:arity, arity} = Function.info(fun, :arity)
    Trace.program(arity, fun)
  end

  @doc """
  Runs a program once. Returns its results' tensors at once.

  ## Options

    * `:deadline` - milliseconds; then the program is stopped, and its results fail
    * `:atomic` - true: if an instruction fails, the writes in place before it are undone
    * `:donated` - tensors among the arguments that nobody needs afterwards. They are released, and the
      program may work in their memory. One that is refused, or fails with `:atomic`, releases nothing
  """
  @spec run(server, Program.t(), [Tensor.t()], keyword) :: results
  def run(server, program, args, options \\ [])

  def run(server, %Program{} = program, args, options) do
    Program.run(Server.fetch!(server), program, List.wrap(args), options)
  end

  def run(_server, %Prepared{} = prepared, _args, _options) do
    raise ArgumentError, "#{inspect(prepared)} is called by Outrigger.call/3"
  end

  @doc """
  Sends a program to be kept, for `call/3`. Waits until the daemon has checked its form.

      iex> {:ok, inc} = Outrigger.prepare(MyApp.Compute, Outrigger.program(&Outrigger.Op.add(&1, 1)))
      iex> t = Outrigger.tensor(MyApp.Compute, 1)
      iex> inc |> Outrigger.call([t]) |> Outrigger.to_number!()
      2
  """
  @spec prepare(server, Program.t(), keyword) :: {:ok, Prepared.t()} | error
  def prepare(server, %Program{} = program, options \\ []) do
    server = Server.fetch!(server)
    prepared = Prepared.new(server, program)
    deadline = deadline(server, options)

    with {:ok, _epoch} <- Server.ready(server),
         :ok <- Server.fits(server, byte_size(program.encoded) + 64),
         message = &{:prepare, Program.kept(server, program, prepared.id), &1},
         {:ok, _} <- Server.exchange(server, message, deadline) do
      {:ok, prepared}
    end
  end

  @doc "As `prepare/3`, but raises."
  @spec prepare!(server, Program.t(), keyword) :: Prepared.t()
  def prepare!(server, program, options \\ []), do: ok!(prepare(server, program, options))

  @doc """
  Calls a prepared program. Returns its results' tensors at once; the options are those of
  `run/4`.
  """
  @spec call(Prepared.t(), [Tensor.t()], keyword) :: results
  def call(prepared, args, options \\ [])

  def call(%Prepared{} = prepared, args, options) do
    Program.call(prepared, List.wrap(args), options)
  end

  def call(%Program{} = program, _args, _options) do
    raise ArgumentError,
          "#{inspect(program)} is run by Outrigger.run/4; Outrigger.prepare/3 makes it callable"
  end

  @doc """
  Calls a prepared program and waits until it has run: one round trip, the shortest there is.

      iex> inc = Outrigger.prepare!(MyApp.Compute, Outrigger.program(&Outrigger.Op.add(&1, 1)))
      iex> t = Outrigger.tensor(MyApp.Compute, 1)
      iex> {:ok, two} = Outrigger.call_and_wait(inc, [t])
      iex> inspect(two)
      "#Outrigger.Tensor<s32>"
  """
  @spec call_and_wait(Prepared.t(), [Tensor.t()], keyword) :: {:ok, results} | error
  def call_and_wait(%Prepared{} = prepared, args, options \\ []) do
    Program.call_and_wait(prepared, List.wrap(args), options)
  end

  @doc "As `call_and_wait/3`, but raises."
  @spec call_and_wait!(Prepared.t(), [Tensor.t()], keyword) :: results
  def call_and_wait!(prepared, args, options \\ []),
    do: ok!(call_and_wait(prepared, args, options))

  @doc """
  Calls a prepared program, waits until it has run, and tells what its steps took.

  A step is what the daemon carries out at once: one instruction, or several element-wise ones and
  the reductions of their results in one pass over memory. Each comes as a map, in the program's order, with

    * `:ops` - the names of its instructions
    * `:index` - the position of its last instruction, as in an error
    * `:calls` - how often it ran: more than once in a loop
    * `:ns` - the time of all of them, in nanoseconds
    * `:bytes` - what they read and wrote, at least

  Measuring costs some 100 ns for each execution of a step. The options are those of `run/4`.

      iex> program = Outrigger.program(fn x -> x |> Outrigger.Op.multiply(2) |> Outrigger.Op.sum() end)
      iex> prepared = Outrigger.prepare!(MyApp.Compute, program)
      iex> {:ok, sum, steps} = Outrigger.profile(prepared, [Outrigger.iota(MyApp.Compute, {1000})])
      iex> Outrigger.to_number!(sum)
      999000
      iex> Enum.map(steps, & &1.ops)
      [["multiply", "sum"]]
  """
  @spec profile(Prepared.t(), [Tensor.t()], keyword) :: {:ok, results, [map]} | error
  def profile(%Prepared{} = prepared, args, options \\ []) do
    Program.profile(prepared, List.wrap(args), options)
  end

  @doc """
  Cancels what computes a tensor, if it is still waiting or running; it then fails with
  `:cancelled`. Returns whether there was something to cancel.
  """
  @spec cancel(Tensor.t()) :: boolean
  def cancel(%Tensor{} = tensor) do
    with :ok <- Tensor.check(tensor),
         {:ok, found} <-
           Server.exchange(
             tensor.server,
             &{:cancel_handle, tensor.handle, &1},
             tensor.server.timeout
           ) do
      found
    else
      {:error, _} -> false
    end
  end

  @doc """
  Waits until all that this process has sent has been carried out. Gives the first failure since
  the last `sync/2`, if there was one.

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
    server = Server.fetch!(server)
    # Ping overtakes; this one waits its turn.
    with {:ok, _} <- request(server, "release", [{"handles", []}], [want: :sync] ++ options),
         do: :ok
  end

  @doc "As `sync/2`, but raises."
  @spec sync!(server, keyword) :: :ok
  def sync!(server, options \\ []), do: ok!(sync(server, options))

  ## Lifetime

  @doc """
  Frees tensors now: one, or a container of them. Using one afterwards is a `:bad_handle`. What this
  process asks for next has their memory.

      iex> t = Outrigger.iota(MyApp.Compute, {3})
      iex> Outrigger.release(t)
      iex> {:error, error} = Outrigger.to_list(t)
      iex> error.code
      :bad_handle
  """
  @spec release(results | map) :: :ok
  def release(tensors) do
    live = for t <- tensors!(tensors), Tensor.check(t) == :ok, do: t

    for {{server, epoch}, handles} <- Enum.group_by(live, &{&1.server, &1.epoch}, & &1.handle),
        do: Server.release(server, epoch, handles)

    :ok
  end

  @doc """
  Frees, at the end of a function, all tensors that this process made in it, except those in what
  it returns.

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
  Frees what nobody holds now, and does not wait for the next poll. The calling process collects
  its garbage first; other holders' tensors go with their own next collection.
  """
  @spec collect(server) :: :ok
  def collect(server) do
    :erlang.garbage_collect()
    Connection.poll_leases(Server.fetch!(server), [])
  end

  ## Questions

  @doc """
  Asks the daemon for a sign of life; the answer comes also while it computes.

      iex> Outrigger.ping(MyApp.Compute)
      :ok
  """
  @spec ping(server, keyword) :: :ok | error
  def ping(server, options \\ []) do
    with {:ok, _} <- request(Server.fetch!(server), "ping", [], options), do: :ok
  end

  @doc """
  Tells about a server (memory in bytes, live tensors, the daemon's pid, version, limits, …) or a
  tensor (type, shape, bytes, and how its memory is shared).

      iex> {:ok, info} = Outrigger.info(Outrigger.iota(MyApp.Compute, {3}))
      iex> info
      %{type: :s32, shape: {3}, bytes: 12, contiguous: true, shared: false}
      iex> {:ok, info} = Outrigger.info(MyApp.Compute)
      iex> info.memory.used >= 12 and is_integer(info.os_pid)
      true
  """
  @spec info(server | Tensor.t(), keyword) :: {:ok, map} | error
  def info(subject, options \\ [])

  def info(%Tensor{} = tensor, options) do
    with {:ok, reply} <- request(tensor, "info", [{"handle", tensor.handle}], options) do
      {:ok, type} = Dtype.parse(reply["dtype"])
      shape = List.to_tuple(reply["shape"])
      rest = Map.take(reply, ~w(bytes contiguous shared))
      {:ok, Map.merge(%{type: type, shape: shape}, atom_keys(rest))}
    else
      # The first cause, as it was told, rather than that there was one.
      {:error, error} ->
        with {:error, cause} <- Tensor.lookup(tensor),
             do: {:error, cause},
             else: (_ -> {:error, error})
    end
  end

  def info(server, options) do
    server = Server.fetch!(server)

    with {:ok, reply} <- request(server, "info", [], options),
         {:ok, hello} <- Server.exchange(server, &{:hello, &1}, server.timeout) do
      {:ok, hello |> Map.merge(reply) |> Map.drop(["id", "status"]) |> atom_keys()}
    end
  end

  @doc "As `info/2`, but raises."
  @spec info!(server | Tensor.t(), keyword) :: map
  def info!(subject, options \\ []), do: ok!(info(subject, options))

  @doc "Waits until a daemon is running, for instance after one has died."
  @spec await_ready(server, keyword) :: :ok | {:error, ConnectionError.t()}
  def await_ready(server, options \\ []) do
    server = Server.fetch!(server)

    with {:ok, _epoch} <-
           Server.await_ready(
             server,
             Server.deadline!(options[:deadline] || server.start_timeout)
           ) do
      :ok
    end
  end

  ## Helpers

  defp meta(tensor, options), do: Tensor.await(tensor, deadline(tensor.server, options))

  defp download(tensor, count, options) do
    Transfer.download(tensor, count, deadline(tensor.server, options))
  end

  defp download_list(tensor, count, options) do
    Transfer.download_list(tensor, count, deadline(tensor.server, options))
  end

  defp deadline(server, options) do
    only!(options, [:deadline])
    Server.deadline!(options[:deadline] || server.timeout)
  end

  defp request(%Tensor{} = tensor, kind, fields, options) do
    with :ok <- Tensor.check(tensor) do
      request(tensor.server, kind, fields, [epoch: tensor.epoch] ++ options)
    end
  end

  defp request(%Server{} = server, kind, fields, options) do
    only!(options, [:deadline, :epoch, :want])
    Server.request(server, kind, fields, options)
  rescue
    error in ConnectionError -> {:error, error}
  end

  # The keys are those of the protocol.
  defp atom_keys(%{} = map),
    do: Map.new(map, fn {key, value} -> {String.to_atom(key), atom_keys(value)} end)

  defp atom_keys(other), do: other

  defp tensors!(container) do
    Tensor.reduce(container, [], fn
      %Tensor{} = tensor, acc ->
        [tensor | acc]

      other, _acc ->
        raise ArgumentError,
              "expected tensors, or a container of them, got: #{inspect(other)}"
    end)
    |> Enum.reverse()
  end

  defp positive!(_name, n) when is_integer(n) and n > 0, do: :ok

  defp positive!(name, other) do
    raise ArgumentError, "#{name} must be a positive number of elements, got: #{inspect(other)}"
  end

  defp only!(options, allowed) do
    unless Keyword.keyword?(options) do
      raise ArgumentError, "expected options, a keyword list, got: #{inspect(options)}"
    end

    case Keyword.keys(options) -- allowed do
      [] ->
        :ok

      [unknown | _] ->
        allowed = Enum.map_join(allowed -- [:epoch, :want], ", ", &inspect/1)
        raise ArgumentError, "unknown option #{inspect(unknown)}; there is #{allowed}"
    end
  end

  defp ok!(:ok), do: :ok
  defp ok!({:ok, value}), do: value
  defp ok!({:error, error}), do: raise(error)
end
