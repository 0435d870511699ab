#pragma once

#include <cstdint>
#include <span>

#include "base/error.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::ops {

/// The shape rules that several families share.

/// The shape to which both are broadcast (aligned at the last axis). Errors: bad_shape.
Result<Dims> broadcast_shapes(std::span<const std::int64_t> a, std::span<const std::int64_t> b);

/// The index of an axis in a shape of `rank` axes; a negative axis counts from the end. Errors:
/// bad_axis.
Result<std::int64_t> normalize_axis(std::int64_t axis, std::size_t rank);

/// normalize_axis for a list without repeated axes. Errors: bad_axis.
Result<Dims> normalize_axes(std::span<const std::int64_t> axes, std::size_t rank);

/// All axes of a rank: 0, 1, ….
Dims all_axes(std::size_t rank);

bool contains(std::span<const std::int64_t> axes, std::int64_t axis);

/// The shape without the axes, or with size 1 in their place.
Dims remove_axes(std::span<const std::int64_t> shape, std::span<const std::int64_t> axes,
                 bool keep);

/// A tensor's axes in a new order.
Tensor permute(const Tensor& tensor, std::span<const std::int64_t> order);

}  // namespace outrigger::ops
