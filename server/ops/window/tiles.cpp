#include "ops/window/tiles.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "ops/elementwise/kernels.hpp"

namespace outrigger::ops {
namespace {

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

/// The windows of one task along each axis, and the elements of a window that are reduced in one
/// step.
struct Blocks {
  Dims tile;
  Dims chunk;
};

/// The largest blocks whose elements fit the scratch. A tile stays longer than the overhang of its
/// windows, because the neighbouring tiles reduce the overhang again.
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
  while (elements() > static_cast<double>(window_scratch_elements)) {
    std::size_t tile_axis = rank;
    std::size_t chunk_axis = rank;
    double best = 0;
    for (std::size_t axis = 0; axis < rank; ++axis) {
      // Long rows are kept for the vector unit.
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

/// to[i] = from[i · stride].
void copy_strided(std::byte* to, const std::byte* from, std::size_t width, std::int64_t stride,
                  std::int64_t n) {
  if (stride == 1) {
    std::memcpy(to, from, static_cast<std::size_t>(n) * width);
    return;
  }
  with_width(width, [&](auto tag) {
    using T = typename decltype(tag)::type;
    auto* t = reinterpret_cast<T*>(to);
    const auto* f = reinterpret_cast<const T*>(from);
    for (std::int64_t i = 0; i < n; ++i) t[i] = f[i * stride];
  });
}

}  // namespace

RowCast::RowCast(DType from, DType to)
    : steps_(cast_steps(from, to)), from_width_(size_of(from)), to_width_(size_of(to)) {}

void RowCast::run(std::byte* to, const std::byte* from, std::int64_t stride, std::int64_t n) const {
  if (steps_.empty()) return copy_strided(to, from, to_width_, stride, n);
  constexpr std::int64_t block = 512;
  alignas(64) std::array<std::array<std::byte, block * 16>, 2> spaces;
  for (std::int64_t start = 0; start < n; start += block) {
    const std::int64_t m = std::min(block, n - start);
    const std::byte* at = from + start * stride * static_cast<std::int64_t>(from_width_);
    std::size_t next = 0;
    if (stride != 1) {
      copy_strided(spaces[next].data(), at, from_width_, stride, m);
      at = spaces[next].data();
      next = 1;
    }
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      std::byte* result = i + 1 == steps_.size() ? to + start * static_cast<std::int64_t>(to_width_)
                                                 : spaces.at(next).data();
      const std::array<const void*, 3> in{at, at, at};
      steps_[i].run(result, in.data(), m);
      at = result;
      next = 1 - next;
    }
  }
}

/// Runs along one axis: [length][inner] elements become [count][inner] results of `window` elements
/// each.
struct WindowTiles::Run {
  std::int64_t length, count, inner, window, stride, dilation;
};

WindowTiles::WindowTiles(const WindowReducer& reducer, const Windows& windows, const Tensor& x,
                         const Tensor& out)
    : reducer_(reducer),
      space_(merged_space(windows, x)),
      width_(size_of(reducer.accumulator)),
      x_(x),
      out_(out),
      lift_(x.dtype(), reducer.accumulator),
      lower_(reducer.accumulator, out.dtype()) {
  Blocks blocks = choose_blocks(space_.windows);
  tile_ = std::move(blocks.tile);
  chunk_ = std::move(blocks.chunk);
  for (std::size_t axis = 0; axis < rank(); ++axis) {
    tiles_.push_back((space_.windows.out[axis] + tile_[axis] - 1) / tile_[axis]);
  }
}

bool WindowTiles::task(std::int64_t index, std::byte* scratch, Look& look) const {
  Dims first(rank());
  Dims tile(rank());
  for (std::size_t axis = rank(); axis-- > 0; index /= tiles_[axis]) {
    first[axis] = index % tiles_[axis] * tile_[axis];
    tile[axis] = std::min(tile_[axis], space_.windows.out[axis] - first[axis]);
  }
  Dims inside_from(rank());
  Dims inside(rank());
  Dims chunk_count(rank());
  bool all_padding = false;
  for (std::size_t axis = 0; axis < rank(); ++axis) {
    inside[axis] = clip(axis, first[axis], tile[axis], inside_from[axis]);
    chunk_count[axis] = (inside[axis] + chunk_[axis] - 1) / chunk_[axis];
    all_padding = all_padding || inside[axis] == 0;
  }
  std::byte* total = at(scratch, 2 * window_scratch_elements);
  const std::int64_t n = element_count(tile);
  if (all_padding) {
    fill(total, n);
    store(first, tile, total);
    return true;
  }
  const std::int64_t chunks = element_count(chunk_count);
  for (std::int64_t c = 0; c < chunks; ++c) {
    if (!look.go_on(window_scratch_elements)) return false;
    Dims from = inside_from;
    Dims chunk(rank());
    std::int64_t rest = c;
    for (std::size_t axis = rank(); axis-- > 0; rest /= chunk_count[axis]) {
      const std::int64_t skipped = rest % chunk_count[axis] * chunk_[axis];
      from[axis] += skipped;
      chunk[axis] = std::min(chunk_[axis], inside[axis] - skipped);
    }
    const std::byte* part =
        reduce(first, tile, from, chunk, scratch, at(scratch, window_scratch_elements));
    if (chunks == 1) {
      store(first, tile, part);
      return true;
    }
    if (c == 0) {
      std::memcpy(total, part, static_cast<std::size_t>(n) * width_);
    } else {
      reducer_.combine(total, total, part, n, 1);
    }
  }
  store(first, tile, total);
  return true;
}

/// The number of elements that are outside of the padding in at least one of the windows [first,
/// first + count) along an axis; `from` is the first of them. A window may be much larger than the
/// operand.
std::int64_t WindowTiles::clip(std::size_t axis, std::int64_t first, std::int64_t count,
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

/// Reduces elements [from, from + chunk) of the windows [first, first + tile).
const std::byte* WindowTiles::reduce(const Dims& first, const Dims& tile, const Dims& from,
                                     const Dims& chunk, std::byte* a, std::byte* b) const {
  const Windows& windows = space_.windows;
  Dims length(rank());
  Dims start(rank());
  for (std::size_t axis = 0; axis < rank(); ++axis) {
    length[axis] =
        (tile[axis] - 1) * windows.strides[axis] + (chunk[axis] - 1) * windows.dilations[axis] + 1;
    start[axis] = windows.position(axis, first[axis], from[axis]);
  }
  load(start, length, a);
  for (std::size_t axis = 0; axis < rank(); ++axis) {
    if (chunk[axis] == 1 && windows.strides[axis] == 1) continue;
    std::int64_t outer = 1;
    Run run{length[axis],           tile[axis], 1, chunk[axis], windows.strides[axis],
            windows.dilations[axis]};
    for (std::size_t k = 0; k < axis; ++k) outer *= tile[k];
    for (std::size_t k = axis + 1; k < rank(); ++k) run.inner *= length[k];
    for (std::int64_t o = 0; o < outer; ++o)
      along(at(a, o * run.length * run.inner), at(b, o * run.count * run.inner), run);
    std::swap(a, b);
  }
  return a;
}

void WindowTiles::fill(std::byte* to, std::int64_t n) const {
  with_width(width_, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T identity;
    std::memcpy(&identity, reducer_.identity.data(), sizeof identity);
    std::fill_n(reinterpret_cast<T*>(to), n, identity);
  });
}

/// Copies a box that may reach into the padding.
void WindowTiles::load(const Dims& start, const Dims& length, std::byte* to) const {
  const std::size_t last = rank() - 1;
  const std::int64_t row = length[last];
  const std::int64_t rows = element_count(length) / row;
  const std::int64_t stride = space_.strides[last];
  const std::int64_t begin = std::clamp<std::int64_t>(-start[last], 0, row);
  const std::int64_t end = std::clamp<std::int64_t>(space_.dims[last] - start[last], begin, row);
  const auto width = static_cast<std::int64_t>(size_of(x_.dtype()));
  for (std::int64_t r = 0; r < rows; ++r, to = at(to, row)) {
    std::int64_t rest = r;
    std::int64_t from = (start[last] + begin) * stride;
    bool inside = true;
    for (std::size_t axis = last; axis-- > 0; rest /= length[axis]) {
      const std::int64_t position = start[axis] + rest % length[axis];
      inside = inside && position >= 0 && position < space_.dims[axis];
      from += position * space_.strides[axis];
    }
    if (!inside) {
      fill(to, row);
      continue;
    }
    fill(to, begin);
    lift_.run(at(to, begin), x_.data() + from * width, stride, end - begin);
    fill(at(to, end), row - end);
  }
}

void WindowTiles::combine_shifted(std::byte* to, const std::byte* from, std::int64_t shift,
                                  std::int64_t n) const {
  reducer_.combine(to, to, at(from, shift), n, 1);
}

/// Reduces runs along the first axis of [length][inner] to [count][inner]. Overwrites `x`.
void WindowTiles::along(std::byte* x, std::byte* to, const Run& run) const {
  // Doubling reduces windows at every position, also at those that a stride skips.
  const auto steps =
      2 * static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(run.window)));
  const std::int64_t ahead = run.dilation * run.inner;
  if (run.stride == 1 && run.window > 4) {
    double_up(x, to, run);
  } else if (run.stride == 1) {
    const std::int64_t n = run.count * run.inner;
    reducer_.combine(to, x, at(x, ahead), n, 1);
    for (std::int64_t w = 2; w < run.window; ++w) combine_shifted(to, x, w * ahead, n);
  } else if (run.window > run.stride * steps) {
    double_up(x, to, run);
    for (std::int64_t o = 1; o < run.count; ++o) {
      std::memmove(at(to, o * run.inner), at(to, o * run.stride * run.inner),
                   static_cast<std::size_t>(run.inner) * width_);
    }
  } else {
    along_strided(x, to, run);
  }
}

