#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/limits.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::ops {

/// Walks the elements [start, start + n) of a strided window in C order, as runs along its last
/// axis: f(position in the walk, element offset, stride, length of the run).
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

/// The reverse: scatters `in` to elements [start, start + n) of the window at `base`.
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

/// Merges neighbouring axes of an iteration space that every operand walks as if they were one, and
/// drops axes of size 1. `strides` holds one row per operand, each as long as dims.
void collapse(Dims& dims, std::span<Dims> strides);

}  // namespace outrigger::ops
