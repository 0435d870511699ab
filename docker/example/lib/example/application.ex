defmodule Example.Application do
  @moduledoc false
  use Application

  # A connection to the server instead of a daemon of this application's own. The environment has
  # the address, and names the files of the secrets.
  @impl true
  def start(_type, _args) do
    children = [
      {Outrigger,
       name: Example.Numbers,
       connect: System.fetch_env!("OUTRIGGER_ADDRESS"),
       token: {:file, System.fetch_env!("OUTRIGGER_TOKEN_FILE")},
       ssl: [cacertfile: System.fetch_env!("OUTRIGGER_CA_FILE")]}
    ]

    Supervisor.start_link(children, strategy: :one_for_one)
  end
end
