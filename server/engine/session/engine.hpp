#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/session/checkpoints.hpp"
#include "engine/session/names.hpp"
#include "engine/session/session.hpp"
#include "engine/session/workspace.hpp"
#include "ops/support/context.hpp"
#include "tensor/memory.hpp"

namespace outrigger::engine {

class QueuedSession;

/// Runs the requests of all sessions on its own thread: one request at a time, one session after
/// the other. The thread never waits for I/O. The I/O thread may run small requests itself while
/// the engine's thread is idle.
class Engine {
 public:
  explicit Engine(const EngineOptions& options);
  /// All sessions have ended.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// The session has requests (or an end) waiting.
  void enqueue(std::shared_ptr<QueuedSession> session);

  /// The right to touch any session's workspace. The engine thread holds it while it works.
  std::unique_lock<std::mutex> try_claim() { return std::unique_lock(claim_, std::try_to_lock); }

  ops::Context context(const ops::Interrupt& interrupt, int threads) {
    return ops::Context{memory_, interrupt, threads, scratch_, options_.compile};
  }

  /// For the thread that has claimed the engine.
  Names& names() { return names_; }

  /// As keep_data() of session.hpp; tests give a disk of their own.
  Result<void> keep_data(DataOptions options, std::unique_ptr<data::Disk> disk = nullptr);
  /// Null without a data folder.
  Checkpoints* checkpoints() const { return checkpoints_.get(); }

  /// Called after each request, by the thread that has claimed the engine: tells subscribers of
  /// names, and wakes the engine's thread if that has something to do earlier than it knew.
  void after_request();

  Memory& memory() { return memory_; }
  const EngineOptions& options() const { return options_; }
  std::uint64_t epoch() const { return epoch_; }
  std::uint64_t uptime_ms() const;

 private:
  void work();
  using Clock = Names::Clock;
  static constexpr auto no_time = Clock::time_point::max();

  std::shared_ptr<QueuedSession> next();
  Clock::time_point time_to_wake(Clock::time_point& trim_at);
  void wake_before(Clock::time_point time);
  void look_at_checkpoints(Clock::time_point time);
  void keep_time();
  void try_again();

  const EngineOptions options_;
  const std::uint64_t epoch_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  Memory memory_;
  std::vector<std::byte> scratch_;  ///< guarded by claim_
  Names names_{memory_};            ///< guarded by claim_

  std::mutex claim_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<QueuedSession>> ready_;  ///< guarded by mutex_
  bool stopping_ = false;                             ///< guarded by mutex_
  /// The end of the next lifetime of a name.
  std::atomic<Clock::time_point> names_end_{no_time};
  /// When checkpoints_ is to be looked at.
  std::atomic<Clock::time_point> checkpoint_at_{no_time};
  /// When the sleep of the engine's thread ends by itself; in the past while it is awake.
  std::atomic<Clock::time_point> wakes_at_{Clock::time_point::min()};
  /// Sessions whose requests wait for memory that a checkpoint holds; the engine thread's.
  std::vector<std::shared_ptr<QueuedSession>> waiting_;
  Clock::time_point try_again_at_ = no_time;  ///< the engine thread's
  std::unique_ptr<Checkpoints> checkpoints_;  ///< set before the first session
  std::thread thread_;
};

}  // namespace outrigger::engine
