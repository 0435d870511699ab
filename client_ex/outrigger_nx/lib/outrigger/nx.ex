defmodule Outrigger.Nx do
  @moduledoc """
  Nx on Outrigger: `Nx.Defn` compiled for a daemon.

      Nx.global_default_backend(Outrigger.Nx.Backend)
      Nx.Defn.global_default_options(compiler: Outrigger.Nx)

  The first line makes tensors live in the daemon (see `Outrigger.Nx.Backend`), the second one makes
  a whole `defn` one program there: element-wise operations run as one pass over memory, loops run
  in the daemon and update their tensors in place, and a call is one message.

  ## Options

    * `:server` - the Outrigger server. Default: where the arguments are, or the backend's default
    * `:servers` - for `Nx.Serving` with `partitions: true`: one partition for each
    * `:max_concurrency` - the number of partitions if there are no `:servers` (1)
    * `:hooks` - as in `Nx.Defn.Evaluator`

  Other options are somebody else's and are ignored; one that looks like one of these, misspelt, is
  warned of.

  ## What is kept

  What is compiled for a function and the types and shapes of its arguments is kept for all
  processes, up to `config :outrigger_nx, cache_entries_max: 2048, cache_bytes_max: 67_108_864`. A
  function that has captured much (more than 64 KiB, or terms of more than 2,000 parts) is known by
  where its captures are in memory: to the process that called it, and to no other.

  When a module is compiled again, so is what went through it. The modules are those that the
  function's code names, and what these name in turn; Nx, Elixir and OTP are left out, and after 32
  the search ends. Where that misses one (a module that is only known when it is called),
  `clear_cache/0` forgets everything. What `Nx.Defn.compile/3` gave stays as it is.

  A tensor that a function has captured is uploaded once by each process that calls the function. It
  is released with the process; before that, those first that were not used for longest, if all of a
  process are more than `config :outrigger_nx, captured_bytes_max: 268_435_456` bytes or half of
  the daemon's memory limit; if it was not used for a minute and another one is captured; and when
  the daemon is short of memory. Then it is uploaded again by the next call that needs it.

  ## Donation

  An argument that is marked by `Nx.donatable/1` is released by the call: its memory is free once the program
  has run, not when the VM collects the tensor. Who reads it afterwards is told so.

  ## Functions of Elixir within a defn

  A `hook` (`io_call`) with a function and `Nx.runtime_call/4` call back into the VM, which a program
  in a daemon cannot. A defn that contains one is carried out operation by operation instead, with
  the same backend and the same results; hooks that nobody listens to cost nothing.
  """

  @behaviour Nx.Defn.Compiler

  alias Outrigger.Nx.{Backend, Compiler}

  @doc """
  Forgets what was compiled for functions and operations, in all processes; each gives back the
  tensors that its functions have captured with its next call of a function.

      iex> Outrigger.Nx.clear_cache()
      :ok

  There is need of it only after a module was compiled again that the code of a function does not
  name (see "What is kept").
  """
  @spec clear_cache() :: :ok
  defdelegate clear_cache, to: Outrigger.Nx.Cache, as: :clear

  @doc """
  Runs a function as a defn and prints what its steps took in the daemon. Gives its result.

  A step is what the daemon carries out at once: one operation, or several element-wise ones fused to
  one pass over memory. For each there is its time, its share of the whole, how often it ran (in a loop, more
  than once), the bytes that it had to read and write and how many of them it moved per second. A pass
  near the memory's speed can only be made faster by moving less; one far below it is busy computing.

      iex> sum = Outrigger.Nx.profile(&Nx.sum(Nx.exp(&1)), [Nx.iota({1_000_000}, type: :f32)])

  prints

          time   share   calls       bytes      GB/s  step
      410.3 µs    72 %       1     8.00 MB      19.5  exp
      160.1 µs    28 %       1     4.00 MB      25.0  sum
      570.4 µs             the whole program

  The function runs twice, and the second time counts: what is compiled and touched for the first time is
  there by then. Arguments are never donated. The options are those of the compiler, and `:device`, where to
  print (`:stdio`).
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
