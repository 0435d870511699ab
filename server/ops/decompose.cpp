#include <numeric>

#include "ops/catalogue.hpp"
#include "ops/matrices.hpp"

namespace outrigger::ops {
namespace {

std::int64_t smaller(const MatrixShape& shape) { return std::min(shape.rows, shape.columns); }

/// How much workspace LAPACK asks for, in elements.
template <typename T>
std::int64_t workspace(T answer) {
  // Rounded to f32, the answer may be a little less than what is meant.
  return static_cast<std::int64_t>(static_cast<double>(answer) * (1 + 1e-6)) + 1;
}

template <typename T>
constexpr std::int64_t bytes_of(std::int64_t count) {
  return count * static_cast<std::int64_t>(sizeof(T));
}

/// Whether the convention turns the sign of a vector, n elements `stride` apart: its element of the
/// largest magnitude (the first of equals) becomes positive.
template <typename T>
bool turns(const T* vector, std::int64_t n, std::int64_t stride) {
  T largest{0};
  for (std::int64_t i = 0; i < n; ++i) {
    if (std::abs(vector[i * stride]) > std::abs(largest)) largest = vector[i * stride];
  }
  return largest < T{0};
}

template <typename T>
void negate(T* vector, std::int64_t n, std::int64_t stride) {
  for (std::int64_t i = 0; i < n; ++i) vector[i * stride] = -vector[i * stride];
}

/// -0.0, which the library leaves where it has turned a sign, becomes 0.0.
template <typename T>
void plain_zeros(T* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) x[i] += T{0};
}

/// The identity in each matrix of a batch.
template <typename T>
void write_identity(T* to, std::int64_t batch, std::int64_t n) {
  for (std::int64_t i = 0; i < batch * n * n; ++i) to[i] = i % (n * n) % (n + 1) == 0 ? T{1} : T{0};
}

// LU

Result<Inferred> infer_lu(const InferCall& call) {
  OUTRIGGER_CHECK(square_shape(call.type(0)));
  const DType dtype = matrix_dtype(call);
  Inferred inferred;
  inferred.operands = {dtype};
  inferred.results.push_back(call.type(0));
  inferred.results.push_back(TensorType{dtype, call.type(0).shape});
  inferred.results.push_back(TensorType{dtype, call.type(0).shape});
  return inferred;
}

/// p[order[i]][i] = 1, where order tells which row of the matrix became row i.
void write_permutation(const Tensor& p, std::int64_t index, std::int64_t n, const int* order) {
  with_type(p.dtype(), [&](auto tag) {
    using P = typename decltype(tag)::type;
    P* to = p.as<P>() + index * n * n;
    std::fill_n(to, n * n, P{0});
    for (std::int64_t i = 0; i < n; ++i) to[order[i] * n + i] = P{1};
  });
}

template <typename T>
Result<void> lu(const RunCall& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  OUTRIGGER_TRY(const Tensor a, to_contiguous(call.context, call.in[0]));
  OUTRIGGER_TRY(const MatrixShape shape, square_shape(a.type));
  const std::int64_t n = shape.rows;
  if (n == 0) return {};
  const auto order = static_cast<int>(n);
  OUTRIGGER_CHECK(for_each_matrix(
      call.context, shape.batch, n * n * n, bytes_of<T>(n * n) + bytes_of<int>(2 * n),
      [&](std::byte* scratch, std::int64_t index) {
        T* work = reinterpret_cast<T*>(scratch);
        int* pivots = reinterpret_cast<int*>(work + n * n);
        int* rows = pivots + n;
        T* l = call.out[1].as<T>() + index * n * n;
        T* u = call.out[2].as<T>() + index * n * n;
        std::iota(rows, rows + n, 0);
        const T* from = a.as<T>() + index * n * n;
        if (!all_finite(from, n * n)) {
          write_permutation(call.out[0], index, n, rows);
          fill_nan(l, n * n);
          fill_nan(u, n * n);
          return true;
        }
        transpose(work, n, from, n, n, n);
        int info = 0;  // a zero pivot is no error: u has a zero on its diagonal
        lib->getrf(&order, &order, work, &order, pivots, &info);
        for (std::int64_t i = 0; i < n; ++i) std::swap(rows[i], rows[pivots[i] - 1]);
        write_permutation(call.out[0], index, n, rows);
        transpose(u, n, work, n, n, n);
        for (std::int64_t i = 0; i < n; ++i) {
          std::copy_n(u + i * n, i, l + i * n);
          std::fill_n(l + i * n + i, n - i, T{0});
          l[i * n + i] = T{1};
          std::fill_n(u + i * n, i, T{0});
        }
        return true;
      }));
  return {};
}

std::uint64_t lu_scratch(const ScratchCall& call) {
  const auto shape = square_shape(*call.in[0].type);
  if (!shape) return 0;
  const std::int64_t n = shape->rows;
  return with_real(call.in[0].type->dtype, [&](auto tag) {
    return contiguous_operands<0>(call) +
           batch_scratch(call, shape->batch,
                         bytes_of<typename decltype(tag)::type>(n * n) + bytes_of<int>(2 * n));
  });
}

Result<void> run_lu(const RunCall& call) {
  return with_real(call.in[0].dtype(),
                   [&](auto tag) { return lu<typename decltype(tag)::type>(call); });
}

/// Temporaries of a decomposition: the operand in C order, and for each thread what the plan takes
/// that `make` gives for the library's functions and the matrices' shape.
template <typename Make>
std::uint64_t plan_scratch(const ScratchCall& call, const Result<MatrixShape>& shape, Make make) {
  if (!shape || smaller(*shape) == 0) return contiguous_operands<0>(call);
  return with_real(call.in[0].type->dtype, [&](auto tag) -> std::uint64_t {
    const auto lib = lapack<typename decltype(tag)::type>();
    if (!lib) return 0;
    return contiguous_operands<0>(call) +
           batch_scratch(call, shape->batch, make(**lib, *shape).scratch_bytes());
  });
}

// QR

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
  Inferred inferred;
  inferred.operands = {dtype};
  inferred.results.push_back(TensorType{dtype, with_matrix(call.type(0).shape, {shape.rows, k})});
  inferred.results.push_back(
      TensorType{dtype, with_matrix(call.type(0).shape, {k, shape.columns})});
  return inferred;
}

