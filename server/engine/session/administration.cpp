// Requests of operators, about other sessions. The I/O thread answers them at once.

#include <algorithm>
#include <new>

#include "engine/session/queued_session.hpp"

namespace outrigger::engine {
namespace {

/// A monitor that has so many bytes of replies to take misses events.
constexpr std::uint64_t monitored_bytes_max = std::uint64_t{1} << 20;

}  // namespace

/// False if the request is of another kind.
bool QueuedSession::administer(const wire::Request& request) {
  const std::uint64_t id = request.id;
  if (const auto* list = std::get_if<wire::ListSessions>(&request.body)) {
    list_sessions(id, *list);
  } else if (std::holds_alternative<wire::Stats>(request.body)) {
    send(wire::encode_stats(id, engine_.stats()));
  } else if (const auto* slow = std::get_if<wire::SlowLog>(&request.body)) {
    const auto entries = engine_.watch().slow_log(slow->limit);
    send(wire::encode_slowlog(id, engine_.watch().slow_us(), entries));
  } else if (const auto* watched = std::get_if<wire::Monitor>(&request.body)) {
    monitor(id, watched->on);
  } else if (const auto* victim = std::get_if<wire::Kick>(&request.body)) {
    kick(id, victim->session);
  } else {
    return false;
  }
  return true;
}

void QueuedSession::list_sessions(std::uint64_t id, const wire::ListSessions& request) {
  const auto sessions = engine_.watch().list(request.after, request.limit + 1);
  std::vector<wire::SessionInfo> out;
  const std::size_t count = std::min<std::size_t>(sessions.size(), request.limit);
  for (std::size_t i = 0; i < count; ++i) out.push_back(sessions[i]->look());
  send(wire::encode_sessions(id, out, sessions.size() > count));
}

/// The reply comes before the first event, and behind the last one.
void QueuedSession::monitor(std::uint64_t id, bool on) {
  if (!on) engine_.watch().monitor(shared_from_this(), false);
  send(wire::encode_ok(id));
  if (on) engine_.watch().monitor(shared_from_this(), true);
}

void QueuedSession::kick(std::uint64_t id, std::uint64_t number) {
  if (number == options_.number) {
    return send_error(
        id, ErrorCode::bad_request,
        "kick: session " + std::to_string(number) + " is the one that asks: it ends by bye");
  }
  const auto session = engine_.watch().find(number);
  if (session && session->options_.end) {
    engine_.watch().count_kick();
    session->options_.end({ErrorCode::forbidden, "an operator has ended this session"});
  }
  send(wire::encode_found(id, session != nullptr && session->options_.end));
}

bool QueuedSession::cancel_request(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  const auto pending = pending_.find(id);
  if (pending == pending_.end()) return false;
  // A waiting request is cancelled when its turn comes, so that its failed handles come in order.
  // The turn then costs nothing.
  pending->second->interrupt.cancel();
  return true;
}

wire::SessionInfo QueuedSession::look() const {
  const auto now = Task::Clock::now();
  const auto since = [&](Task::Clock::time_point begin) {
    return std::max<std::int64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(now - begin).count(), 0);
  };
  wire::SessionInfo out;
  out.session = options_.number;
  out.token = options_.token;
  out.transport = options_.transport;
  out.peer = options_.peer;
  out.age_ms = static_cast<std::uint64_t>(since(opened_) / 1000);
  out.requests = requests_.load(std::memory_order_relaxed);
  out.tensors = tensors_.load(std::memory_order_relaxed);
  out.bytes = bytes_.load(std::memory_order_relaxed);
  out.programs = programs_.load(std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  out.queue = queue_.size();
  if (running_) {
    out.running = {running_->id, wire::kind_names[running_->kind],
                   static_cast<std::uint64_t>(since(running_->begun))};
  }
  return out;
}

void QueuedSession::record(const Task& task) noexcept {
  if (probe_) return;
  engine_.watch().record({*this, options_.number, options_.token, task.id, task.kind, task.failure,
                          task.arrived, task.begun, Task::Clock::now(), task.ops.get()});
}

void QueuedSession::tell_monitored(const wire::DoneRequest& done) {
  const std::lock_guard lock(mutex_);
  if (!outbox_ || finished_ || events_end_) return;
  try {
    if (outbox_->waiting_bytes() <= monitored_bytes_max) {
      outbox_->send(wire::encode_monitored(done, unmonitored_));
      unmonitored_ = 0;
      return;
    }
  } catch (const std::bad_alloc&) {
    // The next event tells of it.
  }
  ++unmonitored_;
  engine_.watch().count_dropped();
}

}  // namespace outrigger::engine
