#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "ops/cast/conversion.hpp"
#include "ops/elementwise/kernels.hpp"
#include "ops/support/look.hpp"
#include "ops/support/scratch.hpp"
#include "ops/support/strided.hpp"
#include "ops/window/rows.hpp"
#include "ops/window/windows.hpp"

namespace outrigger::ops {
namespace {

/// The windows whose best elements are found side by side.
constexpr std::int64_t selected_tile = 512;
/// The overhead of a position in the windows, as a number of elements.
constexpr std::int64_t tap_overhead = 32;
/// The approximate number of output elements of one task.
constexpr std::int64_t task_elements = std::int64_t{1} << 14;

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
  // The padding is init_value, converted to its common dtype with the tensor if windows reach it.
  const std::array<InferOperand, 2> both{call.in[0], call.in[2]};
  const auto compared = std::span(both).first(windows.reach_padding(tensor.shape) ? 2 : 1);
  const DType result = merged_dtype(call.in.subspan(1));
  const auto as_it_is = [&](std::size_t i, DType otherwise) {
    return call.in[i].literal == nullptr ? call.type(i).dtype : otherwise;
  };
  // The tensor and the source are converted piece by piece.
  Inferred inferred;
  inferred.compute = merged_dtype(compared);
  inferred.operands = {as_it_is(0, compute_dtype(inferred.compute)),
                       as_it_is(1, compute_dtype(result)), as_it_is(2, compute_dtype(result))};
  inferred.results.push_back(TensorType{result, tensor.shape});
  return inferred;
}

/// The elements of the operand's windows: its memory, and the value of the padding in the dtype of
/// the comparison.
struct Compared {
  const Windows& windows;
  const Tensor& x;
  const Conversion& conversion;
  const void* padding;
};

/// Finds the best element of windows (row…, row[last] + i), i < n, which are adjacent along the
/// last axis: taps[i] is its position inside of window i in C order. The last one of equal elements
/// is the best. A NaN is the best only if it is first, because comparisons with NaN are false.
/// Returns false if it was interrupted: with padding, windows may be much larger than the operand.
using SelectFn = bool (*)(const Compared& compared, const Dims& row, std::int64_t n,
                          std::int64_t* taps, Look& look);

template <typename F, typename T>
bool select(const Compared& compared, const Dims& row, std::int64_t n, std::int64_t* taps,
            Look& look) {
  const Windows& windows = compared.windows;
  const Dims& dims = compared.x.shape();
  const Dims& strides = compared.x.strides;
  const auto width = static_cast<std::int64_t>(compared.conversion.from_width());
  const T padding = *static_cast<const T*>(compared.padding);
  const std::size_t last = dims.size() - 1;
  const std::int64_t step = windows.strides[last];
  const std::int64_t count = windows.taps();
  std::array<T, selected_tile> values;
  std::array<T, selected_tile> best;
  std::fill_n(taps, n, std::int64_t{0});
  for (std::int64_t tap = 0; tap < count; ++tap) {
    if (!look.go_on(n + tap_overhead)) return false;
    std::int64_t rest = tap / windows.window[last];
    std::int64_t offset = 0;
    bool inside = true;
    for (std::size_t axis = last; axis-- > 0; rest /= windows.window[axis]) {
      const std::int64_t at = windows.position(axis, row[axis], rest % windows.window[axis]);
      inside = inside && at >= 0 && at < dims[axis];
      offset += at * strides[axis];
    }
    // In windows [low, high), this element is in the operand. In the others, it is in the padding.
    const std::int64_t start = windows.position(last, row[last], tap % windows.window[last]);
    const std::int64_t low = inside ? std::clamp<std::int64_t>((step - 1 - start) / step, 0, n) : n;
    const std::int64_t high =
        start >= dims[last] ? low
                            : std::clamp<std::int64_t>((dims[last] - 1 - start) / step + 1, low, n);
    std::fill_n(values.data(), low, padding);
    if (low < high) {
      const std::int64_t first = offset + (start + low * step) * strides[last];
      compared.conversion.gather(compared.x.data() + first * width, step * strides[last],
                                 values.data() + low, high - low);
    }
    std::fill(values.data() + high, values.data() + n, padding);
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
  return true;
}

template <typename F>
SelectFn select_fn(DType dtype) {
  return with_type(dtype,
                   [](auto tag) -> SelectFn { return &select<F, typename decltype(tag)::type>; });
}

/// The cut of the output into boxes, one for each task. A task examines again the windows of
/// neighbouring boxes that reach into its box. Therefore a box is several windows wide, if the
/// output is.
struct Boxes {
  Boxes(const Windows& windows, const Dims& shape) : size(shape), count(shape.size(), 1) {
    std::int64_t left = task_elements;
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      const std::int64_t window = windows.window[axis];
      const std::int64_t least = window == 1                ? 1
                                 : window > shape[axis] / 8 ? shape[axis]
                                                            : 8 * window;
      size[axis] = std::min(shape[axis], std::max(least, left));
      left = std::max<std::int64_t>(1, left / size[axis]);
      count[axis] = (shape[axis] + size[axis] - 1) / size[axis];
    }
  }

  std::int64_t tasks() const { return element_count(count); }
  std::int64_t elements() const { return element_count(size); }
  /// The number of boxes in progress at the same time.
  std::int64_t at_work(int threads) const { return tasks() == 1 ? 1 : threads; }

  Dims size;   ///< size of a box; the last boxes of an axis may be smaller
  Dims count;  ///< number of boxes along each axis
};

/// One box of the output, and the windows that reach into it.
struct Box {
  Box(const Windows& windows, const Dims& shape, const Boxes& boxes, std::int64_t task)
      : low(shape), size(shape), first(shape), windows_in(shape) {
    for (std::size_t axis = shape.size(); axis-- > 0; task /= boxes.count[axis]) {
      low[axis] = task % boxes.count[axis] * boxes.size[axis];
      size[axis] = std::min(boxes.size[axis], shape[axis] - low[axis]);
      const std::int64_t step = windows.strides[axis];
      const std::int64_t before = low[axis] + windows.low[axis] - windows.window[axis] + 1;
      first[axis] = before <= 0 ? 0 : std::min((before + step - 1) / step, windows.out[axis]);
      const std::int64_t after = low[axis] + size[axis] - 1 + windows.low[axis];
      const std::int64_t end =
          after < 0 ? first[axis] : std::clamp(after / step + 1, first[axis], windows.out[axis]);
      windows_in[axis] = end - first[axis];
    }
  }

