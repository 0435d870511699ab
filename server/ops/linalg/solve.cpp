#include <cmath>
#include <complex>

#include "ops/linalg/matrix_blocks.hpp"
#include "ops/linalg/rows.hpp"

// Systems of equations, inverses and determinants, by LU with partial pivoting.

namespace outrigger::ops {
namespace {

Result<Inferred> infer_invert(const InferCall& call) {
  OUTRIGGER_CHECK(square_shape(call.type(0)));
  return infer_matrix(call, call.type(0).shape, SmallOrders::keep);
}

Result<Inferred> infer_determinant(const InferCall& call) {
  OUTRIGGER_CHECK(square_shape(call.type(0)));
  return infer_matrix(call, with_matrix(call.type(0).shape, {}));
}

Result<Inferred> infer_solve(const InferCall& call) { return infer_solution(call, true); }

/// The scratch of a factorisation: the matrix and its pivots.
template <typename T>
struct Factors {
  T* matrix;
  int* pivots;
  T* more;
  static std::int64_t bytes(std::int64_t n, std::int64_t more) {
    return (n * n + more) * static_cast<std::int64_t>(sizeof(T)) + n * std::int64_t{sizeof(int)};
  }
  Factors(std::byte* scratch, std::int64_t n, std::int64_t count)
      : matrix(reinterpret_cast<T*>(scratch)),
        pivots(reinterpret_cast<int*>(matrix + n * n + count)),
        more(matrix + n * n) {}
};

template <typename T>
Result<void> solve(const MatrixBlock& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  const Tensor& a = call.in[0];
  const Tensor& b = call.in[1];
  OUTRIGGER_TRY(const MatrixShape sides, right_hand_sides(a.type, b.type, true));
  const std::int64_t n = sides.rows;
  const std::int64_t each = n * sides.columns;
  if (each == 0) return {};
  const auto order = static_cast<int>(n);
  const auto columns = static_cast<int>(sides.columns);
  OUTRIGGER_TRY(const std::int64_t failed,
                for_each_matrix(
                    call.context, sides.batch, n * n * n + n * each, Factors<T>::bytes(n, each),
                    [&](std::byte* scratch, std::int64_t i) {
                      const Factors<T> lu(scratch, n, each);
                      std::copy_n(a.as<T>() + i * n * n, n * n, lu.matrix);
                      int info = 0;
                      lib->getrf(&order, &order, lu.matrix, &order, lu.pivots, &info);
                      if (info != 0) return false;
                      transpose(lu.more, n, b.as<T>() + i * each, sides.columns, n, sides.columns);
                      // LAPACK reads the matrix transposed, and solves with the transposed matrix,
                      // which is the original.
                      lib->getrs("T", &order, &columns, lu.matrix, &order, lu.pivots, lu.more,
                                 &order, &info, 1);
                      transpose(call.out[0].as<T>() + i * each, sides.columns, lu.more, n,
                                sides.columns, n);
                      return true;
                    }));
  if (failed >= 0) return fail(ErrorCode::bad_value, matrix_text(call, failed) + " is singular");
  return {};
}

Result<void> run_solve(const MatrixBlock& call) {
  return with_matrix_type(call.in[0].dtype(),
                          [&](auto tag) { return solve<typename decltype(tag)::type>(call); });
}

/// The scratch of Factors with `more` elements for each matrix.
std::uint64_t factor_scratch(const ScratchCall& call, std::int64_t more) {
  const auto shape = square_shape(*call.in[0].type);
  if (!shape) return 0;
  return with_matrix_type(call.in[0].type->dtype, [&](auto tag) {
    return batch_scratch(call, shape->batch,
                         Factors<typename decltype(tag)::type>::bytes(shape->rows, more));
  });
}

std::uint64_t solve_scratch(const ScratchCall& call) {
  const auto sides = right_hand_sides(*call.in[0].type, *call.in[1].type, true);
  if (!sides) return 0;
  return factor_scratch(call, sides->rows * sides->columns);
}

std::uint64_t determinant_scratch(const ScratchCall& call) { return factor_scratch(call, 0); }

std::uint64_t invert_scratch(const ScratchCall& call) {
  return factor_scratch(call, call.in[0].type->shape.back());
}

/// Small orders are computed by closed formulas, as in Nx, in double.
template <typename T>
T small_determinant(const T* a, std::int64_t n) {
  using Wide = std::conditional_t<is_complex_v<T>, std::complex<double>, double>;
  const auto x = [&](int i) { return static_cast<Wide>(a[i]); };
  const auto minor = [&](int i, int j, int k, int l) {
    return times(x(i), x(l)) - times(x(j), x(k));
  };
  switch (n) {
    case 0:
      return T{1};
    case 1:
      return a[0];
    case 2:
      return static_cast<T>(minor(0, 1, 2, 3));
    default:
      return static_cast<T>(times(x(0), minor(4, 5, 7, 8)) - times(x(1), minor(3, 5, 6, 8)) +
                            times(x(2), minor(3, 4, 6, 7)));
  }
}

template <typename T>
Result<void> determinant(const MatrixBlock& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  const Tensor& a = call.in[0];
  OUTRIGGER_TRY(const MatrixShape shape, square_shape(a.type));
  const std::int64_t n = shape.rows;
  const auto order = static_cast<int>(n);
  T* out = call.out[0].as<T>();
  OUTRIGGER_CHECK(for_each_matrix(call.context, shape.batch, n * n * n,
                                  n > 3 ? Factors<T>::bytes(n, 0) : 0,
                                  [&](std::byte* scratch, std::int64_t i) {
                                    const T* from = a.as<T>() + i * n * n;
                                    if (n <= 3) {
                                      out[i] = small_determinant(from, n);
                                      return true;
                                    }
                                    if (!all_finite(from, n * n)) {
                                      fill_nan(out + i, 1);
                                      return true;
                                    }
                                    const Factors<T> lu(scratch, n, 0);
                                    std::copy_n(from, n * n, lu.matrix);
                                    int info = 0;
                                    lib->getrf(&order, &order, lu.matrix, &order, lu.pivots, &info);
                                    T product{1};
                                    for (std::int64_t d = 0; d < n; ++d) {
                                      product *= lu.matrix[d * n + d];
                                      if (lu.pivots[d] != d + 1) product = -product;
                                    }
                                    out[i] = info > 0 ? T{0} : product;
                                    return true;
                                  }));
  return {};
}

Result<void> run_determinant(const MatrixBlock& call) {
  return with_matrix_type(call.in[0].dtype(), [&](auto tag) {
    return determinant<typename decltype(tag)::type>(call);
  });
}

/// The largest sum of magnitudes of a row.
template <typename T>
RealOf<T> row_norm(const T* a, std::int64_t n) {
  RealOf<T> norm{0};
  for (std::int64_t i = 0; i < n; ++i) {
    RealOf<T> sum{0};
    for (std::int64_t j = 0; j < n; ++j) sum += std::abs(a[i * n + j]);
    norm = std::max(norm, sum);
  }
  return norm;
}

/// inverse = a⁻¹. Returns false if `a`, with its rows scaled to 1 as in Nx, is singular to working
/// precision.
template <typename T>
bool invert_one(const Lapack<T>& lib, const T* a, T* inverse, std::int64_t n,
                const Factors<T>& lu) {
  using R = RealOf<T>;
  R* scale = reinterpret_cast<R*>(lu.more);
  for (std::int64_t i = 0; i < n; ++i) {
    R largest{0};
    for (std::int64_t j = 0; j < n; ++j) largest = std::max(largest, std::abs(a[i * n + j]));
    scale[i] = largest == R{0} ? R{1} : R{1} / largest;
    for (std::int64_t j = 0; j < n; ++j) inverse[i * n + j] = a[i * n + j] * scale[i];
  }
  const R norm = row_norm(inverse, n);
  const auto order = static_cast<int>(n);
  const auto work = static_cast<int>(n * n);
  int info = 0;
  lib.getrf(&order, &order, inverse, &order, lu.pivots, &info);
  if (info != 0) return false;
  lib.getri(&order, inverse, &order, lu.pivots, lu.matrix, &work, &info);
  if (info != 0) return false;
  const R condition = norm * row_norm(inverse, n);
  if (!(condition * std::numeric_limits<R>::epsilon() < R{1})) return false;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) inverse[i * n + j] *= scale[j];
  }
  return true;
}

