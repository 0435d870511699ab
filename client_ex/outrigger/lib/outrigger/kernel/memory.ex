defmodule Outrigger.Kernel.Memory do
  @moduledoc false
  # Arrays of a kernel: `scratch`, `local`, and tables of constants.

  import Outrigger.Kernel.Scope, only: [fail: 3, name_key: 1, put_tensor: 4]
  alias Outrigger.Dtype
  alias Outrigger.Kernel.{Head, Types}

  @local_bytes_max 16_384

  @doc "Reads `t = scratch(s32[m + 1])` or `t = local(s64[64])`, which are no statements."
  def declare(kind, {name, meta, _} = var, type, _meta, s) do
    key = name_key(var)

    cond do
      s.depth > 0 ->
        fail(
          s,
          meta,
          "#{kind} stands outside of loops and branches: its memory is there from the beginning"
        )

      Map.has_key?(s.names, key) ->
        fail(s, meta, "#{name} has a meaning already: an array needs a name of its own")

      true ->
        {dtype, dims} = Head.type(type, s)
        if dims == [], do: fail(s, meta, "#{kind} is an array: #{kind}(#{dtype}[64])")
        {[], add(kind, key, Atom.to_string(name), dtype, dims, meta, s)}
    end
  end

  defp add(:scratch, key, name, dtype, dims, meta, s) do
    dims =
      for dim <- dims do
        case Head.dim(dim, s) do
          {size, ^s} when size != nil ->
            size

          _ ->
            fail(s, meta, "a size of scratch is a number, or a size of the operands ± a number")
        end
      end

    info = %{name: name, dtype: dtype, rank: length(dims), mode: :mut}
    s = put_tensor(s, key, {:scratch, length(s.scratch)}, info)
    %{s | scratch: s.scratch ++ [[dtype, dims]]}
  end

  defp add(:local, key, name, dtype, [length], meta, s) when is_integer(length) and length >= 0 do
    add_local(key, name, dtype, length, :mut, meta, s)
  end

  defp add(:local, _key, _name, dtype, _dims, meta, s) do
    fail(
      s,
      meta,
      "local has one axis of a constant size: local(#{dtype}[64]). scratch takes sizes of operands"
    )
  end

  defp add_local(key, name, dtype, length, mode, meta, s) do
    info = %{name: name, dtype: dtype, rank: 1, mode: mode}
    s = put_tensor(s, key, {:local, length(s.local)}, info)
    s = %{s | local: s.local ++ [[dtype, length]]}
    bytes = s.local |> Enum.map(fn [dtype, n] -> Dtype.bytes_of(dtype, n) end) |> Enum.sum()

    if bytes > @local_bytes_max do
      fail(
        s,
        meta,
        "local arrays have #{bytes} bytes; #{@local_bytes_max} are the limit: use scratch"
      )
    end

    s
  end

  @doc """
  The tensor of a module attribute with a list of numbers: a local array, which the kernel fills
  when it begins.
  """
  def table(attribute, numbers, meta, s) do
    case s.tables do
      %{^attribute => tensor} ->
        {tensor, s}

      _ ->
        dtype =
          numbers |> Enum.map(&Types.literal/1) |> Enum.reduce(&Types.merge/2) |> Types.default()

        number = length(s.local)
        tensor = {:local, number}
        s = add_local({:table, attribute}, "@#{attribute}", dtype, length(numbers), :in, meta, s)

        stores =
          for {n, at} <- Enum.with_index(numbers), n != 0 do
            index = {:number, s.line, at}
            {:store, s.line, tensor, [index], {:number, s.line, n}, attribute}
          end

        tables = Map.put(s.tables, attribute, tensor)
        {tensor, %{s | tables: tables, prologue: Enum.reverse(stores) ++ s.prologue}}
    end
  end
end
