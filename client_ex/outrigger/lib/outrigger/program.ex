defmodule Outrigger.Program do
  @moduledoc """
  A program: ops on parameters, as data. Made by `Outrigger.program/1`; run with
  `Outrigger.run/4`, or prepared once with `Outrigger.prepare/2` and called many times.

  A program belongs to no server and can be kept in a module attribute, sent and compared, unless
  the traced function used tensors from outside (`captures`) or called prepared programs
  (`callees`): these are then part of it.

  It may have some 200,000 ops and operands: 16 MiB in msgpack, and 64 MiB as the daemon's data.
  Loops, conditions and folds lie at most 128 deep inside each other. One call names some 100,000
  tensors, arguments and results together. What is larger is refused, with `:limit_exceeded` or an
  `ArgumentError`, before any of it runs.
  """

  alias Outrigger.{Codec, ConnectionError, Prepared, Protocol, Request, Server, Tensor, Value}
  require Request

  defstruct [:arity, :encoded, :head, :outputs, :template] ++
              [params: [], body: [], captures: [], callees: [], writes: []]

  # A longer program does not travel in the frame that runs it, beside the handles: it is prepared,
  # in parts if need be, called and forgotten.
  @inline_bytes_max 65_536

  # In place, these give a mutable view, which is another tensor.
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
          writes: [non_neg_integer]
        }

  @doc false
  def build(params, body, outputs, template, captures, callees \\ []) do
    encoded = IO.iodata_to_binary(encode_region(%{params: params, body: body, outputs: outputs}))

    %__MODULE__{
      arity: length(params) - length(captures),
      encoded: encoded,
      # of the frames that run it unprepared
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
      writes: writes(params, body, callees)
    }
  end

  @doc false
  def view?(op), do: op in @views

  # As the daemon's: its planner follows regions inside each other by recursion.
  @regions_max 128

  @doc false
  def check_depth!(depth) when depth > @regions_max do
    raise ArgumentError,
          "loops, conditions and folds nest deeper than #{@regions_max}. In a chain of " <>
            "conditions each lies inside of the one before: group them. A condition of 10 " <>
            "branches, each of them a condition of 10, nests 20 deep instead of 100"
  end

  def check_depth!(_depth), do: :ok

  # Which parameters are written in place, by their positions: themselves, through a mutable view, or
  # by a program that is called.
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

  # The elements of a list at these positions.
  defp at(_list, []), do: []

  defp at(list, positions) do
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
  # Sends the program; the results' tensors come back at once.
  def run(server, %{head: nil} = program, args, options) do
    %{id: id, head: head} = Prepared.new(server, program)
    send_call(server, program, args, options, head, {:once, kept(server, program, id)})
  end

  def run(server, program, args, options) do
    send_call(server, program, args, options, program.head, kept(server, program, 0))
  end

  @doc false
  def call(prepared, args, options) do
    %{server: server, id: id, head: head, program: program} = prepared
    send_call(server, program, args, options, head, kept(server, program, id))
  end

  @doc false
  # What the daemon must keep to carry it out: `{id, encoded, what it calls}`, the id 0 for a program
  # that is not prepared itself; nil for nothing.
  def kept(_server, %{callees: []}, 0), do: nil
  def kept(_server, %{callees: [], encoded: encoded}, id), do: {id, encoded, []}

  def kept(server, program, id) do
    {kept, _named} = kept(server, program, id, MapSet.new())
    kept
  end

  # What was named before is kept by then, with all that it calls: programs that share what they
  # call do not multiply it.
  defp kept(server, %{callees: callees, encoded: encoded}, id, named) do
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

    {{id, encoded, callees}, named}
  end

  @doc false
  def call_and_wait(prepared, args, options) do
    with {:ok, results, _reply} <- exchange(prepared, args, options), do: {:ok, results}
  end

  @doc false
  def profile(prepared, args, options) do
    with {:ok, results, reply} <- exchange(prepared, args, [{:profile, true} | options]) do
      steps =
        for step <- reply["profile"] do
          %{"index" => index, "ops" => ops, "calls" => calls, "ns" => ns, "bytes" => bytes} = step
          %{index: index, ops: ops, calls: calls, ns: ns, bytes: bytes}
        end

      {:ok, results, steps}
    end
  end

  defp exchange(prepared, args, options) do
    %{server: server, id: program_id, head: head, program: program} = prepared
    {id, epoch, frame, want, deadline, results} = frame(server, program, args, options, head)
    want = &Request.results(want, ref: &1)
    prepared = kept(server, program, program_id)
    # The connection watches the deadline of the program itself.
    timeout =
      cond do
        deadline -> deadline + 100
        options[:deadline] == :infinity -> :infinity
        true -> server.timeout
      end

    reply = Server.call(server, epoch, id, frame, want, prepared, deadline, timeout)
    with {:ok, map} <- reply, do: {:ok, results, map}
  rescue
    error in ConnectionError -> {:error, error}
  end

  defp send_call(server, program, args, options, head, prepared) do
    {id, epoch, frame, want, deadline, results} = frame(server, program, args, options, head)
    Server.send_frame(server, epoch, id, frame, byte_size(frame), want, prepared, deadline)
    results
  end

  defp frame(server, program, args, options, head) do
    args = check_args(server, program, args)
    {deadline, fields} = options(options, server)
    {epoch, deadline, fields} = epoch_within(server, deadline, fields)
    results = new(program.outputs, server, epoch)
    handles = handles(results)
    arg_handles = handles(args)
    id = Server.request_id(server)
    frame = Protocol.execute(id, head, arg_handles, handles, fields)
    written = at(arg_handles, program.writes)
    donated = handles(options[:donated] || [])

    want =
      Request.results(handles: handles, args: arg_handles, written: written, donated: donated)

    {id, epoch, frame, want, deadline, fill(program.template, args, results)}
  end

  defp epoch_within(server, nil, fields), do: {Server.epoch!(server), nil, fields}

  # Waiting for a daemon takes of the program's time.
  defp epoch_within(server, deadline, fields) do
    until = Server.until(deadline)
    epoch = Server.epoch!(server, deadline)
    left = Server.left(until)
    {epoch, left, List.keyreplace(fields, "deadline_ms", 0, {"deadline_ms", left})}
  end

  defp new([_ | rest], server, epoch), do: [Tensor.new(server, epoch) | new(rest, server, epoch)]
  defp new([], _server, _epoch), do: []

  defp handles([tensor | rest]), do: [tensor.handle | handles(rest)]
  defp handles([]), do: []

  defp options([], _server), do: {nil, []}

  defp options(options, server) do
    Enum.reduce(options, {nil, []}, fn
      {:deadline, deadline}, {_, fields} ->
        case Server.deadline!(deadline) do
          :infinity -> {nil, fields}
          ms -> {ms, [{"deadline_ms", ms} | fields]}
        end

      {:atomic, atomic}, {deadline, fields} when is_boolean(atomic) ->
        {deadline, [{"atomic", atomic} | fields]}

      {:donated, tensors}, {deadline, fields} when is_list(tensors) ->
        check_each(server, tensors)
        {deadline, [{"donated", handles(tensors)} | fields]}

      {:profile, true}, {deadline, fields} ->
        {deadline, [{"profile", true} | fields]}

      option, _ ->
        raise ArgumentError,
              "unknown or bad option #{inspect(option)}; there are " <>
                ":deadline (milliseconds), :atomic (boolean) and :donated (tensors)"
    end)
  end

  defp check_args(server, program, args) do
    count = length(args)

    if count != program.arity do
      raise ArgumentError, "the program takes #{program.arity} arguments, got #{count}"
    end

    args = if program.captures == [], do: args, else: args ++ program.captures
    check_each(server, args)
    args
  end

  defp check_each(server, [arg | rest]) do
    check_arg(server, arg)
    check_each(server, rest)
  end

  defp check_each(_server, []), do: :ok

  defp check_arg(server, %Tensor{} = tensor) do
    with {:error, error} <- Tensor.check(tensor, server), do: raise(error)
  end

  defp check_arg(_server, %Value{}) do
    raise ArgumentError, "inside of a program, a prepared one is called by Op.call/2"
  end

  defp check_arg(_server, other) do
    raise ArgumentError,
          "arguments are tensors, got: #{inspect(other)}; make one with Outrigger.tensor/3"
  end

  @doc false
  # The results, and arguments that are given back, in the container of the template.
  def fill(nil, _args, _results), do: nil
  def fill({:result, 0}, _args, [result | _]), do: result

  def fill(template, args, results),
    do: filled(template, List.to_tuple(args), List.to_tuple(results))

  defp filled({:result, index}, _args, results), do: elem(results, index)
  defp filled({:param, index}, args, _results), do: elem(args, index)

  defp filled({:list, entries}, args, results),
    do: Enum.map(entries, &filled(&1, args, results))

  defp filled({:tuple, entries}, args, results),
    do: List.to_tuple(filled({:list, entries}, args, results))

  @doc false
  # Another tensor with the same elements, which no later write in place changes.
  def snapshot(tensor) do
    run(tensor.server, build([0], [], [0], {:result, 0}, []), [tensor], [])
  end

  defimpl Inspect do
    def inspect(program, _options) do
      captured = if program.captures != [], do: ", #{length(program.captures)} captured"
      ops = length(program.body)
      "#Outrigger.Program<arity #{program.arity}#{captured}, #{ops} instructions>"
    end
  end
end

defmodule Outrigger.Prepared do
  @moduledoc """
  A program that a server keeps; see `Outrigger.prepare/2` and `Outrigger.call/3`.

  It survives the daemon: after a restart, and when the daemon keeps too many others, the next
  call prepares it again by itself.
  """

  # `head` is what is the same in each frame that calls it.
  @enforce_keys [:server, :id, :head, :program]
  defstruct [:server, :id, :head, :program]

  @type t :: %__MODULE__{
          server: Outrigger.Server.t(),
          id: pos_integer,
          head: binary,
          program: Outrigger.Program.t()
        }

  alias Outrigger.{Protocol, Server}

  @doc false
  # Raises for a program that no daemon would take.
  def new(server, program) do
    with {:error, error} <- Server.program_fits(server, byte_size(program.encoded)),
         do: raise(error)

    id = Server.program_id(server)
    head = Protocol.head("call", {"program_id", id})
    %__MODULE__{server: server, id: id, head: head, program: program}
  end

  defimpl Inspect do
    def inspect(prepared, _options) do
      "#Outrigger.Prepared<##{prepared.id}, arity #{prepared.program.arity}>"
    end
  end
end
