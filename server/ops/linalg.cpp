#include "ops/catalogue.hpp"
#include "ops/matrices.hpp"

namespace outrigger::ops {

Result<MatrixShape> matrix_shape(const TensorType& type) {
  const std::size_t rank = type.shape.size();
  if (rank < 2) {
    return fail(ErrorCode::bad_shape,
                "takes matrices in the last two axes, got " + to_string(type));
  }
  MatrixShape matrix{1, type.shape[rank - 2], type.shape[rank - 1]};
  for (std::size_t axis = 0; axis + 2 < rank; ++axis) matrix.batch *= type.shape[axis];
  if (std::max(matrix.rows, matrix.columns) > matrix_order_max) {
    return fail(ErrorCode::limit_exceeded, "a matrix may have " + std::to_string(matrix_order_max) +
                                               " rows and columns at most, got " + to_string(type));
  }
  return matrix;
}

Result<MatrixShape> square_shape(const TensorType& type) {
  OUTRIGGER_TRY(const MatrixShape matrix, matrix_shape(type));
  if (matrix.rows != matrix.columns) {
    return fail(ErrorCode::bad_shape, "the matrices must be square, got " + to_string(type));
  }
  return matrix;
}

Dims with_matrix(const Dims& shape, std::initializer_list<std::int64_t> last) {
  Dims dims(shape.begin(), shape.end() - 2);
  dims.append(last.begin(), last.end());
  return dims;
}

DType matrix_dtype(const InferCall& call) { return to_floating(merged_dtype(call.in)); }

std::string matrix_text(const Tensor& tensor, std::int64_t index) {
  const Dims& shape = tensor.shape();
  if (shape.size() == 2) return "the matrix";
  Dims position(shape.size() - 2);
  for (std::size_t axis = position.size(); axis-- > 0;) {
    position[axis] = index % shape[axis];
    index /= shape[axis];
  }
  return "the matrix at " + to_string(position);
}

namespace {

Result<Inferred> infer_matrix(const InferCall& call, const Dims& result) {
  const DType dtype = matrix_dtype(call);
  Inferred inferred;
  inferred.operands = {dtype};
  inferred.results.push_back(TensorType{dtype, result});
  return inferred;
}

Result<Inferred> infer_square(const InferCall& call) {
  OUTRIGGER_CHECK(square_shape(call.type(0)));
  return infer_matrix(call, call.type(0).shape);
}

Result<Inferred> infer_determinant(const InferCall& call) {
  OUTRIGGER_CHECK(square_shape(call.type(0)));
  return infer_matrix(call, with_matrix(call.type(0).shape, {}));
}

/// b holds a vector, or a matrix, for each matrix of a. Gives the rows and columns of b; a vector
/// is one column.
Result<MatrixShape> right_hand_sides(const TensorType& a, const TensorType& b, bool left_side) {
  OUTRIGGER_TRY(const MatrixShape square, square_shape(a));
  const std::size_t axes = a.shape.size() - 2;
  const std::size_t rank = b.shape.size();
  bool fits = rank == axes + 1 || rank == axes + 2;
  fits = fits && std::equal(a.shape.begin(), a.shape.begin() + axes, b.shape.begin());
  MatrixShape sides{square.batch, square.rows, 1};
  if (fits && rank == axes + 1) {
    fits = b.shape[axes] == square.rows;
  } else if (fits) {
    sides.rows = b.shape[axes];
    sides.columns = b.shape[axes + 1];
    fits = (left_side ? sides.rows : sides.columns) == square.rows;
  }
  if (!fits) {
    return fail(ErrorCode::bad_shape,
                "right-hand sides " + to_string(b) + " do not fit matrices " + to_string(a));
  }
  if (std::max(sides.rows, sides.columns) > std::numeric_limits<int>::max()) {
    return fail(ErrorCode::limit_exceeded, "too many right-hand sides: " + to_string(b));
  }
  return sides;
}

Result<Inferred> infer_solution(const InferCall& call, bool left_side) {
  OUTRIGGER_CHECK(right_hand_sides(call.type(0), call.type(1), left_side));
  const DType dtype = matrix_dtype(call);
  Inferred inferred;
  inferred.operands = {dtype, dtype};
  inferred.results.push_back(TensorType{dtype, call.type(1).shape});
  return inferred;
}

Result<Inferred> infer_solve(const InferCall& call) { return infer_solution(call, true); }

Result<Inferred> infer_triangular_solve(const InferCall& call) {
  const std::string_view transform = call.attrs.string("transform_a", "none");
  if (transform != "none" && transform != "transpose" && transform != "conjugate") {
    return fail(ErrorCode::bad_attr,
                std::string("transform_a must be \"none\", \"transpose\" or \"conjugate\", got \"")
                    .append(transform)
                    .append("\""));
  }
  return infer_solution(call, call.attrs.boolean("left_side", true));
}

template <typename T>
Result<void> cholesky(const RunCall& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  OUTRIGGER_TRY(const Tensor in, to_contiguous(call.context, call.in[0]));
  OUTRIGGER_TRY(const MatrixShape shape, square_shape(in.type));
  const std::int64_t n = shape.rows;
  const auto order = static_cast<int>(n);
  OUTRIGGER_TRY(
      const std::int64_t failed,
      for_each_matrix(call.context, shape.batch, n * n * n / 3, 0, [&](std::byte*, std::int64_t i) {
        const T* a = in.as<T>() + i * n * n;
        T* l = call.out[0].as<T>() + i * n * n;
        if (!all_finite(a, n * n)) {
          fill_nan(l, n * n);
          return true;
        }
        for (std::int64_t row = 0; row < n; ++row) {
          std::copy_n(a + row * n, row + 1, l + row * n);
          std::fill_n(l + row * n + row + 1, n - row - 1, T{0});
        }
        // What is lower in C order is upper in Fortran's.
        int info = 0;
        if (n > 0) lib->potrf("U", &order, l, &order, &info, 1);
        return info == 0;
      }));
  if (failed >= 0) {
    return fail(ErrorCode::bad_value, matrix_text(in, failed) + " is not positive definite");
  }
  return {};
}

Result<void> run_cholesky(const RunCall& call) {
  return with_real(call.in[0].dtype(),
                   [&](auto tag) { return cholesky<typename decltype(tag)::type>(call); });
}

template <typename T>
Result<void> triangular_solve(const RunCall& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  OUTRIGGER_TRY(const Tensor a, to_contiguous(call.context, call.in[0]));
  const Tensor& x = call.out[0];
  OUTRIGGER_CHECK(copy_tensor(call.context, call.in[1], x));
  const bool left_side = call.attrs.boolean("left_side", true);
  const bool lower = call.attrs.boolean("lower", true);
  const bool transposed = call.attrs.string("transform_a", "none") == "transpose";
  OUTRIGGER_TRY(const MatrixShape sides, right_hand_sides(a.type, x.type, left_side));
  const bool vector = x.shape().size() < a.shape().size();
  const std::int64_t n = a.shape().back();
  const std::int64_t each = sides.rows * sides.columns;
  if (each == 0) return {};
  // In Fortran's order all is transposed: X in A X = B stands on the left of A. A vector is
  // the same either way, and is faster on the right.
  const bool from_right = left_side && !vector;
  const char* const uplo = lower ? "U" : "L";
  const char* const trans = transposed == (left_side && vector) ? "N" : "T";
  const auto order = static_cast<int>(n);
  const auto count = static_cast<int>(each / n);
  const T one{1};
  OUTRIGGER_TRY(
      const std::int64_t failed,
      for_each_matrix(call.context, sides.batch, n * each, 0, [&](std::byte*, std::int64_t i) {
        const T* matrix = a.as<T>() + i * n * n;
        for (std::int64_t d = 0; d < n; ++d) {
          if (matrix[d * n + d] == T{0}) return false;
        }
        const int rows = from_right ? count : order;
        const int columns = from_right ? order : count;
        lib->trsm(from_right ? "R" : "L", uplo, trans, "N", &rows, &columns, &one, matrix, &order,
                  x.as<T>() + i * each, &rows, 1, 1, 1, 1);
        return true;
      }));
  if (failed >= 0) return fail(ErrorCode::bad_value, matrix_text(a, failed) + " is singular");
  return {};
}

Result<void> run_triangular_solve(const RunCall& call) {
  return with_real(call.in[0].dtype(),
                   [&](auto tag) { return triangular_solve<typename decltype(tag)::type>(call); });
}

/// Scratch of a factorisation: the matrix and its pivots.
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
Result<void> solve(const RunCall& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  OUTRIGGER_TRY(const Tensor a, to_contiguous(call.context, call.in[0]));
  OUTRIGGER_TRY(const Tensor b, to_contiguous(call.context, call.in[1]));
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
                      // Fortran saw the matrix transposed, and solves with that transposed again.
                      lib->getrs("T", &order, &columns, lu.matrix, &order, lu.pivots, lu.more,
                                 &order, &info, 1);
                      transpose(call.out[0].as<T>() + i * each, sides.columns, lu.more, n,
                                sides.columns, n);
                      return true;
                    }));
  if (failed >= 0) return fail(ErrorCode::bad_value, matrix_text(a, failed) + " is singular");
  return {};
}

