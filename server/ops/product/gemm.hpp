#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "ops/cast/conversion.hpp"
#include "ops/support/context.hpp"

/// Matrix products with any strides, for all element types. Each element of the result is summed in
/// the order of k, so that its bits do not depend on blocks or threads.

namespace outrigger::ops::gemm {

/// The positions along one axis of a matrix, in elements: a stride, or a table if the axis stands
/// for several axes of a tensor without a common stride.
struct Axis {
  std::int64_t size = 1;
  std::int64_t stride = 0;
  const std::int64_t* table = nullptr;
  std::int64_t operator()(std::int64_t i) const { return table != nullptr ? table[i] : i * stride; }
  bool unit() const { return table == nullptr && stride == 1; }
};

/// A batch of matrices of T, or of elements that `conversion` changes to T while they are packed.
template <typename T>
struct Matrices {
  const void* data = nullptr;
  Axis batch, rows, columns;
  const Conversion* conversion = nullptr;
  /// The elements of a matrix without a conversion.
  const T* at(std::int64_t batch_index) const {
    return static_cast<const T*>(data) + batch(batch_index);
  }
};

/// The memory of the result, in C order: elements of T, or, with a `conversion`, of its dtype. Only
/// complete sums are converted.
struct Output {
  void* data = nullptr;
  const Conversion* conversion = nullptr;
};

/// The type of the kernel for T: products and sums of integers modulo 2^n do not depend on the
/// sign.
template <typename T>
struct Unsigned {
  using type = T;
};
template <typename T>
requires std::is_integral_v<T>
struct Unsigned<T> {
  using type = std::make_unsigned_t<T>;
};

/// The type in which products and sums of T are computed. No vector unit multiplies bytes; 16 bits
/// wrap to the same bits.
template <typename T>
using ComputeType = std::conditional_t<std::is_same_v<T, std::uint8_t>, std::uint16_t, T>;

/// The largest number of bytes that multiply takes for these sizes. `element` is the size of
/// ComputeType; `converts` is true if the result is converted.
std::uint64_t scratch_bytes(std::int64_t batch, std::int64_t m, std::int64_t k, std::int64_t n,
                            std::size_t element, bool converts, int threads);

/// out[batch][m][n] = left[batch][m][k] · right[batch][k][n]. T is f32, f64 or an unsigned integer.
/// Memory: packed pieces of the operands, at most some MiB, and never whole copies. Errors:
/// out_of_memory, cancelled, deadline_exceeded.
template <typename T>
Result<void> multiply(const Context& context, const Matrices<T>& left, const Matrices<T>& right,
                      const Output& out);

}  // namespace outrigger::ops::gemm
