defmodule Outrigger.Nx.Functions do
  @moduledoc false
  # The compiled programs of functions.
  #
  # The key of a function is its code and its captures. A process compares captures by their
  # address, so that the cost of a call does not depend on their size. Other processes compare
  # captures by their contents, if these are small. A compiled program is valid while the modules
  # of its trace are the same.

  alias Outrigger.Nx.{Cache, Captured, Modules}

  @near __MODULE__
  @near_max 256
  # The entries of one piece of code with different captures.
  @variants_max 32

  # Up to this size, other processes find a capture by its contents.
  @content_terms_max 2_000
  @content_bytes_max 65_536

  # 0.0 and -0.0 in the form of `content/1`. Before OTP 27 they match each other.
  @zeros [<<70, 0::64>>, <<70, 0x80, 0::56>>]

  @doc """
  The compiled program of a function and its inputs. The inputs are the templates of the
  arguments, and all other terms that determine the program. `compile` makes a program that is
  missing or not valid.
  """
  def fetch(fun, inputs, compile) do
    {code, env} = identity(fun)
    key = {code, inputs}
    variants = Map.get(near(), key, [])

    case find(variants, env) do
      nil ->
        remember(key, env, variants, far(fun, key, env, compile))

      %{compiled: compiled} = variant ->
        if Modules.current?(variant.modules) do
          compiled
        else
          Captured.release([compiled])
          remember(key, env, List.delete(variants, variant), far(fun, key, env, compile))
        end
    end
  end

  defp identity(fun) when is_function(fun) do
    case :erlang.fun_info(fun, :type) do
      {:type, :external} ->
        {fun, []}

      {:type, :local} ->
        {:module, module} = :erlang.fun_info(fun, :module)
        {:new_index, index} = :erlang.fun_info(fun, :new_index)
        # A digest of the module's code.
        {:new_uniq, uniq} = :erlang.fun_info(fun, :new_uniq)
        {:env, env} = :erlang.fun_info(fun, :env)
        {{module, index, uniq}, env}
    end
  end

  defp identity(other), do: {:term, [other]}

  defp near do
    cleared = Cache.cleared()

    case Process.get(@near) do
      {^cleared, near} -> near
      _ -> %{}
    end
  end

  defp find([%{env: known} = variant | rest], env) do
    if same?(known, env) or equal?(variant, env),
      do: variant,
      else: find(rest, env)
  end

  defp find([], _env), do: nil

  defp same?([a | rest], [b | others]), do: :erts_debug.same(a, b) and same?(rest, others)
  defp same?([], []), do: true
  defp same?(_, _), do: false

  # A comparison of terms that are large, or share parts, takes too long. Such terms have no
  # content.
  defp equal?(%{content: nil}, _env), do: false

  defp equal?(%{env: known, content: content, zeros?: zeros?}, env),
    do: known === env and (not zeros? or content == content(env))

  @doc "The term as bytes, or nil if the bytes are many or the search takes long."
  def content(term) do
    if small?([term], @content_terms_max, @content_bytes_max),
      do: :erlang.term_to_binary(plain(term), [:deterministic])
  end

  # Functions without the process that made them.
  defp plain([a | b]), do: [plain(a) | plain(b)]

  defp plain(tuple) when is_tuple(tuple),
    do: tuple |> Tuple.to_list() |> plain() |> List.to_tuple()

  defp plain(map) when is_map(map), do: {:map, map |> :maps.to_list() |> plain()}

  defp plain(fun) when is_function(fun) do
    {code, env} = identity(fun)
    if is_function(code), do: code, else: {:fun, code, plain(env)}
  end

  defp plain(other), do: other

  defp small?(_rest, terms, bytes) when terms <= 0 or bytes <= 0, do: false
  defp small?([], _terms, _bytes), do: true
  defp small?([[] | rest], terms, bytes), do: small?(rest, terms - 1, bytes)
  defp small?([[a | b] | rest], terms, bytes), do: small?([a, b | rest], terms - 1, bytes)

  defp small?([bits | rest], terms, bytes) when is_bitstring(bits),
    do: small?(rest, terms - 1, bytes - byte_size(bits))

  defp small?([tuple | rest], terms, bytes) when is_tuple(tuple) do
    # A large tuple is not converted to a list.
    tuple_size(tuple) < terms and
      small?([Tuple.to_list(tuple) | rest], terms - 1, bytes)
  end

  defp small?([map | rest], terms, bytes) when is_map(map) do
    map_size(map) < terms and small?([:maps.to_list(map) | rest], terms - 1, bytes)
  end

  defp small?([fun | rest], terms, bytes) when is_function(fun) do
    {:env, env} = :erlang.fun_info(fun, :env)
    small?([env | rest], terms - 1, bytes)
  end

  # Some integers are long.
  defp small?([number | rest], terms, bytes) when is_integer(number),
    do: small?(rest, terms - 1, bytes - :erlang.external_size(number))

  defp small?([_ | rest], terms, bytes), do: small?(rest, terms - 1, bytes)

  # `{content, modules, compiled}`.
  defp far(fun, {code, inputs}, env, compile) do
    content = content(env)
    key = {__MODULE__, code, content, inputs}

    with true <- content != nil,
         {modules, compiled} <- Cache.lookup(key),
         true <- Modules.current?(modules) or outdated(key) do
      {content, modules, compiled}
    else
      _ ->
        compiled = compile.()
        modules = Modules.of(fun)

        if content != nil and Captured.bytes(compiled) <= @content_bytes_max,
          do: Cache.put(key, {modules, compiled})

        {content, modules, compiled}
    end
  end

  defp outdated(key) do
    Cache.delete(key)
    false
  end

  # The trace may have compiled other functions. This function forgets the functions with large
  # captures that were not called for long, and all functions if that is not enough.
  defp remember(key, env, variants, {content, modules, compiled}) do
    bytes = Captured.bytes(compiled) + if(content, do: 0, else: 8 * :erts_debug.size(env))
    zeros? = content != nil and :binary.match(content, @zeros) != :nomatch

    variant = %{
      env: env,
      content: content,
      zeros?: zeros?,
      modules: modules,
      compiled: compiled,
      bytes: bytes
    }

    {variants, old} = Enum.split([variant | variants], @variants_max)
    near = near()
    near = if bytes > 0, do: known(near, Captured.known()), else: near
    others = Map.delete(near, key)
    held = for {_, variants} <- others, %{bytes: bytes} <- variants, do: bytes
    all = Enum.sum(held) + Enum.sum(Enum.map(variants, & &1.bytes))
    full? = map_size(others) >= @near_max or all > Captured.bytes_max()
    {near, old} = if full?, do: {%{}, old ++ tl(variants) ++ all(others)}, else: {others, old}
    variants = if full?, do: [variant], else: variants
    Captured.release(for %{compiled: compiled} <- old, do: compiled)
    Process.put(@near, {Cache.cleared(), Map.put(near, key, variants)})
    compiled
  end

  defp all(near), do: near |> Map.values() |> Enum.concat()

  # The functions whose captured tensors were not forgotten.
  defp known(near, refs) do
    for {key, variants} <- near, into: %{} do
      {key, Enum.filter(variants, &(captured(&1.compiled) == [] or &1.compiled.ref in refs))}
    end
  end

  defp captured(%{captured: captured}), do: captured
  defp captured(:callbacks), do: []
end
