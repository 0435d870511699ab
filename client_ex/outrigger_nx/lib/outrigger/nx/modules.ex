defmodule Outrigger.Nx.Modules do
  @moduledoc false
  # The modules that a function was traced through, as far as their code names them: when one is
  # compiled again, what was compiled of the function is old.
  #
  # A module's file tells which others it names, and those are followed in turn; Nx, Elixir and OTP
  # are left out. A module that was compiled in memory has no file: then it may call any other that
  # was.

  alias Outrigger.Nx.Cache

  # Of files: a call asks each for its version.
  @modules_max 32
  @memory_max 256
  @libraries [:elixir, :logger, :ex_unit, :mix, :iex, :eex, :kernel, :stdlib, :compiler, :crypto] ++
               [:ssl, :public_key, :asn1, :inets, :syntax_tools, :parsetools, :runtime_tools] ++
               [:nx, :complex, :telemetry, :outrigger, :outrigger_nx]
  # Of what a function captured, terms that are searched for functions.
  @terms_max 1_000

  @type versions :: [{module, binary}]

  @doc "The modules behind a function, with their versions."
  @spec of(term) :: versions
  def of(fun) do
    roots = fun |> functions() |> Enum.reverse() |> Enum.uniq()
    libraries = libraries()
    own = for root <- roots, not library?(root, libraries), do: root
    # What was typed into a shell is not even a module.
    {files, memory?} = follow(own, [], :erl_eval in roots, libraries)
    files = files |> Enum.reverse() |> Enum.take(@modules_max)
    memory = if memory?, do: Enum.take(in_memory(), @memory_max), else: []
    for module <- Enum.uniq(files ++ memory), version = version(module), do: {module, version}
  end

  @doc "Are these still the modules' versions?"
  @spec current?(versions) :: boolean
  def current?([{module, version} | rest]), do: version(module) == version and current?(rest)
  def current?([]), do: true

  defp version(module) do
    module.module_info(:md5)
  rescue
    UndefinedFunctionError -> nil
  end

  # Breadth first: what is near counts before what is far.
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

  # The loaded modules whose names stand in a module's code.
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

  # Not those that hold the code of a script's lines, whose names are given again and again.
  defp in_memory do
    for {module, path} <- :code.all_loaded(),
        path in [[], :cover_compiled],
        not String.starts_with?(Atom.to_string(module), "elixir_compiler_"),
        do: module
  end

  defp library?(module, libraries) do
    case :code.which(module) do
      [_ | _] = path -> Enum.any?(libraries, &List.starts_with?(path, &1))
      # Preloaded ones are OTP's; others were compiled in memory.
      other -> other == :preloaded
    end
  end

  defp libraries do
    for app <- @libraries, path = :code.lib_dir(app), is_list(path), do: path ++ ~c"/"
  end

  # The modules of the function and of those that it captured, and modules that it captured by name.
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
