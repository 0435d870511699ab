defmodule Outrigger.Subscriptions do
  @moduledoc false
  # The subscriptions of processes to names, and the way of an event to its process. `t` is an
  # Outrigger.Traffic.
  #
  # A subscription has the same id in each session. The connection sends its request again in each
  # new session. The daemon then tells of all names that there are, but not of those that are gone.
  # So the connection keeps what it has told (`known`). After the end of a session, these names are
  # `before`, until an event or a list of the names says what became of them.

  alias Outrigger.{ConnectionError, Error, Outcome, Traffic}

  defstruct last: 0, ids: %{}, refs: %{}

  @typedoc "The key of the request, and its value: a name or a prefix."
  @type field :: {String.t(), String.t()}

  @typep subscription :: %{
           ref: reference,
           field: field,
           # The daemon has answered the request of the process.
           answered?: boolean,
           # name => version
           known: %{String.t() => pos_integer},
           before: %{String.t() => pos_integer}
         }

  @type t :: %__MODULE__{
          last: non_neg_integer,
          ids: %{pos_integer => subscription},
          refs: %{reference => pos_integer}
        }

  # A daemon that stops refuses requests. The next one does not.
  @passing [:shutting_down, :cancelled]
  # The names in one reply.
  @page 1000

  defguard is_subscribed(subscriptions, ref) when is_map_key(subscriptions.refs, ref)

  @spec any?(t) :: boolean
  def any?(%__MODULE__{ids: ids}), do: map_size(ids) > 0

  @doc """
  Subscribes a process, which waits for an answer to `answer`. `ref` is its alias for the events.
  """
  def subscribe(t, {:subscribe, epoch, _ref, _pid, _field, answer}) when epoch != t.epoch do
    Outcome.answer(answer, {:error, %ConnectionError{reason: t.end_reason}})
    t
  end

  def subscribe(t, {:subscribe, _epoch, ref, pid, field, answer}) do
    %{last: last, ids: ids, refs: refs} = t.subscriptions
    id = last + 1
    new = %{ref: ref, field: field, answered?: false, known: %{}, before: %{}}

    subscriptions = %__MODULE__{
      last: id,
      ids: Map.put(ids, id, new),
      refs: Map.put(refs, ref, id)
    }

    %{t | subscriptions: subscriptions}
    |> Traffic.note(pid, ref)
    |> ask(id, field, answer)
  end

  defp ask(t, id, field, answer),
    do: Traffic.in_turn(t, "subscribe", [{"subscription", id}, field], {:subscribe, id, answer})

  @doc "Ends the subscription of a process that wants no more events, or that has ended."
  def unsubscribe(t, ref) when not is_subscribed(t.subscriptions, ref), do: t

  def unsubscribe(t, ref) do
    id = Map.fetch!(t.subscriptions.refs, ref)
    t = drop(t, id)

    if t.epoch == 0,
      do: t,
      else: Traffic.in_turn(t, "unsubscribe", [{"subscription", id}], :drop)
  end

  defp drop(t, id) do
    {%{ref: ref}, ids} = Map.pop!(t.subscriptions.ids, id)
    refs = Map.delete(t.subscriptions.refs, ref)
    %{t | subscriptions: %{t.subscriptions | ids: ids, refs: refs}}
  end

  ## From the daemon

  @doc "Sends an event to its process. A subscription that has ended may still get events."
  def event(t, id, {kind, name, version}) do
    case t.subscriptions.ids do
      %{^id => %{known: known, before: before} = subscription} ->
        # Not a part of the bytes that came with it.
        name = :binary.copy(name)
        tell(subscription, {kind, name, version})

        known =
          if kind == :published,
            do: Map.put(known, name, version),
            else: Map.delete(known, name)

        put(t, id, %{subscription | known: known, before: Map.delete(before, name)})

      _ ->
        t
    end
  end

  # `ref` is an alias: a process that has ended the subscription gets nothing.
  defp tell(%{ref: ref}, event), do: send(ref, {:outrigger, ref, event})

  defp put(t, id, subscription) do
    %{ids: ids} = t.subscriptions
    %{t | subscriptions: %{t.subscriptions | ids: Map.put(ids, id, subscription)}}
  end

  @doc "Takes the reply to a request of this module."
  def reply(t, {kind, id, answer}, reply) when not is_map_key(t.subscriptions.ids, id) do
    if kind == :subscribe and answer, do: Outcome.answer(answer, reply)
    t
  end

  def reply(t, {:subscribe, id, answer}, {:ok, _}) do
    %{ref: ref, before: before} = subscription = t.subscriptions.ids[id]
    if answer, do: Outcome.answer(answer, {:ok, ref})
    t = put(t, id, %{subscription | answered?: true})
    if before == %{}, do: t, else: list(t, id, subscription.field, "")
  end

  def reply(t, {:subscribe, id, nil}, {:error, error}) do
    if match?(%Error{code: code} when code in @passing, error) do
      t
    else
      tell(t.subscriptions.ids[id], {:error, error})
      drop(t, id)
    end
  end

  def reply(t, {:subscribe, id, answer}, {:error, error}) do
    Outcome.answer(answer, {:error, error})
    drop(t, id)
  end

  def reply(t, {:names, id, from}, {:ok, %{"names" => names} = reply}) when is_list(names) do
    listed = for %{"name" => name} <- names, is_binary(name), into: %{}, do: {name, true}
    last = listed |> Map.keys() |> Enum.max(fn -> nil end)
    %{field: {kind, _} = field} = subscription = t.subscriptions.ids[id]
    more? = kind == "prefix" and reply["more"] == true and last != nil

    # The names are in order. The later ones are in the next reply. An event comes for those that
    # are listed.
    gone =
      for {name, version} <- subscription.before,
          name > from and (not more? or name <= last),
          not is_map_key(listed, name),
          do: {name, version}

    for {name, version} <- gone, do: tell(subscription, {:unpublished, name, version})
    before = Map.drop(subscription.before, Enum.map(gone, &elem(&1, 0)))
    t = put(t, id, %{subscription | before: before})

    if more? and Enum.any?(before, fn {name, _} -> name > last end),
      do: list(t, id, field, last),
      else: t
  end

  # The next session asks again.
  def reply(t, {:names, _id, _from}, _error), do: t

  # A name is the first of those that begin with it.
  defp list(t, id, {kind, value}, from) do
    limit = if kind == "name", do: 1, else: @page
    later = if from == "", do: [], else: [{"after", from}]
    fields = [{"prefix", value}, {"limit", limit} | later]
    Traffic.in_turn(t, "names", fields, {:names, id, from})
  end

  ## The sessions

  @doc "After the end of a session. A process whose request has no answer gets an error instead."
  @spec broken(t) :: t
  def broken(%__MODULE__{} = subscriptions) do
    ids =
      for {id, %{answered?: true} = subscription} <- subscriptions.ids, into: %{} do
        before = Map.merge(subscription.before, subscription.known)
        {id, %{subscription | known: %{}, before: before}}
      end

    %{subscriptions | ids: ids, refs: Map.new(ids, fn {id, %{ref: ref}} -> {ref, id} end)}
  end

  @doc "Sends the requests of all subscriptions in a new session."
  def renew(t) do
    Enum.reduce(t.subscriptions.ids, t, fn {id, %{field: field}}, t -> ask(t, id, field, nil) end)
  end
end
