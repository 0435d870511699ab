#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/limits.hpp"
#include "base/quotas.hpp"
#include "base/rights.hpp"
#include "ops/support/isa.hpp"
#include "wire/reply.hpp"
#include "wire/request.hpp"

namespace outrigger::engine {

class Engine;

/// The receiver of a session's replies. The I/O thread and the engine thread call it. It must not
/// block, and must not call back into the session.
class Outbox {
 public:
  virtual ~Outbox() = default;
  virtual void send(wire::Frame frame) = 0;
  /// True if so many replies wait to be taken that the session should make no more.
  virtual bool full() const { return false; }
  /// The bytes of replies that wait to be taken.
  virtual std::uint64_t waiting_bytes() const { return 0; }
};

/// One connection's handles, prepared programs and pending requests. Only the I/O thread may call
/// the members; the engine thread works on the inside.
class Session {
 public:
  virtual ~Session() = default;

  /// Takes one request; `frame` owns the bytes that it points into. Ping, info, cancel and bye are
  /// answered at once. Other requests are queued. A request that the planner bounds below some
  /// microseconds is carried out before this returns, if the engine is idle.
  virtual void submit(wire::Request request, std::shared_ptr<const wire::Frame> frame) = 0;

  /// Answers a refused request that has an id.
  virtual void refuse(const wire::Refusal& refusal) = 0;

  /// Requests without a terminal reply, and the bytes that they hold or asked for. The reader
  /// pauses while they exceed the windows. A request must leave both counts *before* its reply is
  /// sent, because the I/O thread looks at them again when the reply comes.
  virtual std::uint64_t pending_requests() const = 0;
  virtual std::uint64_t pending_bytes() const = 0;

  /// Ends all pending requests as cancelled.
  virtual void cancel_all() {}

  /// The server stops: the client hears of no names any more.
  virtual void stop_events() {}

  /// The outbox is not full any more: requests that waited for this are carried out. It costs
  /// nothing if none waited.
  virtual void replies_taken() {}

  /// True after `bye`, or after a first request other than hello. The connection is then to be
  /// closed when the replies are written.
  virtual bool finished() const = 0;

  /// The connection is gone: cancels the pending requests, and frees all handles. No reply is sent
  /// after this returns.
  virtual void close() = 0;
};

/// How kernels become machine code (kernel/native/compiler.hpp).
struct KernelOptions {
  /// This program, which is started again to compile; empty: kernels are interpreted.
  std::string program = {};
  std::string library = {};  ///< LLVM; empty: they are interpreted
  std::string reason = {};   ///< why they are
  /// Any thread calls it with what a person should know.
  std::function<void(const std::string& text)> log = [](const std::string&) {};
};
/// The library of LLVM that this machine has, or nothing.
std::string find_llvm();

struct EngineOptions {
  int threads = 0;                 ///< 0: all that the process may use
  std::uint64_t memory_limit = 0;  ///< bytes for tensors and temporaries; 0: none
  Limits limits = {};
  ops::Compile compile = {};
  KernelOptions kernels = {};
  /// A request that runs for so long, or longer, comes into the slow log.
  std::chrono::microseconds slow{1'000'000};
};

/// The number and the connection that a session tells its client.
struct SessionOptions {
  std::uint64_t number = 1;
  /// Over sockets. Called from submit().
  std::function<wire::ConnectionInfo()> connection = {};
  std::string token = {};  ///< the name of the client's token
  Rights rights = Rights::all();
  Quotas quotas = {};  ///< those of the token; the first session's count
  // For operators.
  std::string transport = {};
  std::string peer = {};
  /// Ends the connection, soon, with this error in its last frame. The I/O thread calls it, also
  /// from submit() of any session.
  std::function<void(const Error&)> end = {};
};

/// A folder that keeps the published tensors beyond the end of the process.
struct DataOptions {
  std::string folder;
  /// Between a change and the checkpoint that has it; 0: only those that are asked for.
  std::chrono::milliseconds interval{60'000};
  /// Any thread may call it; `is_error`: a checkpoint has failed.
  std::function<void(bool is_error, const std::string& text)> log = [](bool, const std::string&) {};
};

/// All that an operator may see of an engine.
struct Vitals {
  wire::HelloReply hello;
  wire::InfoReply info;  ///< without what belongs to a session
  wire::StatsReply stats;
  std::vector<wire::SessionInfo> sessions;
  std::vector<wire::SlowEntry> slow;
};

/// Carries out a small program on the engine's thread, as a client that has no session would. For
/// one thread.
class Probe {
 public:
  /// The engine works, though it may have no memory left for the program.
  enum class Health : std::uint8_t { good, no_memory };
  using Done = std::function<void(const Result<Health>&)>;
  virtual ~Probe() = default;
  /// Another thread calls `done`, once, when the program is done or has failed: never, if the
  /// engine hangs. Until then, start() must not be called again.
  virtual void start(std::chrono::milliseconds deadline, Done done) = 0;
};

/// The process-wide engine: one thread that runs the programs of all sessions, in fair turns.
std::shared_ptr<Engine> make_engine(const EngineOptions& options);
/// From now on an allocation of this process uses the engine's pooled memory, and some more, before
/// it fails (base/last_memory.hpp). Only main() calls it: the engine must live to the end.
void keep_last_memory(const std::shared_ptr<Engine>& engine);
/// Publishes the tensors of the folder again, and keeps it up to date from now on. Comes before the
/// first session. Errors: bad_file, if the folder is in use or damaged; io_error; out_of_memory.
Result<void> keep_data(const std::shared_ptr<Engine>& engine, DataOptions options);
/// Any thread: writes what has changed since the last checkpoint. Another thread calls `done` when
/// that is durable, or has failed; with nothing to do it does so, too. Without a data folder it is
/// called at once.
void checkpoint(const std::shared_ptr<Engine>& engine,
                std::function<void(const Result<void>&)> done);
/// Any thread, which never waits for the engine. Up to `sessions_max` sessions.
Vitals vitals(const std::shared_ptr<Engine>& engine, std::uint64_t sessions_max = 100);
std::unique_ptr<Probe> make_probe(const std::shared_ptr<Engine>& engine);
/// Opens a session; null if its token has as many as its quota allows. The engine must outlive its
/// sessions, and `outbox` must outlive close().
std::shared_ptr<Session> open_session(const std::shared_ptr<Engine>& engine,
                                      std::shared_ptr<Outbox> outbox, SessionOptions options = {});

}  // namespace outrigger::engine
