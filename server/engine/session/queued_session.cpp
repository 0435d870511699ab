#include "engine/session/queued_session.hpp"

#include <algorithm>
#include <cassert>
#include <new>
#include <string>

#include "base/last_memory.hpp"
#include "base/version.hpp"
#include "ops/catalogue.hpp"
#include "ops/pass/compile/status.hpp"

namespace outrigger::engine {
namespace {

constexpr std::uint64_t protocol_version = 1;

/// True if the request is to wait as its frame, which has the same content in less memory.
bool waits_encoded(const Task& task) {
  // Requests of shorter frames stay small in sum, however many wait.
  constexpr std::size_t bytes_min = 256;
  if (!task.frame || task.frame->size() < bytes_min) return false;
  return wire::held_bytes(task.body) > 2 * task.frame->size();
}

template <typename Count>
Count within(Count limit, std::uint64_t quota) {
  return quota == 0 ? limit : static_cast<Count>(std::min<std::uint64_t>(limit, quota));
}

/// A session alone gives its own programs up before the quota.
Limits limits_within(Limits limits, const Quotas& quotas) {
  limits.programs_max = within(limits.programs_max, quotas.programs);
  return limits;
}

}  // namespace

QueuedSession::QueuedSession(Engine& engine, Tenant& tenant, std::shared_ptr<Outbox> outbox,
                             SessionOptions options, bool probe)
    : Party(tenant.turns()),
      engine_(engine),
      tenant_(tenant),
      options_(std::move(options)),
      probe_(probe),
      limits_(limits_within(engine.options().limits, tenant.quotas())),
      workspace_({tenant_, limits_, engine_.options().threads, engine_.names(), *this,
                  engine_.guests(), engine_.compiler(), options_.rights, engine_.checkpoints()}),
      outbox_(std::move(outbox)) {
  tenant_.sessions().add();
}

void QueuedSession::submit(wire::Request request, std::shared_ptr<const wire::Frame> frame) {
  requests_.fetch_add(1, std::memory_order_relaxed);
  if (!probe_ && is_answered_at_once(request.body))
    engine_.watch().count(wire::kind_of(request.body));
  const std::uint64_t id = request.id;
  if (const auto* greeting = std::get_if<wire::Hello>(&request.body)) return hello(id, *greeting);
  if (std::holds_alternative<wire::Auth>(request.body)) return auth(id);
  if (!greeted_) {
    finished_ = true;
    return send_error(id, ErrorCode::bad_request, "the first request must be hello");
  }
  if (std::holds_alternative<wire::Ping>(request.body)) return send(wire::encode_ok(id));
  if (administer(request)) return;
  if (const auto* victim = std::get_if<wire::Cancel>(&request.body)) return cancel(id, *victim);
  if (const auto* info = std::get_if<wire::Info>(&request.body); info != nullptr && !info->handle)
    return describe(id);
  if (std::holds_alternative<wire::Bye>(request.body)) {
    finished_ = true;
    cancel_all();
    return send(wire::encode_ok(id));
  }
  submit_task(std::move(request), std::move(frame));
}

void QueuedSession::refuse(const wire::Refusal& refusal) {
  requests_.fetch_add(1, std::memory_order_relaxed);
  engine_.watch().count(Watch::refused, true);
  send(wire::encode_error(refusal.id, refusal.error));
}

/// Where a token is wanted, the transport has answered `auth`.
void QueuedSession::auth(std::uint64_t id) {
  if (authenticated_ || greeted_)
    return send_error(id, ErrorCode::bad_request, "auth: comes once, before hello");
  authenticated_ = true;
  send(wire::encode_auth(id, "", Rights::all()));
}

void QueuedSession::hello(std::uint64_t id, const wire::Hello& request) {
  if (request.protocol != protocol_version) {
    finished_ = true;
    return send_error(id, ErrorCode::bad_request,
                      "hello: this daemon speaks protocol version " +
                          std::to_string(protocol_version) + ", the client speaks " +
                          std::to_string(request.protocol));
  }
  if (greeted_)
    return send_error(id, ErrorCode::bad_request, "hello: the session has begun already");
  greeted_ = true;
  wire::HelloReply reply = engine_.greeting();
  reply.session = options_.number;
  reply.memory_limit = tenant_.memory_limit();
  reply.limits = limits_;
  reply.limits.handles_max = within(limits_.handles_max, tenant_.quotas().handles);
  const std::string kernels = engine_.compiler().name();
  reply.kernels = kernels;
  send(wire::encode_hello(id, reply));
}

void QueuedSession::describe(std::uint64_t id) {
  wire::InfoReply reply = engine_.describe();
  reply.tensors = tensors_.load(std::memory_order_relaxed);
  reply.programs = programs_.load(std::memory_order_relaxed);
  reply.requests = requests_.load(std::memory_order_relaxed);
  reply.kernels = kernels_.load(std::memory_order_relaxed);
  const std::string kernel_code = engine_.compiler().describe();
  reply.kernel_code = kernel_code;
  {
    const std::lock_guard lock(mutex_);
    reply.queue = queue_.size();
    if (running_) reply.running = running_->id;
  }
  if (options_.connection) {
    reply.connection = options_.connection();
    const bool of_all = options_.rights.has(Right::admin);
    reply.tenants = engine_.tenants().describe(of_all ? nullptr : &tenant_);
  }
  send(wire::encode_info(id, reply));
}

void QueuedSession::cancel_all() {
  const std::lock_guard lock(mutex_);
  for (const auto& [id, task] : pending_) task->interrupt.cancel();
}

void QueuedSession::cancel(std::uint64_t id, const wire::Cancel& request) {
  if (!request.session) return send(wire::encode_found(id, cancel_request(request.request)));
  const auto session = engine_.watch().find(*request.session);
  send(wire::encode_found(id, session && session->cancel_request(request.request)));
}

void QueuedSession::submit_task(wire::Request request, std::shared_ptr<const wire::Frame> frame) {
  auto task = std::make_shared<Task>();
  task->id = request.id;
  task->kind = wire::kind_of(request.body);
  task->arrived = Task::Clock::now();
  task->bytes = (frame ? frame->size() : 0) + reply_bytes(request.body);
  task->body = std::move(request.body);
  task->frame = std::move(frame);
  if (const auto* run = std::get_if<wire::Run>(&task->body); run != nullptr && run->deadline_ms) {
    const auto left = std::chrono::milliseconds(
        std::min<std::uint64_t>(*run->deadline_ms, Limits::deadline_ms_max));
    task->interrupt.set_deadline(ops::Interrupt::Clock::now() + left);
  }
  if (!admit(task)) {
    return send_error(task->id, ErrorCode::bad_request,
                      "the id " + std::to_string(task->id) + " is that of a pending request");
  }
  if (run_here(task)) return;
  try {
    queue(task);
  } catch (const std::bad_alloc&) {
    // The caller answers it.
    const std::lock_guard lock(mutex_);
    leave(*task);
    throw;
  }
}

void QueuedSession::queue(const TaskPtr& task) {
  if (waits_encoded(*task)) {
    task->body = wire::Ping{};
    task->encoded = true;
  }
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = queue_.empty() && !running_;
    queue_.push_back(task);
  }
  if (first) line_up();
}

