#pragma once

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <span>

#include "ops/pass/pass.hpp"
#include "ops/window/windows.hpp"

namespace outrigger::ops {

// The parts of a fold: the region on tiles, and its source of elements.

/// The number of consecutive elements of one result that are read together, if the elements of
/// neighbouring results are not adjacent. Such elements share cache lines.
inline constexpr std::int64_t taps_together = 16;
inline constexpr std::int64_t apart_tile = tile_size / 4;
/// Calls a lifted region on tiles, with the scratch of one thread.
class TileFunction {
 public:
  static std::size_t scratch_bytes(const Pass& pass) {
    return static_cast<std::size_t>(pass.slot_count) * pass.slot_bytes;
  }

  TileFunction(const Pass& pass, std::span<const Tensor> captured, std::byte* scratch)
      : pass_(pass) {
    for (std::size_t r = 0; r < pass.registers.size(); ++r) {
      registers_.at(r) = scratch + static_cast<std::size_t>(pass.slots[r]) * pass.slot_bytes;
    }
    for (std::size_t i = 0; i < captured.size(); ++i) {
      const Tensor& scalar = captured[i];
      with_width(size_of(scalar.dtype()), [&](auto tag) {
        using T = typename decltype(tag)::type;
        auto* slot = scratch + static_cast<std::size_t>(pass.slots[i + 2]) * pass.slot_bytes;
        std::fill_n(reinterpret_cast<T*>(slot), tile_size, *scalar.as<T>());
      });
    }
  }

  /// `out` must be different from both operands.
  void operator()(const std::byte* x, const std::byte* accumulator, std::byte* out,
                  std::int64_t n) {
    registers_[0] = x;
    registers_[1] = accumulator;
    const Pass::Register store = pass_.stores[0];
    std::byte* made = out;
    for (const Pass::MicroOp& op : pass_.micro_ops) {
      const std::array<const void*, 3> in{registers_.at(op.in[0]), registers_.at(op.in[1]),
                                          registers_.at(op.in[2])};
      // Registers above the inputs are scratch memory of this object.
      auto* to = op.out == store ? made : const_cast<std::byte*>(registers_.at(op.out));
      if (op.out == store) registers_.at(op.out) = made;
      op.run(to, in.data(), n);
    }
    if (store < pass_.inputs) {
      std::memcpy(out, registers_.at(store),
                  static_cast<std::size_t>(n) * size_of(pass_.registers[store]));
    }
  }

 private:
  const Pass& pass_;
  std::array<const std::byte*, pass_registers_max> registers_{};
};

/// The operand of a fold: it finds the results that are adjacent, and the addresses of their
/// elements.
class Source {
 public:
  Source(const Windows& windows, const Tensor& x, const std::byte* padding)
      : windows_(windows), x_(x), width_(size_of(x.dtype())), padding_(padding) {
    const std::size_t rank = windows.out.size();
    // Runs of results go along the last axis with more than one result.
    for (std::size_t axis = 0; axis < rank; ++axis) {
      if (windows.out[axis] > 1) run_axis_ = axis;
      if (windows.window[axis] > 1) tap_axis_ = axis;
    }
    padded_ = windows.reach_padding(x.shape());
    if (rank > 0) {
      run_step_ = windows.strides[run_axis_] * x.strides[run_axis_];
      tap_step_ = windows.dilations[tap_axis_] * x.strides[tap_axis_];
    }
  }

  /// True if the elements of one result are nearer to each other than the elements of neighbouring
  /// results.
  bool apart() const { return !padded_ && std::abs(run_step_) > std::abs(tap_step_); }

  /// The number of elements from `tap` on with the distance `tap_step`, at most taps_together.
  std::int64_t together(std::int64_t tap) const {
    const std::int64_t window = windows_.window[tap_axis_];
    return std::min(taps_together, window - tap % window);
  }

  /// Writes elements [tap, tap + count) of results [first, first + n), n ≤ apart_tile. The elements
  /// of one tap are adjacent, and each tap has apart_tile of them. Call it only if apart().
  void block(std::int64_t first, std::int64_t n, std::int64_t tap, std::int64_t count,
             std::byte* to) const {
    with_width(width_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      auto* out = reinterpret_cast<T*>(to);
      for (std::int64_t i = 0; i < n;) {
        const Run run = run_at(first + i, n - i, tap);
        const T* from = x_.as<T>() + run.offset;
        for (std::int64_t k = 0; k < run.length; ++k) {
          for (std::int64_t t = 0; t < count; ++t) {
            out[t * apart_tile + i + k] = from[k * run_step_ + t * tap_step_];
          }
        }
        i += run.length;
      }
    });
  }

  /// The elements `tap` of results [first, first + n): copies in `to`, or the operand's memory if
  /// they are adjacent there.
  const std::byte* tile(std::int64_t first, std::int64_t n, std::int64_t tap, std::byte* to) const {
    const std::byte* found = nullptr;
    with_width(width_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      found = reinterpret_cast<const std::byte*>(
          this->gather<T>(first, n, tap, reinterpret_cast<T*>(to)));
    });
    return found;
  }

 private:
  /// A run of adjacent results, and the place of the element `tap` of the first one.
  struct Run {
    std::int64_t length = 1;
    std::int64_t offset = 0;  ///< the element's position in memory
    std::int64_t start = 0;   ///< the element's position along the run's axis
    bool inside = true;       ///< true if it is inside the operand along the other axes
  };

  Run run_at(std::int64_t result, std::int64_t length_max, std::int64_t tap) const {
    Run run;
    for (std::size_t axis = windows_.out.size(); axis-- > 0;) {
      const std::int64_t o = result % windows_.out[axis];
      result /= windows_.out[axis];
      const std::int64_t at = windows_.position(axis, o, tap % windows_.window[axis]);
      tap /= windows_.window[axis];
      run.offset += at * x_.strides[axis];
      if (axis == run_axis_) {
        run.length = std::min(windows_.out[axis] - o, length_max);
        run.start = at;
      } else {
        run.inside = run.inside && at >= 0 && at < x_.shape()[axis];
      }
    }
    return run;
  }

  template <typename T>
  const T* gather(std::int64_t first, std::int64_t n, std::int64_t tap, T* to) const {
    if (windows_.out.empty()) return x_.as<T>();
    const T padding = *reinterpret_cast<const T*>(padding_);
    for (std::int64_t i = 0; i < n;) {
      const Run run = run_at(first + i, n - i, tap);
      const T* base = x_.as<T>() + run.offset;
      T* row = to + i;
      if (!padded_) {
        if (run.length == n && run_step_ == 1) return base;
        for (std::int64_t k = 0; k < run.length; ++k) row[k] = base[k * run_step_];
      } else {
        for (std::int64_t k = 0; k < run.length; ++k) {
          const std::int64_t at = run.start + k * windows_.strides[run_axis_];
          const bool hit = run.inside && at >= 0 && at < x_.shape()[run_axis_];
          row[k] = hit ? base[k * run_step_] : padding;
        }
      }
      i += run.length;
    }
    return to;
  }

  const Windows& windows_;
  const Tensor& x_;
  std::size_t width_;
  const std::byte* padding_;
  std::size_t run_axis_ = 0;
  std::size_t tap_axis_ = 0;
  std::int64_t run_step_ = 1;
  std::int64_t tap_step_ = 1;
  bool padded_ = false;
};

}  // namespace outrigger::ops
