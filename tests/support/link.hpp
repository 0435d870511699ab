#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace outrigger::test {

/// The client's end of a connection: bytes in two directions, without blocking. As read(2) and
/// write(2), with EAGAIN.
class Link {
 public:
  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  virtual ~Link() = default;

  virtual ssize_t read(std::span<std::uint8_t> into) = 0;
  virtual ssize_t write(std::span<const std::uint8_t> bytes) = 0;
  /// For poll(2); one and the same of a socket.
  virtual int in_fd() const = 0;
  virtual int out_fd() const = 0;
};

/// How a client uses TLS.
struct TlsClient {
  std::string ca;  ///< file that the server's certificate is checked with; empty: not checked
  std::string certificate = {};  ///< the client's own file; may be empty
  std::string key = {};
  int version_max = 0;  ///< e.g. TLS1_2_VERSION; 0: the newest
};

/// Two pipes, which the link owns.
std::unique_ptr<Link> pipe_link(int in_fd, int out_fd);
/// Connects to an address as the daemon's option `--listen` has it; throws std::runtime_error with
/// the system's or OpenSSL's reason. The server's certificate must be for the host.
std::unique_ptr<Link> dial(const std::string& address, const TlsClient& tls = {});

/// Frames over a link.
class Framed {
 public:
  explicit Framed(std::unique_ptr<Link> link) : link_(std::move(link)) {}

  Link& link() { return *link_; }
  void close() { link_.reset(); }
  /// The link, between two frames.
  std::unique_ptr<Link> take() { return std::move(link_); }

  /// Whole bytes, also such that are no frame. Reads meanwhile: a server that waits for its replies
  /// to be read must not wait for this program, which waits for the server. Throws at the timeout,
  /// or when the peer is gone.
  void write(std::span<const std::uint8_t> bytes);
  void send(std::span<const std::uint8_t> payload);
  /// The next payload. Throws at the timeout, or when the peer has closed.
  std::vector<std::uint8_t> receive(std::chrono::milliseconds timeout);
  /// True if the peer ends the stream, without another byte, within the time.
  bool ends(std::chrono::milliseconds timeout);

 private:
  using Clock = std::chrono::steady_clock;
  enum class Got { bytes, nothing, end };
  Got read_some(Clock::time_point until);

  std::unique_ptr<Link> link_;
  std::vector<std::uint8_t> received_;
  std::size_t consumed_ = 0;
};

}  // namespace outrigger::test
