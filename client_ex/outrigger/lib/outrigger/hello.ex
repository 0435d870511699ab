defmodule Outrigger.Hello do
  @moduledoc false
  # The daemon's answer to `hello`. Pure.

  alias Outrigger.Options

  # After this many created bytes, a poll looks for dropped tensors. Their memory is in the caches
  # of the processor, new memory is not.
  @poll_bytes_max 64 * 1024 * 1024

  defguardp is_limit(limits, name)
            when is_map_key(limits, name) and is_integer(:erlang.map_get(name, limits)) and
                   :erlang.map_get(name, limits) > 0

  @doc "True if the reply is of this protocol, with all limits that the client needs."
  @spec good?(term) :: boolean
  def good?(%{"protocol" => 1, "limits" => limits})
      when is_limit(limits, "requests_window") and is_limit(limits, "bytes_window") and
             is_limit(limits, "programs_max") and is_limit(limits, "frame_bytes_max"),
      do: true

  def good?(_other), do: false

  @doc "The limits that Outrigger.Traffic keeps."
  @spec limits(map, Options.t()) :: map
  def limits(%{"limits" => limits} = hello, options) do
    memory = hello["memory_limit"] || 0

    %{
      requests_window: limits["requests_window"],
      bytes_window: limits["bytes_window"],
      programs_max: max(limits["programs_max"], 1),
      part_bytes: div(limits["frame_bytes_max"], 4),
      kept: hello["kept_limit"] || :infinity,
      room: {div(options.queue_max, 2), div(options.queue_bytes_max, 2)},
      memory: memory,
      poll_bytes: if(memory > 0, do: min(div(memory, 16), @poll_bytes_max), else: @poll_bytes_max)
    }
  end

  @doc "The longest frame that the daemon sends."
  @spec reply_max(map) :: pos_integer
  def reply_max(%{"limits" => limits}),
    do: max(limits["frame_bytes_max"], limits["reply_bytes_max"]) + 1024
end
