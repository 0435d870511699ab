#include "ops/support/axes.hpp"

#include <algorithm>
#include <string>

#include "ops/support/scratch.hpp"

namespace outrigger::ops {

Result<Dims> broadcast_shapes(std::span<const std::int64_t> a, std::span<const std::int64_t> b) {
  const auto longer = a.size() >= b.size() ? a : b;
  const auto shorter = a.size() >= b.size() ? b : a;
  Dims shape(longer.begin(), longer.end());
  const std::size_t shift = longer.size() - shorter.size();
  for (std::size_t axis = 0; axis < shorter.size(); ++axis) {
    std::int64_t& dim = shape[axis + shift];
    if (shorter[axis] == dim || shorter[axis] == 1) continue;
    if (dim != 1) {
      return fail(ErrorCode::bad_shape,
                  "cannot broadcast shapes " + to_string(a) + " and " + to_string(b) + " together");
    }
    dim = shorter[axis];
  }
  return shape;
}

Result<std::int64_t> normalize_axis(std::int64_t axis, std::size_t rank) {
  const auto n = static_cast<std::int64_t>(rank);
  if (axis < -n || axis >= n) {
    return fail(ErrorCode::bad_axis, "axis " + std::to_string(axis) +
                                         " is out of bounds for rank " + std::to_string(rank));
  }
  return axis < 0 ? axis + n : axis;
}

Result<Dims> normalize_axes(std::span<const std::int64_t> axes, std::size_t rank) {
  Dims normalized;
  for (const std::int64_t axis : axes) {
    OUTRIGGER_TRY(const std::int64_t index, normalize_axis(axis, rank));
    if (contains(normalized, index)) {
      return fail(ErrorCode::bad_axis, "axis " + std::to_string(axis) + " is named twice");
    }
    normalized.push_back(index);
  }
  return normalized;
}

Dims all_axes(std::size_t rank) {
  Dims axes(rank);
  for (std::size_t axis = 0; axis < rank; ++axis) axes[axis] = static_cast<std::int64_t>(axis);
  return axes;
}

bool contains(std::span<const std::int64_t> axes, std::int64_t axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

Dims remove_axes(std::span<const std::int64_t> shape, std::span<const std::int64_t> axes,
                 bool keep) {
  Dims result;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (!contains(axes, static_cast<std::int64_t>(axis))) {
      result.push_back(shape[axis]);
    } else if (keep) {
      result.push_back(1);
    }
  }
  return result;
}

Tensor permute(const Tensor& tensor, std::span<const std::int64_t> order) {
  TensorType type{tensor.dtype(), {}};
  Dims strides;
  for (const std::int64_t axis : order) {
    type.shape.push_back(tensor.shape()[static_cast<std::size_t>(axis)]);
    strides.push_back(tensor.strides[static_cast<std::size_t>(axis)]);
  }
  return view_of(tensor, std::move(type), std::move(strides), tensor.offset, false);
}

}  // namespace outrigger::ops