Result<void> run_solve(const RunCall& call) {
  return with_real(call.in[0].dtype(),
                   [&](auto tag) { return solve<typename decltype(tag)::type>(call); });
}

/// Copies of operands that are not in C order, and Factors with `more` elements for each matrix.
std::uint64_t factor_scratch(const ScratchCall& call, std::int64_t more) {
  const auto shape = square_shape(*call.in[0].type);
  if (!shape) return 0;
  return with_real(call.in[0].type->dtype, [&](auto tag) {
    return batch_scratch(call, shape->batch,
                         Factors<typename decltype(tag)::type>::bytes(shape->rows, more));
  });
}

std::uint64_t solve_scratch(const ScratchCall& call) {
  const auto sides = right_hand_sides(*call.in[0].type, *call.in[1].type, true);
  if (!sides) return 0;
  return contiguous_operands<0, 1>(call) + factor_scratch(call, sides->rows * sides->columns);
}

std::uint64_t determinant_scratch(const ScratchCall& call) {
  return contiguous_operands<0>(call) + factor_scratch(call, 0);
}

std::uint64_t invert_scratch(const ScratchCall& call) {
  return contiguous_operands<0>(call) + factor_scratch(call, call.in[0].type->shape.back());
}

/// Without scratch for a matrix.
std::uint64_t plain_scratch(const ScratchCall& call) {
  return contiguous_operands<0>(call) + buffer_bytes(0);
}

