defmodule Outrigger.Kernel do
  @moduledoc """
  Loops over tensors with mutation.

  `use Outrigger.Kernel` imports `defkernel/2` and `defkernelp/2`. The body of a kernel is a part of
  Elixir with types. It is compiled, when the module is compiled, into a *unit*: flat data with all
  types. The daemon checks the unit, and interprets it. `interpret/3` runs it in Elixir.

      defmodule MyApp.Primes do
        use Outrigger.Kernel

        @doc "Marks the numbers that are composite, and counts the primes."
        defkernel sieve(composite :: mut(u8[n])) :: s64 do
          i = 2

          while i * i < n do
            if composite[i] == 0 do
              for j <- (i * i)..(n - 1)//i, do: composite[j] = 1
            end

            i = i + 1
          end

          count = 0
          for k <- 2..(n - 1), composite[k] == 0, do: count = count + 1
          count
        end
      end

  ## Calls

  `defkernel` makes a function of the same name. Its arguments decide where it runs.

  | arguments | the kernel runs |
  |---|---|
  | tensors, and numbers beside them | in the daemon, at once: the results are tensors |
  | values of a program that is traced | as an instruction of `Outrigger.program/1` |
  | lists, binaries and numbers | in Elixir, as by `interpret/3` |

      composite = Outrigger.tensor(MyApp.Compute, List.duplicate(0, 1000), type: :u8)
      {count, composite} = MyApp.Primes.sieve(composite)
      Outrigger.to_number!(count)
      #=> 168

  The results are the declared ones, then the `new` tensors, then the operands of `mut` parameters:
  one alone, several in a tuple, and `:ok` for none. The daemon writes these operands in place, so
  that every holder of the tensor sees the change, as with `Outrigger.InPlace`. `call/3` can leave
  them as they are.

  An operand has exactly the dtype and the rank of its parameter. A number for a parameter such as
  `k :: s64` may be a number of Elixir, or a tensor without axes.

  An error of the kernel has the line of its source, `:at` of `Outrigger.Error`. Tensors that the
  kernel has written until then stay written, unless the program runs with `atomic: true`. A cancel
  or a deadline ends a kernel within some milliseconds.

  The client sends a unit to the daemon once in a session, before the first program that needs it.
  If the daemon has dropped the unit, one call fails with `:unknown_kernel`, and the next one sends
  it again.

  ## Costs

  The daemon interprets kernels: a turn of a short loop takes some 10 to 30 ns. `bench/README.md`
  has figures. A call takes a round trip, some 10 to 50 µs.

  ## Parameters

  | written | is |
  |---|---|
  | `k :: s64` | a number |
  | `a :: f32[h][w]` | a tensor that is read |
  | `a :: mut(f32[h][w])` | a tensor that is written in place |
  | `out :: new(u8[h][w])` | a result, zero at first; callers do not pass it |

  The types are `u8` … `u64`, `s8` … `s64`, `f32` and `f64`; a variable may also be a condition. A
  size is a name, a number, `name + number`, `name - number` or `_`. A name stands for the size
  where it first occurs, is compared where it occurs again, and is a constant of type s64 in the
  body. The types behind the head are those of the results: none, one, or a tuple. The last line is
  the value, or `return` gives it.

  ## Binding and writing

  `x = e` binds a variable. A variable that is bound again in a loop or a branch has the new value
  after it. This differs from Elixir: after

      x = 1
      if a[0] > 0, do: x = 2

  `x` may be 2. `t[i] = e` and `t[i][j] = e` write memory, and nothing else does. A tensor is never
  a value: two names are never one memory.

  ## Statements and expressions

  | | |
  |---|---|
  | `x = e`, `{a, b} = {b, a}`, `{a, b} = kernel(…)` | |
  | `t[i][j] = e` | the indices are evaluated after `e` |
  | `t = local(s64[64])` | an array of the kernel, zero at first, of at most 16 KiB |
  | `t = scratch(s32[m + 1])` | the same, of a size of the operands |
  | `if`, `unless`, `cond` | also as values |
  | `while c do … end` | |
  | `for i <- a..b//s, filter, j <- c..d do … end` | several generators are loops inside each other. `0..-1` is empty |
  | `break`, `continue`, `return e` | of the loop around, and of the kernel |
  | `raise "negative weight", w` | ends the kernel with an error |
  | `+ - *`, `-x` | integers wrap around |
  | `/` | floats only |
  | `div`, `rem` | integers, towards zero. A division by zero is an error |
  | `== != < <= > >=`, `and or not` | numbers are no conditions |
  | `&&& \\|\\|\\| <<< >>>`, `bxor`, `bnot` | a shift by the width or more gives 0, or the sign |
  | `min max abs sqrt floor ceil trunc` | `min` and `max` give NaN for NaN |
  | `popcount clz ctz is_nan infinity() nan()` | |
  | `exp log sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh pow atan2` | floats |
  | `f32(x)`, `u8(x)`, … | casts as `Nx.as_type/2` |
  | `size(t, axis)` | where a size has no name |

  Module attributes that are numbers are constants; a list of numbers is a table, `@table[i]`.
  Macros are expanded. A kernel calls kernels that stand before it or in other modules; a tensor is
  passed by its name, or as `a[i]`, its part at index i of the first axis.

  ## Types

  Operands have the common type of `Nx.Type.merge/2`, literals that of `Nx.Type.merge_number/2`. A
  u64 and a type with a sign have no common type: one needs a cast. A variable has the type in which
  all its values meet. If these are literals only, it takes the type of its first operand in
  arithmetic, and otherwise s64 or f64. A value that is stored, returned or passed must fit the type
  of its place.
  """

  import Outrigger.Ask, only: [only!: 2]

  alias Outrigger.Kernel.{Define, Head, Interpreter, Remote, Unit}

  @doc false
  defmacro __using__(_options) do
    quote do
      import Outrigger.Kernel, only: [defkernel: 2, defkernelp: 2]
      @before_compile Outrigger.Kernel
    end
  end

  @doc "Defines a kernel, and a function of its name that calls it."
  defmacro defkernel(head, do: body) do
    {name, params} = name!(head, __CALLER__)
    args = for param <- params, not Head.new?(param), do: argument(param)

    quote do
      unquote(definition(head, body, :public, __CALLER__))

      def unquote(name)(unquote_splicing(args)) do
        Outrigger.Kernel.__run__(
          {__MODULE__, unquote(name), unquote(length(args))},
          unquote(args)
        )
      end
    end
  end

  @doc "Defines a kernel that the kernels of its module can call."
  defmacro defkernelp(head, do: body) do
    name!(head, __CALLER__)
    definition(head, body, :private, __CALLER__)
  end

  # The source waits in an attribute: as data in the code of the module it would be compiled.
  defp definition(head, body, visibility, caller) do
    sources = Module.get_attribute(caller.module, :outrigger_sources) || []
    Module.put_attribute(caller.module, :outrigger_sources, [{head, body} | sources])

    quote do
      Outrigger.Kernel.Define.define(unquote(length(sources)), unquote(visibility), __ENV__)
    end
  end

  defp name!(head, caller) do
    case Head.split(head) do
      {name, _meta, params} ->
        {name, params}

      nil ->
        raise CompileError,
          file: caller.file,
          line: caller.line,
          description: "a kernel begins with its name and parameters, defkernel f(a :: f32[n]) do"
    end
  end

  defp argument({:"::", _, [{name, meta, context}, _type]})
       when is_atom(name) and is_atom(context),
       do: {name, meta, context}

  defp argument({name, _, context} = var) when is_atom(name) and is_atom(context), do: var

  # Outrigger.Kernel.Head refuses the parameter.
  defp argument(_param), do: {:_, [], nil}

  @doc false
  defmacro __before_compile__(env) do
    kernels = Module.get_attribute(env.module, :outrigger_kernels) || %{}
    Module.delete_attribute(env.module, :outrigger_kernels)
    Module.delete_attribute(env.module, :outrigger_sources)

    clauses =
      for {{name, arity}, {:public, unit}} <- kernels do
        kernel = if match?({:generic, _}, unit), do: unit, else: {:ok, unit}

        quote do
          def __kernel__(unquote(name), unquote(arity)), do: unquote(Macro.escape(kernel))
        end
      end

    quote do
      @doc false
      unquote_splicing(clauses)
      def __kernel__(_name, _arity), do: :error
    end
  end

  @doc """
  The unit of a kernel, as the daemon reads it: a map for `Outrigger.Codec`.
  """
  @spec unit(fun) :: map
  def unit(kernel), do: kernel |> key!() |> fetch!(nil) |> Unit.to_wire()

  @doc """
  Runs a kernel in Elixir. It is the reference for the daemon: slow, with the same bits and the same
  errors.

  A tensor is a nested list; a tensor of u8 with one axis may be a binary. Floats that Elixir does
  not have are `:nan`, `:infinity` and `:neg_infinity`. The results are the declared ones, then the
  `new` ones, then the new value of each `mut` operand: one alone, several in a tuple, and `:ok` for
  none. An error of the kernel is raised as `Outrigger.Error`.

      Outrigger.Kernel.interpret(&MyApp.Text.edit_distance/2, ["kitten", "sitting"])
      #=> 3

  ## Options

    * `:trace` - true prints each write to a tensor, with its line
  """
  @spec interpret(fun, list, keyword) :: term
  def interpret(kernel, args, options \\ []) do
    kernel |> key!() |> fetch!(args) |> Interpreter.run(args, options)
  end

  @doc """
  Calls a kernel on tensors, or on values of a program that is traced, as its function does.

  ## Options

    * `:in_place` - false leaves the operands of `mut` parameters as they are: their new values are
      the results. The daemon takes over the memory of a value that is not used afterwards. The
      default is true
  """
  @spec call(fun, list, keyword) :: term
  def call(kernel, args, options \\ []) do
    only!(options, [:in_place])
    in_place? = Keyword.get(options, :in_place, true)

    unless is_boolean(in_place?) do
      raise ArgumentError, "in_place: takes true or false, not #{inspect(in_place?)}"
    end

    kernel |> key!() |> fetch!(args) |> Remote.call(args, in_place?)
  end

  @doc false
  def __run__(key, args) do
    if Remote.call?(args),
      do: key |> fetch!(args) |> Remote.call(args, true),
      else: key |> fetch!(args) |> Interpreter.run(args, [])
  end

  defp fetch!({module, name, arity} = key, args) do
    case module.__kernel__(name, arity) do
      {:ok, unit} ->
        unit

      {:generic, source} when args != nil ->
        Define.specialize(key, source, args, &Remote.type/1)

      {:generic, _} ->
        raise ArgumentError, "#{name}/#{arity} has a unit for each call: it has no types"

      :error ->
        not_a_kernel(key)
    end
  end

  defp key!(kernel) when is_function(kernel) do
    info = Function.info(kernel)
    {module, name, arity} = {info[:module], info[:name], info[:arity]}

    if info[:type] == :external and Code.ensure_loaded?(module) and
         function_exported?(module, :__kernel__, 2),
       do: {module, name, arity},
       else: not_a_kernel({module, name, arity})
  end

  @spec not_a_kernel({module, atom, arity}) :: no_return
  defp not_a_kernel({module, name, arity}) do
    raise ArgumentError,
          "#{Exception.format_mfa(module, name, arity)} is no kernel: pass &Module.name/arity"
  end
end
