alias Outrigger.Nx.Conformance

if Conformance.nx() do
  for file <- ~w(defn/expr_test.exs defn/api_test.exs defn/vectorize_test.exs backend_test.exs
                 defn/runtime_call_test.exs) do
    Conformance.exla_suite(file)
  end
end
