defmodule Outrigger.Telemetry do
  @moduledoc """
  Events for [`:telemetry`](https://hexdocs.pm/telemetry), if the application has it.

  | event | measurements | metadata |
  |---|---|---|
  | `[:outrigger, :daemon, :up]` | `duration_ms` | `server`, `os_pid`, `epoch`, `session`, `restart` (boolean) |
  | `[:outrigger, :daemon, :down]` | `pending` (requests) | `server`, `os_pid`, `status`, `error` (an exception) |
  | `[:outrigger, :request, :error]` | `count` | `server`, `error` (an exception) |
  | `[:outrigger, :lease, :released]` | `count` (handles) | `server` |
  | `[:outrigger, :restart, :failed]` | `count` | `server`, `error`: the `:on_restart` callback failed, `outriggerd` could not be started, or the server not be reached |

  With the option `:connect`, `:up` and `:down` tell of connections. If a server goes on while a
  connection breaks, the next `:up` has the same `epoch` and another `session`. `status` is then the
  reason of the error.

  `server` is the name given to `Outrigger.start_link/1`, or nil. Handlers run in the connection
  process, and must be short. The handlers of a failed callback run in the process of the callback.

  `[:outrigger, :request, :error]` is the event of requests that make or write tensors. All other
  requests return their error to the caller, without an event.
  """

  @compile {:no_warn_undefined, :telemetry}

  @doc false
  def setup do
    :persistent_term.put(__MODULE__, Code.ensure_loaded?(:telemetry))
  end

  @doc false
  def execute(event, measurements, metadata) do
    if :persistent_term.get(__MODULE__, false) do
      :telemetry.execute([:outrigger | event], measurements, metadata)
    end

    :ok
  end
end