/// Small orders by the closed formulas, as Nx does, in double.
template <typename T>
T small_determinant(const T* a, std::int64_t n) {
  const auto x = [&](int i) { return static_cast<double>(a[i]); };
  switch (n) {
    case 0:
      return T{1};
    case 1:
      return a[0];
    case 2:
      return static_cast<T>(x(0) * x(3) - x(1) * x(2));
    default:
      return static_cast<T>(x(0) * (x(4) * x(8) - x(5) * x(7)) -
                            x(1) * (x(3) * x(8) - x(5) * x(6)) +
                            x(2) * (x(3) * x(7) - x(4) * x(6)));
  }
}

template <typename T>
Result<void> determinant(const RunCall& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  OUTRIGGER_TRY(const Tensor a, to_contiguous(call.context, call.in[0]));
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

Result<void> run_determinant(const RunCall& call) {
  return with_real(call.in[0].dtype(),
                   [&](auto tag) { return determinant<typename decltype(tag)::type>(call); });
}

/// Largest sum of absolute values in a row.
template <typename T>
T row_norm(const T* a, std::int64_t n) {
  T norm{0};
  for (std::int64_t i = 0; i < n; ++i) {
    T sum{0};
    for (std::int64_t j = 0; j < n; ++j) sum += std::abs(a[i * n + j]);
    norm = std::max(norm, sum);
  }
  return norm;
}

/// inverse = a⁻¹. False if `a`, its rows scaled to 1 as Nx does, is singular to working precision.
template <typename T>
bool invert_one(const Lapack<T>& lib, const T* a, T* inverse, std::int64_t n,
                const Factors<T>& lu) {
  T* scale = lu.more;
  for (std::int64_t i = 0; i < n; ++i) {
    T largest{0};
    for (std::int64_t j = 0; j < n; ++j) largest = std::max(largest, std::abs(a[i * n + j]));
    scale[i] = largest == T{0} ? T{1} : T{1} / largest;
    for (std::int64_t j = 0; j < n; ++j) inverse[i * n + j] = a[i * n + j] * scale[i];
  }
  const T norm = row_norm(inverse, n);
  const auto order = static_cast<int>(n);
  const auto work = static_cast<int>(n * n);
  int info = 0;
  lib.getrf(&order, &order, inverse, &order, lu.pivots, &info);
  if (info != 0) return false;
  lib.getri(&order, inverse, &order, lu.pivots, lu.matrix, &work, &info);
  if (info != 0) return false;
  const T condition = norm * row_norm(inverse, n);
  if (!(condition * std::numeric_limits<T>::epsilon() < T{1})) return false;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) inverse[i * n + j] *= scale[j];
  }
  return true;
}

