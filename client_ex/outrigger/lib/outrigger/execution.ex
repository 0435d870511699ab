defmodule Outrigger.Execution do
  @moduledoc false
  # Sends the requests that run and call programs. An argument is a tensor. outrigger_nx also passes
  # numbers, `{:number, number}`, which are literals of the protocol.

  alias Outrigger.{ConnectionError, Prepared, Program, Protocol, Request, Server, Tensor, Value}
  require Request

  # Sends the program, and returns the tensors of the results at once.
  def run(server, %{head: nil} = program, args, options) do
    %{id: id, head: head} = Prepared.new(server, program)
    send_call(server, program, args, options, head, {:once, Program.kept(server, program, id)})
  end

  def run(server, program, args, options) do
    send_call(server, program, args, options, program.head, Program.kept(server, program, 0))
  end

  def call(prepared, args, options) do
    %{server: server, id: id, head: head, program: program} = prepared
    send_call(server, program, args, options, head, Program.kept(server, program, id))
  end

  def call_and_wait(prepared, args, options) do
    with {:ok, results, _reply} <- exchange(prepared, args, options), do: {:ok, results}
  end

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
    prepared = Program.kept(server, program, program_id)
    # The connection ends the program at its deadline, so the caller waits a little longer.
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
    operands = handles(args)
    id = Server.request_id(server)
    frame = Protocol.execute(id, head, operands, handles, fields)
    # The daemon refuses to write a literal.
    written = operands |> Program.at(program.writes) |> without_literals()
    operands = without_literals(operands)
    donated = handles(options[:donated] || [])

    want = Request.results(handles: handles, args: operands, written: written, donated: donated)

    {id, epoch, frame, want, deadline, fill(program.template, args, results)}
  end

  defp epoch_within(server, nil, fields), do: {Server.epoch!(server), nil, fields}

  # The time of the wait for a daemon counts towards the program's deadline.
  defp epoch_within(server, deadline, fields) do
    until = Server.until(deadline)
    epoch = Server.epoch!(server, deadline)
    left = Server.left(until)
    {epoch, left, List.keyreplace(fields, "deadline_ms", 0, {"deadline_ms", left})}
  end

  defp new([_ | rest], server, epoch), do: [Tensor.new(server, epoch) | new(rest, server, epoch)]
  defp new([], _server, _epoch), do: []

  # A literal stays what it is.
  defp handles([%Tensor{handle: handle} | rest]), do: [handle | handles(rest)]
  defp handles([{:number, number} | rest]), do: [%{"number" => number} | handles(rest)]
  defp handles([]), do: []

  defp without_literals([%{} | rest]), do: without_literals(rest)
  defp without_literals([handle | rest]), do: [handle | without_literals(rest)]
  defp without_literals([]), do: []

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

  defp check_arg(_server, {:number, _number}), do: :ok

  defp check_arg(_server, %Value{}) do
    raise ArgumentError, "inside a program, Op.call/2 calls a prepared program"
  end

  defp check_arg(_server, other) do
    raise ArgumentError,
          "arguments are tensors, got: #{inspect(other)}; make one with Outrigger.tensor/3"
  end

  # The results, and the arguments that are returned, in the container of the template.
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

  # Another tensor with the same elements, which no later write in place changes.
  def snapshot(tensor) do
    run(tensor.server, Program.build([0], [], [0], {:result, 0}, []), [tensor], [])
  end
end
