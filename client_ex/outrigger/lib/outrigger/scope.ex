defmodule Outrigger.Scope do
  @moduledoc false
  # Notes the tensors that a process makes while a function runs, and frees them at the function's
  # end.

  alias Outrigger.{Server, Tensor}

  @key {Outrigger, :scope}

  @doc "Notes a new tensor, if this process is in a scope."
  def made(server, epoch, handle) do
    case Process.get(@key) do
      nil -> :ok
      made -> Process.put(@key, [{server, epoch, handle} | made])
    end
  end

  @doc "Runs a function whose tensors belong to no scope, because they live longer."
  def outside(fun) do
    case Process.delete(@key) do
      nil ->
        fun.()

      made ->
        try do
          fun.()
        after
          Process.put(@key, made)
        end
    end
  end

  def run(fun) do
    outer = Process.put(@key, [])

    try do
      result = fun.()
      keep = Tensor.reduce(result, MapSet.new(), &held/2)

      {kept, dropped} =
        Enum.split_with(Process.get(@key), fn {server, _epoch, handle} ->
          {server.counters, handle} in keep
        end)

      free(dropped)
      # A returned tensor belongs to the outer scope.
      if outer, do: Process.put(@key, kept ++ outer), else: Process.delete(@key)
      result
    catch
      kind, reason ->
        free(Process.get(@key))
        if outer, do: Process.put(@key, outer), else: Process.delete(@key)
        :erlang.raise(kind, reason, __STACKTRACE__)
    end
  end

  defp free(made) do
    for {{server, epoch}, handles} <-
          Enum.group_by(made, fn {server, epoch, _} -> {server, epoch} end, &elem(&1, 2)),
        Server.epoch(server) == epoch do
      Server.release(server, epoch, handles)
    end
  end

  defp held(%Tensor{} = tensor, acc), do: MapSet.put(acc, Tensor.key(tensor))
  defp held(%_{} = struct, acc), do: struct |> Map.from_struct() |> Tensor.reduce(acc, &held/2)
  defp held(_other, acc), do: acc
end
