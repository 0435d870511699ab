alias Outrigger.Nx.Conformance

if Conformance.nx() do
  for file <- ~w(nx_test.exs nx/lin_alg_test.exs nx/vectorize_test.exs nx/complex_test.exs
                 nx/non_finite_test.exs nx/random_test.exs nx/container_test.exs
                 nx/batch_test.exs nx/optional_test.exs nx/constants_test.exs
                 nx/lazy_container_test.exs nx/tensor_test.exs nx/testing_test.exs
                 nx/defn/evaluator_test.exs nx/defn/kernel_test.exs
                 nx/defn/runtime_call_evaluator_test.exs nx/defn/composite_test.exs
                 nx/defn/donation_test.exs nx/heatmap_test.exs nx/floating_test.exs) do
    Conformance.nx_suite(file)
  end

  for file <- ~w(nx/defn_test.exs nx/defn/grad_test.exs nx/defn/graph_test.exs) do
    Conformance.compiled_suite(file)
  end
else
  IO.puts(
    "Nx's own tests did not run: set NX_PATH to the nx/ folder of a checkout of elixir-nx/nx"
  )
end
