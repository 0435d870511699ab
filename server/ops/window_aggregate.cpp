#include <algorithm>
#include <bit>
#include <type_traits>
#include <utility>

#include "ops/catalogue.hpp"
#include "ops/kernels.hpp"
#include "ops/reducers.hpp"
#include "ops/scratch.hpp"
#include "ops/windows.hpp"

// Windows are boxes, and every reducer here is associative: a box is reduced axis by axis, and
// along an axis by doubling (runs of 1, 2, 4, … elements put together to the window's length), so
// that a window of w × h elements costs about log w + log h combinations and not w × h. Tiles of
// windows are worked on in scratch that stays in the L2 cache.

namespace outrigger::ops {
namespace {

/// Accumulators of one scratch buffer.
constexpr std::int64_t scratch_elements = std::int64_t{1} << 15;
constexpr std::int64_t scratch_buffers = 3;

/// One operand's windows with neighbouring axes merged where they can be.
struct Space {
  Windows windows;
  Dims dims;
  Dims strides;
};

Space merged_space(const Windows& windows, const Tensor& x) {
  Space space;
  const auto plain = [&](std::size_t axis) {
    return windows.window[axis] == 1 && windows.strides[axis] == 1 && windows.low[axis] == 0 &&
           windows.high[axis] == 0;
  };
  bool last_plain = false;
  Windows& to = space.windows;
  for (std::size_t axis = 0; axis < x.shape().size(); ++axis) {
    if (last_plain && plain(axis) && space.strides.back() == x.strides[axis] * x.shape()[axis]) {
      space.dims.back() *= x.shape()[axis];
      space.strides.back() = x.strides[axis];
      to.out.back() *= windows.out[axis];
      continue;
    }
    last_plain = plain(axis);
    space.dims.push_back(x.shape()[axis]);
    space.strides.push_back(x.strides[axis]);
    to.window.push_back(windows.window[axis]);
    to.strides.push_back(windows.strides[axis]);
    to.low.push_back(windows.low[axis]);
    to.high.push_back(windows.high[axis]);
    to.dilations.push_back(windows.dilations[axis]);
    to.out.push_back(windows.out[axis]);
  }
  if (space.dims.empty()) {
    space.dims = space.strides = {1};
    space.windows = Windows{{1}, {1}, {0}, {0}, {1}, {1}};
  }
  return space;
}

/// Windows of one task along each axis, and elements of a window that are reduced at a time.
struct Blocks {
  Dims tile;
  Dims chunk;
};

/// The largest blocks whose elements fit the scratch. A tile is kept longer than the part of the
/// window that hangs over it: what hangs over is reduced again by the neighbours.
Blocks choose_blocks(const Windows& windows) {
  Blocks blocks{windows.out, windows.window};
  const std::size_t rank = blocks.tile.size();
  const auto overhang = [&](std::size_t axis) {
    return (blocks.chunk[axis] - 1) * windows.dilations[axis];
  };
  const auto elements = [&] {
    double count = 1;
    for (std::size_t axis = 0; axis < rank; ++axis) {
      count *=
          static_cast<double>((blocks.tile[axis] - 1) * windows.strides[axis] + overhang(axis) + 1);
    }
    return count;
  };
  while (elements() > static_cast<double>(scratch_elements)) {
    std::size_t tile_axis = rank;
    std::size_t chunk_axis = rank;
    double best = 0;
    for (std::size_t axis = 0; axis < rank; ++axis) {
      // Long rows are worth keeping, for the vector unit.
      const std::int64_t hang = std::max<std::int64_t>(overhang(axis), axis + 1 == rank ? 255 : 1);
      const double ratio = static_cast<double>(blocks.tile[axis]) *
                           static_cast<double>(windows.strides[axis]) / static_cast<double>(hang);
      if (blocks.tile[axis] > 1 && ratio > best) {
        best = ratio;
        tile_axis = axis;
      }
      if (blocks.chunk[axis] > 1 && (chunk_axis == rank || overhang(axis) > overhang(chunk_axis))) {
        chunk_axis = axis;
      }
    }
    std::int64_t& cut = tile_axis < rank && (best >= 1 || chunk_axis == rank)
                            ? blocks.tile[tile_axis]
                            : blocks.chunk[chunk_axis];
    cut = (cut + 1) / 2;
  }
  return blocks;
}

/// Out is T, or f64 where the result is to be rounded to a smaller float afterwards.
template <typename R, typename T, typename Out>
class WindowKernel {
 public:
  using A = typename R::Accumulator;

