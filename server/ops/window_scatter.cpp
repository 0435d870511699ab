#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>

#include "ops/cast.hpp"
#include "ops/catalogue.hpp"
#include "ops/kernels.hpp"
#include "ops/windows.hpp"

namespace outrigger::ops {
namespace {

/// Windows whose best elements are found side by side.
constexpr std::int64_t selected_tile = 512;
/// Output elements of one task, about: a task looks again at the windows of its neighbours that
/// reach into its part.
constexpr std::int64_t task_elements = std::int64_t{1} << 14;

/// Elements of a window between two looks at the interrupt.
constexpr std::int64_t taps_between_checks = 1 << 10;

struct GreaterEqual {
  template <typename T>
  static bool better(T x, T best) {
    return x >= best;
  }
};
struct LessEqual {
  template <typename T>
  static bool better(T x, T best) {
    return x <= best;
  }
};

Result<Inferred> infer_window_scatter(const InferCall& call) {
  const TensorType& tensor = call.type(0);
  OUTRIGGER_TRY(const Windows windows, windows_of(tensor.shape, call.attrs));
  if (call.type(1).shape != windows.out) {
    return fail(ErrorCode::bad_shape, "source must have an element for each window, " +
                                          to_string(windows.out) + ", but is " +
                                          to_string(call.type(1)));
  }
  if (!call.type(2).shape.empty()) {
    return fail(ErrorCode::bad_shape,
                "init_value must be a scalar, got " + to_string(call.type(2)));
  }
  // Padding holds init_value, so the tensor is compared in the dtype where both fit.
  const std::array<InferOperand, 2> compared{call.in[0], call.in[2]};
  const DType result = merged_dtype(call.in.subspan(1));
  Inferred inferred;
  inferred.operands = {merged_dtype(compared), result, result};
  inferred.results.push_back(TensorType{result, tensor.shape});
  return inferred;
}

/// Where the operand's windows are looked at: its memory, and what the padding holds, as its dtype.
struct Compared {
  const Windows& windows;
  const Tensor& x;
  const void* padding;
  /// Windows may be far larger than the operand, in its padding: they look at the interrupt.
  const Interrupt& interrupt;
  std::atomic<bool>& stopped;
};

/// Finds the best element of windows (row…, row[last] + i), i < n, beside each other along the last
/// axis: taps[i] is its position inside of window i in C order. Of equal ones the last is taken; a
/// NaN only if it comes first, as it compares as false.
using SelectFn = void (*)(const Compared& compared, const Dims& row, std::int64_t n,
                          std::int64_t* taps);

template <typename F, typename T>
void select(const Compared& compared, const Dims& row, std::int64_t n, std::int64_t* taps) {
  const Windows& windows = compared.windows;
  const Dims& dims = compared.x.shape();
  const Dims& strides = compared.x.strides;
  const T* x = compared.x.as<T>();
  const T padding = *static_cast<const T*>(compared.padding);
  const std::size_t last = dims.size() - 1;
  const std::int64_t step = windows.strides[last];
  const std::int64_t count = windows.taps();
  std::array<T, selected_tile> values;
  std::array<T, selected_tile> best;
  std::fill_n(taps, n, std::int64_t{0});
  for (std::int64_t tap = 0; tap < count; ++tap) {
    if (tap % taps_between_checks == taps_between_checks - 1 && compared.interrupt.raised()) {
      compared.stopped.store(true, std::memory_order_relaxed);
      return;
    }
    std::int64_t rest = tap / windows.window[last];
    std::int64_t offset = 0;
    bool inside = true;
    for (std::size_t axis = last; axis-- > 0; rest /= windows.window[axis]) {
      const std::int64_t at = windows.position(axis, row[axis], rest % windows.window[axis]);
      inside = inside && at >= 0 && at < dims[axis];
      offset += at * strides[axis];
    }
    const std::int64_t start = windows.position(last, row[last], tap % windows.window[last]);
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t at = start + i * step;
      values[i] = inside && at >= 0 && at < dims[last] ? x[offset + at * strides[last]] : padding;
    }
    if (tap == 0) {
      std::copy_n(values.data(), n, best.data());
      continue;
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const bool better = F::better(values[i], best[i]);
      best[i] = better ? values[i] : best[i];
      taps[i] = better ? tap : taps[i];
    }
  }
}

template <typename F>
SelectFn select_fn(DType dtype) {
  return with_type(dtype,
                   [](auto tag) -> SelectFn { return &select<F, typename decltype(tag)::type>; });
}

/// How the output is cut along one axis into parts that tasks own: [begin, end) of that axis, for
/// one index of the axes before it that have windows of one element.
struct Parts {
  std::size_t axis = 0;
  std::int64_t outer = 1;
  std::int64_t grain = 1;
  std::int64_t per_outer = 1;
};

Parts choose_parts(const Windows& windows, const Dims& shape) {
  Parts parts;
  const auto alone = [&](std::size_t axis) {
    return windows.window[axis] == 1 && windows.strides[axis] == 1 && windows.low[axis] == 0 &&
           windows.high[axis] == 0;
  };
  while (parts.axis + 1 < shape.size() && alone(parts.axis)) parts.outer *= shape[parts.axis++];
  std::int64_t inner = 1;
  for (std::size_t k = parts.axis + 1; k < shape.size(); ++k) inner *= shape[k];
  const std::int64_t dim = shape[parts.axis];
  parts.grain = std::max({std::int64_t{1}, task_elements / std::max<std::int64_t>(1, inner),
                          8 * windows.window[parts.axis]});
  parts.grain = std::min(parts.grain, std::max<std::int64_t>(1, dim));
  parts.per_outer = (dim + parts.grain - 1) / parts.grain;
  return parts;
}

/// Adds up one part of the output.
template <typename S>
void scatter_part(const Compared& compared, SelectFn select, const Parts& parts,
                  const Tensor& source, S* out, std::int64_t task) {
  const Windows& windows = compared.windows;
  const Dims& shape = compared.x.shape();
  const std::size_t rank = shape.size();
  const std::size_t last = rank - 1;
  const Dims out_strides = contiguous_strides(shape);
  Dims low(rank);
  Dims high = shape;
  Dims first(rank);
  Dims end = windows.out;
  std::int64_t outer = task / parts.per_outer;
  for (std::size_t axis = parts.axis; axis-- > 0; outer /= shape[axis]) {
    low[axis] = first[axis] = outer % shape[axis];
    high[axis] = end[axis] = low[axis] + 1;
  }
  // Windows that reach into [low, high) of the cut axis.
  const std::size_t cut = parts.axis;
  low[cut] = task % parts.per_outer * parts.grain;
  high[cut] = std::min(low[cut] + parts.grain, shape[cut]);
  const std::int64_t before = low[cut] + windows.low[cut] - windows.window[cut] + 1;
  first[cut] = std::clamp<std::int64_t>((before + windows.strides[cut] - 1) / windows.strides[cut],
                                        0, windows.out[cut]);
  if (before <= 0) first[cut] = 0;
  const std::int64_t after = high[cut] - 1 + windows.low[cut];
  end[cut] = after < 0 ? first[cut]
                       : std::clamp<std::int64_t>(after / windows.strides[cut] + 1, first[cut],
                                                  windows.out[cut]);

  Dims extent(rank);
  for (std::size_t axis = 0; axis < rank; ++axis) extent[axis] = end[axis] - first[axis];
  const std::int64_t row_length = extent[last];
  if (element_count(extent) == 0) return;
  const std::int64_t rows = element_count(extent) / row_length;
  std::array<std::int64_t, selected_tile> taps;
  for (std::int64_t r = 0; r < rows; ++r) {
    Dims row = first;
    std::int64_t rest = r;
    for (std::size_t axis = last; axis-- > 0; rest /= extent[axis]) {
      row[axis] += rest % extent[axis];
    }
    const S* from = source.as<S>();
    for (std::size_t axis = 0; axis < last; ++axis) from += row[axis] * source.strides[axis];
    for (std::int64_t at = 0; at < row_length; at += selected_tile) {
      if (compared.stopped.load(std::memory_order_relaxed)) return;
      const std::int64_t n = std::min(selected_tile, row_length - at);
      row[last] = first[last] + at;
      select(compared, row, n, taps.data());
      for (std::int64_t i = 0; i < n; ++i) {
        std::int64_t tap = taps[i];
        std::int64_t to = 0;
        bool mine = true;
        for (std::size_t axis = rank; axis-- > 0; tap /= windows.window[axis]) {
          const std::int64_t o = row[axis] + (axis == last ? i : 0);
          const std::int64_t position = windows.position(axis, o, tap % windows.window[axis]);
          mine = mine && position >= low[axis] && position < high[axis];
          to += position * out_strides[axis];
        }
        if (!mine) continue;
        out[to] = static_cast<S>(out[to] + from[(row[last] + i) * source.strides[last]]);
      }
    }
  }
}

/// Elements that are compared; enough to know whether threads are worth it.
std::int64_t scatter_work(const Windows& windows) {
  return element_count(windows.out) * std::min<std::int64_t>(windows.taps(), 1 << 20);
}

template <typename F>
Result<void> run_window_scatter(const RunCall& call) {
  const Tensor& out = call.out[0];
  const Tensor& init = call.in[2];
  Tensor x = call.in[0];
  Tensor source = call.in[1];
  OUTRIGGER_TRY(Windows windows, windows_of(x.shape(), call.attrs));
  const Dims everywhere(out.shape().size(), 0);
  OUTRIGGER_CHECK(
      copy_tensor(call.context, view_of(init, out.type, everywhere, init.offset, false), out));
  if (x.size() == 0) return {};
  if (x.shape().empty()) {
    x = view_of(x, TensorType{x.dtype(), {1}}, {1}, x.offset, false);
    source = view_of(source, TensorType{source.dtype(), {1}}, {1}, source.offset, false);
    windows = Windows{{1}, {1}, {0}, {0}, {1}, {1}};
  }
  alignas(16) std::array<std::byte, 16> padding;
  std::memcpy(padding.data(), init.data(), size_of(init.dtype()));
  for (const CastStep& step : cast_steps(init.dtype(), x.dtype())) {
    const std::array<const void*, 3> from{padding.data(), nullptr, nullptr};
    step.run(padding.data(), from.data(), 1);
  }
  std::atomic<bool> stopped{false};
  const Compared compared{windows, x, padding.data(), call.context.interrupt, stopped};
  const SelectFn select = select_fn<F>(x.dtype());
  const Parts parts = choose_parts(windows, x.shape());
  OUTRIGGER_CHECK(with_type(out.dtype(), [&](auto tag) {
    using S = typename decltype(tag)::type;
    return parallel_ranges(call.context, parts.outer * parts.per_outer, 1, scatter_work(windows),
                           [&](int, std::int64_t begin, std::int64_t end) {
                             for (std::int64_t task = begin; task < end; ++task)
                               scatter_part<S>(compared, select, parts, source, out.as<S>(), task);
                           });
  }));
  if (stopped.load()) return tl::make_unexpected(call.context.interrupt.error());
  return {};
}

OpRow scatter_row(std::string_view name, Result<void> (*run)(const RunCall&),
                  std::string_view doc) {
  return OpRow{.name = name,
               .family = "window",
               .kind = Kind::compute,
               .operands = {{"tensor"}, {"source"}, {"init_value"}},
               .attrs = window_attrs(false),
               .infer = infer_window_scatter,
               .run = run,
               .doc = doc};
}

}  // namespace

void register_window_scatter(std::vector<OpRow>& rows) {
  rows.push_back(scatter_row(
      "window_scatter_max", run_window_scatter<GreaterEqual>,
      "`init_value` (a scalar) everywhere, and each element of `source` added where the largest "
      "element of its window over `tensor` is. Of equal elements the last in C order is taken, as "
      "in Nx; a NaN only if it is the window's first. Padding counts as `init_value`; what falls "
      "on it is lost. `source` has an element for each window (`bad_shape`). Result: the tensor's "
      "shape, the dtype where `source` and `init_value` meet; added up in the windows' order."));
  rows.push_back(scatter_row("window_scatter_min", run_window_scatter<LessEqual>,
                             "As `window_scatter_max`, at the smallest element of each window."));
}

}  // namespace outrigger::ops
