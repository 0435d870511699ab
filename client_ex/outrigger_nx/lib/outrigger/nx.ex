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

  What is compiled for a function and the types and shapes of its arguments is kept, up to
  `config :outrigger_nx, cache_entries_max: 2048` entries.

  ## Functions of Elixir within a defn

  A `hook` (`io_call`) with a function and `Nx.runtime_call/4` call back into the VM, which a program
  in a daemon cannot. A defn that contains one is carried out operation by operation instead, with
  the same backend and the same results; hooks that nobody listens to cost nothing.
  """

  @behaviour Nx.Defn.Compiler

  alias Outrigger.Nx.{Backend, Compiler}

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
