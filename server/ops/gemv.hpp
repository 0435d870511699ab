#pragma once

#include <algorithm>
#include <cstring>

#include "ops/gemm.hpp"
#include "ops/gemm_kernel.hpp"
#include "ops/kernels.hpp"

/// Matrix × vector and vector · vector: every element of the matrix is used once, so memory is the
/// limit, and nothing is packed but the vector.

namespace outrigger::ops::gemm {

/// Elements of k that are one task: a long vector is shared by the threads.
inline constexpr std::int64_t dot_chunk = std::int64_t{1} << 16;
/// Results of one task where the results lie side by side in the matrix.
inline constexpr std::int64_t axpy_chunk = 2048;

/// Sum of a[i] · b[i]. In a fixed number of interleaved partial sums, added up in a fixed order.
template <typename T, typename C>
C dot_run(const T* a, const C* b, std::int64_t n) {
  constexpr int parts = 4;
  constexpr std::int64_t step = std::int64_t{parts} * lanes<C>;
  using V = Vector<C>;
  V sums[parts] = {};
  std::int64_t i = 0;
  for (; i + step <= n; i += step) {
#pragma GCC unroll 4
    for (int part = 0; part < parts; ++part) {
      V x, y;
      const std::int64_t at = i + part * lanes<C>;
      if constexpr (sizeof(T) == sizeof(C)) {
        std::memcpy(&x, a + at, sizeof(V));
      } else {
        for (int l = 0; l < lanes<C>; ++l) x[l] = static_cast<C>(a[at + l]);
      }
      std::memcpy(&y, b + at, sizeof(V));
      sums[part] += x * y;
    }
  }
  const V all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  C sum{};
  for (int l = 0; l < lanes<C>; ++l) sum = static_cast<C>(sum + all[l]);
  for (; i < n; ++i) sum = static_cast<C>(sum + static_cast<C>(a[i]) * b[i]);
  return sum;
}

/// out[batch][free] = sum over `along` of matrix · vector. The matrix has unit stride along one of
/// the two axes, or one free position.
template <typename T>
Result<void> multiply_vector(const Context& context, const Matrices<T>& matrix, const Axis& free,
                             const Axis& along, const Matrices<T>& vector, const Axis& vector_along,
                             T* out) {
  using C = ComputeType<T>;
  const std::int64_t batch = matrix.batch.size;
  const std::int64_t k = along.size;
  const std::int64_t m = free.size;
  const bool by_rows = along.unit();
  const std::int64_t chunks = by_rows ? (k + dot_chunk - 1) / dot_chunk : 1;
  // The vectors in the type that is computed in, and the partial sums.
  const std::int64_t vectors =
      vector.batch.stride == 0 && vector.batch.table == nullptr ? 1 : batch;
  const std::size_t elements = static_cast<std::size_t>(vectors * k + batch * m * chunks);
  OUTRIGGER_TRY(const BufferPtr buffer, context.memory.allocate(elements * sizeof(C)));
  C* x = reinterpret_cast<C*>(buffer->data());
  C* partial = x + vectors * k;
  OUTRIGGER_CHECK(parallel_ranges(context, vectors * k, dot_chunk, vectors * k,
                                  [&](int, std::int64_t begin, std::int64_t end) {
                                    for (std::int64_t i = begin; i < end; ++i)
                                      x[i] = static_cast<C>(vector.at(i / k)[vector_along(i % k)]);
                                  }));
  const auto vector_of = [&](std::int64_t b) { return vectors == 1 ? x : x + b * k; };
  if (!by_rows) {
    const std::int64_t pieces = (m + axpy_chunk - 1) / axpy_chunk;
    return parallel_ranges(
        context, batch * pieces, 1, batch * m * k, [&](int, std::int64_t begin, std::int64_t end) {
          for (std::int64_t task = begin; task < end; ++task) {
            const std::int64_t b = task / pieces;
            const std::int64_t first = task % pieces * axpy_chunk;
            const std::int64_t count = std::min(axpy_chunk, m - first);
            C sums[axpy_chunk];
            std::fill_n(sums, count, C{});
            for (std::int64_t p = 0; p < k; ++p) {
              const T* column = matrix.at(b) + along(p) + free(first);
              const C factor = vector_of(b)[p];
              OUTRIGGER_INDEPENDENT
              for (std::int64_t i = 0; i < count; ++i)
                sums[i] = static_cast<C>(sums[i] + static_cast<C>(column[i]) * factor);
            }
            for (std::int64_t i = 0; i < count; ++i)
              out[b * m + first + i] = static_cast<T>(sums[i]);
          }
        });
  }
  const std::int64_t grain = std::max<std::int64_t>(1, dot_chunk / std::min(k, dot_chunk));
  OUTRIGGER_CHECK(parallel_ranges(
      context, batch * m * chunks, grain, batch * m * k,
      [&](int, std::int64_t begin, std::int64_t end) {
        for (std::int64_t task = begin; task < end; ++task) {
          const std::int64_t row = task / chunks;
          const std::int64_t first = task % chunks * dot_chunk;
          partial[task] = dot_run(matrix.at(row / m) + free(row % m) + first,
                                  vector_of(row / m) + first, std::min(dot_chunk, k - first));
        }
      }));
  for (std::int64_t row = 0; row < batch * m; ++row) {
    C sum = partial[row * chunks];
    for (std::int64_t chunk = 1; chunk < chunks; ++chunk)
      sum = static_cast<C>(sum + partial[row * chunks + chunk]);
    out[row] = static_cast<T>(sum);
  }
  return {};
}

}  // namespace outrigger::ops::gemm
