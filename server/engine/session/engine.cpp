#include "engine/session/engine.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cassert>
#include <random>

#include "base/last_memory.hpp"
#include "engine/session/queued_session.hpp"
#include "ops/pass/compile/status.hpp"

namespace outrigger::engine {
namespace {

constexpr auto idle_before_trim = std::chrono::seconds(1);

int usable_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

EngineOptions completed(EngineOptions options) {
  if (options.threads <= 0) options.threads = std::max(1, usable_threads());
  if (!ops::executable_memory_refused().empty()) options.compile.isa = ops::Isa::none;
  if (options.compile.isa == ops::Isa::none) options.compile.when = ops::Compile::When::never;
  return options;
}

std::uint64_t random_epoch() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

}  // namespace

Engine::Engine(const EngineOptions& options)
    : options_(completed(options)),
      epoch_(random_epoch()),
      memory_(options.memory_limit),
      thread_([this] { work(); }) {}

Engine::~Engine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  turns_.clear();
  names_.clear();
  assert(memory_.used() == 0 && "a tensor or a plan outlives the engine");
}

std::uint64_t Engine::uptime_ms() const {
  const auto elapsed = std::chrono::steady_clock::now() - started_;
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(elapsed).count());
}

void Engine::enqueue(const std::shared_ptr<QueuedSession>& session) {
  {
    const std::lock_guard lock(mutex_);
    with_last_memory([&] { turns_.add(session); });
    guests_.waiting.store(true, std::memory_order_relaxed);
  }
  wake_.notify_one();
}

std::shared_ptr<QueuedSession> Engine::next_guest(const QueuedSession& host) {
  const std::lock_guard lock(mutex_);
  auto next = turns_.take_before(host);
  guests_.waiting.store(!turns_.empty(), std::memory_order_relaxed);
  return std::static_pointer_cast<QueuedSession>(std::move(next));
}

void Engine::use_time(QueuedSession& session, std::chrono::nanoseconds time,
                      EngineTime::Clock::time_point now) {
  session.tenant().time().use(time, now);
  const std::lock_guard lock(mutex_);
  turns_.use(session, time);
}

/// Waits for work. Null when the engine stops. Without work for some time, it gives pooled memory
/// back; it also takes away the names whose lifetime has ended. An idle engine has no timer.
std::shared_ptr<QueuedSession> Engine::next() {
  std::unique_lock lock(mutex_);
  // No time while there is nothing to give back.
  auto trim_at = no_time;
  while (!stopping_ && turns_.empty()) {
    const auto until = time_to_wake(trim_at);
    if (until == no_time)
      wake_.wait(lock);
    else
      wake_.wait_until(lock, until);
    wakes_at_.store(Clock::time_point::min());
    if (stopping_ || !turns_.empty()) break;
    lock.unlock();
    end_lifetimes();
    if (Clock::now() >= trim_at) {
      memory_.trim();
      trim_at = no_time;
    }
    lock.lock();
  }
  if (stopping_) return nullptr;
  auto session = std::static_pointer_cast<QueuedSession>(turns_.take());
  guests_.waiting.store(!turns_.empty(), std::memory_order_relaxed);
  return session;
}

/// The caller has mutex_ until it sleeps. If another thread changes the figures after they are read
/// here, it sees that this one sleeps too long, and wakes it.
Engine::Clock::time_point Engine::time_to_wake(Clock::time_point& trim_at) {
  wakes_at_.store(no_time);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (memory_.pooled() == 0)
    trim_at = no_time;
  else if (trim_at == no_time)
    trim_at = Clock::now() + idle_before_trim;
  const auto until = std::min(trim_at, names_end_.load());
  wakes_at_.store(until);
  return until;
}

void Engine::end_lifetimes() {
  if (Clock::now() < names_end_.load()) return;
  const std::lock_guard lock(claim_);
  names_.expire();
  after_request();
}

void Engine::after_request() {
  names_.deliver();
  const auto end = names_.next_end().value_or(no_time);
  names_end_.store(end);
  const bool pooled = memory_.pooled() != 0;
  if (end == no_time && !pooled) return;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const auto wakes_at = wakes_at_.load();
  const bool trims_late = pooled && wakes_at > Clock::now() + idle_before_trim;
  if (end >= wakes_at && !trims_late) return;
  // With the lock, the engine's thread is at its wait, or awake.
  { const std::lock_guard lock(mutex_); }
  wake_.notify_one();
}

void Engine::work() {
  ::pthread_setname_np(::pthread_self(), "engine");
  // OpenMP ends the process if it has no memory for a team. It makes the team now, while there is
  // memory.
  const ops::Interrupt never;
  ops::parallel_for(context(never, options_.threads, memory_), options_.threads,
                    ops::parallel_threshold, [](int, std::int64_t) {});
  while (auto session = next()) {
    bool more = false;
    {
      claim_wanted_.store(true, std::memory_order_relaxed);
      const std::lock_guard lock(claim_);
      claim_wanted_.store(false, std::memory_order_relaxed);
      guests_.begin(*session);
      more = session->run_next();
      guests_.end();
    }
    if (more) enqueue(session);
    end_lifetimes();
  }
}

std::shared_ptr<Engine> make_engine(const EngineOptions& options) {
  return std::make_shared<Engine>(options);
}

void keep_last_memory(const std::shared_ptr<Engine>& engine) {
  static Memory* memory = nullptr;
  memory = &engine->memory();
  LastMemory::install([] { return memory->try_trim(); });
}

std::shared_ptr<Session> open_session(const std::shared_ptr<Engine>& engine,
                                      std::shared_ptr<Outbox> outbox, SessionOptions options) {
  Tenant& tenant = engine->tenants().find(options.token, options.quotas);
  if (!tenant.sessions().check()) return nullptr;
  return std::make_shared<QueuedSession>(*engine, tenant, std::move(outbox), std::move(options));
}

}  // namespace outrigger::engine
