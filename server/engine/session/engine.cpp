#include "engine/session/engine.hpp"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <random>

#include "base/last_memory.hpp"
#include "base/version.hpp"
#include "engine/session/queued_session.hpp"
#include "kernel/native/llvm.hpp"
#include "ops/catalogue.hpp"
#include "ops/pass/compile/status.hpp"

namespace outrigger::engine {
namespace {

constexpr auto idle_before_trim = std::chrono::seconds(1);
/// Requests that wait for memory which a checkpoint holds are tried again so often: so they also
/// notice a cancel or a deadline.
constexpr auto between_tries = std::chrono::milliseconds(10);

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

kernel::CompilerOptions compiler_options(const KernelOptions& options) {
  kernel::CompilerOptions out;
  out.program = options.program;
  out.reason = options.reason;
  out.log = options.log;
  if (options.program.empty())
    out.reason = "this daemon has no compiler of kernels";
  else
    out.library = options.library;
  return out;
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
      compiler_(compiler_options(options.kernels)),
      watch_(options.slow),
      thread_([this] { work(); }) {}

Engine::~Engine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  // It refers to the buffers of tensors.
  checkpoints_.reset();
  waiting_.clear();
  turns_.clear();
  names_.clear();
  assert(memory_.used() == 0 && "a tensor or a plan outlives the engine");
}

std::uint64_t Engine::uptime_ms() const {
  const auto elapsed = std::chrono::steady_clock::now() - started_;
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(elapsed).count());
}

wire::HelloReply Engine::greeting() const {
  wire::HelloReply reply;
  reply.server = server_name;
  reply.epoch = epoch_;
  reply.catalogue = ops::catalogue_hash();
  reply.os_pid = ::getpid();
  reply.threads = options_.threads;
  reply.isa = ops::isa_level();
  reply.memory_limit = memory_.limit();
  reply.kept_limit = memory_.kept().limit();
  reply.limits = options_.limits;
  return reply;
}

wire::InfoReply Engine::describe() const {
  wire::InfoReply reply;
  reply.memory_limit = memory_.limit();
  reply.memory_used = memory_.used();
  reply.memory_peak = memory_.peak();
  reply.memory_pooled = memory_.pooled();
  reply.memory_kept = memory_.kept().bytes();
  reply.memory_kept_limit = memory_.kept().limit();
  reply.uptime_ms = uptime_ms();
  reply.compiler = ops::compiler_name(options_.compile);
  reply.code_bytes = ops::code_bytes();
  if (checkpoints_) reply.checkpoint = checkpoints_->describe();
  return reply;
}

wire::StatsReply Engine::stats() const {
  wire::StatsReply reply = watch_.stats();
  reply.uptime_ms = uptime_ms();
  reply.engine_us = static_cast<std::uint64_t>(busy_ns_.load(std::memory_order_relaxed) / 1000);
  for (const auto& session : watch_.list(0, SIZE_MAX)) reply.queue += session->look().queue;
  return reply;
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
  // Only the thread that has claimed the engine writes.
  busy_ns_.store(busy_ns_.load(std::memory_order_relaxed) + time.count(),
                 std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  turns_.use(session, time);
}

/// Waits for work. Null when the engine stops. Without work for some time, it gives pooled memory
/// back; it also does what keep_time() does. An idle engine has no timer.
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
    keep_time();
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
  const auto until = std::min({trim_at, names_end_.load(), checkpoint_at_.load(), try_again_at_});
  wakes_at_.store(until);
  return until;
}

/// Takes away the names whose lifetime has ended, begins checkpoints, and tries requests again, if
/// it is time for that.
void Engine::keep_time() {
  const auto now = Clock::now();
  if (now >= try_again_at_) try_again();
  const bool lifetimes = now >= names_end_.load();
  const bool checkpoint = now >= checkpoint_at_.load();
  if (!lifetimes && !checkpoint) return;
  const std::lock_guard lock(claim_);
  if (lifetimes) names_.expire();
  if (checkpoint) {
    // Before the look: a time that is set meanwhile stays.
    checkpoint_at_.store(no_time);
    checkpoints_->tick();
  }
  after_request();
}

void Engine::try_again() {
  try_again_at_ = no_time;
  for (const auto& session : waiting_) with_last_memory([&] { session->line_up(); });
  waiting_.clear();
}

void Engine::after_request() {
  names_.deliver();
  if (checkpoints_) checkpoints_->after_request();
  const auto end = names_.next_end().value_or(no_time);
  names_end_.store(end);
  const bool pooled = memory_.pooled() != 0;
  if (end == no_time && !pooled) return;
  wake_before(pooled ? std::min(end, Clock::now() + idle_before_trim) : end);
}

/// Wakes the engine's thread if it sleeps for longer.
void Engine::wake_before(Clock::time_point time) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (time >= wakes_at_.load()) return;
  // With the lock, the engine's thread is at its wait, or awake.
  { const std::lock_guard lock(mutex_); }
  wake_.notify_one();
}

