alias Outrigger.Nx.Conformance
if Conformance.nx(), do: Conformance.nx_suite("nx/serving_test.exs")