  WindowKernel(const Space& space, const T* in, Out* out)
      : space_(space),
        blocks_(choose_blocks(space.windows)),
        in_(in),
        out_(out),
        out_strides_(contiguous_strides(space.windows.out)) {
    for (std::size_t axis = 0; axis < rank(); ++axis) {
      tiles_.push_back((space.windows.out[axis] + blocks_.tile[axis] - 1) / blocks_.tile[axis]);
    }
  }

  std::int64_t tasks() const { return element_count(tiles_); }

  /// `scratch`: scratch_buffers × scratch_elements accumulators.
  void task(std::int64_t index, A* scratch) const {
    Dims first(rank());
    Dims tile(rank());
    for (std::size_t axis = rank(); axis-- > 0; index /= tiles_[axis]) {
      first[axis] = index % tiles_[axis] * blocks_.tile[axis];
      tile[axis] = std::min(blocks_.tile[axis], space_.windows.out[axis] - first[axis]);
    }
    Dims inside_from(rank());
    Dims inside(rank());
    Dims chunk_count(rank());
    bool all_padding = false;
    for (std::size_t axis = 0; axis < rank(); ++axis) {
      inside[axis] = clip(axis, first[axis], tile[axis], inside_from[axis]);
      chunk_count[axis] = (inside[axis] + blocks_.chunk[axis] - 1) / blocks_.chunk[axis];
      all_padding = all_padding || inside[axis] == 0;
    }
    A* total = scratch + 2 * scratch_elements;
    if (all_padding) {
      std::fill_n(total, element_count(tile), R::identity);
      store(first, tile, total);
      return;
    }
    const std::int64_t chunks = element_count(chunk_count);
    for (std::int64_t c = 0; c < chunks; ++c) {
      Dims from = inside_from;
      Dims chunk(rank());
      std::int64_t rest = c;
      for (std::size_t axis = rank(); axis-- > 0; rest /= chunk_count[axis]) {
        const std::int64_t skipped = rest % chunk_count[axis] * blocks_.chunk[axis];
        from[axis] += skipped;
        chunk[axis] = std::min(blocks_.chunk[axis], inside[axis] - skipped);
      }
      const A* part = reduce(first, tile, from, chunk, scratch, scratch + scratch_elements);
      if (chunks == 1) {
        store(first, tile, part);
        return;
      }
      const std::int64_t n = element_count(tile);
      OUTRIGGER_INDEPENDENT
      for (std::int64_t i = 0; i < n; ++i)
        total[i] = c == 0 ? part[i] : R::combine(total[i], part[i]);
    }
    store(first, tile, total);
  }

 private:
  std::size_t rank() const { return space_.dims.size(); }

  /// How many elements of the windows [first, first + count) along an axis are outside of the
  /// padding for at least one of them; they begin at `from`. A window may be far larger than what
  /// it lies on.
  std::int64_t clip(std::size_t axis, std::int64_t first, std::int64_t count,
                    std::int64_t& from) const {
    const Windows& windows = space_.windows;
    const std::int64_t dilation = windows.dilations[axis];
    const std::int64_t before = -windows.position(axis, first + count - 1, 0);
    const std::int64_t end = space_.dims[axis] - windows.position(axis, first, 0);
    from = before <= 0 ? 0 : std::min((before + dilation - 1) / dilation, windows.window[axis]);
    const std::int64_t to =
        end <= 0 ? 0 : std::min((end + dilation - 1) / dilation, windows.window[axis]);
    return std::max<std::int64_t>(0, to - from);
  }

  /// Elements [from, from + chunk) of the windows [first, first + tile), reduced.
  const A* reduce(const Dims& first, const Dims& tile, const Dims& from, const Dims& chunk, A* a,
                  A* b) const {
    const Windows& windows = space_.windows;
    Dims length(rank());
    Dims start(rank());
    for (std::size_t axis = 0; axis < rank(); ++axis) {
      length[axis] = (tile[axis] - 1) * windows.strides[axis] +
                     (chunk[axis] - 1) * windows.dilations[axis] + 1;
      start[axis] = windows.position(axis, first[axis], from[axis]);
    }
    load(start, length, a);
    for (std::size_t axis = 0; axis < rank(); ++axis) {
      if (chunk[axis] == 1 && windows.strides[axis] == 1) continue;
      std::int64_t outer = 1;
      std::int64_t inner = 1;
      for (std::size_t k = 0; k < axis; ++k) outer *= tile[k];
      for (std::size_t k = axis + 1; k < rank(); ++k) inner *= length[k];
      for (std::int64_t o = 0; o < outer; ++o) {
        along(a + o * length[axis] * inner, b + o * tile[axis] * inner, length[axis], tile[axis],
              inner, chunk[axis], windows.strides[axis], windows.dilations[axis]);
      }
      std::swap(a, b);
    }
    return a;
  }

