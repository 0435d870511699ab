defmodule Outrigger.Nx do
  @moduledoc """
  Nx on Outrigger: `Nx.Defn` compiled for a daemon.

      Nx.global_default_backend(Outrigger.Nx.Backend)
      Nx.Defn.global_default_options(compiler: Outrigger.Nx)

  With the first line, tensors live in the daemon (see `Outrigger.Nx.Backend`). With the second
  line, a whole `defn` becomes one program there. Element-wise operations run as one pass over
  memory. Loops run in the daemon, and update their tensors in place. A call is one message.

  ## Options

    * `:server` - the Outrigger server. Default: the server of the arguments, or the backend's
      default
    * `:servers` - for `Nx.Serving` with `partitions: true`: one server for each partition
    * `:max_concurrency` - the number of partitions if there are no `:servers` (1)
    * `:hooks` - as in `Nx.Defn.Evaluator`

  The compiler ignores all other options, because they belong to other libraries. It warns about an
  option that is nearly the name of one of its own.

  ## The cache

  The compiled program of a function, for the types and shapes of its arguments, is kept for all
  processes. The limits are `config :outrigger_nx, cache_entries_max: 2048, cache_bytes_max:
  67_108_864`. If a function has large captures (more than 64 KiB, or terms of more than 2,000
  parts), the cache knows it by the addresses of the captures, and only in the process that called
  it.

  If a module is compiled again, the next call compiles the functions that depend on it again. A
  function depends on the modules that its code names, and on the modules that these name in turn,
  up to 32. Nx, Elixir and OTP do not count. The cache does not see a module whose name is known
  only at the call: then use `clear_cache/0`. The result of `Nx.Defn.compile/3` never changes.

  Each process that calls a function uploads the tensors that the function has captured, once. A
  captured tensor is released

    * at the end of the process
    * if the captured tensors of the process exceed `config :outrigger_nx, captured_bytes_max:
      268_435_456` bytes, or half of the daemon's memory limit: the least recently used ones first
    * if it was not used for a minute
    * if the daemon is short of memory

  The next call that needs a released tensor uploads it again.

  ## Donation

  A call releases an argument that is marked by `Nx.donatable/1`. Its memory is free when the
  program has run, before the VM collects the tensor. A later read raises an error that says so.

  ## Functions of Elixir within a defn

  A `hook` (`io_call`) with a function and `Nx.runtime_call/4` call back into the VM, which a
  program in a daemon cannot do. A defn with such a callback runs operation by operation, with the
  same backend and the same results. A hook without a function costs nothing.
  """

  @behaviour Nx.Defn.Compiler

  alias Outrigger.Nx.{Backend, Cache, Captured, Compiler}

  @doc """
  Forgets the compiled programs of functions and operations, in all processes. The tensors that
  functions have captured are released.

      iex> Outrigger.Nx.clear_cache()
      :ok

  This is needed only after the new compilation of a module that the code of a function does not
  name (see "The cache").
  """
  @spec clear_cache() :: :ok
  def clear_cache do
    Cache.clear()
    Captured.relieve()
  end

  @doc """
  Runs a function as a defn and prints the time of each of its steps in the daemon. Returns the
  result of the function.

  A step is one operation, or several element-wise operations that are fused to one pass over
  memory. The table has its time, its share of the whole, its number of calls (more than one in a
  loop), the bytes that it had to read and write, and the bytes per second. A pass near the speed
  of the memory gets faster only if it moves fewer bytes. In a pass far below that speed, the
  computation takes the time.

      iex> sum = Outrigger.Nx.profile(&Nx.sum(Nx.exp(&1)), [Nx.iota({1_000_000}, type: :f32)])

  prints

          time   share   calls       bytes      GB/s  step
      410.3 µs    72 %       1     8.00 MB      19.5  exp
      160.1 µs    28 %       1     4.00 MB      25.0  sum
      570.4 µs             the whole program

  The function runs twice, and the second time counts: its program is compiled and its memory
  touched by then. Arguments are never donated. The options are those of the compiler, and
  `:device`, which gets the table (`:stdio`).
  """
  @spec profile(fun, [term], keyword) :: term
  defdelegate profile(fun, args, options \\ []), to: Outrigger.Nx.Profile, as: :run

  @impl true
  def __jit__(key, vars, fun, args_list, options) do
    Compiler.compile(key, vars, fun, options).(args_list)
  end

  @impl true
  def __compile__(key, vars, fun, options), do: Compiler.compile(key, vars, fun, options)

  @impl true
  def __partitions_options__(options) do
    {servers, options} = Keyword.pop(options, :servers)

    case servers do
      nil -> List.duplicate(options, Keyword.get(options, :max_concurrency, 1))
      servers -> Enum.map(servers, &Keyword.put(options, :server, &1))
    end
  end

  @impl true
  def __to_backend__(options), do: {Backend, Keyword.take(options, [:server])}
end