void WindowTiles::along_strided(const std::byte* x, std::byte* to, const Run& run) const {
  if (run.inner == 1) {
    copy_strided(to, x, width_, run.stride, run.count);
    for (std::int64_t w = 1; w < run.window; ++w)
      reducer_.combine(to, to, at(x, w * run.dilation), run.count, run.stride);
    return;
  }
  for (std::int64_t o = 0; o < run.count; ++o) {
    const std::byte* from = at(x, o * run.stride * run.inner);
    std::byte* row = at(to, o * run.inner);
    std::memcpy(row, from, static_cast<std::size_t>(run.inner) * width_);
    for (std::int64_t w = 1; w < run.window; ++w)
      combine_shifted(row, from, w * run.dilation * run.inner, run.inner);
  }
}

/// to[i] = the reduction of the window elements from x[i] on, `dilation` rows apart, for each i for
/// which they fit. x holds runs of 1, 2, 4, … elements; `to` combines the runs of the binary digits
/// of the window's length.
void WindowTiles::double_up(std::byte* x, std::byte* to, const Run& run) const {
  const std::int64_t ahead = run.dilation * run.inner;
  const std::int64_t n = run.length * run.inner - (run.window - 1) * ahead;
  std::int64_t taken = 0;
  for (std::int64_t size = 1;; size *= 2) {
    if ((run.window & size) != 0) {
      if (taken == 0) {
        std::memcpy(to, x, static_cast<std::size_t>(n) * width_);
      } else {
        combine_shifted(to, x, taken * ahead, n);
      }
      taken += size;
    }
    if (taken == run.window) return;
    combine_shifted(x, x, size * ahead, run.length * run.inner - (2 * size - 1) * ahead);
  }
}

void WindowTiles::store(const Dims& first, const Dims& tile, const std::byte* from) const {
  const std::size_t last = rank() - 1;
  const Dims strides = contiguous_strides(space_.windows.out);
  const std::int64_t row = tile[last];
  const std::int64_t rows = element_count(tile) / row;
  const auto width = static_cast<std::int64_t>(size_of(out_.dtype()));
  for (std::int64_t r = 0; r < rows; ++r, from = at(from, row)) {
    std::int64_t to = first[last];
    std::int64_t rest = r;
    for (std::size_t axis = last; axis-- > 0; rest /= tile[axis])
      to += (first[axis] + rest % tile[axis]) * strides[axis];
    lower_.run(out_.data() + to * width, from, 1, row);
  }
}

}  // namespace outrigger::ops