  /// Copies a box that may reach into the padding.
  void load(const Dims& start, const Dims& length, A* to) const {
    const std::size_t last = rank() - 1;
    const std::int64_t row = length[last];
    const std::int64_t rows = element_count(length) / row;
    const std::int64_t stride = space_.strides[last];
    const std::int64_t begin = std::clamp<std::int64_t>(-start[last], 0, row);
    const std::int64_t end = std::clamp<std::int64_t>(space_.dims[last] - start[last], begin, row);
    for (std::int64_t r = 0; r < rows; ++r, to += row) {
      std::int64_t rest = r;
      const T* from = in_ + start[last] * stride;
      bool inside = true;
      for (std::size_t axis = last; axis-- > 0; rest /= length[axis]) {
        const std::int64_t position = start[axis] + rest % length[axis];
        inside = inside && position >= 0 && position < space_.dims[axis];
        from += position * space_.strides[axis];
      }
      if (!inside) {
        std::fill_n(to, row, R::identity);
        continue;
      }
      std::fill_n(to, begin, R::identity);
      if (stride == 1) {
        OUTRIGGER_INDEPENDENT
        for (std::int64_t i = begin; i < end; ++i) to[i] = R::lift(from[i]);
      } else {
        for (std::int64_t i = begin; i < end; ++i) to[i] = R::lift(from[i * stride]);
      }
      std::fill_n(to + end, row - end, R::identity);
    }
  }

  static void combine_shifted(A* to, const A* from, std::int64_t shift, std::int64_t n) {
    OUTRIGGER_INDEPENDENT
    for (std::int64_t i = 0; i < n; ++i) to[i] = R::combine(to[i], from[i + shift]);
  }

  /// Reduces runs along the first axis of [length][inner] to [count][inner]. Overwrites `x`.
  static void along(A* x, A* to, std::int64_t length, std::int64_t count, std::int64_t inner,
                    std::int64_t window, std::int64_t stride, std::int64_t dilation) {
    // Doubling reduces windows at every position, also those that a stride leaves out.
    const auto steps =
        2 * static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(window)));
    if (stride == 1 && window > 4) {
      double_up(x, to, length, inner, window, dilation);
    } else if (stride == 1) {
      const std::int64_t n = count * inner;
      OUTRIGGER_INDEPENDENT
      for (std::int64_t i = 0; i < n; ++i) to[i] = R::combine(x[i], x[i + dilation * inner]);
      for (std::int64_t w = 2; w < window; ++w) combine_shifted(to, x, w * dilation * inner, n);
    } else if (window > stride * steps) {
      double_up(x, to, length, inner, window, dilation);
      for (std::int64_t o = 1; o < count; ++o) {
        std::copy_n(to + o * stride * inner, inner, to + o * inner);
      }
    } else if (inner == 1) {
      for (std::int64_t o = 0; o < count; ++o) to[o] = x[o * stride];
      for (std::int64_t w = 1; w < window; ++w) {
        const A* from = x + w * dilation;
        OUTRIGGER_INDEPENDENT
        for (std::int64_t o = 0; o < count; ++o) to[o] = R::combine(to[o], from[o * stride]);
      }
    } else {
      for (std::int64_t o = 0; o < count; ++o) {
        const A* from = x + o * stride * inner;
        std::copy_n(from, inner, to + o * inner);
        for (std::int64_t w = 1; w < window; ++w) {
          combine_shifted(to + o * inner, from, w * dilation * inner, inner);
        }
      }
    }
  }

  /// to[i] = window elements from x[i] on, `dilation` rows apart, for each i where they fit.
  /// x holds runs of 1, 2, 4, … elements; `to` puts together those of the window's binary digits.
  static void double_up(A* x, A* to, std::int64_t length, std::int64_t inner, std::int64_t window,
                        std::int64_t dilation) {
    const std::int64_t n = (length - (window - 1) * dilation) * inner;
    std::int64_t taken = 0;
    for (std::int64_t run = 1;; run *= 2) {
      if ((window & run) != 0) {
        if (taken == 0) {
          std::copy_n(x, n, to);
        } else {
          combine_shifted(to, x, taken * dilation * inner, n);
        }
        taken += run;
      }
      if (taken == window) return;
      const std::int64_t valid = (length - (2 * run - 1) * dilation) * inner;
      combine_shifted(x, x, run * dilation * inner, valid);
    }
  }

  void store(const Dims& first, const Dims& tile, const A* from) const {
    const std::size_t last = rank() - 1;
    const std::int64_t row = tile[last];
    const std::int64_t rows = element_count(tile) / row;
    for (std::int64_t r = 0; r < rows; ++r, from += row) {
      Out* to = out_ + first[last];
      std::int64_t rest = r;
      for (std::size_t axis = last; axis-- > 0; rest /= tile[axis]) {
        to += (first[axis] + rest % tile[axis]) * out_strides_[axis];
      }
      OUTRIGGER_INDEPENDENT
      for (std::int64_t i = 0; i < row; ++i) to[i] = static_cast<Out>(from[i]);
    }
  }

