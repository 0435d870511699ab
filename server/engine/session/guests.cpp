#include "engine/session/guests.hpp"

#include <cassert>
#include <utility>

#include "engine/session/engine.hpp"
#include "engine/session/queued_session.hpp"

namespace outrigger::engine {
namespace {

using std::chrono::microseconds;

/// Most requests have ended before: they need not look for guests.
constexpr microseconds before_first_look{300};
/// The host goes on for so long before it looks for guests again.
constexpr microseconds between_looks{100};
/// The rest of the team may be waiting for the host's thread.
constexpr microseconds visit{2000};

}  // namespace

EngineGuests::Door::Door(EngineGuests& guests, Memory& memory, std::uint64_t most)
    : guests_(guests), memory_(memory), most_used_(memory.used() + most) {
  assert(guests_.door_ == nullptr && "a guest lets guests in");
  guests_.door_ = this;
}

std::uint64_t EngineGuests::Door::promised() const {
  const std::uint64_t used = memory_.used();
  return most_used_ > used ? most_used_ - used : 0;
}

void EngineGuests::begin(QueuedSession& host) {
  thread_ = std::this_thread::get_id();
  host_ = &host;
  host_since_ = Clock::now();
  next_look_ = host_since_ + before_first_look;
}

void EngineGuests::end() {
  use_host_time(Clock::now());
  host_ = nullptr;
  while (left_outside_) {
    auto session =
        std::exchange(left_outside_, std::exchange(left_outside_->next_outside, nullptr));
    engine_.enqueue(std::move(session));
  }
}

void EngineGuests::use_host_time(Clock::time_point now) {
  engine_.use_time(*host_, now - host_since_, now);
  host_since_ = now;
}

void EngineGuests::let_in() noexcept {
  if (std::this_thread::get_id() != thread_ || door_ == nullptr) return;
  const auto now = Clock::now();
  if (now < next_look_) return;
  // A guest lets nobody in.
  Door* const door = std::exchange(door_, nullptr);
  use_host_time(now);
  const std::uint64_t used = door->memory_.used();
  {
    const Memory::Promise promise(door->memory_, door->promised());
    const Memory::Absence absence(door->memory_);
    serve(now + visit);
  }
  door->most_used_ += door->memory_.used() - used;
  door_ = door;
  host_since_ = Clock::now();
  next_look_ = host_since_ + between_looks;
}

void EngineGuests::serve(Clock::time_point until) {
  auto begin = Clock::now();
  while (begin < until) {
    const auto session = engine_.next_guest(*host_);
    if (!session) return;
    // The host's own session may be in line, for its end.
    const auto came =
        session.get() == host_ ? QueuedSession::Guest::outside : session->run_as_guest();
    const auto end = Clock::now();
    engine_.use_time(*session, end - begin, end);
    begin = end;
    if (came == QueuedSession::Guest::goes_on) engine_.enqueue(session);
    if (came != QueuedSession::Guest::outside) continue;
    session->next_outside = std::exchange(left_outside_, session);
  }
}

}  // namespace outrigger::engine
