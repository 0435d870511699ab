defmodule Outrigger.Kernel.Call do
  @moduledoc false
  # Calls of kernels by kernels.

  import Outrigger.Kernel.Scope, only: [fail: 3, tensor: 2]
  alias Outrigger.Kernel.{Expression, Plain}

  @doc "The base and the indices of t[i][j]."
  def indices({{:., _, [Access, :get]}, _, [base, index]}, indices),
    do: indices(base, [index | indices])

  def indices(base, indices), do: {base, indices}

  @doc "Reads a call: `{:ok, {:call, line, key, results, args}, scope}`, or `:error` if it is none."
  def read({name, meta, args} = ast, s) when is_atom(name) and is_list(args) do
    arity = length(args)

    case s.kernels do
      %{{^name, ^arity} => {:generic, _}} ->
        fail(s, meta, "#{name}/#{arity} has no types: write them, so that a kernel can call it")

      %{{^name, ^arity} => unit} ->
        call(unit, args, meta, s)

      _ when s.key == {s.env.module, name, arity} ->
        fail(
          s,
          meta,
          "#{name}/#{arity} calls itself: write a loop; an array made by local can be its stack"
        )

      _ ->
        imported(name, arity, ast, meta, s)
    end
  end

  def read({{:., _, [module, name]}, meta, args}, s) when is_atom(name) do
    with module when is_atom(module) <- Macro.expand(module, s.env),
         {:ok, unit} <- find(module, name, length(args), s) do
      call(unit, args, meta, s)
    else
      _ -> :error
    end
  end

  def read(_ast, _s), do: :error

  defp imported(name, arity, ast, meta, s) do
    found =
      for {module, functions} <- s.env.functions,
          {name, arity} in functions,
          {:ok, unit} <- [find(module, name, arity, s)],
          do: unit

    case found do
      [unit | _] -> call(unit, elem(ast, 2), meta, s)
      [] -> :error
    end
  end

  defp find(module, name, arity, s) do
    cond do
      module == s.env.module -> Map.fetch(s.kernels, {name, arity})
      Code.ensure_compiled(module) != {:module, module} -> :error
      function_exported?(module, :__kernel__, 2) -> module.__kernel__(name, arity)
      true -> :error
    end
  end

  defp call(unit, args, meta, s) do
    kernel = List.last(unit.kernels)
    key = List.last(unit.keys)

    if Enum.any?(kernel.params, &match?([:new | _], &1)) do
      fail(
        s,
        meta,
        "#{kernel.name} has a new(…) parameter: a kernel calls kernels with mut(…) ones"
      )
    end

    if kernel.returns && Enum.any?(kernel.returns, &match?({:tensor, _}, &1)) do
      fail(
        s,
        meta,
        "#{kernel.name} gives a tensor: a kernel calls kernels that write mut(…) ones"
      )
    end

    {args, s} =
      kernel.params
      |> Enum.zip(args)
      |> Enum.map_reduce(s, fn {param, arg}, s -> argument(param, arg, kernel, meta, s) end)

    check_written_once(kernel, args, meta, s)
    line = Keyword.get(meta, :line) || s.line
    call = {:call, line, key, kernel.results, Enum.zip(kernel.params, args)}
    {:ok, call, %{s | callees: Map.put(s.callees, key, unit)}}
  end

  defp argument([:scalar, _dtype], arg, _kernel, _meta, s), do: Expression.read(arg, s)

  defp argument([mode, dtype, dims], arg, kernel, meta, s) do
    {base, indices} = indices(arg, [])

    tensor =
      tensor(s, base) || Plain.consumed!(base, meta, s) ||
        fail(s, meta, "#{kernel.name} takes a tensor, not #{Macro.to_string(arg)}")

    info = s.tensors[tensor]
    rank = length(dims)

    cond do
      info.dtype != dtype ->
        fail(
          s,
          meta,
          "#{kernel.name} takes a tensor of #{dtype}, and #{info.name} has #{info.dtype}"
        )

      info.rank - length(indices) != rank ->
        fail(
          s,
          meta,
          "#{kernel.name} takes a tensor of rank #{rank}, and #{Macro.to_string(arg)} has rank " <>
            "#{max(info.rank - length(indices), 0)}"
        )

      mode == :mut and info.mode == :in ->
        fail(
          s,
          meta,
          "#{kernel.name} writes #{info.name}: write #{info.name} :: mut(…) in the head"
        )

      true ->
        {indices, s} = Expression.read_all(indices, s)
        {{:tensor, tensor, indices}, s}
    end
  end

  # The callee's tensors must be different memory if it writes one of them.
  defp check_written_once(kernel, args, meta, s) do
    tensors =
      for {[mode, _, _], {:tensor, tensor, _}} <- Enum.zip(kernel.params, args),
          do: {mode, tensor}

    for {:mut, tensor} <- tensors, Enum.count(tensors, &(elem(&1, 1) == tensor)) > 1 do
      fail(s, meta, "#{kernel.name} gets #{s.tensors[tensor].name} twice, and writes it")
    end
  end
end
