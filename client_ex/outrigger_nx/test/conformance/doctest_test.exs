# Doctests compare printed text. If only the last digits of a function differ from those of
# Nx.BinaryBackend, `last_digits` runs its examples instead of `doctest`.
defmodule Outrigger.Nx.DoctestTest do
  use ExUnit.Case, async: true
  import Outrigger.Nx.LastDigits

  @last_digits [acos: 1, acosh: 1, atan: 1, atan2: 2, atanh: 1, erfc: 1, exp: 1, expm1: 1] ++
                 [sigmoid: 1, sinh: 1]

  # Nx.BinaryBackend's own approximation, which is off by 10⁻⁹ in f64.
  @binary_backend [erf_inv: 1]

  doctest Nx, except: [:moduledoc] ++ @last_digits ++ @binary_backend
  last_digits(Nx, @last_digits, ulps: 2)
end

defmodule Outrigger.Nx.LinAlgDoctestTest do
  use ExUnit.Case, async: true
  import Outrigger.Nx.LastDigits

  # The daemon's results are more exact, because Nx rounds each step to f32. In the results of
  # triangular_solve, the sign of a zero depends on BLAS's kernels for the processor.
  @last_digits [cholesky: 1, determinant: 1, least_squares: 3, lu: 1, matrix_power: 2, qr: 2] ++
                 [solve: 2, svd: 2, triangular_solve: 3]

  # Any basis of the eigenvalue 0's space is right: Nx prints another one.
  @ambiguous [eigh: 2]

  # Nx prints 4.0000577 where the daemon prints 4.0.
  @inexact [pinv: 2]

  doctest Nx.LinAlg, except: @last_digits ++ @ambiguous ++ @inexact
  last_digits(Nx.LinAlg, @last_digits, ulps: 8)
end

defmodule Outrigger.Nx.RandomDoctestTest do
  use ExUnit.Case, async: true
  import Outrigger.Nx.LastDigits

  # The last digits of the inverse error function, and of Cholesky's decomposition.
  @last_digits [normal: 4, multivariate_normal: 4]

  doctest Nx.Random, except: @last_digits
  last_digits(Nx.Random, @last_digits, ulps: 8)
end
