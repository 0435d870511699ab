defmodule Outrigger.Prepared do
  @moduledoc """
  A program that a server keeps: see `Outrigger.prepare/3` and `Outrigger.call/3`.

  A prepared program outlives the daemon. If the daemon no longer keeps it, after a restart or
  because of too many others, the next call prepares it again. If other sessions of a server needed
  its room, one call fails with `:unknown_program`, and the call after it prepares the program
  again.
  """

  # `head` holds the bytes that all frames of its calls have in common.
  @enforce_keys [:server, :id, :head, :program]
  defstruct [:server, :id, :head, :program]

  @type t :: %__MODULE__{
          server: Outrigger.Server.t(),
          id: pos_integer,
          head: binary,
          program: Outrigger.Program.t()
        }

  alias Outrigger.{Protocol, Server}

  @doc false
  # Raises if the program is too long for a daemon.
  def new(server, program) do
    with {:error, error} <- Server.program_fits(server, byte_size(program.encoded)),
         do: raise(error)

    id = Server.program_id(server)
    head = Protocol.head("call", {"program_id", id})
    %__MODULE__{server: server, id: id, head: head, program: program}
  end

  defimpl Inspect do
    def inspect(prepared, _options) do
      "#Outrigger.Prepared<##{prepared.id}, arity #{prepared.program.arity}>"
    end
  end
end
