#pragma once

#include <cstdint>
#include <span>

#include "base/error.hpp"
#include "ops/op.hpp"

namespace outrigger::ops {

/// How windows lie over a tensor, one entry for each axis: element w of window o is at position
/// o × stride + w × dilation − low of the operand, and in the padding if that is outside of it.
struct Windows {
  Dims window, strides, low, high, dilations;
  /// Number of windows along each axis.
  Dims out;

  std::int64_t position(std::size_t axis, std::int64_t o, std::int64_t w) const {
    return o * strides[axis] + w * dilations[axis] - low[axis];
  }
  /// Elements of one window.
  std::int64_t taps() const { return element_count(window); }
  /// Whether an element of a window is in the padding, over the shape that `out` was filled in for.
  bool reach_padding(std::span<const std::int64_t> shape) const {
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      if (low[axis] > 0 || position(axis, out[axis] - 1, window[axis] - 1) >= shape[axis])
        return true;
    }
    return false;
  }
};

/// Fills in `out` for a tensor of that shape. Errors: bad_shape where a size is not positive, or no
/// window fits.
Result<Windows> fit_windows(Windows windows, std::span<const std::int64_t> shape);

/// The windows that the attributes window, strides, padding_low, padding_high and window_dilations
/// speak of. Errors: bad_attr, bad_shape.
Result<Windows> windows_of(std::span<const std::int64_t> shape, const AttrView& attrs);

/// An attribute with an entry for each of `count` axes; `otherwise` everywhere if it is absent.
/// Errors: bad_attr.
Result<Dims> per_axis(const AttrView& attrs, std::string_view name, std::size_t count,
                      std::int64_t otherwise);

/// The attributes of windows_of, for rows. `dilations`: window_dilations is one of them.
std::vector<AttrSpec> window_attrs(bool dilations);

}  // namespace outrigger::ops
