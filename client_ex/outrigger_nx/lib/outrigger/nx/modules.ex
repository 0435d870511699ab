defmodule Outrigger.Nx.Modules do
  @moduledoc false
  # The modules on which a compiled function depends. After a new compilation of one of them, the
  # compiled program is not valid.
  #
  # The file of a module has the names of other modules, which are searched in turn. Nx, Elixir
  # and OTP do not count. A module that was compiled in memory has no file. It may call any other
  # module that was compiled in memory.

  alias Outrigger.Nx.Cache

  # The limit of modules with a file, because each call checks their versions.
  @modules_max 32
  @memory_max 256
  @libraries [:elixir, :logger, :ex_unit, :mix, :iex, :eex, :kernel, :stdlib, :compiler, :crypto] ++
               [:ssl, :public_key, :asn1, :inets, :syntax_tools, :parsetools, :runtime_tools] ++
               [:nx, :complex, :telemetry, :outrigger, :outrigger_nx]
  # The limit of captured terms that are searched for functions.
  @terms_max 1_000

  @type versions :: [{module, binary}]

  @doc "The modules behind a function, with their versions."
  @spec of(term) :: versions
  def of(fun) do
    roots = fun |> functions() |> Enum.reverse() |> Enum.uniq()
    libraries = libraries()
    own = for root <- roots, not library?(root, libraries), do: root
    # A function from a shell has no module.
    {files, memory?} = follow(own, [], :erl_eval in roots, libraries)
    files = files |> Enum.reverse() |> Enum.take(@modules_max)
    memory = if memory?, do: Enum.take(in_memory(), @memory_max), else: []
    for module <- Enum.uniq(files ++ memory), version = version(module), do: {module, version}
  end

  @doc "True if the modules still have these versions."
  @spec current?(versions) :: boolean
  def current?([{module, version} | rest]), do: version(module) == version and current?(rest)
  def current?([]), do: true

  defp version(module) do
    module.module_info(:md5)
  rescue
    UndefinedFunctionError -> nil
  end

  # Breadth first, so that near modules come before far modules.
  defp follow([], seen, memory?, _libraries), do: {seen, memory?}

  defp follow(_modules, seen, memory?, _libraries) when length(seen) >= @modules_max,
    do: {seen, memory?}

  defp follow([module | rest], seen, memory?, libraries) do
    cond do
      module in seen ->
        follow(rest, seen, memory?, libraries)

      file?(module) ->
        named = named(module, libraries)
        follow(rest ++ named, [module | seen], memory?, libraries)

      true ->
        follow(rest, [module | seen], true, libraries)
    end
  end

  defp file?(module) do
    path = :code.which(module)
    is_list(path) and :filelib.is_regular(path)
  end

  # The loaded modules that a module's code names.
  defp named(module, libraries) do
    atoms =
      Cache.fetch({__MODULE__, module, version(module)}, fn ->
        with [_ | _] = path <- :code.which(module),
             {:ok, {_, [atoms: atoms]}} <- :beam_lib.chunks(path, [:atoms]) do
          for {_, atom} <- atoms, atom != module, do: atom
        else
          _ -> []
        end
      end)

    for atom <- atoms, loaded?(atom), not library?(atom, libraries), do: atom
  end

  defp loaded?(atom), do: :erlang.module_loaded(atom)

  # Without the modules of a script's lines, whose names are reused.
  defp in_memory do
    for {module, path} <- :code.all_loaded(),
        path in [[], :cover_compiled],
        not String.starts_with?(Atom.to_string(module), "elixir_compiler_"),
        do: module
  end

  defp library?(module, libraries) do
    case :code.which(module) do
      [_ | _] = path -> Enum.any?(libraries, &List.starts_with?(path, &1))
      # A preloaded module belongs to OTP. Another module without a file was compiled in memory.
      other -> other == :preloaded
    end
  end

  defp libraries do
    for app <- @libraries, path = :code.lib_dir(app), is_list(path), do: path ++ ~c"/"
  end

  # The modules of a function and of its captured functions, and the modules in its captured terms.
  defp functions(fun), do: functions([fun], @terms_max, [])

  defp functions([], _budget, found), do: found
  defp functions(_rest, 0, found), do: found

  defp functions([fun | rest], budget, found) when is_function(fun) do
    {:module, module} = :erlang.fun_info(fun, :module)
    {:env, env} = :erlang.fun_info(fun, :env)
    functions([env | rest], budget - 1, [module | found])
  end

  defp functions([[a | b] | rest], budget, found), do: functions([a, b | rest], budget - 1, found)

  defp functions([tuple | rest], budget, found) when is_tuple(tuple) and tuple_size(tuple) < 64,
    do: functions([Tuple.to_list(tuple) | rest], budget - 1, found)

  defp functions([map | rest], budget, found) when is_map(map) and map_size(map) < 64,
    do: functions([Map.values(map) | rest], budget - 1, found)

  defp functions([atom | rest], budget, found) when is_atom(atom) do
    found = if loaded?(atom), do: [atom | found], else: found
    functions(rest, budget - 1, found)
  end

  defp functions([_ | rest], budget, found), do: functions(rest, budget - 1, found)
end
