#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <vector>

#include "base/error.hpp"
#include "ops/support/caches.hpp"
#include "ops/support/isa.hpp"
#include "tensor/memory.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace outrigger::ops {

/// Short work that may be done in the middle of a long program, on the program's own thread, where
/// the program looks at its interrupt.
class Guests {
 public:
  virtual ~Guests() = default;
  /// Any thread of the program's team may call it. Only the program's own thread does something.
  virtual void let_in() noexcept = 0;

  /// Any thread sets it.
  std::atomic<bool> waiting{false};
};

/// A flag that another thread sets to end a running program. It is checked between tiles of work.
class Interrupt {
 public:
  using Clock = std::chrono::steady_clock;

  /// Before the program runs.
  void set_guests(Guests* guests) { guests_ = guests; }
  bool lets_guests_in() const { return guests_ != nullptr; }

  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  void set_deadline(Clock::time_point deadline) { deadline_ = deadline; }

  bool raised() const {
    if (guests_ != nullptr && guests_->waiting.load(std::memory_order_relaxed)) guests_->let_in();
    return cancelled_.load(std::memory_order_relaxed) || (deadline_ && Clock::now() >= *deadline_);
  }
  Error error() const {
    if (cancelled_.load(std::memory_order_relaxed)) {
      return Error{ErrorCode::cancelled, "the request was cancelled"};
    }
    return Error{ErrorCode::deadline_exceeded, "the deadline passed before the program was done"};
  }

 private:
  std::atomic<bool> cancelled_{false};
  std::optional<Clock::time_point> deadline_;
  Guests* guests_ = nullptr;
};

/// The resources of a running kernel. Each running program has one Context, which one thread (and
/// its OpenMP team) uses.
struct Context {
  Memory& memory;
  const Interrupt& interrupt;
  int threads = 1;
  /// Scratch memory for tiles. It is kept between programs, and only grows.
  std::vector<std::byte>& scratch;
  Compile compile = {};
  /// Results of at least so many bytes bypass the caches. The caches would first read the memory
  /// that is overwritten, and could not keep the results.
  std::size_t stream_from = last_cache_bytes();
};

/// With fewer element operations than this, a second thread is not used.
inline constexpr std::int64_t parallel_threshold = 1 << 16;

/// Calls f(thread, chunk) for each chunk in [0, chunks), in any order, and on all threads if `work`
/// (element operations) is large enough. Chunks must not depend on each other, and their bounds
/// must not depend on the number of threads, so that results are the same bit for bit. f may throw
/// only std::bad_alloc, which is thrown again after all threads have ended. Returns false if the
/// interrupt was raised; some chunks are then not done.
template <typename F>
bool parallel_for(const Context& context, std::int64_t chunks, std::int64_t work, F&& f) {
  std::atomic<bool> stop{false};
  std::atomic<bool> no_memory{false};
  const auto one = [&](int thread, std::int64_t chunk) {
    if (stop.load(std::memory_order_relaxed)) return;
    if (context.interrupt.raised()) {
      stop.store(true, std::memory_order_relaxed);
      return;
    }
    // An exception must not leave a thread of the team.
    try {
      f(thread, chunk);
    } catch (const std::bad_alloc&) {
      no_memory.store(true, std::memory_order_relaxed);
      stop.store(true, std::memory_order_relaxed);
    }
  };
#ifdef _OPENMP
  if (context.threads > 1 && chunks > 1 && work >= parallel_threshold) {
    // Each thread has a range of chunks, which is the same in each run, so that caches may have its
    // memory. A thread that has finished its range takes chunks of the other ranges.
    struct alignas(64) Cursor {
      std::atomic<std::int64_t> next;
    };
    const std::int64_t threads = context.threads;
    std::vector<Cursor> cursors(static_cast<std::size_t>(threads));
    const auto begin_of = [=](std::int64_t thread) { return thread * chunks / threads; };
    for (std::int64_t t = 0; t < threads; ++t)
      cursors[static_cast<std::size_t>(t)].next = begin_of(t);
#pragma omp parallel num_threads(context.threads)
    {
      const int thread = omp_get_thread_num();
      for (std::int64_t i = 0; i < threads; ++i) {
        const std::int64_t owner = (thread + i) % threads;
        Cursor& cursor = cursors[static_cast<std::size_t>(owner)];
        const std::int64_t end = begin_of(owner + 1);
        for (std::int64_t chunk = cursor.next++; chunk < end; chunk = cursor.next++)
          one(thread, chunk);
      }
    }
    if (no_memory.load()) throw std::bad_alloc();
    return !stop.load();
  }
#endif
  (void)work;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) one(0, chunk);
  if (no_memory.load()) throw std::bad_alloc();
  return !stop.load();
}

/// parallel_for over [0, n) in ranges of `grain`: calls f(thread, begin, end).
template <typename F>
Result<void> parallel_ranges(const Context& context, std::int64_t n, std::int64_t grain,
                             std::int64_t work, F&& f) {
  const std::int64_t chunks = (n + grain - 1) / grain;
  const bool done = parallel_for(context, chunks, work, [&](int thread, std::int64_t chunk) {
    const std::int64_t begin = chunk * grain;
    f(thread, begin, begin + grain < n ? begin + grain : n);
  });
  if (!done) return tl::make_unexpected(context.interrupt.error());
  return {};
}

}  // namespace outrigger::ops