template <typename T>
Result<void> invert(const MatrixBlock& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  const Tensor& a = call.in[0];
  OUTRIGGER_TRY(const MatrixShape shape, square_shape(a.type));
  const std::int64_t n = shape.rows;
  if (n == 0) return {};
  OUTRIGGER_CHECK(for_each_matrix(call.context, shape.batch, 2 * n * n * n, Factors<T>::bytes(n, n),
                                  [&](std::byte* scratch, std::int64_t i) {
                                    const T* from = a.as<T>() + i * n * n;
                                    T* to = call.out[0].as<T>() + i * n * n;
                                    const bool regular =
                                        all_finite(from, n * n) &&
                                        invert_one(*lib, from, to, n, Factors<T>(scratch, n, n));
                                    if (!regular) fill_nan(to, n * n);
                                    return true;
                                  }));
  return {};
}

Result<void> run_invert(const MatrixBlock& call) {
  return with_matrix_type(call.in[0].dtype(),
                          [&](auto tag) { return invert<typename decltype(tag)::type>(call); });
}

}  // namespace

void add_solve_rows(std::vector<OpRow>& rows) {
  rows.push_back(matrix_row<run_solve, solve_scratch>(
      "solve", infer_solve, {{"a"}, {"b"}}, {}, 1,
      "Solves a · x = b. a: {…, n, n}; b: {…, n} or {…, n, m}; x has the shape of b. Integers "
      "become f32. A singular matrix is an error (`bad_value`). LU with partial pivoting, LAPACK's "
      "getrf and getrs."));
  rows.push_back(matrix_row<run_determinant, determinant_scratch>(
      "determinant", infer_determinant, {{"tensor"}}, {}, 1,
      "Determinants of the matrices in the last two axes: {…, n, n} to {…}. Integers become f32. "
      "The determinant of a singular matrix is 0. Orders up to 3 use closed formulas, others LU."));
  rows.push_back(matrix_row<run_invert, invert_scratch>(
      "invert", infer_invert, {{"tensor"}}, {}, 1,
      "Inverses of the matrices in the last two axes: {…, n, n}. Integers become f32. The inverse "
      "of a matrix that is singular to working precision is NaN, as Nx documents. LU with partial "
      "pivoting of the matrix with scaled rows, LAPACK's getrf and getri."));
}

}  // namespace outrigger::ops
