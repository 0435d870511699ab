#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "ops/support/context.hpp"

namespace outrigger::ops {

/// The approximate number of element steps between two checks of the interrupt: they take one to a
/// few milliseconds.
inline constexpr std::int64_t steps_between_looks = std::int64_t{1} << 18;

/// Checks the interrupt inside of a long chunk.
class Look {
 public:
  explicit Look(const Interrupt& interrupt) : interrupt_(interrupt) {}

  /// Counts element steps since the last call. Returns false if the interrupt was raised: the rest
  /// need not be done.
  bool go_on(std::int64_t steps) {
    done_ += steps;
    if (done_ < steps_between_looks) return true;
    done_ = 0;
    return !interrupt_.raised();
  }

 private:
  const Interrupt& interrupt_;
  std::int64_t done_ = 0;
};

/// parallel_ranges for an f that checks the interrupt itself, and returns false if it was
/// interrupted.
template <typename F>
Result<void> looking_ranges(const Context& context, std::int64_t n, std::int64_t grain,
                            std::int64_t work, F&& f) {
  std::atomic<bool> ended{false};
  OUTRIGGER_CHECK(parallel_ranges(context, n, grain, work,
                                  [&](int thread, std::int64_t begin, std::int64_t end) {
                                    if (ended.load(std::memory_order_relaxed)) return;
                                    if (!f(thread, begin, end))
                                      ended.store(true, std::memory_order_relaxed);
                                  }));
  if (ended.load()) return tl::make_unexpected(context.interrupt.error());
  return {};
}

/// Makes the system map pages of new memory, some at a time. A task that is the first to write to
/// scattered pages would take as long as to clear all of the memory.
inline Result<void> touch_pages(const Context& context, void* memory, std::int64_t bytes) {
  constexpr std::int64_t page = 4096;
  auto* const first = static_cast<std::byte*>(memory);
  return parallel_ranges(context, bytes, 256 * page, bytes,
                         [&](int, std::int64_t begin, std::int64_t end) {
                           for (std::int64_t at = begin; at < end; at += page)
                             first[at] = std::byte{0};
                         });
}

}  // namespace outrigger::ops
