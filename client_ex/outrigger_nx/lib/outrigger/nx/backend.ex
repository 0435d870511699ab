defmodule Outrigger.Nx.Backend do
  @moduledoc """
  Tensors that live in an Outrigger daemon, as an Nx backend.

      Nx.global_default_backend(Outrigger.Nx.Backend)

  An operation is sent to the daemon at once, and returns a handle. Only a read of a value waits
  (`Nx.to_binary/1`, `Nx.to_number/1`, `inspect/1`, …). That read raises the error of a failed
  operation, an `Outrigger.Error`. The error names the function of Nx, and the defn that called it.

  Two functions wait, in order to raise Nx's own errors: `Nx.LinAlg.triangular_solve/3`, for a
  singular matrix, and `Nx.atan2/2` of complex numbers, if one has an imaginary part.

  The memory of a tensor is freed when no process holds the tensor any more, or by
  `Nx.backend_deallocate/1`.

  ## Options

    * `:server` - the Outrigger server, by name or pid. The default is the server of `config
      :outrigger_nx, server: name`. Without that name, a server starts with the first tensor, with
      the options of `config :outrigger_nx, server: [memory_limit: "2GiB", threads: 2]`. An
      operation runs on the server of its operands. An operation cannot use tensors of two
      servers: `Nx.backend_copy/2` moves them

    * `:mutable` - if true, operations write into their first operand (see below)

  ## Tensors in the code of modules

  A tensor that the body of a module makes, such as `@weights Nx.tensor([0.25, 0.75])`, becomes
  part of the module's code. A handle cannot, because the daemon ends with the compiler. So such
  tensors belong to `Nx.BinaryBackend`, also with another default backend, and defns that the body
  calls run there. An operation of such a tensor with a tensor of a daemon runs in the daemon.

  ## Mutable tensors

  Nx's tensors are values. So a loop outside `defn` over a large tensor copies the tensor in each
  turn. A tensor made with `mutable: true` receives the results of its operations:

      mutable = {Outrigger.Nx.Backend, mutable: true}
      t = Nx.broadcast(0, {10_000_000}) |> Nx.backend_transfer(mutable)
      t = Nx.put_slice(t, [5], Nx.tensor([1, 2, 3]))

  `Nx.put_slice/3`, `Nx.indexed_put/4`, `Nx.indexed_add/4`, `Nx.sort/2` and the element-wise
  operations then write into the memory of their first operand, if the result has its type and
  shape. They return the same tensor. The call above writes three elements, not ten million.

  All other references to a mutable tensor see the change. After

      a = Nx.tensor([1, 2, 3], backend: {Outrigger.Nx.Backend, mutable: true})
      b = Nx.add(a, 10)

  `a` and `b` are both `[11, 12, 13]`. A tensor that was made from `a` *before*, for instance by
  `Nx.reverse/1`, keeps its values. A `defn` does not need mutable tensors: there, the daemon writes
  in place where this cannot be observed.
  """

  @behaviour Nx.Backend

  alias Nx.Tensor, as: T
  alias Outrigger.Nx.{Cache, Captured, Compiler, DefaultServer, Eager, Failure, Lowering, Types}
  alias Outrigger.{Scope, Server}

  # The scalars that this process has recently sent.
  @scalars {__MODULE__, :scalars}
  @scalars_max 64

  @enforce_keys [:ref]
  defstruct [:ref, :constant, :server, :origin, mutable: false]

  @typedoc "A handle, or a scalar that was not sent to a daemon yet. Private."
  @opaque t :: %__MODULE__{
            ref: Outrigger.Tensor.t() | nil,
            constant: nil | {:number, term},
            server: term,
            origin: Failure.origin(),
            mutable: boolean
          }

  @impl true
  def init(options) do
    Keyword.validate!(options, [:server, mutable: false])
  end

  ## For the other modules of this package

  @doc false
  def new(ref, options), do: %__MODULE__{ref: ref, mutable: options[:mutable] || false}

  @doc false
  # The place of a tensor's elements: a handle, a known number, or the memory of another backend.
  def source(%T{data: %__MODULE__{ref: nil, constant: constant}}), do: constant
  def source(%T{data: %__MODULE__{ref: ref}}), do: ref
  def source(%T{data: %Nx.BinaryBackend{}, shape: {}} = t), do: {:number, Nx.to_number(t)}
  def source(%T{} = t), do: {:upload, t}

  @doc false
  # The handle of a source, on the server.
  def place(%Outrigger.Tensor{} = ref, _server), do: ref
  def place({:upload, t}, server), do: upload(t, Nx.to_binary(t), server)

  # Loops repeat the same few numbers.
  def place({:number, number, type}, server) do
    bytes = Types.bytes(number, type)

    scalars({type, bytes}, server, fn -> scalar(bytes, type, server) end)
  end

  @doc false
  # The handle of a scalar with these bytes, which `scalars/3` keeps.
  def scalar(bytes, type, server) do
    Scope.outside(fn -> Outrigger.from_binary(server, bytes, Types.atom(type), {}) end)
  end

  @doc false
  # The recent scalars of a process on a server. The process forgets them when a daemon was short of
  # memory, because an upload may have failed.
  def scalars(key, server, fun) do
    key = {key, server.counters, Server.epoch!(server)}
    pressed = Cache.pressed()

    known =
      case Process.get(@scalars) do
        {^pressed, known} -> known
        _ -> %{}
      end

    case known do
      %{^key => value} ->
        value

      _ ->
        value = fun.()
        # `fun` may have put other scalars into the dictionary.
        known = with {^pressed, known} <- Process.get(@scalars), do: known, else: (_ -> %{})
        known = if map_size(known) >= @scalars_max, do: %{}, else: known
        Process.put(@scalars, {pressed, Map.put(known, key, value)})
        value
    end
  end

  defp upload(%T{type: type, shape: shape}, binary, server) do
    Outrigger.from_binary(server, Types.pack(binary), Types.atom(type), shape)
  end

  @doc false
  # An operation runs on the server of its first operand that is in a daemon.
  def server(args, options) do
    case of_server(args) do
      nil -> DefaultServer.fetch!(options[:server])
      server -> server
    end
  end

  defp of_server([%T{data: %__MODULE__{ref: %{server: server}}} | _]), do: server

  defp of_server([%T{data: %__MODULE__{server: name}} | rest]) when name != nil do
    of_server(rest) || DefaultServer.fetch!(name)
  end

  defp of_server([[_ | _] = list | rest]), do: of_server(list) || of_server(rest)
  defp of_server([_ | rest]), do: of_server(rest)
  defp of_server([]), do: nil

  ## Creation

  @doc false
  # True if the compiler runs the body of a module. The module's code keeps the tensors of the body,
  # for instance in an attribute.
  def module_body?, do: Process.get(:elixir_compiler_modules, []) != []

  @impl true
  def constant(%T{shape: {}} = out, number, options) do
    if module_body?() do
      Nx.BinaryBackend.constant(out, number, [])
    else
      number = Types.hold(number, out.type)
      data = %__MODULE__{ref: nil, constant: {:number, number}, server: options[:server]}
      materialize(%{out | data: data}, options)
    end
  end

  def constant(out, number, options), do: create(:constant, out, [number], options)

  @impl true
  def eye(out, options), do: create(:eye, out, [], options)

  @impl true
  def iota(out, axis, options), do: create(:iota, out, [axis], options)

  defp create(op, out, args, options) do
    if module_body?(),
      do: apply(Nx.BinaryBackend, op, [out | args] ++ [[]]),
      else: Eager.run(op, out, args, options)
  end

  @impl true
  def from_binary(out, binary, options) do
    if module_body?() do
      Nx.BinaryBackend.from_binary(out, binary, [])
    else
      server = DefaultServer.fetch!(options[:server])
      %{out | data: new(upload(out, binary, server), options)}
    end
  end

  # A tensor that is written in place needs memory.
  defp materialize(%T{data: %{constant: {:number, number}}} = t, options) do
    if options[:mutable] do
      server = DefaultServer.fetch!(options[:server])
      %{t | data: new(upload(t, Types.bytes(number, t.type), server), options)}
    else
      t
    end
  end

  ## Elements

  @impl true
  def to_binary(%T{data: %{ref: nil, constant: {:number, number}}, type: type}, limit) do
    if limit == 0, do: <<>>, else: Types.bits(number, type)
  end

  def to_binary(%T{data: %{ref: ref} = data} = t, limit) do
    check!(t, ok!(Outrigger.await(ref), data))
    limit = min(limit, Outrigger.Dtype.count(Outrigger.shape!(ref)))

    if limit == 0,
      do: <<>>,
      else: ref |> Outrigger.to_binary(limit: limit) |> ok!(data) |> Types.unpack(t.type, limit)
  end

  defp ok!({:ok, value}, _data), do: value

  defp ok!({:error, %Outrigger.Error{code: :bad_handle} = error}, _data) do
    text = "the tensor was released: deallocated, transferred, or donated to a defn"
    raise %{error | message: "#{text} (#{error.message})"}
  end

  defp ok!({:error, error}, data) do
    # Tensors that can be uploaded again are released, to make room for the next try.
    if refused?(error), do: Captured.relieve()
    raise Failure.explain(error, data.origin)
  end

  # True if the daemon had no space.
  defp refused?(%Outrigger.Error{code: code}) when code in [:out_of_memory, :limit_exceeded],
    do: true

  defp refused?(%Outrigger.Error{cause: cause}), do: refused?(cause)
  defp refused?(_error), do: false

  # Nx infers type and size without the daemon, and is not always right.
  defp check!(%T{type: type} = t, ref) do
    axes = Keyword.values(t.vectorized_axes)
    size = Nx.size(t) * Tuple.product(List.to_tuple(axes))
    actual = {Outrigger.type!(ref), Outrigger.Dtype.count(Outrigger.shape!(ref))}

    if actual != {Types.atom(type), size} do
      taken =
        Types.wire(type) <> Outrigger.Tensor.dims(List.to_tuple(axes ++ Tuple.to_list(t.shape)))

      is = "#{Outrigger.type!(ref)}#{Outrigger.Tensor.dims(Outrigger.shape!(ref))}"

      raise "Nx takes the tensor for #{taken}, but it is #{is} in the daemon. " <>
              "Nx.Defn.Evaluator does so with expressions that Nx itself gives a wrong type, " <>
              "such as the gradient of a loop in f64: use `compiler: Outrigger.Nx`. Without " <>
              "such an expression, this is a bug of outrigger_nx: please report it"
    end
  end

  @impl true
  def inspect(%T{} = t, options) do
    limit = if options.limit == :infinity, do: Nx.size(t), else: options.limit + 1
    Nx.Backend.inspect(t, to_binary(t, min(limit, Nx.size(t))), options)
  rescue
    error in [Outrigger.Error, Outrigger.ConnectionError] ->
      "Outrigger.Nx.Backend (" <> Exception.message(error) <> ")"
  end

  @impl true
  def to_batched(out, %T{} = t, opts) do
    size = elem(out.shape, 0)
    rows = elem(t.shape, 0)
    {full, rest} = {div(rows, size), rem(rows, size)}
    last = if rest != 0 and opts[:leftover] == :repeat, do: full, else: full - 1

    Stream.map(0..last//1, fn
      ^full ->
        tail = Nx.slice_along_axis(t, full * size, rest)
        Nx.concatenate([tail, Nx.slice_along_axis(t, 0, size - rest)])

      index ->
        Nx.slice_along_axis(t, index * size, size)
    end)
  end

  @impl true
  def backend_copy(t, Nx.Tensor, options), do: backend_copy(t, Nx.BinaryBackend, options)

  # On the same server, a copy costs nothing until an operation writes in place into one of the two.
  def backend_copy(%T{data: %{ref: ref}} = t, __MODULE__, options) do
    server = DefaultServer.fetch!(options[:server])

    if ref != nil and ref.server.counters == server.counters do
      %{t | data: new(Outrigger.Program.snapshot(ref), options)}
    else
      from_binary(t, to_binary(t, Nx.size(t)), options)
    end
  end

  def backend_copy(t, backend, options) do
    backend.from_binary(t, to_binary(t, Nx.size(t)), options)
  end

  @impl true
  def backend_transfer(%T{data: %{ref: ref} = data} = t, __MODULE__, options) do
    server = DefaultServer.fetch!(options[:server])
    mutable = options[:mutable] || false

    cond do
      ref == nil -> materialize(t, options)
      ref.server.counters != server.counters -> move(t, __MODULE__, options)
      true -> %{t | data: %{data | mutable: mutable}}
    end
  end

  def backend_transfer(t, backend, options), do: move(t, backend, options)

  defp move(t, backend, options) do
    copy = backend_copy(t, backend, options)
    backend_deallocate(t)
    copy
  end

  @impl true
  def backend_deallocate(%T{data: %{ref: nil}}), do: :ok

  def backend_deallocate(%T{data: %{ref: ref}}) do
    case Outrigger.await(ref) do
      {:ok, _} ->
        Outrigger.release(ref)
        # The daemon answers this request after the release, which the connection then knows of.
        Outrigger.info(ref)
        :ok

      {:error, _gone} ->
        :already_deallocated
    end
  end

  @dialyzer {:no_return, to_pointer: 2, from_pointer: 5}

  @impl true
  def to_pointer(_t, _opts) do
    no_pointers(
      "to_pointer/2",
      "tensors live in the memory of another process, the daemon, which moves and frees them " <>
        "while it runs programs. Nx.to_binary/1 returns a copy of the elements"
    )
  end

  @impl true
  def from_pointer(_pointer, _type, _shape, _backend_options, _opts) do
    no_pointers(
      "from_pointer/5",
      "tensors live in the memory of another process, the daemon, which maps no memory that " <>
        "others can cut short during a read. Nx.from_binary/3 takes a copy of the elements"
    )
  end

  defp no_pointers(function, why) do
    raise ArgumentError, "Nx.#{function} is not supported by Outrigger.Nx.Backend: #{why}"
  end

  ## Errors that Nx raises at once

  @impl true
  def triangular_solve(out, a, b, opts) do
    solution = Eager.run(:triangular_solve, out, [a, b, opts])

    case Outrigger.await(solution.data.ref) do
      {:error, %Outrigger.Error{code: :bad_value}} ->
        raise ArgumentError, "can't solve for singular matrix"

      # A read of the value raises any other error.
      _ ->
        solution
    end
  end

  @impl true
  def atan2(%{type: {:c, _}} = out, a, b) do
    if Enum.any?([a, b], &(Nx.to_number(Nx.any(Nx.imag(&1))) == 1)) do
      raise ArithmeticError, "Complex.atan2 only accepts real numbers as arguments"
    end

    Eager.run(:atan2, out, [a, b])
  end

  def atan2(out, a, b), do: Eager.run(:atan2, out, [a, b])

  ## Functions and blocks

  @impl true
  def reduce(out, t, acc, opts, fun) do
    fold(:reduce, out, [t, acc], [opts, fun])
  end

  @impl true
  def window_reduce(out, t, acc, window, opts, fun) do
    fold(:window_reduce, out, [t, acc], [window, opts, fun])
  end

  # A function is traced into a region. The functions of Nx.Defn.Evaluator take values only: this
  # module calls them for each element.
  defp fold(op, out, tensors, rest) do
    case Function.info(List.last(rest), :module) do
      {:module, Nx.Defn.Evaluator} ->
        copies = Enum.map(tensors, &Nx.backend_copy(&1, Nx.BinaryBackend))

        folded =
          Nx.with_default_backend(Nx.BinaryBackend, fn ->
            apply(Nx.BinaryBackend, op, [out | copies] ++ rest)
          end)

        from_binary(out, Nx.to_binary(folded), server: server(tensors, []))

      _ ->
        Compiler.apply_op(op, out, tensors, rest)
    end
  end

  @impl true
  def block(struct, output, args, fun) do
    cond do
      not Lowering.native?(struct, args) -> Compiler.apply_block(struct, args, fun)
      is_tuple(output) -> List.to_tuple(Eager.block(struct, Tuple.to_list(output), args))
      true -> hd(Eager.block(struct, [output], args))
    end
  end

  ## All other callbacks are one op

  @defined [:init, :constant, :eye, :iota, :from_binary, :to_binary, :inspect, :to_batched] ++
             [:backend_copy, :backend_transfer, :backend_deallocate, :to_pointer, :from_pointer] ++
             [:reduce, :window_reduce, :block, :triangular_solve, :atan2]

  for {name, arity} <- Nx.Backend.behaviour_info(:callbacks), name not in @defined do
    args = Macro.generate_arguments(arity - 1, __MODULE__)

    @impl true
    def unquote(name)(out, unquote_splicing(args)) do
      Eager.run(unquote(name), out, unquote(args))
    end
  end
end
