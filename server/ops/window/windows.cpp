#include "ops/window/windows.hpp"

#include <limits>
#include <string>

namespace outrigger::ops {
namespace {

/// The limit for sums of positions in s64. No tensor is nearly as long.
constexpr std::int64_t extent_max = std::int64_t{1} << 61;

Result<std::int64_t> windows_along(const Windows& windows, std::size_t axis, std::int64_t dim) {
  const std::int64_t window = windows.window[axis];
  const std::int64_t stride = windows.strides[axis];
  const std::int64_t dilation = windows.dilations[axis];
  if (window < 1 || stride < 1 || dilation < 1) {
    return fail(ErrorCode::bad_shape, "window " + std::to_string(window) + ", stride " +
                                          std::to_string(stride) + " and dilation " +
                                          std::to_string(dilation) + " of axis " +
                                          std::to_string(axis) + " must be at least 1");
  }
  const Wide padded = Wide{dim} + windows.low[axis] + windows.high[axis];
  const Wide extent = Wide{window - 1} * dilation + 1;
  const bool countable = padded < extent_max && extent < extent_max && stride < extent_max &&
                         windows.low[axis] > -extent_max && windows.high[axis] > -extent_max &&
                         windows.low[axis] < extent_max;
  if (!countable || padded < extent) {
    const std::string which = "window of " + std::to_string(window) + " (dilation " +
                              std::to_string(dilation) + ", stride " + std::to_string(stride) + ")";
    const std::string where = "axis " + std::to_string(axis) + " of size " + std::to_string(dim) +
                              ", padded by " + std::to_string(windows.low[axis]) + " and " +
                              std::to_string(windows.high[axis]);
    return fail(ErrorCode::bad_shape,
                countable ? "no " + which + " fits into " + where
                          : "a " + which + " over " + where + ", is too large to be counted");
  }
  return static_cast<std::int64_t>((padded - extent) / stride + 1);
}

}  // namespace

Result<Dims> per_axis(const AttrView& attrs, std::string_view name, std::size_t count,
                      std::int64_t otherwise) {
  if (!attrs.has(name)) return Dims(count, otherwise);
  const auto values = attrs.integers(name);
  if (values.size() != count) {
    return fail(ErrorCode::bad_attr, std::string(name) + " needs an entry for each of " +
                                         std::to_string(count) + " axes, has " +
                                         std::to_string(values.size()));
  }
  return Dims(values.begin(), values.end());
}

Result<Windows> fit_windows(Windows windows, std::span<const std::int64_t> shape) {
  windows.out = Dims{};
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    OUTRIGGER_TRY(const std::int64_t count, windows_along(windows, axis, shape[axis]));
    windows.out.push_back(count);
  }
  // The number of taps is checked, too, although no tensor has their shape.
  OUTRIGGER_CHECK(check_shape(windows.window, 1));
  return windows;
}

Result<Windows> windows_of(std::span<const std::int64_t> shape, const AttrView& attrs) {
  const std::size_t rank = shape.size();
  Windows windows;
  OUTRIGGER_TRY(windows.window, per_axis(attrs, "window", rank, 1));
  OUTRIGGER_TRY(windows.strides, per_axis(attrs, "strides", rank, 1));
  OUTRIGGER_TRY(windows.dilations, per_axis(attrs, "window_dilations", rank, 1));
  OUTRIGGER_TRY(windows.low, per_axis(attrs, "padding_low", rank, 0));
  OUTRIGGER_TRY(windows.high, per_axis(attrs, "padding_high", rank, 0));
  return fit_windows(std::move(windows), shape);
}

std::vector<AttrSpec> window_attrs(bool dilations) {
  std::vector<AttrSpec> attrs{
      {"window", AttrType::shape, true, "", "size of the window along each axis"},
      {"strides", AttrType::integers, false, "", "distance between windows; by default 1"},
      {"padding_low", AttrType::integers, false, "",
       "padding before each axis; by default 0. Negative padding cuts off"},
      {"padding_high", AttrType::integers, false, "", "padding behind each axis; by default 0"}};
  if (dilations) {
    attrs.push_back({"window_dilations", AttrType::integers, false, "",
                     "distance between the elements of a window; by default 1"});
  }
  return attrs;
}

}  // namespace outrigger::ops