template <typename T>
Result<void> invert(const RunCall& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  OUTRIGGER_TRY(const Tensor a, to_contiguous(call.context, call.in[0]));
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

Result<void> run_invert(const RunCall& call) {
  return with_real(call.in[0].dtype(),
                   [&](auto tag) { return invert<typename decltype(tag)::type>(call); });
}

}  // namespace

void register_linalg(std::vector<OpRow>& rows) {
  rows.push_back(OpRow{
      .name = "cholesky",
      .family = "linalg",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .cost = Cost::quadratic,
      .wide_order = widened_order_max,
      .infer = infer_square,
      .run = run_cholesky,
      .scratch = plain_scratch,
      .doc = "Lower triangular l with l · transpose(l) = a, for each matrix in the last two axes: "
             "{…, n, n}. Reads the lower triangle. Integers become f32. `bad_shape` if not square, "
             "`bad_value` if not positive definite; NaN for a matrix with NaN or infinity. "
             "LAPACK's potrf."});
  rows.push_back(OpRow{
      .name = "triangular_solve",
      .family = "linalg",
      .kind = Kind::compute,
      .operands = {{"a"}, {"b"}},
      .attrs = {{"lower", AttrType::boolean, false, "true", "which triangle of a is read"},
                {"left_side", AttrType::boolean, false, "true",
                 "solves op(a) · x = b, else x · op(a) = b"},
                {"transform_a", AttrType::string, false, "none",
                 "op(a): \"none\", \"transpose\", or \"conjugate\" (without transposing)"}},
      .cost = Cost::quadratic,
      .wide_order = widened_order_max,
      .infer = infer_triangular_solve,
      .run = run_triangular_solve,
      .scratch = plain_scratch,
      .doc = "Solves op(a) · x = b for triangular a: {…, n, n}; b: {…, n} or {…, n, m} ({…, m, n} "
             "on the other side). x has the shape of b. Integers become f32. `bad_value` if there "
             "is a zero on a diagonal. BLAS's trsm."});
  rows.push_back(OpRow{
      .name = "solve",
      .family = "linalg",
      .kind = Kind::compute,
      .operands = {{"a"}, {"b"}},
      .cost = Cost::quadratic,
      .wide_order = widened_order_max,
      .infer = infer_solve,
      .run = run_solve,
      .scratch = solve_scratch,
      .doc = "Solves a · x = b. a: {…, n, n}; b: {…, n} or {…, n, m}; x has the shape of b. "
             "Integers become f32. `bad_value` if a matrix is singular. LU with partial pivoting, "
             "LAPACK's getrf and getrs."});
  rows.push_back(OpRow{
      .name = "determinant",
      .family = "linalg",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .cost = Cost::quadratic,
      .wide_order = widened_order_max,
      .infer = infer_determinant,
      .run = run_determinant,
      .scratch = determinant_scratch,
      .doc = "Determinants of the matrices in the last two axes: {…, n, n} to {…}. Integers become "
             "f32. Orders up to 3 by the closed formulas, others by LU; 0 if singular."});
  rows.push_back(OpRow{
      .name = "invert",
      .family = "linalg",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .cost = Cost::quadratic,
      .infer = infer_square,
      .run = run_invert,
      .scratch = invert_scratch,
      .doc = "Inverses of the matrices in the last two axes: {…, n, n}. Integers become f32. NaN "
             "for a matrix that is singular to working precision, as Nx documents. LU with partial "
             "pivoting after scaling the rows, LAPACK's getrf and getri."});
}

}  // namespace outrigger::ops
