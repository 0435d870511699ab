defmodule Outrigger.Orphans do
  @moduledoc false
  # Programs that are on their way although their caller is dead: they go on as long as somebody
  # else holds what they make. Pure.

  # `handles`: handle that is still held => id of its request. `left`: id => number of these.
  # `loose`: ids of the requests of whose results nothing is held. `rest_until`: when useless/2 may
  # be asked again, a monotonic time; `asked?`: it will be then.
  defstruct handles: %{}, left: %{}, loose: MapSet.new(), rest_until: nil, asked?: false

  @type t :: %__MODULE__{
          handles: %{pos_integer => pos_integer},
          left: %{pos_integer => pos_integer},
          loose: MapSet.t(pos_integer),
          rest_until: integer | nil,
          asked?: boolean
        }

  @doc "The caller of a request with results is gone."
  @spec add(t, pos_integer, [pos_integer, ...]) :: t
  def add(orphans, id, handles) do
    %{
      orphans
      | handles: Enum.reduce(handles, orphans.handles, &Map.put(&2, &1, id)),
        left: Map.put(orphans.left, id, length(handles))
    }
  end

  @doc "The request has ended."
  @spec drop(t, pos_integer, [pos_integer]) :: t
  def drop(orphans, id, handles) do
    %{
      orphans
      | handles: Map.drop(orphans.handles, handles),
        left: Map.delete(orphans.left, id),
        loose: MapSet.delete(orphans.loose, id)
    }
  end

  @doc "Nobody holds these handles."
  @spec release(t, [pos_integer]) :: t
  def release(orphans, handles), do: Enum.reduce(handles, orphans, &release_one/2)

  defp release_one(handle, orphans) when is_map_key(orphans.handles, handle) do
    {id, handles} = Map.pop!(orphans.handles, handle)
    left = orphans.left[id] - 1
    loose = if left == 0, do: MapSet.put(orphans.loose, id), else: orphans.loose
    %{orphans | handles: handles, left: Map.put(orphans.left, id, left), loose: loose}
  end

  defp release_one(_handle, orphans), do: orphans

  @doc """
  Which of the loose requests nothing depends on that goes on: neither a living process's request
  nor an orphan whose results somebody holds. `requests` are `{id, args, results}` of all that are
  on their way. A request uses only what older ones make: newest first, one pass tells.
  """
  @spec useless(t, [{pos_integer, [pos_integer], [pos_integer]}]) :: [pos_integer]
  def useless(orphans, requests) do
    {useless, _needed} =
      requests
      |> Enum.sort(:desc)
      |> Enum.reduce({[], MapSet.new()}, fn {id, args, results}, {useless, needed} ->
        if id in orphans.loose and not Enum.any?(results, &(&1 in needed)),
          do: {[id | useless], needed},
          else: {useless, Enum.reduce(args, needed, &MapSet.put(&2, &1))}
      end)

    useless
  end
end
