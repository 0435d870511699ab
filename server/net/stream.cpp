#include "net/stream.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace outrigger::net {

DescriptorStream::DescriptorStream(boost::asio::io_context& io, int in_fd, int out_fd)
    : in_(io, in_fd), out_(std::in_place, io, out_fd) {
  in_.native_non_blocking(true);
  out_->native_non_blocking(true);
}

DescriptorStream::DescriptorStream(Descriptor socket) : in_(std::move(socket)) {
  in_.native_non_blocking(true);
}

ssize_t DescriptorStream::read(std::span<std::uint8_t> into) {
  for (;;) {
    const ssize_t count = ::read(in_.native_handle(), into.data(), into.size());
    if (count >= 0 || errno != EINTR) return count;
  }
}

ssize_t DescriptorStream::write(std::span<const iovec> pieces) {
  for (;;) {
    const ssize_t count =
        ::writev(output().native_handle(), pieces.data(), static_cast<int>(pieces.size()));
    if (count >= 0 || errno != EINTR) return count;
  }
}

void DescriptorStream::end_output() {
  if (!out_) ::shutdown(in_.native_handle(), SHUT_WR);
}

void DescriptorStream::close(bool reset) {
  close_socket(in_, reset && !out_);
  if (out_) close_socket(*out_, false);
}

void close_socket(Stream::Descriptor& descriptor, bool reset) {
  if (!descriptor.is_open()) return;
  if (reset) {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(descriptor.native_handle(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  boost::system::error_code ignored;
  descriptor.close(ignored);
}

}  // namespace outrigger::net
