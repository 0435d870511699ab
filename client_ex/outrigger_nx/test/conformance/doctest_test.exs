defmodule Outrigger.Nx.DoctestTest do
  use ExUnit.Case, async: true

  # Right, but for the last printed digit.
  @last_digit [acos: 1, acosh: 1, atan: 1, atan2: 2, atanh: 1, erfc: 1, exp: 1, expm1: 1] ++
                [sigmoid: 1, sinh: 1]

  # Nx.BinaryBackend's own approximation, which is off by 10⁻⁹ in f64.
  @binary_backend [erf_inv: 1]

  doctest Nx, except: [:moduledoc] ++ @last_digit ++ @binary_backend
end

defmodule Outrigger.Nx.LinAlgDoctestTest do
  use ExUnit.Case, async: true
  doctest Nx.LinAlg
end
