defmodule Outrigger.Catalogue do
  @moduledoc """
  The ops, as the daemon describes them.

  `outriggerd --describe-ops` prints the file `protocol/ops.json`. The compilation of this library
  generates `Outrigger.Op` and `Outrigger.InPlace` from that file. No Elixir code repeats the
  meaning of an op.
  """

  alias Outrigger.{Data, Dtype, JSON, Signature, Trace}

  @candidates [
    System.get_env("OUTRIGGER_OPS_JSON"),
    Path.expand("../../priv/ops.json", __DIR__),
    Path.expand("../../../../protocol/ops.json", __DIR__)
  ]

  @path Enum.find(@candidates, &(&1 && File.regular?(&1))) ||
          raise("no op catalogue: none of #{inspect(@candidates)} exists")

  @external_resource @path
  @catalogue JSON.decode!(File.read!(@path))
  @ops Map.new(@catalogue["ops"], &{&1["name"], &1})

  @doc "The hash of the catalogue. `Outrigger.info/2` has the hash of the daemon's catalogue."
  @spec hash() :: String.t()
  def hash, do: unquote(@catalogue["catalogue"])

  @doc """
  All ops in the catalogue's order, as maps with string keys.

      iex> Enum.find(Outrigger.Catalogue.ops(), & &1["name"] == "add")["family"]
      "binary"
  """
  @spec ops() :: [map]
  def ops, do: unquote(Macro.escape(@catalogue["ops"]))

  @doc false
  def op(name), do: Map.fetch!(@ops, name)

  @doc false
  def path, do: unquote(@path)

  ## At run time, for the generated functions

  @doc false
  def attrs!(_op, []), do: []

  def attrs!(op, options) when is_list(options) do
    specs = attr_specs(op)

    unless Keyword.keyword?(options) do
      raise ArgumentError, "the options of #{op} are a keyword list, got: #{inspect(options)}"
    end

    for {key, value} <- options do
      case List.keyfind(specs, key, 0) do
        {_, name, type} ->
          {name, encode!(type, value, op, key)}

        nil ->
          known = Enum.map_join(specs, ", ", &inspect(elem(&1, 0)))
          raise ArgumentError, "#{op} has no option #{inspect(key)}; it has: #{known}"
      end
    end
  end

  def attrs!(op, other) do
    raise ArgumentError, "the options of #{op} are a keyword list, got: #{inspect(other)}"
  end

  for op <- @catalogue["ops"] do
    specs =
      for attr <- op["attrs"],
          do: {String.to_atom(attr["name"]), attr["name"], String.to_atom(attr["type"])}

    defp attr_specs(unquote(op["name"])), do: unquote(Macro.escape(specs))
  end

  defp encode!(:int, n, _, _) when is_integer(n), do: n

  defp encode!(:ints, list, op, key) when is_tuple(list),
    do: encode!(:ints, Tuple.to_list(list), op, key)

  defp encode!(:ints, n, _, _) when is_integer(n), do: [n]

  defp encode!(:ints, list, op, key) when is_list(list) do
    if Enum.all?(list, &is_integer/1), do: list, else: bad(:ints, list, op, key)
  end

  defp encode!(:shape, shape, _, _), do: Tuple.to_list(Dtype.shape!(shape))

  defp encode!(:number, n, op, key) do
    case Data.literal(n) do
      {:ok, literal} -> literal
      :error -> bad(:number, n, op, key)
    end
  end

  defp encode!(:bool, b, _, _) when is_boolean(b), do: b
  defp encode!(:string, s, _, _) when is_binary(s), do: s

  defp encode!(:string, s, _, _) when is_atom(s) and s not in [nil, true, false],
    do: Atom.to_string(s)

  defp encode!(:dtype, type, _, _), do: Atom.to_string(Dtype.normalize!(type))
  defp encode!(:binary, data, _, _) when is_binary(data), do: {:bin, data}
  defp encode!(type, value, op, key), do: bad(type, value, op, key)

  defp bad(type, value, op, key) do
    expected = %{int: "an integer", ints: "a list of integers", number: "a number"}
    expected = Map.merge(expected, %{bool: "true or false", string: "a string or atom"})
    expected = Map.put(expected, :binary, "a binary")

    raise ArgumentError,
          "the option #{inspect(key)} of #{op} must be #{expected[type]}, got: #{inspect(value)}"
  end

  ## At compile time

  # Generates a function for each op, or for each op that can write in place.
  defmacro generate(options) do
    in_place? = Keyword.fetch!(options, :in_place)
    except = Keyword.get(options, :except, [])

    ops =
      for op <- @catalogue["ops"],
          op["name"] not in except,
          op["regions"] == [],
          op["results"] != "regions",
          not in_place? or op["in_place"],
          do: op

    [import_kernel(ops) | Enum.map(ops, &define(&1, in_place?))]
  end

  # A generated function replaces the function of the same name in Kernel.
  defp import_kernel(ops) do
    names = MapSet.new(ops, &String.to_atom(&1["name"]))
    kernel = Kernel.__info__(:functions) ++ Kernel.__info__(:macros)
    clash = for {name, arity} <- kernel, name in names, do: {name, arity}

    quote do
      import Kernel, except: unquote(clash)
    end
  end

  defp define(op, in_place?) do
    signature = Signature.of(op)
    vars = Enum.map(signature.args, &Macro.var(&1, __MODULE__))
    name = String.to_atom(op["name"])
    doc = Signature.doc(op, signature, in_place?)

    if op["operands"] == [],
      do: define_creation(op, name, signature, vars, doc),
      else: define_op(op, name, signature, vars, doc, in_place?)
  end

  defp define_op(op, name, signature, vars, doc, in_place?) do
    options = Macro.var(:options, __MODULE__)
    positional = for {attr, arg} <- signature.positional, do: {attr, Macro.var(arg, __MODULE__)}
    position = if in_place?, do: op["in_place"]
    types = Enum.map(signature.args, &Signature.type/1)

    attrs = Macro.var(:attrs, __MODULE__)
    result = if op["results"] == 1, do: quote(do: operand), else: quote(do: tuple)

    trace =
      if op["results"] == 1 do
        quote do
          Trace.op(
            unquote(op["name"]),
            unquote(signature.operands),
            unquote(attrs),
            unquote(position)
          )
        end
      else
        quote do
          Trace.op_many(
            unquote(op["name"]),
            unquote(signature.operands),
            unquote(attrs),
            unquote(op["results"])
          )
        end
      end

    if signature.options? do
      quote do
        @doc unquote(doc)
        @spec unquote(name)(unquote_splicing(types), keyword) :: unquote(result)
        def unquote(name)(unquote_splicing(vars), unquote(options) \\ []) do
          unquote(attrs) =
            Outrigger.Catalogue.attrs!(
              unquote(op["name"]),
              unquote(positional) ++ unquote(options)
            )

          unquote(trace)
        end
      end
    else
      quote do
        @doc unquote(doc)
        @spec unquote(name)(unquote_splicing(types)) :: unquote(result)
        def unquote(name)(unquote_splicing(vars)) do
          unquote(attrs) = Outrigger.Catalogue.attrs!(unquote(op["name"]), unquote(positional))
          unquote(trace)
        end
      end
    end
  end

  # An op without operands. Its first argument is a server, except while a program is traced.
  defp define_creation(op, name, signature, vars, doc) do
    wire = op["name"]
    positional = for {attr, arg} <- signature.positional, do: {attr, Macro.var(arg, __MODULE__)}
    types = Enum.map(signature.args, &Signature.type/1)
    first = hd(vars)
    rest = tl(vars)

    if signature.options? do
      defaults = signature.defaults
      # The same arity has either options, or a server as its first argument.
      either =
        Enum.zip_with([quote(do: Outrigger.server()) | types], types ++ [quote(do: keyword)], fn
          with_server, with_options -> quote(do: unquote(with_server) | unquote(with_options))
        end)

      quote do
        @doc "As `#{unquote(name)}/#{unquote(length(vars) + 1)}`, without options."
        @spec unquote(name)(unquote_splicing(types)) :: operand
        def unquote(name)(unquote_splicing(vars)) do
          Trace.op(
            unquote(wire),
            [],
            Outrigger.Catalogue.attrs!(unquote(wire), unquote(positional) ++ unquote(defaults))
          )
        end

        @doc unquote(doc <> "\n\nOutside a program, the first argument is a server.")
        @spec unquote(name)(unquote_splicing(either)) :: operand
        def unquote(name)(server, unquote_splicing(vars))
            when Outrigger.Server.is_ref(server) do
          unquote(name)(server, unquote_splicing(vars), [])
        end

        def unquote(name)(unquote(first), unquote_splicing(rest), options)
            when is_list(options) do
          options = Keyword.merge(unquote(defaults), options)

          Trace.op(
            unquote(wire),
            [],
            Outrigger.Catalogue.attrs!(unquote(wire), unquote(positional) ++ options)
          )
        end

        @doc "As `#{unquote(name)}/#{unquote(length(vars) + 1)}`, on a server."
        @spec unquote(name)(Outrigger.server(), unquote_splicing(types), keyword) ::
                Outrigger.Tensor.t()
        def unquote(name)(server, unquote_splicing(vars), options) do
          options = Keyword.merge(unquote(defaults), options)

          Trace.create(
            server,
            unquote(wire),
            Outrigger.Catalogue.attrs!(unquote(wire), unquote(positional) ++ options)
          )
        end
      end
    else
      quote do
        @doc unquote(doc)
        @spec unquote(name)(unquote_splicing(types)) :: operand
        def unquote(name)(unquote_splicing(vars)) do
          Trace.op(
            unquote(wire),
            [],
            Outrigger.Catalogue.attrs!(unquote(wire), unquote(positional))
          )
        end

        @doc "As `#{unquote(name)}/#{unquote(length(vars))}`, on a server."
        @spec unquote(name)(Outrigger.server(), unquote_splicing(types)) :: Outrigger.Tensor.t()
        def unquote(name)(server, unquote_splicing(vars)) do
          Trace.create(
            server,
            unquote(wire),
            Outrigger.Catalogue.attrs!(unquote(wire), unquote(positional))
          )
        end
      end
    end
  end
end
