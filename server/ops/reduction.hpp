#pragma once

#include <cstdint>
#include <span>

#include "ops/op.hpp"

namespace outrigger::ops {

/// A tensor in C order seen as [outer][reduced][inner]: reductions and scans work on the middle
/// axis.
struct Folded {
  Tensor tensor;
  std::int64_t outer = 1;
  std::int64_t reduced = 1;
  std::int64_t inner = 1;
};

/// How a shape folds: its axes in the order in which they are [outer][reduced][inner].
struct Folding {
  Dims order;
  std::int64_t outer = 1;
  std::int64_t reduced = 1;
  std::int64_t inner = 1;
};

Folding fold_shape(std::span<const std::int64_t> shape, std::span<const std::int64_t> axes);

/// Folds along `axes`, or along the attribute "axes" (all axes if it is absent); copies if the
/// layout demands it. Errors: bad_axis, out_of_memory.
Result<Folded> fold(Context& context, const Tensor& tensor, std::span<const std::int64_t> axes);
Result<Folded> fold(Context& context, const Tensor& tensor, const AttrView& attrs);

/// The attribute "axes", normalised; all axes if it is absent. Errors: bad_axis.
Result<Dims> reduced_axes(std::size_t rank, const AttrView& attrs);

}  // namespace outrigger::ops
