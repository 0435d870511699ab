#include "engine/session/watch.hpp"

#include <algorithm>
#include <bit>
#include <new>

#include "base/last_memory.hpp"
#include "engine/session/queued_session.hpp"
#include "ops/op.hpp"

namespace outrigger::engine {
namespace {

/// The slow log has so many ops of a program: those with the most instructions.
constexpr std::size_t slow_ops_max = 16;

std::uint64_t count_of(std::chrono::microseconds time) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 0));
}

std::uint64_t wall_clock_ms() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(since).count());
}

std::string_view name_of_kind(std::size_t kind) {
  return kind == Watch::refused ? "refused" : wire::kind_names[kind];
}

std::chrono::microseconds between(Watch::Clock::time_point from, Watch::Clock::time_point to) {
  return std::chrono::duration_cast<std::chrono::microseconds>(to - from);
}

/// The parts that the slow log and an event of a monitor have in common.
template <typename Entry>
Entry entry_of(const Watch::Done& done) {
  Entry entry;
  entry.at_ms = wall_clock_ms();
  entry.session = done.number;
  entry.token = done.token;
  entry.request = done.request;
  entry.kind = name_of_kind(done.kind);
  entry.wait_us = count_of(between(done.arrived, done.begun));
  entry.run_us = count_of(between(done.begun, done.ended));
  entry.error = done.error;
  return entry;
}

}  // namespace

Watch::Watch(std::chrono::microseconds slow) : slow_(slow), ops_(ops::all_ops().size()) {}

void Watch::record(const Done& done) noexcept {
  const std::uint64_t us = count_of(between(done.arrived, done.ended));
  constexpr std::size_t last = wire::KindStats::bucket_count - 1;
  const auto bucket = std::min(static_cast<std::size_t>(std::bit_width(us)), last);
  Kind& kind = kinds_[done.kind];
  kind.us.fetch_add(us, std::memory_order_relaxed);
  kind.buckets[bucket].fetch_add(1, std::memory_order_relaxed);
  count(done.kind, done.error.has_value());
  if (done.ops != nullptr) {
    // Programs are recorded by the thread that has claimed the engine: only that one writes.
    for (const OpUse& use : *done.ops) {
      Count& uses = ops_[use.op];
      uses.store(uses.load(std::memory_order_relaxed) + use.count, std::memory_order_relaxed);
    }
  }
  const bool slow = between(done.begun, done.ended) >= slow_;
  if (slow) slow_count_.fetch_add(1, std::memory_order_relaxed);
  try {
    if (slow) keep_slow(done);
    if (monitor_count_.load(std::memory_order_relaxed) != 0) tell(done);
  } catch (const std::bad_alloc&) {
    count_dropped();
  }
}

void Watch::keep_slow(const Done& done) {
  auto entry = entry_of<wire::SlowEntry>(done);
  if (done.ops != nullptr) {
    for (const OpUse& use : *done.ops) {
      if (entry.ops.size() == slow_ops_max) break;
      entry.ops.push_back({ops::all_ops()[use.op].name, use.count});
    }
  }
  const std::lock_guard lock(slow_mutex_);
  entry.number = slow_entries_.empty() ? 1 : slow_entries_.back().number + 1;
  slow_entries_.push_back(std::move(entry));
  if (slow_entries_.size() > wire::slow_entries_max) slow_entries_.pop_front();
}

void Watch::tell(const Done& done) {
  const auto event = entry_of<wire::DoneRequest>(done);
  const std::lock_guard lock(monitors_mutex_);
  for (const auto& weak : monitors_) {
    const auto session = weak.lock();
    if (session && session.get() != &done.session) session->tell_monitored(event);
  }
}

void Watch::add(std::uint64_t number, const std::shared_ptr<QueuedSession>& session) {
  const std::lock_guard lock(sessions_mutex_);
  with_last_memory([&] { sessions_.emplace(number, session); });
  opened_.fetch_add(1, std::memory_order_relaxed);
}

void Watch::remove(std::uint64_t number, const QueuedSession& session) {
  {
    const std::lock_guard lock(sessions_mutex_);
    const auto [first, end] = sessions_.equal_range(number);
    for (auto at = first; at != end; ++at) {
      const auto same = at->second.lock();
      if (same.get() != &session) continue;
      sessions_.erase(at);
      break;
    }
  }
  const std::lock_guard lock(monitors_mutex_);
  std::erase_if(monitors_, [&](const auto& weak) { return weak.lock().get() == &session; });
  monitor_count_.store(monitors_.size());
}

std::shared_ptr<QueuedSession> Watch::find(std::uint64_t number) const {
  const std::lock_guard lock(sessions_mutex_);
  const auto found = sessions_.find(number);
  return found == sessions_.end() ? nullptr : found->second.lock();
}

std::vector<std::shared_ptr<QueuedSession>> Watch::list(std::uint64_t after,
                                                        std::uint64_t limit) const {
  std::vector<std::shared_ptr<QueuedSession>> out;
  const std::lock_guard lock(sessions_mutex_);
  out.reserve(std::min<std::size_t>(limit, sessions_.size()));
  for (auto at = sessions_.upper_bound(after); at != sessions_.end() && out.size() < limit; ++at) {
    if (auto session = at->second.lock()) out.push_back(std::move(session));
  }
  return out;
}

std::size_t Watch::sessions() const {
  const std::lock_guard lock(sessions_mutex_);
  return sessions_.size();
}

void Watch::monitor(const std::shared_ptr<QueuedSession>& session, bool on) {
  const std::lock_guard lock(monitors_mutex_);
  const auto is_it = [&](const auto& weak) { return weak.lock() == session; };
  const bool there = std::any_of(monitors_.begin(), monitors_.end(), is_it);
  // The client has its reply already.
  if (on && !there) with_last_memory([&] { monitors_.push_back(session); });
  if (!on) std::erase_if(monitors_, is_it);
  monitor_count_.store(monitors_.size());
}

std::vector<wire::SlowEntry> Watch::slow_log(std::uint64_t limit) const {
  const std::lock_guard lock(slow_mutex_);
  const auto count =
      static_cast<std::ptrdiff_t>(std::min<std::size_t>(limit, slow_entries_.size()));
  return {slow_entries_.rbegin(), slow_entries_.rbegin() + count};
}

wire::StatsReply Watch::stats() const {
  const auto load = [](const Count& count) { return count.load(std::memory_order_relaxed); };
  wire::StatsReply out;
  out.sessions = sessions();
  out.sessions_opened = load(opened_);
  out.kicked = load(kicked_);
  out.slow = load(slow_count_);
  out.slow_us = slow_us();
  out.monitors = monitor_count_.load();
  out.monitor_dropped = load(monitor_dropped_);
  for (std::size_t i = 0; i < kinds_.size(); ++i) {
    const Kind& kind = kinds_[i];
    wire::KindStats stats{name_of_kind(i), load(kind.count), load(kind.errors), load(kind.us)};
    if (stats.count == 0) continue;
    for (std::size_t b = 0; b < kind.buckets.size(); ++b) stats.buckets[b] = load(kind.buckets[b]);
    out.kinds.push_back(stats);
  }
  for (std::size_t i = 0; i < ops_.size(); ++i) {
    if (const std::uint64_t uses = load(ops_[i])) out.ops.push_back({ops::all_ops()[i].name, uses});
  }
  return out;
}

}  // namespace outrigger::engine
