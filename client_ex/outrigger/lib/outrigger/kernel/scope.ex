defmodule Outrigger.Kernel.Scope do
  @moduledoc false
  # The state of the reader: names, and which variables are bound on every way to this point.

  defstruct [
    :env,
    :key,
    :line,
    # name => {:var, id} | {:loop, id} | {:dim, number} | {:tensor, tensor}
    #         | {:consumed, tensor, line, what took it}
    names: %{},
    # id => %{name: text, type: dtype or nil, line: line of the first binding}
    vars: %{},
    # {:param | :scratch | :local, number} => %{name:, dtype:, rank:, mode:}
    tensors: %{},
    # The ids of the bound variables, or :dead behind a `return`, `break`, `continue` or `raise`.
    bound: MapSet.new(),
    # The bound variables at each `break` of the loop around, or nil outside of loops.
    breaks: nil,
    depth: 0,
    results: [],
    # True if the head has no types of results: the last line may be the value.
    inferred: false,
    # The form of an inferred result: [{:scalar, expression} | {:tensor, tensor}], or nil.
    returns: nil,
    # The names that the function around has bound, or nil outside of functions.
    locals: nil,
    # Module attributes that the body reads, if it is compiled after its module.
    attributes: nil,
    scratch: [],
    local: [],
    tables: %{},
    # The statements that fill the constant tables, in reverse.
    prologue: [],
    # Kernels that can be called by name: {name, arity} => unit.
    kernels: %{},
    callees: %{}
  ]

  @depth_max 32
  @variables_max 4_096

  @doc "Raises a compile error at the line of `meta`."
  @spec fail(%__MODULE__{}, keyword | integer, String.t()) :: no_return
  def fail(s, line, text) when is_integer(line) do
    raise CompileError, file: s.env.file, line: line, description: text
  end

  def fail(s, meta, text), do: fail(s, line(meta, s), text)

  @doc "The line of the user's source. Code of macros may have none: then that of the call."
  def line(meta, s), do: Keyword.get(meta, :line) || s.line || s.env.line

  @doc "The state inside a statement or an expression with its own line."
  def at(s, meta), do: %{s | line: line(meta, s)}

  @doc "The identity of a variable: two variables of one name are equal in one macro only."
  def name_key({name, meta, context}), do: {name, Keyword.get(meta, :counter, context)}

  @doc "A tensor, by its name, or nil."
  def tensor(s, {name, _, context} = var) when is_atom(name) and is_atom(context) do
    case s.names[name_key(var)] do
      {:tensor, tensor} -> tensor
      _ -> nil
    end
  end

  def tensor(_s, _other), do: nil

  @doc "Adds a tensor under a name."
  def put_tensor(s, key, tensor, info) do
    %{
      s
      | names: Map.put(s.names, key, {:tensor, tensor}),
        tensors: Map.put(s.tensors, tensor, info)
    }
  end

  @doc "Adds a variable, which the caller binds."
  def new_var(s, name, type, line) do
    id = map_size(s.vars)

    if id >= @variables_max,
      do: fail(s, line, "a kernel has at most #{@variables_max} variables")

    {id, %{s | vars: Map.put(s.vars, id, %{name: name, type: type, line: line})}}
  end

  @doc "Binds the variable of the left side of `=`."
  def bind(s, {:_, meta, _}) do
    {id, s} = new_var(s, "_", nil, line(meta, s))
    {id, mark(s, id)}
  end

  def bind(%{locals: locals} = s, {name, meta, _context} = var) when locals != nil do
    key = name_key(var)
    # A function does not bind a name of the code around it: it has a variable of its own.
    s = if key in locals, do: s, else: %{s | names: Map.delete(s.names, key)}
    {id, s} = bind(%{s | locals: nil}, {name, meta, elem(var, 2)})
    {id, %{s | locals: MapSet.put(locals, key)}}
  end

  def bind(s, {name, meta, _context} = var) do
    case s.names[name_key(var)] do
      nil ->
        {id, s} = new_var(s, Atom.to_string(name), nil, line(meta, s))
        {id, mark(%{s | names: Map.put(s.names, name_key(var), {:var, id})}, id)}

      {:var, id} ->
        {id, mark(s, id)}

      {:loop, _} ->
        fail(
          s,
          meta,
          "#{name} is the variable of a loop, which the loop alone binds: use another name"
        )

      {:dim, _} ->
        fail(s, meta, "#{name} is a size of the operands and does not change: use another name")

      {kind, _, _, _} when kind == :consumed ->
        fail(s, meta, "#{name} was a tensor before: use another name")

      {:tensor, _} ->
        fail(
          s,
          meta,
          "#{name} is a tensor. #{name}[i] = … writes an element; a variable needs another name"
        )
    end
  end

  defp mark(%{bound: :dead} = s, _id), do: s
  defp mark(s, id), do: %{s | bound: MapSet.put(s.bound, id)}

  @doc "Checks that a variable is bound on every way to this point."
  def check_bound(s, id, meta) do
    if s.bound != :dead and id not in s.bound do
      %{name: name, line: line} = s.vars[id]

      fail(
        s,
        meta,
        "#{name} is not bound on every way to this line: line #{line} binds it in a branch or a " <>
          "loop. Bind it before"
      )
    end
  end

  @doc "Checks that a turn of a loop leaves each tensor of the code around it with its name."
  def check_kept(s, names, meta) do
    for {key, {:consumed, _, _, by}} <- s.names, match?({:tensor, _}, names[key]) do
      fail(
        s,
        meta,
        "each turn gives #{elem(key, 0)} to #{by}: bind the new value to #{elem(key, 0)}, or " <>
          "make it an accumulator of the loop"
      )
    end

    s
  end

  @doc "The value of a module attribute."
  def attribute(%{attributes: nil} = s, name), do: Module.get_attribute(s.env.module, name)
  def attribute(s, name), do: s.attributes[name]

  @doc "The variables that are bound where two ways meet."
  def meet(:dead, bound), do: bound
  def meet(bound, :dead), do: bound
  def meet(left, right), do: MapSet.intersection(left, right)

  @doc "One block deeper."
  def deeper(%{depth: depth} = s, meta) when depth + 1 >= @depth_max,
    do: fail(s, meta, "blocks nest at most #{@depth_max} deep: move a part into a defkernelp")

  def deeper(s, _meta), do: %{s | depth: s.depth + 1}
end
