#pragma once

#include <algorithm>
#include <cstring>

#include "ops/elementwise/kernels.hpp"
#include "ops/product/gemm.hpp"
#include "ops/product/gemm_kernel.hpp"
#include "ops/product/gemm_pack.hpp"
#include "ops/support/look.hpp"

/// Matrix × vector and vector · vector. Each element of the matrix is used once, so that the memory
/// is the limit, and only the vector is packed.

namespace outrigger::ops::gemm {

/// The elements of k of one task: several threads share a long vector.
inline constexpr std::int64_t dot_chunk = std::int64_t{1} << 16;
/// The results of one task, if the results are adjacent in the matrix.
inline constexpr std::int64_t axpy_chunk = 2048;
/// The overhead of a column, as a number of elements.
inline constexpr std::int64_t axpy_overhead = 16;

/// The sum of a[i] · b[i], which is added in parts. It has a fixed number of interleaved partial
/// sums, which are added in a fixed order.
template <typename C>
class DotSum {
 public:
  static constexpr int parts = 4;
  /// The number of elements of every part except the last must be a multiple of this.
  static constexpr std::int64_t step = std::int64_t{parts} * lanes<C>;

  template <typename T>
  void add(const T* a, const C* b, std::int64_t n) {
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
        sums_[part] += x * y;
      }
    }
    if (i == n) return;
    complete_ = total();
    for (; i < n; ++i) complete_ = static_cast<C>(complete_ + static_cast<C>(a[i]) * b[i]);
    is_complete_ = true;
  }

  C total() const {
    if (is_complete_) return complete_;
    const V all = (sums_[0] + sums_[1]) + (sums_[2] + sums_[3]);
    C sum{};
    for (int l = 0; l < lanes<C>; ++l) sum = static_cast<C>(sum + all[l]);
    return sum;
  }

 private:
  using V = Vector<C>;
  V sums_[parts] = {};
  C complete_{};
  bool is_complete_ = false;
};

/// The sum over n elements of a line of the matrix, from `origin` on, times the vector x.
template <typename T, typename C>
C dot_run(const Matrices<T>& matrix, std::int64_t origin, const C* x, std::int64_t n) {
  DotSum<C> sum;
  if (matrix.conversion == nullptr) {
    sum.add(static_cast<const T*>(matrix.data) + origin, x, n);
    return sum.total();
  }
  constexpr std::int64_t run = Conversion::run_max / DotSum<C>::step * DotSum<C>::step;
  C line[run];
  for (std::int64_t i = 0; i < n; i += run) {
    const std::int64_t count = std::min(run, n - i);
    load_run(line, matrix, origin + i, Axis{.size = count, .stride = 1}, 0, count);
    sum.add(line, x + i, count);
  }
  return sum.total();
}

/// sums += column · factor.
template <typename T, typename C>
void axpy(C* sums, const T* column, C factor, std::int64_t n) {
  OUTRIGGER_INDEPENDENT
  for (std::int64_t i = 0; i < n; ++i)
    sums[i] = static_cast<C>(sums[i] + static_cast<C>(column[i]) * factor);
}

/// Loads elements [begin, end) of a batch of vectors, one vector after the other, in the type of
/// the computation.
template <typename T, typename C>
void load_vector(const Matrices<T>& vectors, const Axis& along, std::int64_t begin,
                 std::int64_t end, C* to) {
  if (vectors.conversion == nullptr) {
    for (std::int64_t i = begin; i < end; ++i)
      to[i] = static_cast<C>(vectors.at(i / along.size)[along(i % along.size)]);
    return;
  }
  while (begin < end) {
    const std::int64_t first = begin % along.size;
    const std::int64_t count = std::min(end - begin, along.size - first);
    load_run(to + begin, vectors, vectors.batch(begin / along.size), along, first, count);
    begin += count;
  }
}

