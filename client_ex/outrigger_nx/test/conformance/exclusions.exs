# Tests of Nx that are not run, by reason. CONFORMANCE.md has the figures.
[
  {"Nx.BinaryBackend raises at once; here the error comes, as Outrigger.Error, where the result is read",
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
  {"compares the last bit of an f32",
   [
     "covariance/1 calculates the covariance of a tensor",
     "covariance/1 uses optional ddof",
     "covariance/1 with tensor batch",
     "reverse computes gradient",
     "take computes gradient",
     "sort computes gradient",
     "sort computes gradient along axis",
     "gather computes gradient"
   ]},
  {"matches two equal results with one variable, which compares handles",
   ["metadata computes custom grad"]}
]
