defmodule Outrigger.Sessions do
  @moduledoc false
  # The ends of a server's sessions: entries in its table, for the error texts of callers.
  # Only the connection writes them.

  alias Outrigger.ConnectionError

  # The number of ended sessions that are remembered.
  @ended_max 32

  @ended :ended_sessions
  @failed :last_failure

  @doc "Notes the end of a session whose server may go on."
  @spec ended(:ets.table(), pos_integer, ConnectionError.t()) :: :ok
  def ended(meta, epoch, error) do
    entry = {epoch, error.detail || Exception.message(error), :unknown}
    put(meta, Enum.take([entry | all(meta)], @ended_max))
  end

  @doc "Notes a new session, which tells whether the server is the one of the last session."
  @spec began(:ets.table(), map | nil, map) :: :ok
  def began(meta, last_hello, hello) do
    :ets.delete(meta, @failed)

    case all(meta) do
      [{epoch, detail, :unknown} | rest] ->
        same? = last_hello["epoch"] == hello["epoch"]
        put(meta, [{epoch, detail, if(same?, do: :same, else: :another)} | rest])

      _ ->
        :ok
    end
  end

  @doc "Notes an attempt that failed."
  @spec failed(:ets.table(), ConnectionError.t()) :: :ok
  def failed(meta, error) do
    :ets.insert(meta, {@failed, Exception.message(error)})
    :ok
  end

  @doc "A text about the end of a session, or nil if its daemon has died with it."
  @spec why_ended(:ets.table(), pos_integer) :: String.t() | nil
  def why_ended(meta, epoch) do
    case List.keyfind(all(meta), epoch, 0) do
      nil -> nil
      {_, detail, :same} -> "the connection broke, and the server goes on (#{detail})"
      {_, detail, :another} -> "the server was started again (#{detail})"
      {_, detail, :unknown} -> "the connection broke (#{detail})"
    end
  end

  @doc "A text about the last attempt, if it failed."
  @spec last_failure(:ets.table()) :: String.t() | nil
  def last_failure(meta) do
    case :ets.lookup(meta, @failed) do
      [{_, text}] -> text
      [] -> nil
    end
  rescue
    # The server has ended.
    ArgumentError -> nil
  end

  @doc "The entries, of which the end of an epoch does not dispose."
  @spec keys() :: [atom]
  def keys, do: [@ended, @failed]

  defp put(meta, sessions) do
    :ets.insert(meta, {@ended, sessions})
    :ok
  end

  defp all(meta) do
    case :ets.lookup(meta, @ended) do
      [{_, sessions}] -> sessions
      [] -> []
    end
  rescue
    ArgumentError -> []
  end
end