/// One matrix of m × n. `factors`: the matrix in Fortran's order, m × max(n, width); `q` has
/// `width` columns, r as many rows.
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
    // A column that is zero below the diagonal already is left as it is by Nx, and so is its sign;
    // LAPACK turns it, by a reflection of one element.
    // Of the last column, what is left below the diagonal may be a rounding error, whose reflection
    // would turn the columns of a complete q around.
    constexpr T epsilon = std::numeric_limits<T>::epsilon();
    if (n == k && tau[k - 1] < 8 * epsilon * epsilon) tau[k - 1] = T{0};
    for (std::int64_t i = 0; i < k; ++i) work[i] = flips(factors, tau, i) ? T{-1} : T{1};
    for (std::int64_t i = 0; i < k; ++i) {
      if (work[i] < T{0}) {
        negate(r + i * n + i, n - i, 1);
        tau[i] = T{0};
      }
    }
    lib.orgqr(&rows, &wide, &kept, factors, &rows, tau, work, &size, &info);
    transpose(q, width, factors, m, width, m);
    plain_zeros(q, m * width);
    plain_zeros(r, width * n);
  }

  bool flips(const T* factors, const T* tau, std::int64_t i) const {
    return tau[i] == T{2} &&
           std::all_of(factors + i * m + i + 1, factors + i * m + m, [](T x) { return x == T{0}; });
  }
};

