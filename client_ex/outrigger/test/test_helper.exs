daemon = System.get_env("OUTRIGGERD") || Application.get_env(:outrigger, :daemon)
IO.puts("outriggerd: #{daemon || "the one in priv/"}")

{:ok, _} = Outrigger.start_link(name: MyApp.Compute, threads: 2)
ExUnit.start(capture_log: true, timeout: 120_000)
