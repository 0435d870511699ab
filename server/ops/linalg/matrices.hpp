#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "ops/elementwise/kernels.hpp"
#include "ops/linalg/lapack.hpp"
#include "ops/support/scratch.hpp"
#include "ops/support/transpose.hpp"
#include "tensor/tensor.hpp"

/// The parts that the ops of linear algebra share: shape rules, and the loop over a batch of
/// matrices.

namespace outrigger::ops {

/// The rows and columns of the matrices in the last two axes.
struct MatrixShape {
  std::int64_t batch = 1;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

/// LAPACK counts in 32 bits, and also computes squares of orders.
inline constexpr std::int64_t matrix_order_max = 20'000;

/// Errors: bad_shape for less than two axes; limit_exceeded for a matrix that is too large for
/// LAPACK.
Result<MatrixShape> matrix_shape(const TensorType& type);
/// matrix_shape for square matrices. Errors: also bad_shape for other matrices.
Result<MatrixShape> square_shape(const TensorType& type);
/// The shape with other sizes in its last two axes.
Dims with_matrix(const Dims& shape, std::initializer_list<std::int64_t> last);
/// The dtype of the results of an op over matrices: integers become f32.
DType matrix_dtype(const InferCall& call);
/// `widen`: matrices of f32 (c64) up to a certain order are computed in f64 (c128), which costs
/// almost nothing for them.
enum class SmallOrders : std::uint8_t { widen, keep };
/// Inference without results: the operands keep their types and get the dtype of the computation.
Inferred infer_operands(const InferCall& call, SmallOrders small = SmallOrders::widen);
/// Inference of an op with one tensor of matrices and one result of the given shape.
Result<Inferred> infer_matrix(const InferCall& call, const Dims& result,
                              SmallOrders small = SmallOrders::widen);
/// Checks that b has a vector or a matrix for each matrix of a. Returns the rows and columns of b;
/// a vector is one column. Errors: bad_shape, limit_exceeded.
Result<MatrixShape> right_hand_sides(const TensorType& a, const TensorType& b, bool left_side);
/// Inference of a system of equations, whose solution has the shape of b. Errors: those of
/// right_hand_sides.
Result<Inferred> infer_solution(const InferCall& call, bool left_side);

/// Calls f with the tag of the element type of matrices.
template <typename F>
decltype(auto) with_matrix_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(type_tag<float>{});
    case DType::f64:
      return f(type_tag<double>{});
    default:
      return with_complex_type(dtype, f);
  }
}

/// with_matrix_type for ops that refuse complex matrices.
template <typename F>
decltype(auto) with_real(DType dtype, F&& f) {
  return dtype == DType::f32 ? f(type_tag<float>{}) : f(type_tag<double>{});
}

/// The parts of complex numbers as one array; real numbers do not change.
template <typename T>
const RealOf<T>* parts(const T* x) {
  return reinterpret_cast<const RealOf<T>*>(x);
}
template <typename T>
inline constexpr std::int64_t parts_of = sizeof(T) / sizeof(RealOf<T>);

template <typename T>
bool all_finite(const T* x, std::int64_t n) {
  using R = RealOf<T>;
  R sum{};
  // The sum is NaN if x has a NaN or an infinity.
  for (std::int64_t i = 0; i < n * parts_of<T>; ++i) sum += parts(x)[i] * R{0};
  return sum == R{0};
}

template <typename T>
void fill_nan(T* x, std::int64_t n) {
  std::fill_n(reinterpret_cast<RealOf<T>*>(x), n * parts_of<T>,
              std::numeric_limits<RealOf<T>>::quiet_NaN());
}

/// x̄; a real number does not change.
template <typename T>
T conjugate(T x) {
  if constexpr (is_complex_v<T>) return std::conj(x);
  return x;
}

/// Runs f(scratch, index) → bool for each matrix of a batch on all threads, with `scratch_bytes` of
/// scratch for each call. The interrupt is checked between matrices. Returns the lowest index for
/// which f returned false, or -1. Errors: out_of_memory, cancelled, deadline_exceeded.
template <typename F>
Result<std::int64_t> for_each_matrix(const Context& context, std::int64_t batch, std::int64_t work,
                                     std::int64_t scratch_bytes, F&& f) {
  const std::int64_t bytes = (scratch_bytes + 63) / 64 * 64;
  const std::int64_t threads = batch > 1 ? context.threads : 1;
  OUTRIGGER_TRY(const BufferPtr buffer,
                context.memory.allocate(static_cast<std::size_t>(bytes * threads)));
  std::atomic<std::int64_t> failed{std::numeric_limits<std::int64_t>::max()};
  const std::int64_t grain = std::max<std::int64_t>(1, (std::int64_t{1} << 14) / (work + 1));
  OUTRIGGER_CHECK(parallel_ranges(context, batch, grain, batch * (work + 1),
                                  [&](int thread, std::int64_t begin, std::int64_t end) {
                                    for (std::int64_t i = begin; i < end; ++i) {
                                      if (f(buffer->data() + thread * bytes, i)) continue;
                                      std::int64_t first = failed.load();
                                      while (i < first && !failed.compare_exchange_weak(first, i)) {
                                      }
                                    }
                                  }));
  return failed.load() == std::numeric_limits<std::int64_t>::max() ? -1 : failed.load();
}

/// The bytes that for_each_matrix takes, for `scratch` of a row.
inline std::uint64_t batch_scratch(const ScratchCall& call, std::int64_t batch,
                                   std::int64_t scratch_bytes) {
  const std::int64_t threads = batch > 1 ? call.threads : 1;
  return buffer_bytes((scratch_bytes + 63) / 64 * 64 * threads);
}

}  // namespace outrigger::ops
