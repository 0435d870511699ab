#pragma once

#include <cstdint>
#include <span>

#include "base/error.hpp"
#include "ops/op.hpp"

namespace outrigger::ops {

/// The windows over a tensor, with one entry for each axis. Element w of window o is at position o
/// × stride + w × dilation − low of the operand; it is in the padding if that position is outside
/// of the operand.
struct Windows {
  Dims window, strides, low, high, dilations;
  /// The number of windows along each axis.
  Dims out;

  std::int64_t position(std::size_t axis, std::int64_t o, std::int64_t w) const {
    return o * strides[axis] + w * dilations[axis] - low[axis];
  }
  /// The elements of one window.
  std::int64_t taps() const { return element_count(window); }
  /// True if an element of a window is in the padding. `shape` is the shape for which `out` was
  /// set.
  bool reach_padding(std::span<const std::int64_t> shape) const {
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      if (low[axis] > 0 || position(axis, out[axis] - 1, window[axis] - 1) >= shape[axis])
        return true;
    }
    return false;
  }
};

/// Sets `out` for a tensor of that shape. Errors: bad_shape if a size is not positive, or if no
/// window fits.
Result<Windows> fit_windows(Windows windows, std::span<const std::int64_t> shape);

/// The windows of the attributes window, strides, padding_low, padding_high and window_dilations.
/// Errors: bad_attr, bad_shape.
Result<Windows> windows_of(std::span<const std::int64_t> shape, const AttrView& attrs);

/// An attribute with an entry for each of `count` axes. If it is absent, each entry is `otherwise`.
/// Errors: bad_attr.
Result<Dims> per_axis(const AttrView& attrs, std::string_view name, std::size_t count,
                      std::int64_t otherwise);

/// The attributes of windows_of, for rows. `dilations` is true if window_dilations is one of them.
std::vector<AttrSpec> window_attrs(bool dilations);

}  // namespace outrigger::ops
