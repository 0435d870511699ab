#include <limits>

#include "ops/linalg/decompose.hpp"
#include "ops/linalg/matrix_blocks.hpp"
#include "ops/linalg/rows.hpp"

namespace outrigger::ops {
namespace {

Result<Inferred> infer_svd(const InferCall& call) {
  OUTRIGGER_TRY(const MatrixShape shape, matrix_shape(call.type(0)));
  const std::int64_t k = smaller(shape);
  const bool full = call.attrs.boolean("full_matrices", true);
  const Dims& from = call.type(0).shape;
  const DType dtype = matrix_dtype(call);
  Inferred inferred = infer_operands(call, SmallOrders::keep);
  inferred.results.push_back(
      TensorType{dtype, with_matrix(from, {shape.rows, full ? shape.rows : k})});
  inferred.results.push_back(TensorType{dtype, with_matrix(from, {k})});
  inferred.results.push_back(
      TensorType{dtype, with_matrix(from, {full ? shape.columns : k, shape.columns})});
  return inferred;
}

template <typename T>
struct SvdPlan {
  int m, n, k, u_columns, v_rows;
  int lwork = 1;

  /// In Fortran order the matrix is transposed: it is n × m, and u and vt are exchanged.
  int call(const Lapack<T>& lib, T* a, T* s, T* u, T* vt, T* work, int size, int* iwork) const {
    const char* const job = u_columns == m && v_rows == n ? "A" : "S";
    int info = 0;
    lib.gesdd(job, &n, &m, a, &n, s, vt, &n, u, &u_columns, work, &size, iwork, &info, 1);
    return info;
  }

  static SvdPlan make(const Lapack<T>& lib, const MatrixShape& shape, std::int64_t u_columns,
                      std::int64_t v_rows) {
    SvdPlan plan{static_cast<int>(shape.rows), static_cast<int>(shape.columns),
                 static_cast<int>(smaller(shape)), static_cast<int>(u_columns),
                 static_cast<int>(v_rows)};
    T answer{1};
    int iwork = 0;
    plan.call(lib, &answer, &answer, &answer, &answer, &answer, -1, &iwork);
    plan.lwork = static_cast<int>(workspace(answer));
    return plan;
  }

  std::int64_t elements() const { return std::int64_t{m} * n; }
  std::int64_t scratch_bytes() const {
    return bytes_of<T>(elements() + lwork) + bytes_of<int>(8 * std::int64_t{k});
  }

  bool run(const Lapack<T>& lib, std::byte* scratch, const T* from, T* u, T* s, T* vt) const {
    T* a = reinterpret_cast<T*>(scratch);
    T* work = a + elements();
    std::copy_n(from, elements(), a);
    if (call(lib, a, s, u, vt, work, lwork, reinterpret_cast<int*>(work + lwork)) != 0)
      return false;
    for (std::int64_t i = 0; i < v_rows; ++i) {
      if (phase_factor(vt + i * n, n, 1) > T{0}) continue;
      negate(vt + i * n, n, 1);
      if (i < k) negate(u + i, m, u_columns);
    }
    for (std::int64_t j = k; j < u_columns; ++j) {
      if (phase_factor(u + j, m, u_columns) < T{0}) negate(u + j, m, u_columns);
    }
    // A singular value that is not larger than the error of the method becomes 0, so that it does
    // not add to the rank.
    const T least = static_cast<T>(std::max(m, n)) * std::numeric_limits<T>::epsilon() * s[0];
    for (int i = 0; i < k; ++i) {
      if (s[i] < least) s[i] = T{0};
    }
    plain_zeros(u, std::int64_t{m} * u_columns);
    plain_zeros(vt, std::int64_t{v_rows} * n);
    return true;
  }
};

template <typename T>
Result<void> svd(const MatrixBlock& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  const Tensor& a = call.in[0];
  OUTRIGGER_TRY(const MatrixShape shape, matrix_shape(a.type));
  T* u = call.out[0].as<T>();
  T* s = call.out[1].as<T>();
  T* vt = call.out[2].as<T>();
  const std::int64_t u_columns = call.out[0].shape().back();
  const std::int64_t v_rows = call.out[2].shape()[call.out[2].shape().size() - 2];
  if (smaller(shape) == 0) {
    if (u_columns > 0) write_identity(u, shape.batch, u_columns);
    if (v_rows > 0) write_identity(vt, shape.batch, v_rows);
    return {};
  }
  const auto plan = SvdPlan<T>::make(*lib, shape, u_columns, v_rows);
  const std::int64_t u_size = shape.rows * u_columns;
  const std::int64_t v_size = v_rows * shape.columns;
  OUTRIGGER_TRY(const std::int64_t failed,
                for_each_matrix(call.context, shape.batch, 16 * plan.elements() * plan.k,
                                plan.scratch_bytes(), [&](std::byte* scratch, std::int64_t i) {
                                  const T* from = a.as<T>() + i * plan.elements();
                                  T* u_here = u + i * u_size;
                                  T* s_here = s + i * plan.k;
                                  T* v_here = vt + i * v_size;
                                  if (all_finite(from, plan.elements()))
                                    return plan.run(*lib, scratch, from, u_here, s_here, v_here);
                                  fill_nan(u_here, u_size);
                                  fill_nan(s_here, plan.k);
                                  fill_nan(v_here, v_size);
                                  return true;
                                }));
  if (failed >= 0) {
    return fail(ErrorCode::bad_value, matrix_text(call, failed) + ": no convergence");
  }
  return {};
}

std::uint64_t svd_scratch(const ScratchCall& call) {
  const Dims& vt = call.out[2].shape;
  return plan_scratch(call, matrix_shape(*call.in[0].type),
                      [&]<typename T>(const Lapack<T>& lib, const MatrixShape& shape) {
                        return SvdPlan<T>::make(lib, shape, call.out[0].shape.back(),
                                                vt[vt.size() - 2]);
                      });
}

Result<void> run_svd(const MatrixBlock& call) {
  return with_real(call.in[0].dtype(),
                   [&](auto tag) { return svd<typename decltype(tag)::type>(call); });
}

}  // namespace

void add_svd_rows(std::vector<OpRow>& rows) {
  rows.push_back(matrix_row<run_svd, svd_scratch>(
      "svd", infer_svd, {{"tensor"}},
      {{"full_matrices", AttrType::boolean, false, "true",
        "u is {…, m, m}, vt {…, n, n}; else {…, m, k}, {…, k, n} with k = min(m, n)"},
       max_iter_attr},
      3,
      "u, s, vt with a = u · diag(s) · vt for the matrices {…, m, n}. s {…, k} is in descending "
      "order; values below the rounding error max(m, n) · ε · s₀ become 0. In each row of vt, and "
      "in each column of u beyond the k-th, the element of the largest magnitude is positive. "
      "Integers become f32. The results for a matrix with NaN or an infinity are NaN. Divide and "
      "conquer, LAPACK's gesdd."));
  rows.back().real_only = true;
}

}  // namespace outrigger::ops
