#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <cstring>

#include "ops/cast/cast.hpp"

namespace outrigger::ops {

/// A cast of the elements that a kernel reads or writes, one run at a time. The whole tensor is
/// never in memory in the other dtype.
class Conversion {
 public:
  /// The largest number of elements of one cast.
  static constexpr std::int64_t run_max = tile_size;

  /// The cast of `as_type`. The dtypes between the steps have at most 8 bytes, because a complex
  /// dtype is cast only to another complex dtype.
  Conversion(DType from, DType to)
      : steps_(cast_steps(from, to)), from_width_(size_of(from)), to_width_(size_of(to)) {}

  /// True if the elements do not change.
  bool none() const { return steps_.empty(); }
  std::size_t from_width() const { return from_width_; }
  std::size_t to_width() const { return to_width_; }

  /// Casts n adjacent elements at `from`.
  void run(const void* from, void* to, std::int64_t n) const {
    const auto* in = static_cast<const std::byte*>(from);
    auto* out = static_cast<std::byte*>(to);
    for (std::int64_t done = 0; done < n; done += run_max)
      some(in + bytes(done, from_width_), out + bytes(done, to_width_),
           std::min(run_max, n - done));
  }

  /// Casts n elements; the distance from each to the next is `stride` elements.
  void gather(const void* from, std::int64_t stride, void* to, std::int64_t n) const {
    if (stride == 1) return run(from, to, n);
    const auto* in = static_cast<const std::byte*>(from);
    auto* out = static_cast<std::byte*>(to);
    for (std::int64_t done = 0; done < n; done += run_max) {
      const std::int64_t count = std::min(run_max, n - done);
      with_width(from_width_, [&](auto tag) {
        using Bits = typename decltype(tag)::type;
        std::array<Bits, run_max> side_by_side;
        const auto* element = reinterpret_cast<const Bits*>(in) + done * stride;
        for (std::int64_t i = 0; i < count; ++i, element += stride)
          side_by_side[static_cast<std::size_t>(i)] = *element;
        some(side_by_side.data(), out + bytes(done, to_width_), count);
      });
    }
  }

 private:
  static std::ptrdiff_t bytes(std::int64_t elements, std::size_t width) {
    return elements * static_cast<std::ptrdiff_t>(width);
  }

  void some(const void* from, void* to, std::int64_t n) const {
    using Run = std::array<std::uint64_t, run_max>;
    std::array<Run, 2> between;
    const void* in = from;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      void* const out = i + 1 == steps_.size() ? to : between[i % 2].data();
      steps_[i].run(out, &in, n);
      in = out;
    }
    if (none()) std::memcpy(to, from, static_cast<std::size_t>(bytes(n, to_width_)));
  }

  CastSteps steps_;
  std::size_t from_width_;
  std::size_t to_width_;
};

}  // namespace outrigger::ops
