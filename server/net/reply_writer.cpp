#include "net/reply_writer.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <iterator>
#include <utility>

#include <boost/asio/post.hpp>

#include "base/last_memory.hpp"
#include "net/descriptor.hpp"

namespace outrigger::net {

namespace {
constexpr std::size_t gathered_max = 64;
/// One flush stops here to let the I/O thread look at its other events.
constexpr std::uint64_t flush_bytes_max = 4U << 20;

/// The bytes of a frame, with its places in the queues and the overhead of malloc.
std::uint64_t held_bytes(const wire::Frame& frame) { return frame.capacity() + 64; }
}  // namespace

ReplyWriter::ReplyWriter(boost::asio::io_context& io, int fd, std::uint64_t bytes_max,
                         std::function<void()> on_flushed)
    : descriptor_(io, fd), bytes_max_(bytes_max), on_flushed_(std::move(on_flushed)) {
  descriptor_.native_non_blocking(true);
}

void ReplyWriter::send(wire::Frame frame) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    const std::uint64_t bytes = held_bytes(frame);
    with_last_memory([&] { incoming_.push_back(std::move(frame)); });
    unsent_bytes_.fetch_add(bytes);
    if (std::exchange(flush_coming_, true)) return;
  }
  post_flush();
}

void ReplyWriter::post_flush() {
  with_last_memory([this] {
    boost::asio::post(descriptor_.get_executor(), [self = shared_from_this()] {
      self->flush();
      if (self->on_flushed_) self->on_flushed_();
    });
  });
}

void ReplyWriter::start() {
  descriptor_.async_wait(
      boost::asio::posix::descriptor_base::wait_error,
      [self = shared_from_this()](const boost::system::error_code& error) {
        if (error || self->broken_ || !hung_up(self->descriptor_.native_handle())) return;
        self->break_off();
        if (self->on_flushed_) self->on_flushed_();
      });
}

void ReplyWriter::hold() {
  const std::lock_guard lock(mutex_);
  flush_coming_ = true;
}

void ReplyWriter::flush() {
  if (waiting_) return;
  const std::uint64_t before = unsent_bytes();
  while (collect()) {
    if (!write_some()) return;
    // Others may have sent meanwhile, so this is a hint and may even be negative.
    if (static_cast<std::int64_t>(before - unsent_bytes()) >
        static_cast<std::int64_t>(flush_bytes_max)) {
      return post_flush();
    }
  }
}

/// Takes over what was sent. False, and the next send will post a flush, if there is nothing.
bool ReplyWriter::collect() {
  const std::lock_guard lock(mutex_);
  with_last_memory([this] {
    outgoing_.insert(outgoing_.end(), std::make_move_iterator(incoming_.begin()),
                     std::make_move_iterator(incoming_.end()));
  });
  incoming_.clear();
  flush_coming_ = !outgoing_.empty();
  return flush_coming_;
}

/// One system call. False if the flush is over for now: the descriptor is full or broken.
bool ReplyWriter::write_some() {
  std::array<iovec, gathered_max> pieces;
  std::size_t count = 0;
  for (wire::Frame& frame : outgoing_) {
    if (count == pieces.size()) break;
    pieces[count++] = {frame.data(), frame.size()};
  }
  pieces[0].iov_base = static_cast<std::uint8_t*>(pieces[0].iov_base) + first_offset_;
  pieces[0].iov_len -= first_offset_;
  const ssize_t bytes =
      ::writev(descriptor_.native_handle(), pieces.data(), static_cast<int>(count));
  if (bytes >= 0) {
    written(static_cast<std::size_t>(bytes));
    return true;
  }
  if (errno == EINTR) return true;
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    wait_writable();
  } else {
    break_off();
  }
  return false;
}

void ReplyWriter::written(std::size_t bytes) {
  bytes += first_offset_;
  while (!outgoing_.empty() && bytes >= outgoing_.front().size()) {
    bytes -= outgoing_.front().size();
    unsent_bytes_.fetch_sub(held_bytes(outgoing_.front()));
    outgoing_.pop_front();
  }
  first_offset_ = bytes;
}

void ReplyWriter::wait_writable() {
  waiting_ = true;
  with_last_memory([this] {
    descriptor_.async_wait(boost::asio::posix::descriptor_base::wait_write,
                           [self = shared_from_this()](const boost::system::error_code& error) {
                             if (error) return;
                             self->waiting_ = false;
                             self->flush();
                             if (self->on_flushed_) self->on_flushed_();
                           });
  });
}

void ReplyWriter::break_off() {
  broken_ = true;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  incoming_.clear();
  outgoing_.clear();
  unsent_bytes_ = 0;
}

void ReplyWriter::close() {
  break_off();
  on_flushed_ = nullptr;
  boost::system::error_code ignored;
  descriptor_.close(ignored);
}

}  // namespace outrigger::net
