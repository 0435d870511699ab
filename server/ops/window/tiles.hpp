#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "ops/cast/cast.hpp"
#include "ops/support/look.hpp"
#include "ops/window/windows.hpp"
#include "tensor/tensor.hpp"

// Windows are boxes, and all reducers here are associative. A box is reduced axis by axis, and
// along an axis by doubling: runs of 1, 2, 4, … elements are combined to the window's length. A
// window of w × h elements therefore costs about log w + log h combinations instead of w × h. Tiles
// of windows are reduced in scratch that stays in the L2 cache. Only the innermost loops depend on
// types.

namespace outrigger::ops {

/// The accumulators of one scratch buffer, and the buffers of a thread.
inline constexpr std::int64_t window_scratch_elements = std::int64_t{1} << 15;
inline constexpr std::int64_t window_scratch_buffers = 3;

/// to[i] = a[i] ⊕ b[i · step] for i < n. `to` may be `a`, and b may be ahead of it in the same
/// memory.
using CombineFn = void (*)(void* to, const void* a, const void* b, std::int64_t n,
                           std::int64_t step);

/// The reduction of windows of one dtype.
struct WindowReducer {
  CombineFn combine = nullptr;
  DType accumulator = DType::f64;
  /// The value of the padding, as an accumulator.
  std::array<std::byte, 16> identity{};
};

/// A chain of casts for a row of elements, tile by tile.
class RowCast {
 public:
  RowCast(DType from, DType to);
  /// Casts n elements of `from`, `stride` apart, to n adjacent elements.
  void run(std::byte* to, const std::byte* from, std::int64_t stride, std::int64_t n) const;

 private:
  CastSteps steps_;
  std::size_t from_width_;
  std::size_t to_width_;
};

/// The windows of one operand, with neighbouring axes merged where that is possible.
struct Space {
  Windows windows;
  Dims dims;
  Dims strides;
};

/// Reduces windows, tile by tile.
class WindowTiles {
 public:
  /// `out` is in C order. All arguments must outlive this object.
  WindowTiles(const WindowReducer& reducer, const Windows& windows, const Tensor& x,
              const Tensor& out);

  std::int64_t tasks() const { return element_count(tiles_); }
  /// Bytes of the scratch of a task.
  static std::int64_t scratch_bytes(DType accumulator) {
    return window_scratch_buffers * window_scratch_elements *
           static_cast<std::int64_t>(size_of(accumulator));
  }
  /// Returns false if it was interrupted: a window may be as large as its operand.
  bool task(std::int64_t index, std::byte* scratch, Look& look) const;

 private:
  struct Run;

  std::size_t rank() const { return space_.dims.size(); }
  std::byte* at(std::byte* base, std::int64_t elements) const {
    return base + elements * static_cast<std::int64_t>(width_);
  }
  const std::byte* at(const std::byte* base, std::int64_t elements) const {
    return base + elements * static_cast<std::int64_t>(width_);
  }
  std::int64_t clip(std::size_t axis, std::int64_t first, std::int64_t count,
                    std::int64_t& from) const;
  const std::byte* reduce(const Dims& first, const Dims& tile, const Dims& from, const Dims& chunk,
                          std::byte* a, std::byte* b) const;
  void load(const Dims& start, const Dims& length, std::byte* to) const;
  void fill(std::byte* to, std::int64_t n) const;
  void combine_shifted(std::byte* to, const std::byte* from, std::int64_t shift,
                       std::int64_t n) const;
  void along(std::byte* x, std::byte* to, const Run& run) const;
  void along_strided(const std::byte* x, std::byte* to, const Run& run) const;
  void double_up(std::byte* x, std::byte* to, const Run& run) const;
  void store(const Dims& first, const Dims& tile, const std::byte* from) const;

  const WindowReducer& reducer_;
  Space space_;
  std::size_t width_;  ///< bytes of an accumulator
  Dims tile_, chunk_;  ///< windows of a task, and elements of a window that are reduced in one step
  Dims tiles_;
  const Tensor& x_;
  const Tensor& out_;
  RowCast lift_;
  RowCast lower_;
};

}  // namespace outrigger::ops
