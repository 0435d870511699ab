#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "support/encode.hpp"

namespace outrigger::test {

/// A path to a session, for payloads of requests and of replies. A request may be sent before the
/// reply to another one has come.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual void send(std::span<const std::uint8_t> payload) = 0;
  /// The next reply, whatever its id. Throws std::runtime_error at the timeout, or when the session
  /// has ended.
  virtual Payload receive(std::chrono::milliseconds timeout) = 0;
  Payload receive() { return receive(std::chrono::seconds(60)); }
};

struct EngineSettings {
  int threads = 2;
  std::uint64_t memory_limit = 0;
};

/// A session of an engine in this process. Frames are decoded as in the daemon.
std::unique_ptr<Transport> open_session_transport(const EngineSettings& settings = {});

/// A separate daemon, over pipes.
class DaemonClient : public Transport {
 public:
  /// Starts the daemon. Throws std::runtime_error if that fails.
  explicit DaemonClient(const EngineSettings& settings = {});
  /// Closes the daemon's stdin and waits for its end.
  ~DaemonClient() override;
  DaemonClient(const DaemonClient&) = delete;
  DaemonClient& operator=(const DaemonClient&) = delete;

  void send(std::span<const std::uint8_t> payload) override;
  Payload receive(std::chrono::milliseconds timeout) override;
  using Transport::receive;

  int pid() const { return pid_; }
  /// True while the process runs.
  bool alive();

 private:
  void read_some(std::chrono::steady_clock::time_point until);
  void write_all(std::span<const std::uint8_t> bytes);

  int pid_ = -1;
  int to_daemon_ = -1;
  int from_daemon_ = -1;
  std::vector<std::uint8_t> received_;
  std::size_t consumed_ = 0;
};

}  // namespace outrigger::test
