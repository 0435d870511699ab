#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "ops/kernels.hpp"
#include "ops/lapack.hpp"
#include "ops/scratch.hpp"
#include "ops/transpose.hpp"
#include "tensor/tensor.hpp"

/// What the ops of linear algebra share: shape rules and the loop over a batch of matrices.

namespace outrigger::ops {

/// Rows and columns of the matrices in the last two axes.
struct MatrixShape {
  std::int64_t batch = 1;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

/// The rows' OpRow::wide_order.
inline constexpr std::int64_t widened_order_max = 32;

/// LAPACK counts with 32 bits, the squares of orders too.
inline constexpr std::int64_t matrix_order_max = 20'000;

/// Errors: bad_shape for less than two axes; limit_exceeded for a matrix too large for LAPACK.
Result<MatrixShape> matrix_shape(const TensorType& type);
/// The same, and that the matrices are square. Errors: bad_shape too.
Result<MatrixShape> square_shape(const TensorType& type);
/// The shape with its last two axes replaced.
Dims with_matrix(const Dims& shape, std::initializer_list<std::int64_t> last);
/// Inference of an op over one tensor of matrices, which become floats; results of `types`.
DType matrix_dtype(const InferCall& call);

template <typename F>
decltype(auto) with_real(DType dtype, F&& f) {
  return dtype == DType::f32 ? f(type_tag<float>{}) : f(type_tag<double>{});
}

template <typename T>
bool all_finite(const T* x, std::int64_t n) {
  T sum{};
  for (std::int64_t i = 0; i < n; ++i) sum += x[i] * T{0};  // NaN for NaN and infinities
  return sum == T{0};
}

template <typename T>
void fill_nan(T* x, std::int64_t n) {
  std::fill_n(x, n, std::numeric_limits<T>::quiet_NaN());
}

/// Runs f(scratch, index) → bool for each matrix of a batch, `scratch_bytes` of scratch to each
/// call, on all threads; the interrupt is seen between matrices. Gives the first index for which f
/// said false, or -1. Errors: out_of_memory, cancelled, deadline_exceeded.
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

/// What for_each_matrix takes, for rows' `scratch`.
inline std::uint64_t batch_scratch(const ScratchCall& call, std::int64_t batch,
                                   std::int64_t scratch_bytes) {
  const std::int64_t threads = batch > 1 ? call.threads : 1;
  return buffer_bytes((scratch_bytes + 63) / 64 * 64 * threads);
}

/// "the matrix", or which of a batch.
std::string matrix_text(const Tensor& tensor, std::int64_t index);

}  // namespace outrigger::ops
