#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "support/encode.hpp"
#include "support/link.hpp"

namespace outrigger::test {

/// A way to a session: payloads go in, payloads of replies come out. Requests may be sent without
/// waiting for replies.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual void send(std::span<const std::uint8_t> payload) = 0;
  /// The next reply, whatever its id. Throws std::runtime_error at the timeout or when the session
  /// is over.
  virtual Payload receive(std::chrono::milliseconds timeout) = 0;
  Payload receive() { return receive(std::chrono::seconds(60)); }
};

struct EngineSettings {
  int threads = 2;
  std::uint64_t memory_limit = 0;
};

/// A session of an engine in this process; frames are decoded as the daemon decodes them.
std::unique_ptr<Transport> open_session_transport(const EngineSettings& settings = {});

/// A session of a server at an address.
std::unique_ptr<Transport> open_socket_transport(const std::string& address,
                                                 const TlsClient& tls = {});

/// A daemon of its own, reached over pipes.
class DaemonClient : public Transport {
 public:
  /// Starts the daemon; throws std::runtime_error if it cannot.
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