template <typename T>
Result<void> qr(const RunCall& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  OUTRIGGER_TRY(const Tensor a, to_contiguous(call.context, call.in[0]));
  OUTRIGGER_TRY(const MatrixShape shape, matrix_shape(a.type));
  const std::int64_t m = shape.rows, n = shape.columns;
  const std::int64_t width = call.out[0].shape().back();
  if (m == 0 || width == 0) return {};
  T* q = call.out[0].as<T>();
  T* r = call.out[1].as<T>();
  if (n == 0) {
    write_identity(q, shape.batch, m);  // complete: as wide as high
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

Result<void> run_qr(const RunCall& call) {
  return with_real(call.in[0].dtype(),
                   [&](auto tag) { return qr<typename decltype(tag)::type>(call); });
}

// Eigenvalues

Result<Inferred> infer_eigh(const InferCall& call) {
  OUTRIGGER_TRY(const MatrixShape shape, square_shape(call.type(0)));
  const DType dtype = matrix_dtype(call);
  Inferred inferred;
  inferred.operands = {dtype};
  inferred.results.push_back(TensorType{dtype, with_matrix(call.type(0).shape, {shape.rows})});
  inferred.results.push_back(TensorType{dtype, call.type(0).shape});
  return inferred;
}

/// Eigenvalues by falling magnitude, of equals the positive first; eigenvectors in columns.
template <typename T>
void write_eigen(const T* values, const T* vectors, std::int64_t n, int* order, T* w, T* v) {
  std::iota(order, order + n, 0);
  std::sort(order, order + n, [&](int a, int b) {
    const T left = std::abs(values[a]), right = std::abs(values[b]);
    return left > right || (left == right && a > b);
  });
  for (std::int64_t j = 0; j < n; ++j) {
    w[j] = values[order[j]];
    const T* from = vectors + order[j] * n;
    const T sign = turns(from, n, 1) ? T{-1} : T{1};
    for (std::int64_t i = 0; i < n; ++i) v[i * n + j] = sign * from[i];
  }
}

template <typename T>
struct EighPlan {
  std::int64_t n;
  std::int64_t lwork;
  int integers = 1;

  static EighPlan make(const Lapack<T>& lib, std::int64_t n) {
    const auto order = static_cast<int>(n);
    const int query = -1;
    EighPlan plan{n, 1};
    T answer{1};
    int info = 0;
    lib.syevd("V", "U", &order, &answer, &order, &answer, &answer, &query, &plan.integers, &query,
              &info, 1, 1);
    plan.lwork = workspace(answer);
    return plan;
  }

  std::int64_t scratch_bytes() const {
    return bytes_of<T>(n * n + n + lwork) + bytes_of<int>(std::max<std::int64_t>(integers, n));
  }

  bool run(const Lapack<T>& lib, std::byte* scratch, const T* from, T* w, T* v) const {
    T* matrix = reinterpret_cast<T*>(scratch);
    T* values = matrix + n * n;
    T* work = values + n;
    int* iwork = reinterpret_cast<int*>(work + lwork);
    const auto order = static_cast<int>(n);
    const auto size = static_cast<int>(lwork);
    std::copy_n(from, n * n, matrix);
    int info = 0;
    // What is lower in C order is upper in Fortran's.
    lib.syevd("V", "U", &order, matrix, &order, values, work, &size, iwork, &integers, &info, 1, 1);
    if (info == 0) write_eigen(values, matrix, n, iwork, w, v);
    return info == 0;
  }
};

template <typename T>
Result<void> eigh(const RunCall& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  OUTRIGGER_TRY(const Tensor a, to_contiguous(call.context, call.in[0]));
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
    return fail(ErrorCode::bad_value, matrix_text(a, failed) + ": no convergence");
  }
  return {};
}

std::uint64_t eigh_scratch(const ScratchCall& call) {
  return plan_scratch(call, square_shape(*call.in[0].type),
                      []<typename T>(const Lapack<T>& lib, const MatrixShape& shape) {
                        return EighPlan<T>::make(lib, shape.rows);
                      });
}

Result<void> run_eigh(const RunCall& call) {
  return with_real(call.in[0].dtype(),
                   [&](auto tag) { return eigh<typename decltype(tag)::type>(call); });
}

// Singular values

Result<Inferred> infer_svd(const InferCall& call) {
  OUTRIGGER_TRY(const MatrixShape shape, matrix_shape(call.type(0)));
  const std::int64_t k = smaller(shape);
  const bool full = call.attrs.boolean("full_matrices", true);
  const Dims& from = call.type(0).shape;
  const DType dtype = matrix_dtype(call);
  Inferred inferred;
  inferred.operands = {dtype};
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

  /// In Fortran's order the matrix is transposed: n × m, with u and vt in each other's place.
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
      if (!turns(vt + i * n, n, 1)) continue;
      negate(vt + i * n, n, 1);
      if (i < k) negate(u + i, m, u_columns);
    }
    for (std::int64_t j = k; j < u_columns; ++j) {
      if (turns(u + j, m, u_columns)) negate(u + j, m, u_columns);
    }
    // What is no more than the error that the method may make is none of the matrix's rank.
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
Result<void> svd(const RunCall& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  OUTRIGGER_TRY(const Tensor a, to_contiguous(call.context, call.in[0]));
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
    return fail(ErrorCode::bad_value, matrix_text(a, failed) + ": no convergence");
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

Result<void> run_svd(const RunCall& call) {
  return with_real(call.in[0].dtype(),
                   [&](auto tag) { return svd<typename decltype(tag)::type>(call); });
}

const AttrSpec max_iter_attr{"max_iter", AttrType::integer, false, "",
                             "accepted for Nx's sake: the method here needs no bound"};
const AttrSpec eps_attr{"eps", AttrType::number, false, "",
                        "accepted for Nx's sake: results here have the dtype's precision"};

}  // namespace

void register_decompose(std::vector<OpRow>& rows) {
  rows.push_back(OpRow{
      .name = "lu",
      .family = "linalg",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .attrs = {eps_attr},
      .results = 3,
      .cost = Cost::quadratic,
      .wide_order = widened_order_max,
      .infer = infer_lu,
      .run = run_lu,
      .scratch = lu_scratch,
      .doc = "p, l, u with a = p · l · u for the square matrices in the last two axes: a "
             "permutation in the operand's dtype, a lower triangle with ones on its diagonal, an "
             "upper triangle. Integers become f32 in l and u. A singular matrix has zeros on u's "
             "diagonal; NaN or infinity gives NaN. Partial pivoting, LAPACK's getrf."});
  rows.push_back(OpRow{
      .name = "qr",
      .family = "linalg",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .attrs = {{"mode", AttrType::string, false, "reduced",
                 "\"reduced\": q is {…, m, k}, r {…, k, n} with k = min(m, n); \"complete\": q is "
                 "{…, m, m}, r {…, m, n}"},
                eps_attr},
      .results = 2,
      .cost = Cost::quadratic,
      .wide_order = widened_order_max,
      .infer = infer_qr,
      .run = run_qr,
      .scratch = qr_scratch,
      .doc = "q, r with a = q · r for the matrices {…, m, n}: orthonormal columns and an upper "
             "triangle. r's diagonal is not negative, but where a column was zero below the "
             "diagonal already (as in the last row of a square matrix): those keep their sign, as "
             "in Nx. Integers become f32; NaN or infinity gives NaN. Householder reflections, "
             "LAPACK's geqrfp."});
  rows.push_back(OpRow{
      .name = "eigh",
      .family = "linalg",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .attrs = {max_iter_attr, eps_attr},
      .results = 2,
      .cost = Cost::quadratic,
      .wide_order = widened_order_max,
      .infer = infer_eigh,
      .run = run_eigh,
      .scratch = eigh_scratch,
      .doc = "Eigenvalues {…, n} and eigenvectors {…, n, n} (in columns) of symmetric matrices; "
             "reads the lower triangle. Sorted by falling magnitude as in Nx, of equals the "
             "positive first; each vector's element of the largest magnitude is positive. Integers "
             "become f32; NaN or infinity gives NaN. Divide and conquer, LAPACK's syevd."});
  rows.push_back(OpRow{
      .name = "svd",
      .family = "linalg",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .attrs = {{"full_matrices", AttrType::boolean, false, "true",
                 "u is {…, m, m}, vt {…, n, n}; else {…, m, k}, {…, k, n} with k = min(m, n)"},
                max_iter_attr},
      .results = 3,
      .cost = Cost::quadratic,
      .infer = infer_svd,
      .run = run_svd,
      .scratch = svd_scratch,
      .doc =
          "u, s, vt with a = u · diag(s) · vt for the matrices {…, m, n}; s {…, k} falls, and is 0 "
          "where it is less than the rounding error of max(m, n) · ε · s₀. Each "
          "row of vt, and each further column of u, has its element of the largest magnitude "
          "positive. Integers become f32; NaN or infinity gives NaN. Divide and conquer, "
          "LAPACK's gesdd."});
}

}  // namespace outrigger::ops
