#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/session/checkpoints.hpp"
#include "engine/session/guests.hpp"
#include "engine/session/names.hpp"
#include "engine/session/session.hpp"
#include "engine/session/tenant.hpp"
#include "engine/session/turns.hpp"
#include "engine/session/watch.hpp"
#include "engine/session/workspace.hpp"
#include "kernel/native/compiler.hpp"
#include "ops/support/context.hpp"
#include "tensor/memory.hpp"

namespace outrigger::engine {

class QueuedSession;

/// Runs the requests of all sessions on its own thread, one at a time; the session that has had the
/// least time is next. Short requests of others run in the middle of a long one. The thread never
/// waits for I/O. The I/O thread may run small requests itself while the engine's thread is idle.
class Engine {
 public:
  explicit Engine(const EngineOptions& options);
  /// All sessions have ended.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// The session has requests (or an end) waiting.
  void enqueue(const std::shared_ptr<QueuedSession>& session);
  /// The session that may have a request carried out in the middle of the host's; null if there is
  /// none.
  std::shared_ptr<QueuedSession> next_guest(const QueuedSession& host);
  /// The session has had the engine for this time. For the thread that has claimed it.
  void use_time(QueuedSession& session, std::chrono::nanoseconds time,
                EngineTime::Clock::time_point now);

  /// The right to touch any session's workspace. The engine thread holds it while it works, and
  /// gets it before any other thread.
  std::unique_lock<std::mutex> try_claim() {
    if (claim_wanted_.load(std::memory_order_relaxed)) return {};
    return std::unique_lock(claim_, std::try_to_lock);
  }

  ops::Context context(const ops::Interrupt& interrupt, int threads, Memory& memory) {
    return ops::Context{memory, interrupt, threads, scratch_, options_.compile};
  }
  /// For a request in the middle of another one, which uses the scratch memory.
  ops::Context guest_context(const ops::Interrupt& interrupt, Memory& memory) {
    return ops::Context{memory, interrupt, 1, guest_scratch_, options_.compile};
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
  Tenants& tenants() { return tenants_; }
  kernel::Compiler& compiler() { return compiler_; }
  EngineGuests& guests() { return guests_; }
  const EngineOptions& options() const { return options_; }
  std::uint64_t epoch() const { return epoch_; }
  std::uint64_t uptime_ms() const;
  Watch& watch() { return watch_; }
  /// For sessions of Probe.
  Tenant& probes() { return probes_; }
  /// Any thread: what belongs to no session.
  wire::HelloReply greeting() const;
  wire::InfoReply describe() const;
  wire::StatsReply stats() const;

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
  kernel::Compiler compiler_;
  Tenants tenants_{memory_};
  Tenant probes_{memory_, "", {}};
  Watch watch_;
  std::atomic<std::int64_t> busy_ns_{0};
  std::vector<std::byte> scratch_;        ///< guarded by claim_
  std::vector<std::byte> guest_scratch_;  ///< guarded by claim_
  Names names_;                           ///< guarded by claim_
  EngineGuests guests_{*this};

  std::mutex claim_;
  std::atomic<bool> claim_wanted_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  Turns turns_;            ///< guarded by mutex_
  bool stopping_ = false;  ///< guarded by mutex_
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
