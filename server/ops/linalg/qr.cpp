#include <limits>

#include "ops/elementwise/complex_math.hpp"
#include "ops/linalg/decompose.hpp"
#include "ops/linalg/matrix_blocks.hpp"
#include "ops/linalg/rows.hpp"

namespace outrigger::ops {
namespace {

bool complete(const AttrView& attrs) { return attrs.string("mode", "reduced") == "complete"; }

Result<Inferred> infer_qr(const InferCall& call) {
  OUTRIGGER_TRY(const MatrixShape shape, matrix_shape(call.type(0)));
  const std::string_view mode = call.attrs.string("mode", "reduced");
  if (mode != "reduced" && mode != "complete") {
    return fail(
        ErrorCode::bad_attr,
        std::string("mode must be \"reduced\" or \"complete\", got \"").append(mode).append("\""));
  }
  const std::int64_t k = complete(call.attrs) ? shape.rows : smaller(shape);
  const DType dtype = matrix_dtype(call);
  Inferred inferred = infer_operands(call);
  inferred.results.push_back(TensorType{dtype, with_matrix(call.type(0).shape, {shape.rows, k})});
  inferred.results.push_back(
      TensorType{dtype, with_matrix(call.type(0).shape, {k, shape.columns})});
  return inferred;
}

/// The decomposition of one matrix of m × n. `factors` is the matrix in Fortran order, m × max(n,
/// width). `q` has `width` columns, and r has `width` rows.
template <typename T>
struct QrPlan {
  std::int64_t m, n, k, width;
  std::int64_t lwork = 1;

  static QrPlan make(const Lapack<T>& lib, std::int64_t m, std::int64_t n, std::int64_t width) {
    QrPlan plan{m, n, std::min(m, n), width};
    T answer{1};
    const int query = -1;
    int info = 0;
    const int rows = static_cast<int>(m), columns = static_cast<int>(n);
    const int kept = static_cast<int>(plan.k), wide = static_cast<int>(width);
    lib.geqrfp(&rows, &columns, &answer, &rows, &answer, &answer, &query, &info);
    plan.lwork = workspace(answer);
    lib.orgqr(&rows, &wide, &kept, &answer, &rows, &answer, &answer, &query, &info);
    plan.lwork = std::max(plan.lwork, workspace(answer));
    return plan;
  }

  std::int64_t factor_elements() const { return m * std::max(n, width); }
  std::int64_t scratch_bytes() const { return bytes_of<T>(factor_elements() + k + lwork); }

  void run(const Lapack<T>& lib, std::byte* scratch, const T* a, T* q, T* r) const {
    T* factors = reinterpret_cast<T*>(scratch);
    T* tau = factors + factor_elements();
    T* work = tau + k;
    const int rows = static_cast<int>(m), columns = static_cast<int>(n);
    const int kept = static_cast<int>(k), wide = static_cast<int>(width);
    const int size = static_cast<int>(lwork);
    int info = 0;
    transpose(factors, m, a, n, m, n);
    lib.geqrfp(&rows, &columns, factors, &rows, tau, work, &size, &info);
    for (std::int64_t i = 0; i < width; ++i) {
      for (std::int64_t j = 0; j < n; ++j) r[i * n + j] = j < i ? T{0} : factors[j * m + i];
    }
    if constexpr (!is_complex_v<T>) keep_signs(factors, tau, work, r);
    lib.orgqr(&rows, &wide, &kept, factors, &rows, tau, work, &size, &info);
    transpose(q, width, factors, m, width, m);
    if constexpr (is_complex_v<T>) turn_phases(factors, q, r);
    plain_zeros(q, m * width);
    plain_zeros(r, width * n);
  }

  void keep_signs(const T* factors, T* tau, T* work, T* r) const {
    // If a column is zero below the diagonal, Nx does not change it or its sign. LAPACK changes its
    // sign, by a reflection of one element. In the last column, the element below the diagonal may
    // be a rounding error. Its reflection would change the signs of columns of a complete q.
    constexpr T epsilon = std::numeric_limits<T>::epsilon();
    if (n == k && tau[k - 1] < 8 * epsilon * epsilon) tau[k - 1] = T{0};
    for (std::int64_t i = 0; i < k; ++i) work[i] = flips(factors, tau, i) ? T{-1} : T{1};
    for (std::int64_t i = 0; i < k; ++i) {
      if (work[i] < T{0}) {
        negate(r + i * n + i, n - i, 1);
        tau[i] = T{0};
      }
    }
  }

