#include "ops/linalg/matrix_blocks.hpp"
#include "ops/linalg/rows.hpp"

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

namespace {

constexpr std::int64_t widened_order_max = 32;

/// True if all operands are small.
bool small_orders(const InferCall& call) {
  const Dims& matrix = call.type(0).shape;
  return matrix[matrix.size() - 2] <= widened_order_max &&
         std::all_of(call.in.begin(), call.in.end(), [](const InferOperand& operand) {
           return operand.type.shape.back() <= widened_order_max;
         });
}

}  // namespace

Inferred infer_operands(const InferCall& call, SmallOrders small) {
  const DType dtype = matrix_dtype(call);
  Inferred inferred;
  inferred.compute = compute_dtype(dtype);
  if (small == SmallOrders::widen && small_orders(call))
    inferred.compute = is_complex(dtype) ? DType::c128 : DType::f64;
  for (const InferOperand& operand : call.in)
    inferred.operands.push_back(operand.literal == nullptr ? operand.type.dtype : dtype);
  return inferred;
}

Result<Inferred> infer_matrix(const InferCall& call, const Dims& result, SmallOrders small) {
  Inferred inferred = infer_operands(call, small);
  inferred.results.push_back(TensorType{matrix_dtype(call), result});
  return inferred;
}

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
  Inferred inferred = infer_operands(call);
  inferred.results.push_back(TensorType{matrix_dtype(call), call.type(1).shape});
  return inferred;
}

namespace {

Result<Inferred> infer_square(const InferCall& call) {
  OUTRIGGER_CHECK(square_shape(call.type(0)));
  return infer_matrix(call, call.type(0).shape);
}

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
Result<void> cholesky(const MatrixBlock& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  const Tensor& in = call.in[0];
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
        // The lower triangle in C order is the upper one in Fortran order.
        int info = 0;
        if (n > 0) lib->potrf("U", &order, l, &order, &info, 1);
        return info == 0;
      }));
  if (failed >= 0) {
    return fail(ErrorCode::bad_value, matrix_text(call, failed) + " is not positive definite");
  }
  return {};
}

Result<void> run_cholesky(const MatrixBlock& call) {
  return with_matrix_type(call.in[0].dtype(),
                          [&](auto tag) { return cholesky<typename decltype(tag)::type>(call); });
}

/// The bytes of a thread for the conjugated matrix.
std::int64_t conjugated_bytes(const AttrView& attrs, const TensorType& a) {
  const bool conjugated = is_complex(a.dtype) && attrs.string("transform_a", "none") == "conjugate";
  return conjugated ? byte_count(a) / std::max<std::int64_t>(1, a.shape[0]) : 0;
}

template <typename T>
Result<void> triangular_solve(const MatrixBlock& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  const std::string_view transform = call.attrs.string("transform_a", "none");
  const Tensor& a = call.in[0];
  const std::int64_t copied = conjugated_bytes(call.attrs, a.type);
  const Tensor& x = call.out[0];
  OUTRIGGER_CHECK(copy_tensor(call.context, call.in[1], x));
  const bool left_side = call.attrs.boolean("left_side", true);
  const bool lower = call.attrs.boolean("lower", true);
  const bool transposed = transform == "transpose";
  OUTRIGGER_TRY(const MatrixShape sides, right_hand_sides(a.type, x.type, left_side));
  const bool vector = x.shape().size() < a.shape().size();
  const std::int64_t n = a.shape().back();
  const std::int64_t each = sides.rows * sides.columns;
  if (each == 0) return {};
  // In Fortran order all matrices are transposed, so that X in A X = B is on the left of A. A
  // vector gives the same result on both sides, and is faster on the right.
  const bool from_right = left_side && !vector;
  const char* const uplo = lower ? "U" : "L";
  const char* const trans = transposed == (left_side && vector) ? "N" : "T";
  const auto order = static_cast<int>(n);
  const auto count = static_cast<int>(each / n);
  const T one{1};
  OUTRIGGER_TRY(const std::int64_t failed,
                for_each_matrix(call.context, sides.batch, n * each, copied,
                                [&](std::byte* scratch, std::int64_t i) {
                                  const T* matrix = a.as<T>() + i * n * n;
                                  if (copied > 0) {
                                    T* const copy = reinterpret_cast<T*>(scratch);
                                    std::transform(matrix, matrix + n * n, copy, conjugate<T>);
                                    matrix = copy;
                                  }
                                  for (std::int64_t d = 0; d < n; ++d) {
                                    if (matrix[d * n + d] == T{0}) return false;
                                  }
                                  const int rows = from_right ? count : order;
                                  const int columns = from_right ? order : count;
                                  lib->trsm(from_right ? "R" : "L", uplo, trans, "N", &rows,
                                            &columns, &one, matrix, &order, x.as<T>() + i * each,
                                            &rows, 1, 1, 1, 1);
                                  return true;
                                }));
  if (failed >= 0) return fail(ErrorCode::bad_value, matrix_text(call, failed) + " is singular");
  return {};
}

Result<void> run_triangular_solve(const MatrixBlock& call) {
  return with_matrix_type(call.in[0].dtype(), [&](auto tag) {
    return triangular_solve<typename decltype(tag)::type>(call);
  });
}

/// The scratch without that of a matrix.
std::uint64_t plain_scratch(const ScratchCall&) { return buffer_bytes(0); }

std::uint64_t triangular_solve_scratch(const ScratchCall& call) {
  const TensorType& a = *call.in[0].type;
  return batch_scratch(call, a.shape[0], conjugated_bytes(call.attrs, a));
}

}  // namespace

void add_triangular_rows(std::vector<OpRow>& rows) {
  rows.push_back(matrix_row<run_cholesky, plain_scratch>(
      "cholesky", infer_square, {{"tensor"}}, {}, 1,
      "The lower triangle l with l · adjoint(l) = a, for each matrix in the last two axes: {…, n, "
      "n}. Reads the lower triangle. Integers become f32. Errors: `bad_shape` if the matrices are "
      "not square, `bad_value` if one is not positive definite. The result for a matrix with NaN "
      "or an infinity is NaN. LAPACK's potrf."));
  rows.push_back(matrix_row<run_triangular_solve, triangular_solve_scratch>(
      "triangular_solve", infer_triangular_solve, {{"a"}, {"b"}},
      {{"lower", AttrType::boolean, false, "true",
        "true: the lower triangle of a is read; false: the upper one"},
       {"left_side", AttrType::boolean, false, "true",
        "true: solves op(a) · x = b; false: solves x · op(a) = b"},
       {"transform_a", AttrType::string, false, "none",
        "op(a): \"none\", \"transpose\", or \"conjugate\" (without a transposition)"}},
      1,
      "Solves op(a) · x = b for a triangular a: {…, n, n}. b: {…, n} or {…, n, m}, or {…, m, n} "
      "for x · op(a) = b. x has the shape of b. Integers become f32. A zero on a diagonal is an "
      "error (`bad_value`). BLAS's trsm."));
}

}  // namespace outrigger::ops
