#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "ops/support/context.hpp"
#include "ops/support/strided.hpp"
#include "ops/support/transpose.hpp"

namespace outrigger::ops {

/// A tensor and a result of the same shape as lines along an axis, with any strides. Offsets,
/// strides and steps are in elements.
struct Lines {
  Lines(const Tensor& tensor_from, const Tensor& tensor_to, std::size_t axis)
      : n(tensor_from.shape()[axis]),
        from_step(n == 1 ? 1 : tensor_from.strides[axis]),
        to_step(n == 1 ? 1 : tensor_to.strides[axis]) {
    for (std::size_t other = 0; other < tensor_from.shape().size(); ++other) {
      if (other == axis) continue;
      dims.push_back(tensor_from.shape()[other]);
      from.push_back(tensor_from.strides[other]);
      to.push_back(tensor_to.strides[other]);
    }
    count = n == 0 ? 0 : element_count(dims);
    if (count == 0) return;
    std::array<Dims, 2> strides{from, to};
    collapse(dims, strides);
    from = strides[0];
    to = strides[1];
  }

  bool apart() const { return from_step != 1 || to_step != 1; }
  std::int64_t per_block(int threads) const;

  std::int64_t n;          ///< elements of a line
  std::int64_t from_step;  ///< elements from one to the next
  std::int64_t to_step;
  std::int64_t count;  ///< number of lines
  Dims dims;           ///< sizes of the other axes
  Dims from, to;       ///< strides of the other axes
};

/// Adjacent lines.
struct LineBlock {
  std::int64_t from = 0, to = 0;                ///< offsets of the first one
  std::int64_t from_stride = 0, to_stride = 0;  ///< distance between lines
  std::int64_t count = 1;
};

/// The approximate number of elements of a block of lines.
inline constexpr std::int64_t block_elements = std::int64_t{1} << 16;

/// The number of lines of a block. If the elements of a line are not adjacent, a block has several
/// lines, because they share cache lines. There are enough blocks for all threads.
inline std::int64_t lines_per_block(std::int64_t n, std::int64_t count, bool apart, int threads) {
  const std::int64_t length = std::max<std::int64_t>(1, n);
  const std::int64_t few = apart ? std::min<std::int64_t>(16, 4 * block_elements / length) : 1;
  const std::int64_t wanted = std::max({std::int64_t{1}, block_elements / length, few});
  return std::min(wanted, (count + threads - 1) / threads);
}

inline std::int64_t Lines::per_block(int threads) const {
  return lines_per_block(n, count, apart(), threads);
}

/// Calls f(thread, block) for all lines; `work` as in parallel_for. Errors: cancelled,
/// deadline_exceeded.
template <typename F>
Result<void> for_each_block(const Context& context, const Lines& lines, std::int64_t work, F&& f) {
  if (lines.count == 0) return {};
  const bool single = lines.dims.empty();
  const std::size_t last = single ? 0 : lines.dims.size() - 1;
  const std::int64_t beside = single ? 1 : lines.dims[last];
  const std::int64_t per_block = std::min(lines.per_block(context.threads), beside);
  const std::int64_t blocks = (beside + per_block - 1) / per_block;
  const std::int64_t grain = std::max<std::int64_t>(1, block_elements / (per_block * lines.n));
  return parallel_ranges(context, lines.count / beside * blocks, grain, work,
                         [&](int thread, std::int64_t begin, std::int64_t end) {
                           for (std::int64_t task = begin; task < end; ++task) {
                             const std::int64_t first = task % blocks * per_block;
                             LineBlock block;
                             block.count = std::min(per_block, beside - first);
                             if (!single) {
                               block.from_stride = lines.from[last];
                               block.to_stride = lines.to[last];
                             }
                             block.from = first * block.from_stride;
                             block.to = first * block.to_stride;
                             std::int64_t rest = task / blocks;
                             for (std::size_t axis = last; axis-- > 0; rest /= lines.dims[axis]) {
                               block.from += rest % lines.dims[axis] * lines.from[axis];
                               block.to += rest % lines.dims[axis] * lines.to[axis];
                             }
                             f(thread, block);
                           }
                         });
}

/// The elements that are transposed in one step, so that their cache lines are still in the cache
/// for the next line.
inline constexpr std::int64_t turned_at_once = 128;

/// Copies `count` lines of n elements to consecutive memory.
template <typename T>
void gather_lines(const T* from, std::int64_t stride, std::int64_t step, std::int64_t count,
                  std::int64_t n, T* to) {
  if (stride != 1) {
    const std::array<std::int64_t, 2> dims{count, n};
    const std::array<std::int64_t, 2> strides{stride, step};
    return gather_tile(to, from, dims, strides, 0, count * n);
  }
  for (std::int64_t i = 0; i < n; i += turned_at_once)
    transpose(to + i, n, from + i * step, step, std::min(turned_at_once, n - i), count);
}

/// The reverse of gather_lines.
template <typename T>
void scatter_lines(const T* from, std::int64_t count, std::int64_t n, T* to, std::int64_t stride,
                   std::int64_t step) {
  if (stride != 1) {
    const std::array<std::int64_t, 2> dims{count, n};
    const std::array<std::int64_t, 2> strides{stride, step};
    return scatter_tile(from, to, dims, strides, 0, count * n);
  }
  for (std::int64_t i = 0; i < n; i += turned_at_once)
    transpose(to + i * step, step, from + i, n, count, std::min(turned_at_once, n - i));
}

}  // namespace outrigger::ops
