#pragma once

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <msgpack.hpp>

namespace outrigger::testing {

/// A descriptor that is closed at the end of its life.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    close();
    fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  ~Fd() { close(); }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

/// The client's ends of a connection. They block, with timeouts that make a test fail instead of
/// hang.
struct Peer {
  Fd to_daemon;
  Fd from_daemon;

  /// Returns false if the daemon has ended.
  bool write_all(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t count = ::write(to_daemon.get(), bytes.data(), bytes.size());
      if (count < 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }

  /// Reads exactly `count` bytes. Returns nothing at the end of the file or at the timeout.
  std::optional<std::string> read_exactly(std::size_t count, int timeout_ms = 5000) const {
    std::string out(count, '\0');
    std::size_t got = 0;
    while (got < count) {
      pollfd ready{from_daemon.get(), POLLIN, 0};
      if (::poll(&ready, 1, timeout_ms) <= 0) return std::nullopt;
      const ssize_t n = ::read(from_daemon.get(), out.data() + got, count - got);
      if (n <= 0) return std::nullopt;
      got += static_cast<std::size_t>(n);
    }
    return out;
  }

  /// The payload of the next reply.
  std::optional<std::string> read_payload(int timeout_ms = 5000) const {
    const auto header = read_exactly(4, timeout_ms);
    if (!header) return std::nullopt;
    std::size_t length = 0;
    for (const char c : *header) length = length << 8 | static_cast<unsigned char>(c);
    return read_exactly(length, timeout_ms);
  }

  /// The id of the next reply; nothing as in read_exactly().
  std::optional<std::uint64_t> read_id(int timeout_ms = 5000) const {
    const auto payload = read_payload(timeout_ms);
    if (!payload) return std::nullopt;
    const auto handle = msgpack::unpack(payload->data(), payload->size());
    return handle.get().via.map.ptr[0].val.as<std::uint64_t>();
  }
};

}  // namespace outrigger::testing
