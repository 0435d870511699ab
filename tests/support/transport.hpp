#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "support/encode.hpp"
#include "support/link.hpp"

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

/// A session of a server at an address.
std::unique_ptr<Transport> open_socket_transport(const std::string& address,
                                                 const TlsClient& tls = {});

/// A separate daemon, over pipes.
class DaemonClient : public Transport {
 public:
  /// Starts the daemon. Throws std::runtime_error if that fails.
  explicit DaemonClient(const EngineSettings& settings = {});
  /// Closes the daemon's stdin and waits for its end.
  ~DaemonClient() override;
  DaemonClient(const DaemonClient&) = delete;
  DaemonClient& operator=(const DaemonClient&) = delete;

  void send(std::span<const std::uint8_t> payload) override { frames_->send(payload); }
  Payload receive(std::chrono::milliseconds timeout) override { return frames_->receive(timeout); }
  using Transport::receive;

  int pid() const { return pid_; }
  /// True while the process runs.
  bool alive();

 private:
  int pid_ = -1;
  std::unique_ptr<Framed> frames_;
};

}  // namespace outrigger::test
