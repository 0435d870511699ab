defmodule Outrigger.Program do
  @moduledoc """
  Programs: ops on parameters, as data. `Outrigger` has the same functions.

  `Outrigger.program/1` makes a program. `Outrigger.run/4` runs it once. `Outrigger.prepare/3` sends
  it to a server, which keeps it for many `Outrigger.call/3`.

  A program belongs to no server. It can be kept in a module attribute, sent and compared. There is
  one exception: if the traced function used tensors from outside (`captures`) or called prepared
  programs (`callees`), these are part of the program.

  A program may have some 200,000 ops and operands: 16 MiB in msgpack, and 64 MiB as the daemon's
  data. Loops, conditions and folds nest at most 128 deep. One call may name some 100,000 tensors,
  which are its arguments and its results. A larger program is refused with `:limit_exceeded` or an
  `ArgumentError`, before any of it runs.
  """

  alias Outrigger.{Codec, Execution, Prepared, Protocol, Server, Tensor, Trace}
  import Outrigger.Ask, only: [deadline: 2, ok!: 1]

  defstruct [:arity, :encoded, :head, :outputs, :template] ++
              [params: [], body: [], captures: [], callees: [], kernels: [], writes: []]

  # The frame that runs a program holds it, up to this size. A longer program is prepared (in parts,
  # if it needs several frames), called, and forgotten.
  @inline_bytes_max 65_536

  # In place, these ops return a mutable view, which is another tensor.
  @views ~w(slice reshape squeeze transpose reverse)

  @type t :: %__MODULE__{
          arity: non_neg_integer,
          encoded: binary,
          head: binary,
          outputs: [non_neg_integer],
          template: term,
          params: [non_neg_integer],
          body: [map],
          captures: [Tensor.t()],
          callees: [Prepared.t()],
          kernels: [{pos_integer, binary}],
          writes: [non_neg_integer]
        }

  @doc """
  Traces a function into a program. `Outrigger.program/1` is the same function.

  The parameters of the function stand for the tensors with which the program will be run. The
  function returns a value, or a tuple or a list of values.

      iex> alias Outrigger.Op
      iex> program = Outrigger.program(&(&1 |> Op.multiply(&2) |> Op.add(1.0) |> Op.tanh()))
      #Outrigger.Program<arity 2, 3 instructions>
      iex> x = Outrigger.tensor(MyApp.Compute, [0.0])
      iex> Outrigger.run(MyApp.Compute, program, [x, x]) |> Outrigger.to_list!()
      [0.7615941762924194]

  Ops become instructions in the order of their calls, so writes in place keep their order. If the
  function returns a parameter, or a value that was written in place into a parameter, the program
  returns the tensor of that argument.

  The function runs once, during the trace. Elixir's own `if`, `case` and comparisons see no element
  of a tensor. Use `Outrigger.Op.cond/3`, `Outrigger.Op.select/3` and `Outrigger.Op.greater/2`
  instead, and `Outrigger.Op.add/2` for `+`.
  """
  @spec trace(fun) :: t
  def trace(fun) when is_function(fun) do
    {:arity, arity} = Function.info(fun, :arity)
    Trace.program(arity, fun)
  end

  @doc """
  Runs a program once. Returns the tensors of its results at once.

  ## Options

    * `:deadline` - in milliseconds. After that time the daemon stops the program, and its results
      fail
    * `:atomic` - true: if an instruction fails, the daemon undoes the writes in place before it
    * `:donated` - a list of arguments that the caller does not need afterwards. The call releases
      them, and the program may write its results into their memory. A call that is refused, or that
      fails with `:atomic`, releases none of them
  """
  @spec run(Outrigger.server(), t, [Tensor.t()], keyword) :: Outrigger.results()
  def run(server, program, args, options \\ [])

  def run(server, %__MODULE__{} = program, args, options) do
    Execution.run(Server.fetch!(server), program, List.wrap(args), options)
  end

  def run(_server, %Prepared{} = prepared, _args, _options) do
    raise ArgumentError, "#{inspect(prepared)} is called by Outrigger.call/3"
  end

  @doc """
  Sends a program to a server, which keeps it for `call/3`. Waits until the daemon has checked the
  form of the program. Takes the option `:deadline`.

      iex> inc = Outrigger.program(&Outrigger.Op.add(&1, 1))
      iex> {:ok, inc} = Outrigger.prepare(MyApp.Compute, inc)
      iex> t = Outrigger.tensor(MyApp.Compute, 1)
      iex> inc |> Outrigger.call([t]) |> Outrigger.to_number!()
      2
  """
  @spec prepare(Outrigger.server(), t, keyword) :: {:ok, Prepared.t()} | Outrigger.error()
  def prepare(server, %__MODULE__{} = program, options \\ []) do
    with {:ok, server} <- Server.fetch(server),
         until = Server.until(deadline(server, options)),
         {:ok, _epoch} <- Server.ready(server, Server.left(until)),
         :ok <- Tensor.check_all(program.captures, server),
         :ok <- Server.program_fits(server, byte_size(program.encoded)),
         prepared = Prepared.new(server, program),
         message = &{:prepare, kept(server, program, prepared.id), &1},
         {:ok, _} <- Server.exchange(server, message, Server.left(until)) do
      {:ok, prepared}
    end
  end

  @doc "As `prepare/3`, but raises."
  @spec prepare!(Outrigger.server(), t, keyword) :: Prepared.t()
  def prepare!(server, program, options \\ []), do: ok!(prepare(server, program, options))

  @doc """
  Calls a prepared program. Returns the tensors of its results at once. The options are those of
  `run/4`.
  """
  @spec call(Prepared.t(), [Tensor.t()], keyword) :: Outrigger.results()
  def call(prepared, args, options \\ [])

  def call(%Prepared{} = prepared, args, options) do
    Execution.call(prepared, List.wrap(args), options)
  end

  def call(%__MODULE__{} = program, _args, _options) do
    raise ArgumentError,
          "#{inspect(program)} is run by Outrigger.run/4; Outrigger.prepare/3 makes it callable"
  end

  @doc """
  Calls a prepared program and waits until it has run. The function needs one round trip, which is
  the shortest way to a result. The options are those of `run/4`.

      iex> inc = Outrigger.prepare!(MyApp.Compute, Outrigger.program(&Outrigger.Op.add(&1, 1)))
      iex> t = Outrigger.tensor(MyApp.Compute, 1)
      iex> {:ok, two} = Outrigger.call_and_wait(inc, [t])
      iex> inspect(two)
      "#Outrigger.Tensor<s32>"
  """
  @spec call_and_wait(Prepared.t(), [Tensor.t()], keyword) ::
          {:ok, Outrigger.results()} | Outrigger.error()
  def call_and_wait(%Prepared{} = prepared, args, options \\ []) do
    Execution.call_and_wait(prepared, List.wrap(args), options)
  end

  @doc "As `call_and_wait/3`, but raises."
  @spec call_and_wait!(Prepared.t(), [Tensor.t()], keyword) :: Outrigger.results()
  def call_and_wait!(prepared, args, options \\ []),
    do: ok!(call_and_wait(prepared, args, options))

  @doc """
  Calls a prepared program, waits until it has run, and returns the time of each step.

  A step is one instruction, or several element-wise instructions and the reductions of their
  results, which the daemon carries out in one pass over memory. The steps are maps, in the order of
  the program, with

    * `:ops` - the names of its instructions
    * `:index` - the position of its last instruction, as in an error
    * `:calls` - the number of times that the step ran: more than one in a loop
    * `:ns` - the time of all calls of the step, in nanoseconds
    * `:bytes` - a lower bound of the bytes that the step read and wrote

  The measurement costs some 100 ns for each execution of a step. The options are those of `run/4`.

      iex> program = Outrigger.program(&(&1 |> Outrigger.Op.multiply(2) |> Outrigger.Op.sum()))
      iex> prepared = Outrigger.prepare!(MyApp.Compute, program)
      iex> {:ok, sum, steps} = Outrigger.profile(prepared, [Outrigger.iota(MyApp.Compute, {1000})])
      iex> Outrigger.to_number!(sum)
      999000
      iex> Enum.map(steps, & &1.ops)
      [["multiply", "sum"]]
  """
  @spec profile(Prepared.t(), [Tensor.t()], keyword) ::
          {:ok, Outrigger.results(), [map]} | Outrigger.error()
  def profile(%Prepared{} = prepared, args, options \\ []) do
    Execution.profile(prepared, List.wrap(args), options)
  end

  @doc false
  # Another tensor with the same elements, which no later write in place changes.
  defdelegate snapshot(tensor), to: Execution

  @doc false
  def build(params, body, outputs, template, captures, callees \\ [], kernels \\ []) do
    encoded = IO.iodata_to_binary(encode_region(%{params: params, body: body, outputs: outputs}))

    %__MODULE__{
      arity: length(params) - length(captures),
      encoded: encoded,
      # The first bytes of the frames that run the program without preparation.
      head:
        if(byte_size(encoded) <= @inline_bytes_max,
          do: Protocol.head("run", {"program", {:raw, encoded}})
        ),
      outputs: outputs,
      template: template,
      params: params,
      body: body,
      captures: captures,
      callees: callees,
      kernels: kernels,
      writes: writes(params, body, callees)
    }
  end

  @doc false
  def view?(op), do: op in @views

  # The daemon has the same limit, because its planner visits nested regions by recursion.
  @regions_max 128

  @doc false
  def check_depth!(depth) when depth > @regions_max do
    raise ArgumentError,
          "loops, conditions and folds nest deeper than #{@regions_max}. In a chain of " <>
            "conditions, each condition lies inside the one before it: group them. A condition " <>
            "of 10 branches, each of them a condition of 10, nests 20 deep instead of 100"
  end

  def check_depth!(_depth), do: :ok

  # The positions of the parameters that are written in place: directly, through a mutable view, or
  # by a called program.
  defp writes(params, body, callees) do
    roots = params |> Enum.with_index() |> Map.new()
    callees = Map.new(callees, &{&1.id, &1.program})
    {_roots, writes} = Enum.reduce(body, {roots, []}, &note_writes(&1, callees, &2))
    Enum.uniq(writes)
  end

  defp note_writes(%{in_place: position, op: op} = instruction, _callees, {roots, writes})
       when is_integer(position) do
    case roots[Enum.at(instruction.in, position)] do
      nil ->
        {roots, writes}

      root ->
        {Map.put(roots, hd(instruction.out), root),
         if(op in @views, do: writes, else: [root | writes])}
    end
  end

  defp note_writes(%{op: "kernel", in_place: [_ | _] = written} = instruction, _callees, acc) do
    {roots, writes} = acc
    more = for operand <- at(instruction.in, written), root = roots[operand], do: root
    {roots, more ++ writes}
  end

  defp note_writes(%{op: "call"} = instruction, callees, {roots, writes}) do
    {_, id} = List.keyfind(instruction.attrs, "program_id", 0)
    %{writes: written} = Map.fetch!(callees, id)
    more = for operand <- at(instruction.in, written), root = roots[operand], do: root
    {roots, more ++ writes}
  end

  defp note_writes(%{regions: regions}, callees, acc) do
    for %{body: body} <- regions, inner <- body, reduce: acc do
      acc -> note_writes(inner, callees, acc)
    end
  end

  @doc false
  # The elements of a list at these positions.
  def at(_list, []), do: []

  def at(list, positions) do
    elements = List.to_tuple(list)
    for at <- positions, do: elem(elements, at)
  end

  defp encode_region(%{params: params, body: body, outputs: outputs}) do
    [
      <<0x83, 0xA6, "params">>,
      Codec.encode(params),
      <<0xA4, "body">>,
      Codec.array(length(body)),
      Enum.map(body, &encode_instruction/1),
      <<0xA7, "outputs">>,
      Codec.encode(outputs)
    ]
  end

  defp encode_instruction(%{op: op, in: ins, out: outs} = instruction) do
    {count, rest} = {3, []}

    {count, rest} =
      case instruction.attrs do
        [] -> {count, rest}
        attrs -> {count + 1, [<<0xA5, "attrs">>, encode_attrs(attrs) | rest]}
      end

    {count, rest} =
      case instruction.regions do
        [] ->
          {count, rest}

        regions ->
          encoded = [Codec.array(length(regions)), Enum.map(regions, &encode_region/1)]
          {count + 1, [<<0xA7, "regions">>, encoded | rest]}
      end

    {count, rest} =
      if instruction.in_place,
        do: {count + 1, [<<0xA8, "in_place", 0xC3>> | rest]},
        else: {count, rest}

    [
      Codec.map(count),
      <<0xA2, "op">>,
      Codec.encode(op),
      <<0xA2, "in">>,
      Codec.array(length(ins)),
      Enum.map(ins, &encode_operand/1),
      <<0xA3, "out">>,
      Codec.encode(outs) | rest
    ]
  end

  defp encode_attrs(attrs) do
    [
      Codec.map(length(attrs))
      | for({name, value} <- attrs, do: [Codec.encode(name), Codec.encode(value)])
    ]
  end

  defp encode_operand({:number, number}), do: [<<0x81, 0xA6, "number">>, Codec.encode(number)]
  defp encode_operand(id), do: Codec.encode(id)

  @doc false
  # The programs that the daemon must keep for a call: `{id, encoded, callees}`, or nil for none.
  # The id is 0 if the program itself is not prepared. A kernel is a callee with `{:kernel, id}`.
  def kept(_server, %{callees: [], kernels: []}, 0), do: nil
  def kept(_server, %{callees: [], kernels: [], encoded: encoded}, id), do: {id, encoded, []}

  def kept(server, program, id) do
    {kept, _named} = kept(server, program, id, MapSet.new())
    kept
  end

  # A callee that was named before is kept by then, with its own callees. Programs that share
  # callees do not multiply them.
  defp kept(server, %{callees: callees, kernels: kernels, encoded: encoded}, id, named) do
    {callees, named} =
      Enum.map_reduce(callees, named, fn %{server: other} = callee, named ->
        if other.counters != server.counters do
          raise ArgumentError,
                "the program calls #{inspect(callee)}, which was prepared on another server"
        end

        if callee.id in named,
          do: {{callee.id, callee.program.encoded, []}, named},
          else: kept(server, callee.program, callee.id, MapSet.put(named, callee.id))
      end)

    {{id, encoded, Enum.map(kernels, &kernel(server, &1)) ++ callees}, named}
  end

  # The daemon ends a session that sends a longer frame.
  defp kernel(server, {id, encoded}) do
    size = byte_size(encoded) + 64

    with {:error, error} <- Server.fits(server, size) do
      message =
        "a kernel of #{size} bytes with all that it calls is longer than a frame; split it into " <>
          "kernels that are called one after the other"

      raise %{error | message: message}
    end

    {{:kernel, id}, encoded, []}
  end

  defimpl Inspect do
    def inspect(program, _options) do
      captured = if program.captures != [], do: ", #{length(program.captures)} captured"
      ops = length(program.body)
      "#Outrigger.Program<arity #{program.arity}#{captured}, #{ops} instructions>"
    end
  end
end
