#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <poll.h>
#include <unistd.h>

// The messages between the daemon and the process that compiles kernels: a byte for the kind, eight
// for the size, and as many bytes as that.

namespace outrigger::kernel {

enum class MessageKind : std::uint8_t {
  text = 't',         ///< to the compiler: a module
  version = 'v',      ///< the compiler is ready
  unavailable = 'u',  ///< the compiler cannot work, and ends
  object = 'o',
  refused = 'r',  ///< the module could not be compiled: a reason
};

struct Message {
  MessageKind kind = MessageKind::refused;
  std::vector<std::uint8_t> bytes = {};

  std::string as_text() const { return {bytes.begin(), bytes.end()}; }
};

/// One end of a pair of pipes. `ready` waits until poll() gives the events for the descriptor; if
/// it returns false, the transfer fails.
template <typename Ready>
class Channel {
 public:
  Channel(int in, int out, Ready ready) : in_(in), out_(out), ready_(std::move(ready)) {}

  template <typename Bytes>
  bool send(MessageKind kind, const Bytes& bytes) {
    std::array<std::uint8_t, 9> head{static_cast<std::uint8_t>(kind)};
    const std::uint64_t size = bytes.size();
    std::memcpy(head.data() + 1, &size, sizeof size);
    return write(head.data(), head.size()) && write(bytes.data(), bytes.size());
  }

  /// A message of at most `bytes_max`.
  bool receive(Message& message, std::uint64_t bytes_max) {
    std::array<std::uint8_t, 9> head{};
    std::uint64_t size = 0;
    if (!read(head.data(), head.size())) return false;
    std::memcpy(&size, head.data() + 1, sizeof size);
    if (size > bytes_max) return false;
    message.kind = static_cast<MessageKind>(head[0]);
    message.bytes.resize(size);
    return read(message.bytes.data(), size);
  }

 private:
  bool write(const void* from, std::size_t count) {
    const auto* at = static_cast<const char*>(from);
    while (count > 0) {
      if (!ready_(out_, POLLOUT)) return false;
      const ssize_t done = ::write(out_, at, count);
      if (done < 0 && errno != EINTR && errno != EAGAIN) return false;
      if (done <= 0) continue;
      at += done;
      count -= static_cast<std::size_t>(done);
    }
    return true;
  }
  bool read(void* to, std::size_t count) {
    auto* at = static_cast<char*>(to);
    while (count > 0) {
      if (!ready_(in_, POLLIN)) return false;
      const ssize_t done = ::read(in_, at, count);
      if (done == 0 || (done < 0 && errno != EINTR && errno != EAGAIN)) return false;
      if (done < 0) continue;
      at += done;
      count -= static_cast<std::size_t>(done);
    }
    return true;
  }

  int in_;
  int out_;
  Ready ready_;
};

}  // namespace outrigger::kernel
