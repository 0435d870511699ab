#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/limits.hpp"
#include "ops/support/isa.hpp"
#include "wire/reply.hpp"
#include "wire/request.hpp"

namespace outrigger::engine {

class Engine;

/// Where a session's replies go. Called from the I/O thread and from the engine thread; must not
/// block and must not call back into the session.
class Outbox {
 public:
  virtual ~Outbox() = default;
  virtual void send(wire::Frame frame) = 0;
  /// Whether so much of what was sent has not been taken yet that no more should be made.
  virtual bool full() const { return false; }
};

/// One connection's handles, prepared programs and pending requests. All members may be called
/// from the I/O thread only; the engine thread works on the inside.
class Session {
 public:
  virtual ~Session() = default;

  /// Takes one request; `frame` owns the bytes that it points into. Ping, info, cancel and bye are
  /// answered at once; the rest is queued, or, if the planner bounds it below some
  /// microseconds and the engine is idle, carried out before this returns.
  virtual void submit(wire::Request request, std::shared_ptr<const wire::Frame> frame) = 0;

  /// Answers a refused request that has an id.
  virtual void refuse(const wire::Refusal& refusal) = 0;

  /// Requests without a terminal reply, and the bytes that they hold or asked for. The reader
  /// pauses while they exceed the windows. A request must leave both counts *before* its reply is
  /// sent: the reply is what makes the I/O thread look at them again.
  virtual std::uint64_t pending_requests() const = 0;
  virtual std::uint64_t pending_bytes() const = 0;

  /// Ends all pending requests as cancelled.
  virtual void cancel_all() {}

  /// The outbox is not full any more: requests that waited for that are carried out. Costs nothing
  /// if none did.
  virtual void replies_taken() {}

  /// True after `bye`, or a first request other than hello: close the connection when the replies
  /// are written.
  virtual bool finished() const = 0;

  /// The connection is gone: cancels what is pending, frees all handles. Replies are no longer
  /// sent after this returns.
  virtual void close() = 0;
};

struct EngineOptions {
  int threads = 0;                 ///< 0: all that the process may use
  std::uint64_t memory_limit = 0;  ///< bytes for tensors and temporaries; 0: none
  Limits limits = {};
  ops::Compile compile = {};
};

/// What a session tells of its connection.
struct SessionOptions {
  std::uint64_t number = 1;
  /// Over sockets. Called from submit().
  std::function<wire::ConnectionInfo()> connection = {};
};

/// The process-wide engine: one thread that runs the programs of all sessions in turn.
std::shared_ptr<Engine> make_engine(const EngineOptions& options);
/// From now on the engine's pooled memory, and some more, is used before an allocation of this
/// process fails (base/last_memory.hpp). For main(): the engine must live to the end.
void keep_last_memory(const std::shared_ptr<Engine>& engine);
/// The engine must outlive its sessions, `outbox` close().
std::shared_ptr<Session> open_session(const std::shared_ptr<Engine>& engine,
                                      std::shared_ptr<Outbox> outbox, SessionOptions options = {});

}  // namespace outrigger::engine
