#include <numeric>

#include "ops/linalg/decompose.hpp"
#include "ops/linalg/matrix_blocks.hpp"
#include "ops/linalg/rows.hpp"

namespace outrigger::ops {
namespace {

Result<Inferred> infer_lu(const InferCall& call) {
  OUTRIGGER_CHECK(square_shape(call.type(0)));
  const DType dtype = matrix_dtype(call);
  Inferred inferred = infer_operands(call);
  inferred.results.push_back(call.type(0));
  inferred.results.push_back(TensorType{dtype, call.type(0).shape});
  inferred.results.push_back(TensorType{dtype, call.type(0).shape});
  return inferred;
}

/// p[order[i]][i] = 1, where order[i] is the row of the matrix that became row i.
void write_permutation(const Tensor& p, std::int64_t index, std::int64_t n, const int* order) {
  const auto write = [&](auto tag) {
    using P = typename decltype(tag)::type;
    P* to = p.as<P>() + index * n * n;
    std::fill_n(to, n * n, P{0});
    for (std::int64_t i = 0; i < n; ++i) to[order[i] * n + i] = P{1};
  };
  is_complex(p.dtype()) ? with_complex_type(p.dtype(), write) : with_type(p.dtype(), write);
}

template <typename T>
Result<void> lu(const MatrixBlock& call) {
  OUTRIGGER_TRY(const Lapack<T>* lib, lapack<T>());
  const Tensor& a = call.in[0];
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
        int info = 0;  // a zero pivot is not an error: u has a zero on its diagonal
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
  return with_matrix_type(call.in[0].type->dtype, [&](auto tag) {
    return batch_scratch(call, shape->batch,
                         bytes_of<typename decltype(tag)::type>(n * n) + bytes_of<int>(2 * n));
  });
}

Result<void> run_lu(const MatrixBlock& call) {
  return with_matrix_type(call.in[0].dtype(),
                          [&](auto tag) { return lu<typename decltype(tag)::type>(call); });
}

}  // namespace

void add_lu_rows(std::vector<OpRow>& rows) {
  rows.push_back(matrix_row<run_lu, lu_scratch>(
      "lu", infer_lu, {{"tensor"}}, {eps_attr}, 3,
      "p, l, u with a = p · l · u for the square matrices in the last two axes: a permutation in "
      "the operand's dtype, a lower triangle with ones on its diagonal, an upper triangle. "
      "Integers become f32 in l and u. For a singular matrix, u has zeros on its diagonal. The "
      "results for a matrix with NaN or an infinity are NaN. Partial pivoting, LAPACK's getrf: a "
      "complex pivot has the largest |re| + |im|."));
}

}  // namespace outrigger::ops