/// Each session is in the line once, so that all get as many turns.
void QueuedSession::line_up() {
  if (in_line_.exchange(true)) return;
  try {
    engine_.enqueue(shared_from_this());
  } catch (...) {
    in_line_ = false;
    throw;
  }
}

bool QueuedSession::admit(const TaskPtr& task) {
  const std::lock_guard lock(mutex_);
  if (!pending_.emplace(task->id, task).second) return false;
  pending_requests_.fetch_add(1, std::memory_order_relaxed);
  pending_bytes_.fetch_add(task->bytes, std::memory_order_relaxed);
  return true;
}

/// Runs a small request at once, if the engine is idle and nothing of this session comes before it.
bool QueuedSession::run_here(const TaskPtr& task) {
  if (probe_) return false;
  const auto claim = engine_.try_claim();
  if (!claim.owns_lock()) return false;
  {
    const std::lock_guard lock(mutex_);
    if (!queue_.empty() || running_) return false;
  }
  const auto begin = task->begun = task->arrived;
  ops::Context context = engine_.context(task->interrupt, 1, tenant_.memory());
  auto reply = workspace_.carry_out(*task, context, true);
  if (!reply) return false;
  settle(*task, std::move(*reply));
  engine_.after_request();
  const auto end = EngineTime::Clock::now();
  engine_.use_time(*this, end - begin, end);
  return true;
}

