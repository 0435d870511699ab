defmodule Outrigger.Kernel.Expression do
  @moduledoc false
  # Elixir's AST of an expression → an expression with resolved names:
  #
  #     {:number, line, n}                 a number, :infinity or :nan
  #     {:bool, line, true}                {:slot, line, id}          {:dim, line, number}
  #     {:size, line, tensor, axis}        {:load, line, tensor, [index]}
  #     {:op, line, name, [operand]}       {:as, line, dtype, e}
  #     {:and | :or, line, a, b}           {:if, line, c, {block, e}, {block, e}}
  #     {:call, line, key, [dtype], args}
  #
  # An argument of a call is an expression or {:tensor, tensor, [index]}. The value of a side of
  # `if` is nil if the side ends with `raise`, `return`, `break` or `continue`.

  import Outrigger.Kernel.Scope,
    only: [at: 2, check_bound: 3, deeper: 2, fail: 3, line: 2, meet: 2, name_key: 1, tensor: 2]

  alias Outrigger.Kernel.{Call, Memory, Plain, Reader, Scope, Types}

  @binary [
    +: :add,
    -: :subtract,
    *: :multiply,
    /: :divide,
    div: :quotient,
    rem: :remainder,
    min: :min,
    max: :max,
    ==: :equal,
    !=: :not_equal,
    <: :less,
    <=: :less_equal,
    >: :greater,
    >=: :greater_equal,
    &&&: :bitwise_and,
    |||: :bitwise_or,
    bxor: :bitwise_xor,
    band: :bitwise_and,
    bor: :bitwise_or,
    <<<: :left_shift,
    >>>: :right_shift,
    bsl: :left_shift,
    bsr: :right_shift,
    pow: :pow,
    atan2: :atan2
  ]

  @unary [
           -: :negate,
           abs: :abs,
           sqrt: :sqrt,
           floor: :floor,
           ceil: :ceil,
           trunc: :trunc,
           bnot: :bitwise_not,
           popcount: :population_count,
           clz: :count_leading_zeros,
           ctz: :count_trailing_zeros,
           is_nan: :is_nan
         ] ++
           for(
             f <- ~w(exp log sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh)a,
             do: {f, f}
           )

  @instead %{
    {:&&, 2} => "`and`",
    {:||, 2} => "`or`",
    {:!, 1} => "`not`",
    {:===, 2} => "`==`",
    {:!==, 2} => "`!=`",
    {:"^^^", 2} => "bxor(a, b)",
    {:"~~~", 1} => "bnot(a)",
    {:**, 2} => "pow(a, b) for floats, or a loop",
    {:in, 2} => "comparisons with `or`",
    {:case, 2} => "`cond`",
    {:with, 2} => "`if`",
    {:fn, 1} => "a loop, or a defkernelp that the kernel calls",
    {:&, 1} => "a loop, or a defkernelp that the kernel calls",
    {:round, 1} => "floor(x + 0.5)"
  }

  @operators [
    :and,
    :or,
    :not,
    :if,
    :unless,
    :cond,
    :for,
    :while,
    :size,
    :scratch,
    :local,
    :infinity,
    :nan
  ]

  @doc "True if a kernel of this name could not be called."
  def builtin?(name) do
    Keyword.has_key?(@binary, name) or Keyword.has_key?(@unary, name) or name in @operators or
      name in Types.dtypes() or name in [:break, :continue, :return, :raise]
  end

  @doc "Reads expressions in their order."
  def read_all(asts, s), do: Enum.map_reduce(asts, s, &read/2)

  @doc "Reads an expression."
  def read(n, s) when is_number(n), do: {{:number, s.line, n}, s}
  def read(flag, s) when is_boolean(flag), do: {{:bool, s.line, flag}, s}

  def read({:__block__, _, [ast]}, s), do: read(ast, s)

  def read({:__block__, meta, _}, s),
    do: fail(s, meta, "a block of several lines is no value: bind it to a name first")

  def read({:infinity, meta, args}, s) when args in [[], nil],
    do: {{:number, line(meta, s), :infinity}, s}

  def read({:nan, meta, args}, s) when args in [[], nil], do: {{:number, line(meta, s), :nan}, s}

  def read({:@, meta, [{name, _, context}]}, s) when is_atom(name) and is_atom(context) do
    case Scope.attribute(s, name) do
      n when is_number(n) ->
        {{:number, line(meta, s), n}, s}

      [n | _] when is_number(n) ->
        fail(s, meta, "@#{name} is a table: @#{name}[i] is one of its numbers")

      nil ->
        fail(s, meta, "@#{name} is not set before the kernel")

      _other ->
        fail(s, meta, "@#{name} is no number and no list of numbers")
    end
  end

  def read({{:., _, [Access, :get]}, meta, _} = ast, s) do
    line = line(meta, s)
    {tensor, indices, s} = element(ast, s)
    {{:load, line, tensor, indices}, s}
  end

  # Bitwise.bxor(a, b) and Kernel.min(a, b) are bxor(a, b) and min(a, b).
  def read({{:., _, [{:__aliases__, _, [module]}, name]}, meta, args}, s)
      when module in [:Bitwise, :Kernel],
      do: read({name, meta, args}, s)

  def read({op, meta, [a, b]}, s) when op in [:and, :or] do
    s = at(s, meta)
    line = s.line
    {a, s} = read(a, s)
    {b, after_b} = read(b, s)
    {{op, line, a, b}, %{after_b | bound: s.bound}}
  end

  def read({:not, meta, [a]}, s), do: op(:not, meta, [a], s)
  def read({:+, _, [a]}, s), do: read(a, s)

  def read({:if, meta, [condition, clauses]}, s), do: choice(:if, meta, condition, clauses, s)

  def read({:unless, meta, [condition, clauses]}, s),
    do: choice(:unless, meta, condition, clauses, s)

  def read({:cond, meta, [[do: clauses]]}, s), do: cond_value(clauses, meta, s)

  def read({:size, meta, [tensor, axis]}, s) do
    case tensor(s, tensor) do
      nil ->
        fail(s, meta, "size(t, axis): #{text(tensor)} is no tensor")

      tensor ->
        %{rank: rank, name: name} = s.tensors[tensor]

        if not (is_integer(axis) and axis in 0..(rank - 1)),
          do: fail(s, meta, "size(#{name}, axis): the axis is a number from 0 to #{rank - 1}")

        {{:size, line(meta, s), tensor, axis}, s}
    end
  end

  def read({dtype, meta, [value]}, s)
      when dtype in [:u8, :u16, :u32, :u64, :s8, :s16, :s32, :s64, :f32, :f64] do
    s = at(s, meta)
    line = s.line
    {value, s} = read(value, s)
    {{:as, line, dtype, value}, s}
  end

  for {name, wire} <- @unary do
    def read({unquote(name), meta, [a]}, s), do: op(unquote(wire), meta, [a], s)
  end

  for {name, wire} <- @binary do
    def read({unquote(name), meta, [a, b]}, s), do: op(unquote(wire), meta, [a, b], s)
  end

  def read({kind, meta, [_type]}, s) when kind in [:scratch, :local],
    do: fail(s, meta, "#{kind} stands directly to the right of =")

  def read({:=, meta, _}, s),
    do: fail(s, meta, "= is a statement and has no value: write it on a line of its own")

  def read({form, meta, _} = ast, s) when form in [:for, :while] do
    case Plain.scalar(ast, s) do
      {:value, e, s} -> {e, s}
      :error -> fail(s, meta, "`#{form}` has no value: bind a variable in it")
    end
  end

  def read({name, meta, context} = var, s) when is_atom(name) and is_atom(context) do
    case s.names[name_key(var)] do
      {kind, id} when kind in [:var, :loop] ->
        check_bound(s, id, meta)
        {{:slot, line(meta, s), id}, s}

      {:dim, number} ->
        {{:dim, line(meta, s), number}, s}

      {:consumed, _, _, _} ->
        Plain.consumed!(var, meta, s)

      {:tensor, tensor} ->
        fail(
          s,
          meta,
          "the tensor #{name} is no value: #{name}#{indices(s.tensors[tensor].rank)} is an element"
        )

      nil ->
        fail(s, meta, "#{name} is not bound")
    end
  end

  def read({_, meta, _} = ast, s) do
    with :error <- Plain.scalar(ast, s),
         :error <- expand(ast, s),
         {:ok, call, s} <- Call.read(ast, at(s, meta)) do
      case call do
        {:call, _, _, [_result], _} -> {call, s}
        {:call, _, _, [], _} -> fail(s, meta, "#{text(ast)} gives no value")
        _ -> fail(s, meta, "#{text(ast)} gives several values: {a, b} = …")
      end
    else
      {:value, e, s} -> {e, s}
      {:ok, expanded, s} -> read(expanded, s)
      :error -> unknown(ast, meta, s)
    end
  end

  def read(other, s),
    do: fail(s, [], "#{text(other)} is no number: kernels know numbers and tensors")

  defp unknown({name, _, args}, meta, s) when is_atom(name) and is_list(args) do
    case @instead[{name, length(args)}] do
      instead when is_binary(instead) ->
        fail(s, meta, "`#{name}` is no part of kernels: write #{instead}")

      _ ->
        fail(
          s,
          meta,
          "#{name}/#{length(args)} is not known here: a kernel calls kernels that stand before " <>
            "it, macros, and the functions that Outrigger.Kernel lists"
        )
    end
  end

  defp unknown({{:., _, [module, name]}, _, args}, meta, s) when is_atom(name) do
    fail(
      s,
      meta,
      "#{text(module)}.#{name}/#{length(args)} is no kernel: write a loop, or call it outside " <>
        "of the kernel"
    )
  end

  defp unknown(ast, meta, s), do: fail(s, meta, "#{text(ast)} is no part of kernels")

  @doc """
  Expands a macro of the user once: `{:ok, ast, scope}`, or `:error` if there is none.
  """
  def expand(_ast, %{attributes: attributes}) when attributes != nil, do: :error

  def expand({form, meta, args} = ast, s) when is_list(args) do
    # The words of kernels are not those of Elixir, and other words of Elixir have no meaning here.
    if is_atom(form) and
         (form in [:@, :.., :"..//", :__aliases__] or builtin?(form) or
            Map.has_key?(@instead, {form, length(args)})) do
      :error
    else
      case Macro.expand_once(ast, %{s.env | line: line(meta, s)}) do
        ^ast -> :error
        expanded -> {:ok, expanded, at(s, meta)}
      end
    end
  end

  def expand(_ast, _s), do: :error

  @doc "Reads a call of a kernel: `{:ok, call, scope}`, or `:error` if it is none."
  defdelegate call(ast, s), to: Call, as: :read

  @doc "Reads t[i][j], all indices of it. Returns `{tensor, indices, scope}`."
  def element(ast, s) do
    {base, indices} = Call.indices(ast, [])
    {_, meta, _} = ast

    {tensor, s} =
      case base do
        {:@, _, [{name, _, context}]} when is_atom(context) ->
          table(name, meta, s)

        base ->
          {tensor(s, base) || Plain.consumed!(base, meta, s) ||
             fail(s, meta, "#{text(base)} is no tensor of this kernel"), s}
      end

    %{rank: rank, name: name} = s.tensors[tensor]

    if length(indices) != rank do
      fail(
        s,
        meta,
        "#{text(ast)} has #{length(indices)} indices, #{name} has #{rank}: #{name}#{indices(rank)}"
      )
    end

    {indices, s} = read_all(indices, s)
    {tensor, indices, s}
  end

  defp table(name, meta, s) do
    case Scope.attribute(s, name) do
      [_ | _] = list ->
        if Enum.all?(list, &is_number/1),
          do: Memory.table(name, list, meta, s),
          else: fail(s, meta, "@#{name} is no list of numbers")

      nil ->
        fail(s, meta, "@#{name} is not set before the kernel")

      _ ->
        fail(s, meta, "@#{name} is no list of numbers")
    end
  end

  defp indices(rank), do: Enum.map_join(Enum.take(~w(i j k l), rank), "", &"[#{&1}]")

  # Arithmetic of integer literals is done here, so that its result is a literal, too.
  defp op(name, meta, operands, s) do
    s = at(s, meta)
    line = s.line
    {operands, s} = read_all(operands, s)

    case {name, operands} do
      {:negate, [{:number, _, n}]} when is_number(n) ->
        {{:number, line, -n}, s}

      {:add, [{:number, _, a}, {:number, _, b}]} when is_integer(a) and is_integer(b) ->
        {{:number, line, a + b}, s}

      {:subtract, [{:number, _, a}, {:number, _, b}]} when is_integer(a) and is_integer(b) ->
        {{:number, line, a - b}, s}

      {:multiply, [{:number, _, a}, {:number, _, b}]} when is_integer(a) and is_integer(b) ->
        {{:number, line, a * b}, s}

      _ ->
        {{:op, line, name, operands}, s}
    end
  end

  defp choice(form, meta, condition, clauses, s) do
    if not Keyword.keyword?(clauses) or Keyword.keys(clauses) -- [:do, :else] != [] or
         not Keyword.has_key?(clauses, :else),
       do: fail(s, meta, "`#{form}` as a value has a `do` and an `else`")

    s = at(s, meta)
    line = s.line
    {condition, s} = read(condition, s)
    {yes, s1} = side(clauses[:do], deeper(s, meta))
    {no, s2} = side(clauses[:else], %{s1 | bound: s.bound})
    {first, second} = if form == :if, do: {yes, no}, else: {no, yes}

    {{:if, line, condition, first, second},
     %{s2 | bound: meet(s1.bound, s2.bound), depth: s.depth}}
  end

  defp cond_value([{:->, meta, [[true], body]}], _cond_meta, s), do: value(side(body, s), meta)

  defp cond_value([{:->, meta, [[condition], body]} | rest], cond_meta, s) do
    if rest == [], do: fail(s, cond_meta, "the last clause of cond is `true -> …`")
    s = at(s, meta)
    line = s.line
    {condition, s} = read(condition, s)
    {yes, s1} = side(body, deeper(s, meta))
    {no, s2} = cond_side(rest, cond_meta, %{s1 | bound: s.bound})
    {{:if, line, condition, yes, no}, %{s2 | bound: meet(s1.bound, s2.bound), depth: s.depth}}
  end

  defp cond_side([{:->, _, [[true], body]}], _meta, s), do: side(body, s)

  defp cond_side(rest, meta, s) do
    {e, s} = cond_value(rest, meta, s)
    {{[], e}, s}
  end

  defp value({{[], e}, s}, _meta) when e != nil, do: {e, s}

  defp value({_side, s}, meta),
    do: fail(s, meta, "cond has one clause: write its lines without cond")

  # One side of a value: statements, and the value of the last line.
  defp side({:__block__, _, [_ | _] = lines}, s) do
    {before, [last]} = Enum.split(lines, -1)
    {statements, s} = Reader.block({:__block__, [], before}, s)
    {{more, value}, s} = side(last, s)
    {{statements ++ more, value}, s}
  end

  defp side(_ast, %{bound: :dead} = s), do: {{[], nil}, s}

  defp side({form, _, _} = ast, s) when form in [:raise, :return, :break, :continue] do
    {statements, s} = Reader.block(ast, s)
    {{statements, nil}, s}
  end

  defp side(ast, s) do
    {value, s} = read(ast, s)
    {{[], value}, s}
  end

  defp text(ast), do: Macro.to_string(ast)
end
