defmodule Outrigger.Orphans do
  @moduledoc false
  # Programs that are under way although their caller is dead. A program goes on while another
  # process holds one of its results. Pure.

  # `handles`: handle that a process holds => id of its request. `left`: id => number of held
  # handles. `loose`: ids of the requests without a held result. `rest_until`: the monotonic time
  # of the next useless/2. `asked?`: whether that call is scheduled.
  defstruct handles: %{}, left: %{}, loose: MapSet.new(), rest_until: nil, asked?: false

  @type t :: %__MODULE__{
          handles: %{pos_integer => pos_integer},
          left: %{pos_integer => pos_integer},
          loose: MapSet.t(pos_integer),
          rest_until: integer | nil,
          asked?: boolean
        }

  @doc "Adds a request with results whose caller has died."
  @spec add(t, pos_integer, [pos_integer, ...]) :: t
  def add(orphans, id, handles) do
    %{
      orphans
      | handles: Enum.reduce(handles, orphans.handles, &Map.put(&2, &1, id)),
        left: Map.put(orphans.left, id, length(handles))
    }
  end

  @doc "Removes a request that has ended."
  @spec drop(t, pos_integer, [pos_integer]) :: t
  def drop(orphans, id, handles) do
    %{
      orphans
      | handles: Map.drop(orphans.handles, handles),
        left: Map.delete(orphans.left, id),
        loose: MapSet.delete(orphans.loose, id)
    }
  end

  @doc "Notes that no process holds these handles."
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
  The loose requests whose results no other request needs. The request of a living process needs its
  arguments. So does an orphan with a held result. `requests` are the `{id, args, results}` of all
  requests under way. A request uses only results of older requests, so one pass from the newest to
  the oldest is enough.
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
