#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "engine/planner/plan.hpp"
#include "wire/reply.hpp"
#include "wire/request.hpp"

namespace outrigger::engine {

class QueuedSession;

/// Counts the requests of all sessions, keeps the slow ones, and tells monitors of each. Any thread
/// may call it. No lock is held for longer than some hundred entries take to copy, so a reader
/// never keeps the engine waiting.
class Watch {
 public:
  using Clock = std::chrono::steady_clock;

  /// A request that runs for `slow` or longer is slow.
  explicit Watch(std::chrono::microseconds slow);

  /// A request that is done.
  struct Done {
    const QueuedSession& session;
    std::uint64_t number = 0;  ///< of the session
    std::string_view token;
    std::uint64_t request = 0;
    std::size_t kind = 0;  ///< wire::kind_of()
    std::optional<ErrorCode> error = {};
    Clock::time_point arrived;
    Clock::time_point begun;
    Clock::time_point ended;
    const OpUses* ops = nullptr;
  };
  /// Before the reply is sent. Fails silently, but for a count, if the system has no memory.
  void record(const Done& done) noexcept;
  /// A request that was answered at once.
  void count(std::size_t kind, bool failed = false) {
    kinds_[kind].count.fetch_add(1, std::memory_order_relaxed);
    if (failed) kinds_[kind].errors.fetch_add(1, std::memory_order_relaxed);
  }
  /// The kind of requests that were refused before they came to an engine.
  static constexpr std::size_t refused = wire::kind_names.size();

  void add(std::uint64_t number, const std::shared_ptr<QueuedSession>& session);
  void remove(std::uint64_t number, const QueuedSession& session);
  /// The open session of that number; null if there is none.
  std::shared_ptr<QueuedSession> find(std::uint64_t number) const;
  /// Up to `limit` open sessions behind the number `after`, in the order of their numbers.
  std::vector<std::shared_ptr<QueuedSession>> list(std::uint64_t after, std::uint64_t limit) const;
  std::size_t sessions() const;

  void monitor(const std::shared_ptr<QueuedSession>& session, bool on);
  void count_dropped() { monitor_dropped_.fetch_add(1, std::memory_order_relaxed); }
  void count_kick() { kicked_.fetch_add(1, std::memory_order_relaxed); }

  std::uint64_t slow_us() const { return static_cast<std::uint64_t>(slow_.count()); }
  /// The last slow requests, the newest first.
  std::vector<wire::SlowEntry> slow_log(std::uint64_t limit) const;
  /// All counts of this object.
  wire::StatsReply stats() const;

 private:
  using Count = std::atomic<std::uint64_t>;
  struct Kind {
    Count count{0};
    Count errors{0};
    Count us{0};
    std::array<Count, wire::KindStats::bucket_count> buckets{};
  };

  void keep_slow(const Done& done);
  void tell(const Done& done);

  const std::chrono::microseconds slow_;
  std::array<Kind, wire::kind_names.size() + 1> kinds_;
  std::vector<Count> ops_;  ///< by the position in ops::all_ops()
  Count opened_{0};
  Count kicked_{0};
  Count slow_count_{0};
  Count monitor_dropped_{0};

  mutable std::mutex sessions_mutex_;
  std::multimap<std::uint64_t, std::weak_ptr<QueuedSession>> sessions_;

  mutable std::mutex slow_mutex_;
  std::deque<wire::SlowEntry> slow_entries_;  ///< the oldest first

  mutable std::mutex monitors_mutex_;
  std::vector<std::weak_ptr<QueuedSession>> monitors_;
  std::atomic<std::size_t> monitor_count_{0};
};

}  // namespace outrigger::engine
