#pragma once

#include <cstdint>
#include <span>

#include "base/error.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::ops {

/// Shape rules that several families share.

/// The shape that both broadcast to (aligned at the last axis). Errors: bad_shape.
Result<Dims> broadcast_shapes(std::span<const std::int64_t> a, std::span<const std::int64_t> b);

/// A possibly negative axis as an index into a shape of `rank` axes. Errors: bad_axis.
Result<std::int64_t> normalize_axis(std::int64_t axis, std::size_t rank);

/// The same for a list, which must not name an axis twice. Errors: bad_axis.
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
