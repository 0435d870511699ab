#include <numeric>

#include "ops/linalg/decompose.hpp"
#include "ops/linalg/matrix_blocks.hpp"
#include "ops/linalg/rows.hpp"

namespace outrigger::ops {
namespace {

Result<Inferred> infer_eigh(const InferCall& call) {
  OUTRIGGER_TRY(const MatrixShape shape, square_shape(call.type(0)));
  const DType dtype = matrix_dtype(call);
  Inferred inferred = infer_operands(call);
  inferred.results.push_back(TensorType{dtype, with_matrix(call.type(0).shape, {shape.rows})});
  inferred.results.push_back(TensorType{dtype, call.type(0).shape});
  return inferred;
}

/// Writes the eigenvalues in descending order of their magnitude (of equal ones, the positive
/// first), and the eigenvectors as columns. LAPACK reads the matrix transposed, which is the
/// conjugate matrix; its eigenvectors are therefore conjugates, too.
template <typename T>
void write_eigen(const RealOf<T>* values, const T* vectors, std::int64_t n, int* order, T* w,
                 T* v) {
  std::iota(order, order + n, 0);
  std::sort(order, order + n, [&](int a, int b) {
    const RealOf<T> left = std::abs(values[a]), right = std::abs(values[b]);
    return left > right || (left == right && a > b);
  });
  // The number of columns in one step, so that their lines in v stay in the cache.
  constexpr std::int64_t columns = 16;
  for (std::int64_t first = 0; first < n; first += columns) {
    const std::int64_t end = std::min(first + columns, n);
    T factors[columns];
    for (std::int64_t j = first; j < end; ++j) {
      w[j] = T{values[order[j]]};
      factors[j - first] = phase_factor(vectors + order[j] * n, n, 1);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = first; j < end; ++j)
        v[i * n + j] = conjugate(times(factors[j - first], vectors[order[j] * n + i]));
    }
  }
}

template <typename T>
struct EighPlan {
  std::int64_t n;
  std::int64_t lwork;
  /// The real elements of the workspace beside the eigenvalues; only complex matrices need them.
  int reals = 0;
  int integers = 1;

  static EighPlan make(const Lapack<T>& lib, std::int64_t n) {
    const auto order = static_cast<int>(n);
    const int query = -1;
    EighPlan plan{n, 1};
    T answer{1};
    RealOf<T> reals{1};
    int info = 0;
    if constexpr (is_complex_v<T>) {
      lib.syevd("V", "U", &order, &answer, &order, &reals, &answer, &query, &reals, &query,
                &plan.integers, &query, &info, 1, 1);
      plan.reals = static_cast<int>(workspace(reals));
    } else {
      lib.syevd("V", "U", &order, &answer, &order, &answer, &answer, &query, &plan.integers, &query,
                &info, 1, 1);
    }
    plan.lwork = workspace(answer);
    return plan;
  }

  std::int64_t scratch_bytes() const {
    return bytes_of<T>(n * n + lwork) + bytes_of<RealOf<T>>(n + reals) +
           bytes_of<int>(std::max<std::int64_t>(integers, n));
  }

  bool run(const Lapack<T>& lib, std::byte* scratch, const T* from, T* w, T* v) const {
    T* matrix = reinterpret_cast<T*>(scratch);
    T* work = matrix + n * n;
    auto* values = reinterpret_cast<RealOf<T>*>(work + lwork);
    RealOf<T>* rwork = values + n;
    int* iwork = reinterpret_cast<int*>(rwork + reals);
    const auto order = static_cast<int>(n);
    const auto size = static_cast<int>(lwork);
    std::copy_n(from, n * n, matrix);
    int info = 0;
    // The lower triangle in C order is the upper one in Fortran order.
    if constexpr (is_complex_v<T>) {
      lib.syevd("V", "U", &order, matrix, &order, values, work, &size, rwork, &reals, iwork,
                &integers, &info, 1, 1);
    } else {
      lib.syevd("V", "U", &order, matrix, &order, values, work, &size, iwork, &integers, &info, 1,
                1);
    }
    if (info == 0) write_eigen(values, matrix, n, iwork, w, v);
    return info == 0;
  }
};

template <typename T>
Result<void> eigh(const MatrixBlock& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  const Tensor& a = call.in[0];
  OUTRIGGER_TRY(const MatrixShape shape, square_shape(a.type));
  const std::int64_t n = shape.rows;
  if (n == 0) return {};
  const auto plan = EighPlan<T>::make(*lib, n);
  OUTRIGGER_TRY(const std::int64_t failed,
                for_each_matrix(call.context, shape.batch, 8 * n * n * n, plan.scratch_bytes(),
                                [&](std::byte* scratch, std::int64_t i) {
                                  const T* from = a.as<T>() + i * n * n;
                                  T* w = call.out[0].as<T>() + i * n;
                                  T* v = call.out[1].as<T>() + i * n * n;
                                  if (all_finite(from, n * n))
                                    return plan.run(*lib, scratch, from, w, v);
                                  fill_nan(w, n);
                                  fill_nan(v, n * n);
                                  return true;
                                }));
  if (failed >= 0) {
    return fail(ErrorCode::bad_value, matrix_text(call, failed) + ": no convergence");
  }
  return {};
}

std::uint64_t eigh_scratch(const ScratchCall& call) {
  return plan_scratch(call, square_shape(*call.in[0].type),
                      []<typename T>(const Lapack<T>& lib, const MatrixShape& shape) {
                        return EighPlan<T>::make(lib, shape.rows);
                      });
}

Result<void> run_eigh(const MatrixBlock& call) {
  return with_matrix_type(call.in[0].dtype(),
                          [&](auto tag) { return eigh<typename decltype(tag)::type>(call); });
}

}  // namespace

void add_eigh_rows(std::vector<OpRow>& rows) {
  rows.push_back(matrix_row<run_eigh, eigh_scratch>(
      "eigh", infer_eigh, {{"tensor"}}, {max_iter_attr, eps_attr}, 2,
      "Eigenvalues {…, n} and eigenvectors {…, n, n} (in columns) of symmetric or hermitian "
      "matrices. Reads the lower triangle. The eigenvalues are in descending order of their "
      "magnitude, as in Nx; of equal magnitudes, the positive one is first. In each vector, the "
      "element of the largest magnitude is real and positive. Both results have the operand's "
      "dtype, also if it is complex; integers become f32. The results for a matrix with NaN or an "
      "infinity are NaN. Divide and conquer, LAPACK's syevd and heevd."));
}

}  // namespace outrigger::ops
