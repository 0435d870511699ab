#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "ops/cast/conversion.hpp"
#include "ops/support/context.hpp"

/// Matrix products over any strides, for all element types. Every element of the result is summed
/// in the order of k whatever the blocks and threads are, so its bits depend on neither.

namespace outrigger::ops::gemm {

/// Where the positions along one axis of a matrix lie, in elements: a stride, or a table where
/// several axes of a tensor that have no common stride are walked as one.
struct Axis {
  std::int64_t size = 1;
  std::int64_t stride = 0;
  const std::int64_t* table = nullptr;
  std::int64_t operator()(std::int64_t i) const { return table != nullptr ? table[i] : i * stride; }
  bool unit() const { return table == nullptr && stride == 1; }
};

/// A batch of matrices of T, or of what `conversion` makes T of while they are packed.
template <typename T>
struct Matrices {
  const void* data = nullptr;
  Axis batch, rows, columns;
  const Conversion* conversion = nullptr;
  /// A matrix that is not converted.
  const T* at(std::int64_t batch_index) const {
    return static_cast<const T*>(data) + batch(batch_index);
  }
};

/// Where the result goes, in C order: as T, or as what `conversion` makes of complete sums.
struct Output {
  void* data = nullptr;
  const Conversion* conversion = nullptr;
};

/// The type that stands for T: products and sums of integers modulo 2^n do not depend on the sign.
template <typename T>
struct Unsigned {
  using type = T;
};
template <typename T>
requires std::is_integral_v<T>
struct Unsigned<T> {
  using type = std::make_unsigned_t<T>;
};

/// What products and sums of T are computed in: bytes, which no vector unit multiplies, wrap to the
/// same bits in 16.
template <typename T>
using ComputeType = std::conditional_t<std::is_same_v<T, std::uint8_t>, std::uint16_t, T>;

/// Bytes of memory that multiply takes for these sizes, at most; `element` is what ComputeType has,
/// `converts` whether the result is converted.
std::uint64_t scratch_bytes(std::int64_t batch, std::int64_t m, std::int64_t k, std::int64_t n,
                            std::size_t element, bool converts, int threads);

/// T: f32, f64 or an unsigned integer.
/// out[batch][m][n] = left[batch][m][k] · right[batch][k][n].
/// Memory: packed pieces of the operands, some MiB at most and never whole copies.
/// Errors: out_of_memory, cancelled, deadline_exceeded.
template <typename T>
Result<void> multiply(const Context& context, const Matrices<T>& left, const Matrices<T>& right,
                      const Output& out);

}  // namespace outrigger::ops::gemm