  /// Nx's reflection maps a column, whose first element has the phase e^iφ, to -e^iφ times
  /// its length. It does not change the last column of a square matrix. The phases follow from q
  /// alone: because the columns of q are orthonormal, their reflection is an elimination, for which
  /// the leading k × k elements, in y, are sufficient.
  void turn_phases(T* y, T* q, T* r) const {
    for (std::int64_t i = 0; i < k; ++i) std::copy_n(q + i * width, k, y + i * k);
    for (std::int64_t i = 0; i < k; ++i) {
      const T* row = y + i * k;
      const RealOf<T> length = std::abs(row[i]);
      const T phase = length > 0 ? row[i] / length : T{1};
      for (std::int64_t below = i + 1; below < k; ++below) {
        T* const to = y + below * k;
        const T factor = times(to[i], std::conj(phase)) / (1 + length);
        for (std::int64_t j = i + 1; j < k; ++j) to[j] -= times(factor, row[j]);
      }
      const T turned = m == n && i + 1 == n ? phase : -phase;
      for (std::int64_t j = i; j < n; ++j) r[i * n + j] = times(r[i * n + j], turned);
      for (std::int64_t j = 0; j < m; ++j)
        q[j * width + i] = times(q[j * width + i], std::conj(turned));
    }
  }

  bool flips(const T* factors, const T* tau, std::int64_t i) const {
    return tau[i] == T{2} &&
           std::all_of(factors + i * m + i + 1, factors + i * m + m, [](T x) { return x == T{0}; });
  }
};

template <typename T>
Result<void> qr(const MatrixBlock& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  const Tensor& a = call.in[0];
  OUTRIGGER_TRY(const MatrixShape shape, matrix_shape(a.type));
  const std::int64_t m = shape.rows, n = shape.columns;
  const std::int64_t width = call.out[0].shape().back();
  if (m == 0 || width == 0) return {};
  T* q = call.out[0].as<T>();
  T* r = call.out[1].as<T>();
  if (n == 0) {
    write_identity(q, shape.batch, m);  // complete: a square matrix
    return {};
  }
  const auto plan = QrPlan<T>::make(*lib, m, n, width);
  OUTRIGGER_CHECK(for_each_matrix(call.context, shape.batch, 2 * m * n * std::max(plan.k, width),
                                  plan.scratch_bytes(), [&](std::byte* scratch, std::int64_t i) {
                                    const T* from = a.as<T>() + i * m * n;
                                    T* q_here = q + i * m * width;
                                    T* r_here = r + i * width * n;
                                    if (all_finite(from, m * n)) {
                                      plan.run(*lib, scratch, from, q_here, r_here);
                                    } else {
                                      fill_nan(q_here, m * width);
                                      fill_nan(r_here, width * n);
                                    }
                                    return true;
                                  }));
  return {};
}

std::uint64_t qr_scratch(const ScratchCall& call) {
  return plan_scratch(call, matrix_shape(*call.in[0].type),
                      [&]<typename T>(const Lapack<T>& lib, const MatrixShape& shape) {
                        return QrPlan<T>::make(lib, shape.rows, shape.columns,
                                               call.out[0].shape.back());
                      });
}

Result<void> run_qr(const MatrixBlock& call) {
  return with_matrix_type(call.in[0].dtype(),
                          [&](auto tag) { return qr<typename decltype(tag)::type>(call); });
}

}  // namespace

void add_qr_rows(std::vector<OpRow>& rows) {
  rows.push_back(matrix_row<run_qr, qr_scratch>(
      "qr", infer_qr, {{"tensor"}},
      {{"mode", AttrType::string, false, "reduced",
        "\"reduced\": q is {…, m, k}, r {…, k, n} with k = min(m, n); \"complete\": q is "
        "{…, m, m}, r {…, m, n}"},
       eps_attr},
      2,
      "q, r with a = q · r for the matrices {…, m, n}: orthonormal columns and an upper triangle. "
      "The diagonal of r is not negative. An exception is a column that is zero below the diagonal "
      "before its reflection (as the last column of a square matrix): its diagonal element keeps "
      "its sign, as in Nx. For complex numbers, the phases of the diagonal are those of Nx's "
      "reflections: the opposite of the phase of the column's first element before its reflection; "
      "the last column of a square matrix keeps its phase. Integers become f32. The results for a "
      "matrix with NaN or an infinity are NaN. Householder reflections, LAPACK's geqrfp."));
}

}  // namespace outrigger::ops