/// out[batch][free] = the sum over `along` of matrix · vector. The matrix has unit stride along one
/// of the two axes, or has one free position.
template <typename T>
Result<void> multiply_vector(const Context& context, const Matrices<T>& matrix, const Axis& free,
                             const Axis& along, const Matrices<T>& vector, const Axis& vector_along,
                             const Output& out) {
  using C = ComputeType<T>;
  const std::int64_t batch = matrix.batch.size;
  const std::int64_t k = along.size;
  const std::int64_t m = free.size;
  const bool by_rows = along.unit();
  const std::int64_t chunks = by_rows ? (k + dot_chunk - 1) / dot_chunk : 1;
  // The memory for the vectors in the type of the computation, and for the partial sums.
  const std::int64_t vectors =
      vector.batch.stride == 0 && vector.batch.table == nullptr ? 1 : batch;
  const std::size_t elements = static_cast<std::size_t>(vectors * k + batch * m * chunks);
  OUTRIGGER_TRY(const BufferPtr buffer, context.memory.allocate(elements * sizeof(C)));
  C* x = reinterpret_cast<C*>(buffer->data());
  C* partial = x + vectors * k;
  OUTRIGGER_CHECK(parallel_ranges(context, vectors * k, dot_chunk, vectors * k,
                                  [&](int, std::int64_t begin, std::int64_t end) {
                                    load_vector(vector, vector_along, begin, end, x);
                                  }));
  const auto vector_of = [&](std::int64_t b) { return vectors == 1 ? x : x + b * k; };
  if (!by_rows) {
    const std::int64_t pieces = (m + axpy_chunk - 1) / axpy_chunk;
    return looking_ranges(
        context, batch * pieces, 1, batch * m * k, [&](int, std::int64_t begin, std::int64_t end) {
          Look look(context.interrupt);
          for (std::int64_t task = begin; task < end; ++task) {
            const std::int64_t b = task / pieces;
            const std::int64_t first = task % pieces * axpy_chunk;
            const std::int64_t count = std::min(axpy_chunk, m - first);
            C sums[axpy_chunk];
            std::fill_n(sums, count, C{});
            for (std::int64_t p = 0; p < k; ++p) {
              if (!look.go_on(count + axpy_overhead)) return false;
              const std::int64_t origin = matrix.batch(b) + along(p);
              const C factor = vector_of(b)[p];
              if (matrix.conversion == nullptr) {
                axpy(sums, static_cast<const T*>(matrix.data) + origin + free(first), factor,
                     count);
              } else {
                C column[axpy_chunk];
                load_run(column, matrix, origin, free, first, count);
                axpy(sums, column, factor, count);
              }
            }
            store_run<T>(out, b * m + first, sums, count);
          }
          return true;
        });
  }
  const std::int64_t grain = std::max<std::int64_t>(1, dot_chunk / std::min(k, dot_chunk));
  OUTRIGGER_CHECK(parallel_ranges(
      context, batch * m * chunks, grain, batch * m * k,
      [&](int, std::int64_t begin, std::int64_t end) {
        for (std::int64_t task = begin; task < end; ++task) {
          const std::int64_t row = task / chunks;
          const std::int64_t first = task % chunks * dot_chunk;
          partial[task] = dot_run(matrix, matrix.batch(row / m) + free(row % m) + first,
                                  vector_of(row / m) + first, std::min(dot_chunk, k - first));
        }
      }));
  return parallel_ranges(context, batch * m, dot_chunk, batch * m * chunks,
                         [&](int, std::int64_t begin, std::int64_t end) {
                           // A complete sum is the total of a row's chunks.
                           C sums[axpy_chunk];
                           for (std::int64_t first = begin; first < end; first += axpy_chunk) {
                             const std::int64_t count = std::min(axpy_chunk, end - first);
                             for (std::int64_t i = 0; i < count; ++i) {
                               const C* const row = partial + (first + i) * chunks;
                               sums[i] = row[0];
                               for (std::int64_t chunk = 1; chunk < chunks; ++chunk)
                                 sums[i] = static_cast<C>(sums[i] + row[chunk]);
                             }
                             store_run<T>(out, first, sums, count);
                           }
                         });
}

}  // namespace outrigger::ops::gemm