QueuedSession::Turn QueuedSession::run_next() {
  in_line_ = false;
  TaskPtr task;
  bool closed = false;
  {
    const std::lock_guard lock(mutex_);
    closed = outbox_ == nullptr;
    if (closed) {
      queue_.clear();
      pending_.clear();
    }
    if (!queue_.empty() && !waits_for_room()) {
      task = std::move(queue_.front());
      queue_.pop_front();
      task->begun = Task::Clock::now();
      running_ = task;
    }
  }
  if (closed) workspace_.clear();
  if (!closed && std::exchange(events_late_, false)) engine_.names().deliver_late(*this);
  if (!task) return Turn::done;
  if (std::holds_alternative<wire::Checkpoint>(task->body)) {
    begin_checkpoint(task);
  } else {
    task->interrupt.set_guests(&engine_.guests());
    ops::Context context =
        engine_.context(task->interrupt, engine_.options().threads, tenant_.memory());
    auto reply = workspace_.carry_out(*task, context, false);
    if (!reply) return put_back(std::move(task));
    settle(*task, std::move(*reply));
  }
  engine_.after_request();
  const std::lock_guard lock(mutex_);
  return !queue_.empty() && !in_line_.exchange(true) ? Turn::more : Turn::done;
}

/// Nothing of the request was done.
QueuedSession::Turn QueuedSession::put_back(TaskPtr task) {
  const std::lock_guard lock(mutex_);
  running_.reset();
  with_last_memory([&] { queue_.push_front(std::move(task)); });
  return Turn::waits;
}

/// The session goes on with its next request; the reply comes when the checkpoint is durable.
void QueuedSession::begin_checkpoint(const TaskPtr& task) {
  {
    const std::lock_guard lock(mutex_);
    running_.reset();
  }
  const auto answer = [self = weak_from_this(), task](const Checkpoints::Outcome& outcome) {
    const auto session = self.lock();
    if (!session) return;
    if (!outcome) task->failure = outcome.error().code;
    session->settle_later(*task, with_last_memory([&] {
      return outcome ? wire::encode_checkpoint(task->id, *outcome)
                     : wire::encode_error(task->id, outcome.error());
    }));
  };
  const auto refusal = with_last_memory([&]() -> std::optional<Error> {
    if (task->interrupt.raised()) return task->interrupt.error();
    if (engine_.checkpoints() != nullptr) return std::nullopt;
    return Error{ErrorCode::bad_request,
                 "checkpoint: this daemon keeps no tensors: it was started without --data"};
  });
  if (refusal) return answer(tl::make_unexpected(*refusal));
  with_last_memory([&] { engine_.checkpoints()->request(answer); });
}

/// Its place in line is kept, unless another thread has put it there meanwhile.
QueuedSession::Guest QueuedSession::stay_outside() {
  return in_line_.exchange(true) ? Guest::gone : Guest::outside;
}

QueuedSession::Guest QueuedSession::run_as_guest() {
  in_line_ = false;
  TaskPtr task;
  {
    const std::lock_guard lock(mutex_);
    // To free all that the session has may take long.
    if (outbox_ == nullptr) return stay_outside();
    if (!queue_.empty() && !waits_for_room()) running_ = task = queue_.front();
    if (task) task->begun = Task::Clock::now();
  }
  if (std::exchange(events_late_, false)) engine_.names().deliver_late(*this);
  if (!task) return Guest::gone;
  // It may have been a host that was put back.
  task->interrupt.set_guests(nullptr);
  ops::Context context = engine_.guest_context(task->interrupt, tenant_.memory());
  auto reply = workspace_.carry_out(*task, context, true, as_guest);
  {
    const std::lock_guard lock(mutex_);
    if (!reply) {
      running_.reset();
      return stay_outside();
    }
    queue_.pop_front();
  }
  settle(*task, std::move(*reply));
  engine_.after_request();
  const std::lock_guard lock(mutex_);
  return !queue_.empty() && !in_line_.exchange(true) ? Guest::goes_on : Guest::gone;
}

