#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/support/context.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::ops::fourier {

enum class Direction : std::uint8_t { forward, inverse, real_forward, real_inverse };

/// One transform along one axis of a tensor.
struct Along {
  Direction kind;
  std::size_t axis;
  /// The points of the transform. The operand's axis is cut, or padded with zeros, to this length.
  std::int64_t length;
  /// Parts of the result whose magnitude is at most eps become 0.
  double eps;
};

/// Transforms `in` to `out`. `in` is real in any dtype, or complex in the dtype of `out` (of which
/// `out` has the parts, if `out` is real). `kind` decides if `out` is real (f32, f64) or complex
/// (c64, c128). `out` may be `in`. Memory: a copy of the sequences in progress. Errors:
/// out_of_memory, cancelled, deadline_exceeded.
Result<void> transform_axis(const Context& context, const Along& along, const Tensor& in,
                            const Tensor& out);

/// The largest number of bytes that transform_axis takes for a result of this type.
std::uint64_t axis_scratch(const Along& along, DType in, const TensorType& out, int threads);

}  // namespace outrigger::ops::fourier
