defmodule Outrigger.Waits do
  @moduledoc false
  # The references (aliases of callers) that wait for a key: a handle, `:ready` for a daemon, or
  # `:room` for requests. Pure.

  defstruct refs: %{}, keys: %{}

  @type key :: pos_integer | :ready | :room
  @type t :: %__MODULE__{
          refs: %{key => %{reference => true}},
          keys: %{reference => key}
        }

  @spec add(t, key, reference) :: t
  def add(waits, key, ref) do
    refs = Map.update(waits.refs, key, %{ref => true}, &Map.put(&1, ref, true))
    %__MODULE__{refs: refs, keys: Map.put(waits.keys, ref, key)}
  end

  @doc "Removes a reference."
  @spec drop(t, reference) :: t
  def drop(waits, ref) do
    case Map.pop(waits.keys, ref) do
      {nil, _} ->
        waits

      {key, keys} ->
        left = Map.delete(waits.refs[key], ref)

        refs =
          if left == %{},
            do: Map.delete(waits.refs, key),
            else: Map.put(waits.refs, key, left)

        %__MODULE__{refs: refs, keys: keys}
    end
  end

  @doc "Removes and returns the references that wait for a key."
  @spec take(t, key) :: {[reference], t}
  def take(waits, key) do
    case Map.pop(waits.refs, key) do
      {nil, _} ->
        {[], waits}

      {some, refs} ->
        {Map.keys(some), %__MODULE__{refs: refs, keys: Map.drop(waits.keys, Map.keys(some))}}
    end
  end

  @doc "The handles for which references wait."
  @spec handles(t) :: [pos_integer]
  def handles(waits), do: for({key, _} <- waits.refs, is_integer(key), do: key)

  defguard is_awaited(waits, key) when is_map_key(waits.refs, key)
  defguard is_waiting(waits, ref) when is_map_key(waits.keys, ref)
end
