Nx.global_default_backend(Outrigger.Nx.Backend)

ExUnit.start(
  capture_log: true,
  timeout: 120_000,
  assert_receive_timeout: 1000,
  exclude: [:distributed | Outrigger.Nx.Conformance.excluded()],
  formatters: [ExUnit.CLIFormatter, Outrigger.Nx.ConformanceReport]
)

if Outrigger.Nx.Conformance.nx(), do: Outrigger.Nx.Conformance.load_support()
