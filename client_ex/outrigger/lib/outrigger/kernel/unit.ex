defmodule Outrigger.Kernel.Unit do
  @moduledoc false
  # A kernel with all kernels that it calls, flat, in the form of the wire.
  #
  # `kernels` are maps; calls go to smaller positions, and the last kernel is the unit's own. `keys`
  # has the {module, name, arity} of each kernel and does not travel: units of several modules are
  # joined by it.
  #
  # A kernel numbers its variables (`slots`) with its scalar parameters first, in their order. It
  # numbers its tensors as its tensor parameters, then `scratch`, then `local`; `tensors` has their
  # names, for the texts of errors.

  alias Outrigger.Codec

  # `wire` is the id of the unit in a session, which is its hash, and the unit in msgpack.
  defstruct files: [], kernels: [], keys: [], wire: nil

  @nodes_max 8_192
  @unit_nodes_max 65_536
  @kernels_max 256
  @calls_max 16
  @local_bytes_max 65_536

  @doc "The unit as msgpack."
  def encode(unit), do: IO.iodata_to_binary(Codec.encode(to_wire(unit)))

  @doc "The unit as a map of the wire."
  def to_wire(%__MODULE__{} = unit) do
    # The order of inferred results is the client's own affair.
    kernels = Enum.map(unit.kernels, &Map.drop(&1, [:returns, :consumed]))
    %{files: unit.files, kernels: kernels}
  end

  @doc "The unit of a map of the wire, which `Outrigger.Codec` has decoded. The map is trusted."
  def from_wire(%{"files" => files, "kernels" => kernels}) do
    kernels =
      for kernel <- kernels do
        kernel = Map.new(kernel, fn {key, value} -> {String.to_existing_atom(key), value} end)

        kernel
        |> Map.merge(%{
          params: Enum.map(kernel.params, &param/1),
          scratch: Enum.map(kernel.scratch, &typed/1),
          local: Enum.map(kernel.local, &typed/1),
          slots: Enum.map(kernel.slots, &atom/1),
          results: Enum.map(kernel.results, &atom/1),
          nodes: Enum.map(kernel.nodes, &node_of/1)
        })
        |> Map.merge(%{returns: nil, consumed: []})
      end

    %__MODULE__{files: files, kernels: kernels}
  end

  defp param([mode, dtype | dims]), do: [atom(mode), atom(dtype) | dims]
  defp typed([dtype | size]), do: [atom(dtype) | size]

  defp node_of(["number", line, dtype, n]) do
    n = if is_binary(n), do: atom(n), else: n
    [:number, line, atom(dtype), n]
  end

  defp node_of(["as", line, dtype, e]), do: [:as, line, atom(dtype), e]
  defp node_of([name | rest]), do: [atom(name) | rest]

  defp atom(name), do: String.to_existing_atom(name)

  @doc """
  Appends a kernel to the units of its callees. Each `{:callee, key}` in its nodes becomes the
  position of that kernel. Returns `{:ok, unit}` or `{:error, text}`.
  """
  def link(key, kernel, callees) do
    unit = callees |> Enum.reduce(%__MODULE__{}, &join(&2, &1)) |> append(key, kernel)

    case limits(unit, kernel) do
      nil -> {:ok, with_wire(unit)}
      text -> {:error, text}
    end
  end

  # The client itself makes the bytes, so that a short hash is enough.
  defp with_wire(unit) do
    encoded = encode(unit)
    <<id::62, _::66>> = :erlang.md5(encoded)
    %{unit | wire: {max(id, 1), encoded}}
  end

  defp join(unit, other) do
    other.keys
    |> Enum.zip(other.kernels)
    |> Enum.reduce(unit, fn {key, kernel}, unit ->
      if key in unit.keys do
        unit
      else
        append(unit, key, %{
          kernel
          | file: Enum.at(other.files, kernel.file),
            nodes: Enum.map(kernel.nodes, &name_callee(&1, other.keys))
        })
      end
    end)
  end

  defp name_callee([:call, line, at, args], keys), do: [:call, line, Enum.at(keys, at), args]
  defp name_callee(node, _keys), do: node

  defp append(unit, key, kernel) do
    files = if kernel.file in unit.files, do: unit.files, else: unit.files ++ [kernel.file]
    at = unit.keys |> Enum.with_index() |> Map.new()

    nodes =
      Enum.map(kernel.nodes, fn
        [:call, line, {_, _, _} = callee, args] -> [:call, line, Map.fetch!(at, callee), args]
        node -> node
      end)

    kernel = %{kernel | nodes: nodes, file: Enum.find_index(files, &(&1 == kernel.file))}
    %__MODULE__{files: files, keys: unit.keys ++ [key], kernels: unit.kernels ++ [kernel]}
  end

  defp limits(unit, kernel) do
    {nodes, depth, local} = unit.kernels |> totals() |> List.last()
    all = unit.kernels |> Enum.map(&length(&1.nodes)) |> Enum.sum()

    cond do
      nodes > @nodes_max ->
        "#{kernel.name} has #{nodes} nodes with its callees; #{@nodes_max} are the limit"

      all > @unit_nodes_max ->
        "the unit of #{kernel.name} has #{all} nodes; #{@unit_nodes_max} are the limit"

      length(unit.kernels) > @kernels_max ->
        "#{kernel.name} needs #{length(unit.kernels)} kernels; #{@kernels_max} are the limit"

      depth > @calls_max ->
        "calls nest #{depth} deep; #{@calls_max} are the limit"

      local > @local_bytes_max ->
        "the local arrays of #{kernel.name} and of its callees have #{local} bytes; " <>
          "#{@local_bytes_max} are the limit"

      true ->
        nil
    end
  end

  # {nodes, depth of calls, bytes of local arrays} of each kernel with all that it calls. Nodes are
  # counted for each call, because the compiler may put a kernel in the place of each.
  defp totals(kernels) do
    kernels
    |> Enum.reduce([], fn kernel, done ->
      called = for [:call, _, at, _] <- kernel.nodes, do: Enum.at(done, length(done) - 1 - at)
      deepest = fn field -> called |> Enum.map(&elem(&1, field)) |> Enum.max(fn -> 0 end) end
      nodes = length(kernel.nodes) + (called |> Enum.map(&elem(&1, 0)) |> Enum.sum())

      bytes = for [dtype, length] <- kernel.local, do: Outrigger.Dtype.bytes_of(dtype, length)

      depth = if called == [], do: 0, else: deepest.(1) + 1
      [{nodes, depth, Enum.sum(bytes) + deepest.(2)} | done]
    end)
    |> Enum.reverse()
  end
end