  Dims low, size;
  Dims first, windows_in;
};

/// The terms of the sums: the source, and the start value.
template <typename S>
struct Added {
  const Tensor& source;
  const Conversion& conversion;
  S start;
};

/// Calls f(first, n) for pieces of [0, count), and checks the interrupt between them. Returns false
/// if it was interrupted.
template <typename F>
bool in_pieces(std::int64_t count, Look& look, F&& f) {
  constexpr std::int64_t piece = std::int64_t{1} << 16;
  for (std::int64_t first = 0; first < count; first += piece) {
    const std::int64_t n = std::min(piece, count - first);
    if (!look.go_on(n)) return false;
    f(first, n);
  }
  return true;
}

/// Computes the sums of one box, which are at `sums` with the given strides. Returns false if it
/// was interrupted.
template <typename S>
bool scatter_box(const Compared& compared, SelectFn select, const Box& box, const Added<S>& added,
                 S* sums, const Dims& strides, Look& look) {
  const Windows& windows = compared.windows;
  const std::size_t rank = box.size.size();
  const std::size_t last = rank - 1;
  const bool cleared =
      in_pieces(element_count(box.size), look, [&](std::int64_t first, std::int64_t count) {
        for_each_run(box.size, strides, first, count,
                     [&](std::int64_t, std::int64_t offset, std::int64_t, std::int64_t n) {
                       std::fill_n(sums + offset, n, added.start);
                     });
      });
  if (!cleared) return false;
  const std::int64_t row_length = box.windows_in[last];
  if (element_count(box.windows_in) == 0) return true;
  const std::int64_t rows = element_count(box.windows_in) / row_length;
  const auto width = static_cast<std::int64_t>(added.conversion.from_width());
  std::array<std::int64_t, selected_tile> taps;
  std::array<S, selected_tile> values;
  for (std::int64_t r = 0; r < rows; ++r) {
    Dims row = box.first;
    std::int64_t rest = r;
    for (std::size_t axis = last; axis-- > 0; rest /= box.windows_in[axis])
      row[axis] += rest % box.windows_in[axis];
    std::int64_t from = 0;
    for (std::size_t axis = 0; axis < last; ++axis) from += row[axis] * added.source.strides[axis];
    for (std::int64_t at = 0; at < row_length; at += selected_tile) {
      const std::int64_t n = std::min(selected_tile, row_length - at);
      row[last] = box.first[last] + at;
      if (!select(compared, row, n, taps.data(), look)) return false;
      const std::int64_t first = from + row[last] * added.source.strides[last];
      added.conversion.gather(added.source.data() + first * width, added.source.strides[last],
                              values.data(), n);
      for (std::int64_t i = 0; i < n; ++i) {
        std::int64_t tap = taps[i];
        std::int64_t to = 0;
        bool mine = true;
        for (std::size_t axis = rank; mine && axis-- > 0; tap /= windows.window[axis]) {
          const std::int64_t o = row[axis] + (axis == last ? i : 0);
          const std::int64_t place =
              windows.position(axis, o, tap % windows.window[axis]) - box.low[axis];
          mine = place >= 0 && place < box.size[axis];
          if (mine) to += place * strides[axis];
        }
        if (mine) sums[to] = static_cast<S>(sums[to] + values[i]);
      }
    }
  }
  return true;
}

/// A number of comparisons, large enough to decide if several threads are used.
std::int64_t scatter_work(const Windows& windows) {
  return element_count(windows.out) * std::min<std::int64_t>(windows.taps(), 1 << 20);
}

/// True if sums have another dtype than the result, and are computed box by box.
bool sums_apart(DType result) { return compute_dtype(result) != result; }

template <typename T>
T scalar_as(const Tensor& scalar, DType dtype) {
  T value;
  Conversion(scalar.dtype(), dtype).run(scalar.data(), &value, 1);
  return value;
}

template <typename F>
Result<void> run_window_scatter(const RunCall& call) {
  const Tensor& out = call.out[0];
  const Tensor& init = call.in[2];
  Tensor x = call.in[0];
  Tensor source = call.in[1];
  if (x.size() == 0) return {};
  OUTRIGGER_TRY(Windows windows, windows_of(x.shape(), call.attrs));
  if (x.shape().empty()) {
    x = view_of(x, TensorType{x.dtype(), {1}}, {1}, x.offset, false);
    source = view_of(source, TensorType{source.dtype(), {1}}, {1}, source.offset, false);
    windows = Windows{{1}, {1}, {0}, {0}, {1}, {1}};
  }
  const Dims& shape = x.shape();
  const DType compared_as = compute_dtype(call.compute);
  const Conversion to_compared(x.dtype(), compared_as);
  Bits128 padding;
  with_type(compared_as, [&](auto tag) {
    const auto value = scalar_as<typename decltype(tag)::type>(init, compared_as);
    std::memcpy(&padding, &value, sizeof(value));
  });
  const Compared compared{windows, x, to_compared, &padding};
  const SelectFn select = select_fn<F>(compared_as);
  const Boxes boxes(windows, shape);
  const DType summed = compute_dtype(out.dtype());
  const bool apart = sums_apart(out.dtype());
  const Conversion to_sums(source.dtype(), summed);
  const Conversion to_result(summed, out.dtype());
  const Dims strides = contiguous_strides(shape);
  OUTRIGGER_CHECK(with_type(summed, [&](auto tag) -> Result<void> {
    using S = typename decltype(tag)::type;
    const std::int64_t room = apart ? boxes.elements() : 0;
    OUTRIGGER_TRY(
        const BufferPtr buffer,
        call.context.memory.allocate(
            static_cast<std::size_t>(boxes.at_work(call.context.threads) * room) * sizeof(S)));
    const Added<S> added{source, to_sums, scalar_as<S>(init, summed)};
    return looking_ranges(
        call.context, boxes.tasks(), 1, scatter_work(windows),
        [&](int thread, std::int64_t begin, std::int64_t end) {
          Look look(call.context.interrupt);
          for (std::int64_t task = begin; task < end; ++task) {
            const Box box(windows, shape, boxes, task);
            std::int64_t at = 0;
            for (std::size_t axis = 0; axis < shape.size(); ++axis)
              at += box.low[axis] * strides[axis];
            if (!apart) {
              if (!scatter_box<S>(compared, select, box, added, out.as<S>() + at, strides, look))
                return false;
              continue;
            }
            S* const sums = reinterpret_cast<S*>(buffer->data()) + thread * room;
            if (!scatter_box<S>(compared, select, box, added, sums, contiguous_strides(box.size),
                                look))
              return false;
            const auto width = static_cast<std::int64_t>(to_result.to_width());
            const auto store = [&](std::int64_t first, std::int64_t count) {
              for_each_run(
                  box.size, strides, first, count,
                  [&](std::int64_t position, std::int64_t offset, std::int64_t, std::int64_t n) {
                    to_result.run(sums + first + position, out.data() + (at + offset) * width, n);
                  });
            };
            if (!in_pieces(element_count(box.size), look, store)) return false;
          }
          return true;
        });
  }));
  return {};
}

std::uint64_t window_scatter_scratch(const ScratchCall& call) {
  const Dims& shape = call.out[0].shape;
  const auto windows = windows_of(shape, call.attrs);
  if (!windows || element_count(shape) == 0) return 0;
  const DType result = call.out[0].dtype;
  if (!sums_apart(result)) return buffer_bytes(0);
  const Boxes boxes(*windows, shape);
  return buffer_bytes(boxes.at_work(call.threads) * boxes.elements() *
                      static_cast<std::int64_t>(size_of(compute_dtype(result))));
}

OpRow scatter_row(std::string_view name, Result<void> (*run)(const RunCall&),
                  std::string_view doc) {
  return OpRow{.name = name,
               .family = "window",
               .kind = Kind::compute,
               .operands = {{"tensor"}, {"source"}, {"init_value"}},
               .attrs = window_attrs(false),
               .any_dtype = true,
               .real_only = true,
               .cost = Cost::quadratic,
               .infer = infer_window_scatter,
               .run = run,
               .scratch = window_scatter_scratch,
               .doc = doc};
}

}  // namespace

void add_scatter_rows(std::vector<OpRow>& rows) {
  rows.push_back(scatter_row(
      "window_scatter_max", run_window_scatter<GreaterEqual>,
      "A tensor that starts as the scalar `init_value`; each element of `source` is added at the "
      "place of the largest element of its window over `tensor`. The last one of equal elements in "
      "C order is taken, as in Nx; a NaN is taken only if it is the first element of the window. "
      "Padding counts as `init_value`, and is compared in its common dtype with the tensor; an "
      "element of `source` that belongs to the padding is dropped. `source` has one element for "
      "each window (`bad_shape`). The result has the tensor's shape, and the common dtype of "
      "`source` and `init_value`. Elements are added in the order of the windows."));
  rows.push_back(scatter_row("window_scatter_min", run_window_scatter<LessEqual>,
                             "`window_scatter_max` with the smallest element of each window."));
}

}  // namespace outrigger::ops