  const Space& space_;
  Blocks blocks_;
  const T* in_;
  Out* out_;
  Dims out_strides_;
  Dims tiles_;
};

Result<Inferred> infer_window(const InferCall& call) {
  const TensorType& from = call.type(0);
  OUTRIGGER_TRY(const Windows windows, windows_of(from.shape, call.attrs));
  Inferred inferred;
  inferred.operands = {from.dtype};
  inferred.results.push_back(TensorType{from.dtype, windows.out});
  return inferred;
}

template <typename R, typename T, typename Out>
Result<void> run_kernel(const RunCall& call, const Space& space) {
  using Kernel = WindowKernel<R, T, Out>;
  using A = typename Kernel::A;
  const Kernel kernel(space, call.in[0].as<T>(), call.out[0].as<Out>());
  constexpr std::int64_t per_thread = scratch_buffers * scratch_elements;
  OUTRIGGER_TRY(
      const BufferPtr scratch,
      call.context.memory.allocate(static_cast<std::size_t>(per_thread) *
                                   static_cast<std::size_t>(call.context.threads) * sizeof(A)));
  auto* base = reinterpret_cast<A*>(scratch->data());
  return parallel_ranges(call.context, kernel.tasks(), 1, call.out[0].size() + call.in[0].size(),
                         [&](int thread, std::int64_t begin, std::int64_t end) {
                           for (std::int64_t task = begin; task < end; ++task)
                             kernel.task(task, base + thread * per_thread);
                         });
}

/// The order of the elements decides: complex numbers have none.
template <template <typename> typename R>
Result<void> run_extremum(const RunCall& call) {
  const Tensor& x = call.in[0];
  OUTRIGGER_TRY(const Windows windows, windows_of(x.shape(), call.attrs));
  const Space space = merged_space(windows, x);
  return with_type(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    return run_kernel<R<T>, T, T>(call, space);
  });
}

template <template <typename> typename R>
Result<void> run_aggregate(const RunCall& call) {
  const Tensor& x = call.in[0];
  OUTRIGGER_TRY(const Windows windows, windows_of(x.shape(), call.attrs));
  const Space space = merged_space(windows, x);
  const auto run = [&](auto tag) -> Result<void> {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<T, float>) {
      if (call.out[0].dtype() == DType::f64) return run_kernel<R<T>, T, double>(call, space);
    }
    return run_kernel<R<T>, T, T>(call, space);
  };
  return is_complex(x.dtype()) ? with_complex_type(x.dtype(), run) : with_type(x.dtype(), run);
}

/// Accumulators are no wider than f64, or c128.
std::uint64_t window_scratch(const ScratchCall& call) {
  const std::int64_t width = is_complex(call.out[0].dtype) ? 16 : 8;
  return buffer_bytes(scratch_buffers * scratch_elements * width * call.threads);
}

OpRow window_row(std::string_view name, Result<void> (*run)(const RunCall&), bool aggregate,
                 std::string_view doc) {
  return OpRow{.name = name,
               .family = "window",
               .kind = Kind::compute,
               .operands = {{"tensor"}},
               .attrs = window_attrs(true),
               .complex = aggregate,
               .small_float_result = aggregate ? DType::f64 : DType::f32,
               .infer = infer_window,
               .run = run,
               .scratch = window_scratch,
               .doc = doc};
}

}  // namespace

void register_window(std::vector<OpRow>& rows) {
  rows.push_back(window_row(
      "window_sum", run_aggregate<Sum>, true,
      "Sum over each window; padding counts as 0. The dtype stays: integers wrap around, floats "
      "are "
      "added up in f64 and rounded once. Axes are reduced one after the other, each by doubling; "
      "the order does not depend on the number of threads. No window fits: `bad_shape`."));
  rows.push_back(
      window_row("window_product", run_aggregate<Product>, true,
                 "Product over each window; padding counts as 1. The dtype stays: integers wrap "
                 "around, floats "
                 "are multiplied in f64 and rounded once. No window fits: `bad_shape`."));
  rows.push_back(window_row(
      "window_max", run_extremum<Maximum>, false,
      "Largest element of each window; NaN if there is one. Padding counts as -infinity or the "
      "smallest integer. No window fits: `bad_shape`."));
  rows.push_back(window_row(
      "window_min", run_extremum<Minimum>, false,
      "Smallest element of each window; NaN if there is one. Padding counts as infinity or the "
      "largest integer. No window fits: `bad_shape`."));
}

}  // namespace outrigger::ops
