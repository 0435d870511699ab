#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "base/limits.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::ops {

/// Visits elements [start, start + n) of a strided window in C order, as runs along its last axis.
/// Calls f(position in the walk, element offset, stride, length of the run).
template <typename F>
void for_each_run(std::span<const std::int64_t> dims, std::span<const std::int64_t> strides,
                  std::int64_t start, std::int64_t n, F&& f) {
  if (n <= 0) return;
  const std::size_t rank = dims.size();
  if (rank == 0) {
    f(std::int64_t{0}, std::int64_t{0}, std::int64_t{0}, n);
    return;
  }
  std::array<std::int64_t, Limits::rank_max> index{};
  std::int64_t offset = 0;
  std::int64_t rest = start;
  for (std::size_t axis = rank; axis-- > 0;) {
    index[axis] = rest % dims[axis];
    rest /= dims[axis];
    offset += index[axis] * strides[axis];
  }
  const std::size_t last = rank - 1;
  std::int64_t position = 0;
  while (true) {
    const std::int64_t length = std::min(dims[last] - index[last], n - position);
    f(position, offset, strides[last], length);
    position += length;
    if (position == n) return;
    offset -= index[last] * strides[last];
    index[last] = 0;
    for (std::size_t axis = last; axis-- > 0;) {
      offset += strides[axis];
      if (++index[axis] < dims[axis]) break;
      offset -= dims[axis] * strides[axis];
      index[axis] = 0;
    }
  }
}

/// Gathers elements [start, start + n) of the window at `base` into `out`.
template <typename T>
void gather_tile(T* out, const T* base, std::span<const std::int64_t> dims,
                 std::span<const std::int64_t> strides, std::int64_t start, std::int64_t n) {
  for_each_run(
      dims, strides, start, n,
      [&](std::int64_t position, std::int64_t offset, std::int64_t stride, std::int64_t length) {
        T* to = out + position;
        const T* from = base + offset;
        if (stride == 1) {
          std::memcpy(to, from, static_cast<std::size_t>(length) * sizeof(T));
        } else if (stride == 0) {
          std::fill_n(to, length, *from);
        } else {
          for (std::int64_t i = 0; i < length; ++i) to[i] = from[i * stride];
        }
      });
}

/// The reverse of gather_tile: writes `in` to elements [start, start + n) of the window at `base`.
template <typename T>
void scatter_tile(const T* in, T* base, std::span<const std::int64_t> dims,
                  std::span<const std::int64_t> strides, std::int64_t start, std::int64_t n) {
  for_each_run(
      dims, strides, start, n,
      [&](std::int64_t position, std::int64_t offset, std::int64_t stride, std::int64_t length) {
        const T* from = in + position;
        T* to = base + offset;
        if (stride == 1) {
          std::memcpy(to, from, static_cast<std::size_t>(length) * sizeof(T));
        } else {
          for (std::int64_t i = 0; i < length; ++i) to[i * stride] = from[i];
        }
      });
}

/// Merges neighbouring axes of an iteration space that act as one axis for every operand, and drops
/// axes of size 1. `strides` has one row for each operand, each as long as dims.
void collapse(Dims& dims, std::span<Dims> strides);

/// The axes of a tensor, or some of them, merged to the fewest axes.
struct WalkedAxes {
  WalkedAxes() = default;
  WalkedAxes(Dims of, Dims by) : dims(std::move(of)), strides(std::move(by)) {
    count = element_count(dims);
    if (count > 0) collapse(dims, std::span(&strides, 1));
  }

  /// True if the elements are adjacent.
  bool together() const { return dims.empty() || (dims.size() == 1 && strides[0] == 1); }

  /// The offset of the element at a position in C order.
  std::int64_t offset(std::int64_t position) const {
    std::int64_t sum = 0;
    for (std::size_t axis = dims.size(); axis-- > 1; position /= dims[axis])
      sum += position % dims[axis] * strides[axis];
    return dims.empty() ? 0 : sum + position * strides[0];
  }

  Dims dims, strides;
  std::int64_t count = 1;
};

/// The axes of a tensor except one.
inline WalkedAxes axes_but(const Tensor& tensor, std::size_t axis) {
  Dims dims, strides;
  for (std::size_t other = 0; other < tensor.shape().size(); ++other) {
    if (other == axis) continue;
    dims.push_back(tensor.shape()[other]);
    strides.push_back(tensor.strides[other]);
  }
  return WalkedAxes(std::move(dims), std::move(strides));
}

/// Calls f(elements, first, n) for elements [begin, end) of a line. The elements have `width` bytes
/// and a distance of `step` elements. There is one call if the elements are adjacent; otherwise f
/// gets copies of some of them at a time.
template <typename F>
void for_each_piece(const std::byte* line, std::int64_t width, std::int64_t step,
                    std::int64_t begin, std::int64_t end, F&& f) {
  if (step == 1) return f(line + begin * width, begin, end - begin);
  constexpr std::int64_t piece = 256;
  with_width(static_cast<std::size_t>(width), [&](auto tag) {
    using T = typename decltype(tag)::type;
    std::array<T, piece> copy;
    for (std::int64_t first = begin; first < end; first += piece) {
      const std::int64_t n = std::min(piece, end - first);
      const T* from = reinterpret_cast<const T*>(line) + first * step;
      for (std::int64_t i = 0; i < n; ++i) copy[static_cast<std::size_t>(i)] = from[i * step];
      f(reinterpret_cast<const std::byte*>(copy.data()), first, n);
    }
  });
}

}  // namespace outrigger::ops