/// Replies that the client does not take must not gather: the queue goes on when it has taken them.
bool QueuedSession::waits_for_room() {
  if (!outbox_->full()) return false;
  parked_.store(true);
  // The client may have taken them just before that.
  if (outbox_->full()) return true;
  return !parked_.exchange(false);
}

bool QueuedSession::has_room() {
  const std::lock_guard lock(mutex_);
  if (outbox_ == nullptr || !outbox_->full()) return true;
  events_late_ = true;
  events_parked_.store(true);
  // The client may have taken replies just before that. The turn that follows then does no harm.
  return !outbox_->full();
}

void QueuedSession::wait_for_turn() {
  events_late_ = true;
  line_up();
}

void QueuedSession::tell(wire::Frame event) {
  const std::lock_guard lock(mutex_);
  if (outbox_ && !finished_ && !events_end_) outbox_->send(std::move(event));
}

void QueuedSession::replies_taken() {
  bool turn = parked_.load() && parked_.exchange(false);
  turn = (events_parked_.load() && events_parked_.exchange(false)) || turn;
  if (turn) line_up();
}

/// Takes the request off the counts. The caller has the lock.
void QueuedSession::leave(const Task& task) {
  [[maybe_unused]] const std::size_t erased = pending_.erase(task.id);
  [[maybe_unused]] const std::uint64_t requests =
      pending_requests_.fetch_sub(1, std::memory_order_relaxed);
  [[maybe_unused]] const std::uint64_t bytes =
      pending_bytes_.fetch_sub(task.bytes, std::memory_order_relaxed);
  assert(requests >= 1 && bytes >= task.bytes && "a request left twice");
  // close() forgets the requests that wait, and not their counts.
  assert((outbox_ == nullptr || (erased == 1 && requests == pending_.size() + 1)) &&
         "the count of pending requests is wrong");
  assert((outbox_ == nullptr || !pending_.empty() || bytes == task.bytes) &&
         "the bytes of pending requests are wrong");
}

/// The request's terminal reply.
void QueuedSession::settle(const Task& task, wire::Frame reply) {
  tensors_.store(workspace_.tensors(), std::memory_order_relaxed);
  programs_.store(workspace_.programs(), std::memory_order_relaxed);
  kernels_.store(workspace_.kernels(), std::memory_order_relaxed);
  bytes_.store(workspace_.bytes(), std::memory_order_relaxed);
  record(task);
  const std::lock_guard lock(mutex_);
  running_.reset();
  leave(task);
  if (outbox_) outbox_->send(std::move(reply));
}

/// The terminal reply of a request that is not the running one; any thread.
void QueuedSession::settle_later(const Task& task, wire::Frame reply) {
  record(task);
  const std::lock_guard lock(mutex_);
  leave(task);
  if (outbox_) outbox_->send(std::move(reply));
}

void QueuedSession::close() {
  {
    const std::lock_guard lock(mutex_);
    outbox_.reset();
    if (running_) running_->interrupt.cancel();
  }
  finished_ = true;
  if (std::exchange(counted_, false)) {
    tenant_.sessions().remove();
    engine_.watch().remove(options_.number, *this);
  }
  line_up();
}

void QueuedSession::send(wire::Frame reply) {
  const std::lock_guard lock(mutex_);
  if (outbox_) outbox_->send(std::move(reply));
}

void QueuedSession::send_error(std::uint64_t id, ErrorCode code, std::string text) {
  send(wire::encode_error(id, Error{code, std::move(text)}));
}

}  // namespace outrigger::engine
