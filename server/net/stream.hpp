#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

namespace outrigger::net {

/// Bytes in two directions, without blocking: all that a connection knows of its peer. For the I/O
/// thread alone.
///
/// An operation that cannot go on fails with EAGAIN. The owner then waits for `input()` or
/// `output()` to be ready in the direction that `read_wait()` or `write_wait()` names.
class Stream {
 public:
  using Descriptor = boost::asio::posix::stream_descriptor;
  using Wait = boost::asio::posix::descriptor_base::wait_type;

  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  /// The steps before the first byte. 1: done; -1 with errno EAGAIN: call again after the wait; -1
  /// with another one: failed, and `failure()` is the text, or empty if the peer has just left.
  virtual int handshake() { return 1; }
  virtual Wait handshake_wait() const { return Wait::wait_read; }
  virtual std::string failure() const { return {}; }

  /// As read(2). Fewer bytes than there is room for: there are no more now.
  virtual ssize_t read(std::span<std::uint8_t> into) = 0;
  virtual Wait read_wait() const { return Wait::wait_read; }
  /// Bytes wait in the stream itself: `input()` need not become ready for them.
  virtual bool holds_input() const { return false; }
  /// As writev(2). The bytes that were not written must come first in the next call.
  virtual ssize_t write(std::span<const iovec> pieces) = 0;
  virtual Wait write_wait() const { return Wait::wait_write; }
  /// Tells the peer that nothing more follows. It may still be read from.
  virtual void end_output() {}

  /// The same one if one descriptor carries both directions.
  virtual Descriptor& input() = 0;
  virtual Descriptor& output() = 0;
  /// Also ends what waits for the descriptors. With `reset`, TCP drops what is unsent.
  virtual void close(bool reset) = 0;
};

/// Two pipes, or one socket. Makes the descriptors non-blocking and owns them.
class DescriptorStream final : public Stream {
 public:
  DescriptorStream(boost::asio::io_context& io, int in_fd, int out_fd);
  explicit DescriptorStream(Descriptor socket);

  ssize_t read(std::span<std::uint8_t> into) override;
  ssize_t write(std::span<const iovec> pieces) override;
  void end_output() override;
  Descriptor& input() override { return in_; }
  Descriptor& output() override { return out_ ? *out_ : in_; }
  void close(bool reset) override;

 private:
  Descriptor in_;
  std::optional<Descriptor> out_;
};

/// Closes a descriptor of a socket; with `reset`, TCP drops what is unsent and tells the peer.
void close_socket(Stream::Descriptor& descriptor, bool reset);

}  // namespace outrigger::net
