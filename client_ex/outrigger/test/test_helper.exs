alias Outrigger.{DaemonCase, ListeningDaemon}

daemon = System.get_env("OUTRIGGERD") || Application.get_env(:outrigger, :daemon)
IO.puts("outriggerd: #{daemon || "the one in priv/"}, over #{DaemonCase.transport()}")

# The server of the examples in the docs.
options = [name: MyApp.Compute, threads: 2]

options =
  case DaemonCase.transport() do
    :port -> options
    kind -> ListeningDaemon.start_link!(kind, options)
  end

{:ok, _} = Outrigger.start_link(options)
ExUnit.start(capture_log: true, timeout: 120_000, exclude: DaemonCase.excluded())
