#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>

#include "ops/support/context.hpp"
#include "tensor/memory.hpp"

namespace outrigger::engine {

class Engine;
class QueuedSession;

/// Lets short requests of other sessions in while the engine's thread carries out a long program,
/// the host: between its tiles, and only sessions that have had less of the engine than the host's.
/// All members are for the engine's thread, except let_in().
///
/// This is safe, because a guest works on the tensors of its own session. Two sessions share memory
/// by values only, which no one writes in place; a host with live tensors, whose storage they would
/// share, opens no door. docs/decisions/tenancy.md has the reasons.
class EngineGuests final : public ops::Guests {
 public:
  explicit EngineGuests(Engine& engine) : engine_(engine) {}

  /// A request of this session begins.
  void begin(QueuedSession& host);
  /// It has ended. The guests that could not come in wait for their turns.
  void end();

  void let_in() noexcept override;

  /// Guests may come as long as it lives: the host's program runs. The program may take up to
  /// `most` bytes of `memory` more than now: guests leave it these.
  class Door {
   public:
    Door(EngineGuests& guests, Memory& memory, std::uint64_t most);
    Door(const Door&) = delete;
    Door& operator=(const Door&) = delete;
    ~Door() { guests_.door_ = nullptr; }

   private:
    friend class EngineGuests;
    std::uint64_t promised() const;

    EngineGuests& guests_;
    Memory& memory_;
    std::uint64_t most_used_;
  };

 private:
  using Clock = std::chrono::steady_clock;

  void serve(Clock::time_point until);
  void use_host_time(Clock::time_point now);

  Engine& engine_;
  std::thread::id thread_;
  QueuedSession* host_ = nullptr;
  Door* door_ = nullptr;
  Clock::time_point host_since_;  ///< the host's time up to here is counted
  Clock::time_point next_look_;
  /// Sessions whose next request is too long for a guest; each has the next one.
  std::shared_ptr<QueuedSession> left_outside_;
};

}  // namespace outrigger::engine
