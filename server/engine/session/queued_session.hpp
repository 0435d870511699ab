#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "engine/session/engine.hpp"
#include "engine/session/session.hpp"
#include "engine/session/workspace.hpp"

namespace outrigger::engine {

/// A session whose requests wait in a queue for the engine thread.
class QueuedSession final : public Session,
                            public Names::Subscriber,
                            public Turns::Party,
                            public std::enable_shared_from_this<QueuedSession> {
 public:
  QueuedSession(Engine& engine, Tenant& tenant, std::shared_ptr<Outbox> outbox,
                SessionOptions options, bool probe = false);

  void submit(wire::Request request, std::shared_ptr<const wire::Frame> frame) override;
  void refuse(const wire::Refusal& refusal) override;
  std::uint64_t pending_requests() const override {
    return pending_requests_.load(std::memory_order_relaxed);
  }
  std::uint64_t pending_bytes() const override {
    return pending_bytes_.load(std::memory_order_relaxed);
  }
  void cancel_all() override;
  void stop_events() override { events_end_ = true; }
  void replies_taken() override;
  bool finished() const override { return finished_.load(std::memory_order_relaxed); }
  void close() override;

  // As a subscriber of names; called with the engine claimed.
  bool has_room() override;
  void tell(wire::Frame event) override;
  void wait_for_turn() override;

  enum class Turn : std::uint8_t {
    done,
    more,   ///< requests wait for the next turn
    waits,  ///< a request waits for memory that a checkpoint holds: to be tried again with
            ///< line_up()
  };
  /// Carries out the request at the head of the queue; called with the engine claimed.
  Turn run_next();
  /// The session is to get a turn.
  void line_up();

  /// Carries out the request at the head of the queue in the middle of another session's, if it is
  /// short; called by the engine's thread. `outside`: it is to wait in line, `goes_on`: to be put
  /// in line again.
  enum class Guest : std::uint8_t { outside, gone, goes_on };
  Guest run_as_guest();
  /// For EngineGuests.
  std::shared_ptr<QueuedSession> next_outside;

  Tenant& tenant() { return tenant_; }

  // For operators; any thread.
  wire::SessionInfo look() const;
  /// True if the request is pending: it ends as cancelled.
  bool cancel_request(std::uint64_t id);
  void tell_monitored(const wire::DoneRequest& done);

 private:
  using TaskPtr = std::shared_ptr<Task>;

  void auth(std::uint64_t id);
  void hello(std::uint64_t id, const wire::Hello& request);
  void describe(std::uint64_t id);
  void cancel(std::uint64_t id, const wire::Cancel& request);
  bool administer(const wire::Request& request);
  void list_sessions(std::uint64_t id, const wire::ListSessions& request);
  void monitor(std::uint64_t id, bool on);
  void kick(std::uint64_t id, std::uint64_t number);
  void record(const Task& task) noexcept;
  void submit_task(wire::Request request, std::shared_ptr<const wire::Frame> frame);
  bool run_here(const TaskPtr& task);
  bool admit(const TaskPtr& task);
  void queue(const TaskPtr& task);
  void leave(const Task& task);
  bool waits_for_room();
  Turn put_back(TaskPtr task);
  void begin_checkpoint(const TaskPtr& task);
  Guest stay_outside();
  void settle(const Task& task, wire::Frame reply);
  void settle_later(const Task& task, wire::Frame reply);
  void send(wire::Frame reply);
  void send_error(std::uint64_t id, ErrorCode code, std::string text);

  Engine& engine_;
  Tenant& tenant_;
  const SessionOptions options_;
  const bool probe_;  ///< no client's session: requests go to the engine's thread, uncounted
  const Task::Clock::time_point opened_ = Task::Clock::now();
  const Limits limits_;  ///< the engine's, within the quotas
  Workspace workspace_;  ///< touched only while the engine is claimed

  mutable std::mutex mutex_;
  std::shared_ptr<Outbox> outbox_;                      ///< null when closed; guarded by mutex_
  std::deque<TaskPtr> queue_;                           ///< guarded by mutex_
  TaskPtr running_;                                     ///< guarded by mutex_
  std::unordered_map<std::uint64_t, TaskPtr> pending_;  ///< queued or running; guarded by mutex_
  /// Set while the queue waits until the client has taken replies.
  std::atomic<bool> parked_{false};
  /// Set while events wait for the same.
  std::atomic<bool> events_parked_{false};
  std::atomic<bool> events_end_{false};
  std::atomic<bool> in_line_{false};  ///< in the engine's line of sessions, or about to be
  bool events_late_ = false;          ///< touched only while the engine is claimed
  std::atomic<std::uint64_t> pending_requests_{0};
  std::atomic<std::uint64_t> pending_bytes_{0};
  std::atomic<bool> finished_{false};  ///< set by the I/O thread
  std::atomic<std::uint64_t> tensors_{0};
  std::atomic<std::uint64_t> programs_{0};
  std::atomic<std::uint64_t> kernels_{0};
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> requests_{0};
  std::uint64_t unmonitored_ = 0;  ///< events that were dropped; guarded by mutex_

  // I/O thread only.
  bool counted_ = true;  ///< among the token's sessions
  bool authenticated_ = false;
  bool greeted_ = false;
};

}  // namespace outrigger::engine
