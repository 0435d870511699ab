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
  /// Points of the transform: the operand's axis is cut or padded with zeros.
  std::int64_t length;
  /// Parts of the result that are no larger become 0.
  double eps;
};

/// Transforms `in`, real in any dtype or complex in that of which `out` is or has the parts, to
/// f32, f64, c64 or c128 as `kind` wants it; `out` may be `in`. Memory: a copy of the sequences
/// that are worked on at a time. Errors: out_of_memory, cancelled, deadline_exceeded.
Result<void> transform_axis(const Context& context, const Along& along, const Tensor& in,
                            const Tensor& out);

/// Bytes that it takes, at most, for a result of this type.
std::uint64_t axis_scratch(const Along& along, DType in, const TensorType& out, int threads);

}  // namespace outrigger::ops::fourier
