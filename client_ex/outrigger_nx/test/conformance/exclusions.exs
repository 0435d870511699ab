# Tests of Nx that are not run, by reason. CONFORMANCE.md has the figures. The name of a test is
# that of ExUnit. If other suites have a test of that name, it is the file and the text behind
# `test`.
[
  {"Nx.BinaryBackend raises at once; here a read of the result raises Outrigger.Error",
   [
     "gather raises when out of bounds",
     "indexed_add raises when out of bounds",
     "indexed_put raises when out of bounds"
   ]},
  {"a check of Nx.BinaryBackend's own: XLA and the daemon have a result",
   [
     "bitshift raises for negative numbers on the left",
     "bitshift raises for negative numbers on the right",
     "binary operations remainder"
   ]},
  {"a complex function at an infinity: Nx.BinaryBackend has NaN or π/4, the daemon the limit, as C",
   for name <- ~w(tanh acos asin atan acosh asinh atanh pow window_product) do
     {"nx/non_finite_test.exs", name}
   end},
  {"a Cholesky decomposition of a singular matrix, for which Nx.Random's doc says to use another",
   ["properties multivariate_normal properties"]},
  {"mixes a tensor of the default backend with one of a backend of the test's own",
   ["optional callbacks (defn) calls the default impl if custom does not exist"]},
  {"compares the last bit of an f32",
   [
     "covariance/1 calculates the covariance of a tensor",
     "covariance/1 uses optional ddof",
     "covariance/1 with tensor batch",
     "reverse computes gradient",
     "take computes gradient",
     "sort computes gradient",
     "sort computes gradient along axis",
     "gather computes gradient",
     "cholesky computes grad for composed {2,2}-tensor",
     "vectorization supports combination of vectorized and non-vectorized tensors " <>
       "over composed function",
     "types normal",
     "types multivariate_normal",
     {"nx/lin_alg_test.exs", "computes eigenvalues and eigenvectors for a Hermitian matrix case"}
   ]},
  {"compares a bf16, of which Nx.BinaryBackend cuts off the bits that the daemon rounds",
   ["types uniform"]},
  {"asks for Nx.Defn.Evaluator by name, or for what only it does",
   [
     "transform back and forth between Elixir and defn",
     "jit compiles elixir function",
     "jit uses the default backend on iota",
     "jit raises on nested JIT unless forcing"
   ]},
  {"mixes a template with a tensor, which only Nx.BinaryBackend's may be: Nx raises earlier",
   [
     {"nx/defn/evaluator_test.exs", "slice"},
     {"nx/defn/donation_test.exs",
      "expression parameters keep the mark, expressions built from them do not"}
   ]},
  {"compares the sign of a zero that has been a rounding error, which depends on the processor",
   [{"nx/lin_alg_test.exs", "factors a square matrix"}]},
  {"matches equal results by one variable or a pin, which compares handles",
   ["metadata computes custom grad", "run/2 with client pre/post"]},
  {"EXLA: its clients, devices, logs, cache on disk, telemetry and precision",
   [
     "precision raises on bad precision",
     "precision succeeds on good precision",
     "telemetry executes event when function is compiled",
     "disk cache reads and writes",
     "multi-client converts from host to separate client",
     "multi-client converts from host to separate client through lazy transfers",
     "options logs when debugging",
     "cross-client io_calls concurrent io_calls on different clients serialize on same device",
     "Nx.backend_copy/1 different clients",
     "Nx.backend_copy/1 same client",
     "Nx.backend_transfer/1",
     "Nx.backend_transfer/2",
     "multi-device",
     "stack and concatenate should end up in the same client",
     "within JIT raises on invalid client",
     "runtime_call with CUDA client fails when CUDA not available",
     "runtime_call with CUDA client (device↔host copies)"
   ]},
  {"EXLA clamps an index that is out of bounds; Nx leaves it open, and here it is an error",
   ["gather 1d result"]},
  {"EXLA's own order and arguments of calls into the VM: here they are Nx.Defn.Evaluator's",
   [
     "io_calls executes independent io_calls in program order",
     "cond if with container result"
   ]},
  {"needs EXLA's own struct Container, whose fields differ from that of Nx's tests",
   ["containers updated", "io_calls executes io_call with container"]}
]