void Engine::look_at_checkpoints(Clock::time_point time) {
  auto known = checkpoint_at_.load();
  while (time < known && !checkpoint_at_.compare_exchange_weak(known, time)) {
  }
  wake_before(time);
}

Result<void> Engine::keep_data(DataOptions options, std::unique_ptr<data::Disk> disk) {
  OUTRIGGER_TRY(auto folder, data::Folder::open(options.folder, std::move(disk)));
  const std::lock_guard lock(claim_);
  checkpoints_ =
      std::make_unique<Checkpoints>(names_, std::move(folder), std::move(options),
                                    [this](Clock::time_point time) { look_at_checkpoints(time); });
  OUTRIGGER_CHECK(checkpoints_->restore(memory_));
  after_request();
  return {};
}

void Engine::work() {
  ::pthread_setname_np(::pthread_self(), "engine");
  // OpenMP ends the process if it has no memory for a team. It makes the team now, while there is
  // memory.
  const ops::Interrupt never;
  ops::parallel_for(context(never, options_.threads, memory_), options_.threads,
                    ops::parallel_threshold, [](int, std::int64_t) {});
  using Turn = QueuedSession::Turn;
  while (auto session = next()) {
    Turn turn = Turn::done;
    {
      claim_wanted_.store(true, std::memory_order_relaxed);
      const std::lock_guard lock(claim_);
      claim_wanted_.store(false, std::memory_order_relaxed);
      guests_.begin(*session);
      turn = session->run_next();
      guests_.end();
    }
    if (turn == Turn::more) enqueue(session);
    if (turn == Turn::waits) {
      try_again_at_ = std::min(try_again_at_, Clock::now() + between_tries);
      with_last_memory([&] { waiting_.push_back(std::move(session)); });
    }
    keep_time();
  }
}

std::string find_llvm() { return kernel::Llvm::find_library(); }

std::shared_ptr<Engine> make_engine(const EngineOptions& options) {
  return std::make_shared<Engine>(options);
}

Result<void> keep_data(const std::shared_ptr<Engine>& engine, DataOptions options) {
  return engine->keep_data(std::move(options));
}

void checkpoint(const std::shared_ptr<Engine>& engine,
                std::function<void(const Result<void>&)> done) {
  if (engine->checkpoints() == nullptr) return done({});
  engine->checkpoints()->request([done = std::move(done)](const Checkpoints::Outcome& outcome) {
    if (outcome) return done({});
    done(tl::make_unexpected(outcome.error()));
  });
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
  const std::uint64_t number = options.number;
  auto session =
      std::make_shared<QueuedSession>(*engine, tenant, std::move(outbox), std::move(options));
  engine->watch().add(number, session);
  return session;
}

Vitals vitals(const std::shared_ptr<Engine>& engine, std::uint64_t sessions_max) {
  Vitals out{engine->greeting(), engine->describe(), engine->stats(), {}, {}};
  out.info.tenants = engine->tenants().describe(nullptr);
  for (const auto& session : engine->watch().list(0, sessions_max))
    out.sessions.push_back(session->look());
  out.slow = engine->watch().slow_log(wire::slow_entries_max);
  return out;
}

}  // namespace outrigger::engine
