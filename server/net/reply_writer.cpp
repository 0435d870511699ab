#include "net/reply_writer.hpp"

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

ReplyWriter::ReplyWriter(boost::asio::io_context& io, std::shared_ptr<Stream> stream,
                         std::uint64_t bytes_max, std::function<void()> on_flushed,
                         std::chrono::milliseconds send_timeout)
    : io_(io),
      stream_(std::move(stream)),
      bytes_max_(bytes_max),
      on_flushed_(std::move(on_flushed)),
      send_timeout_(send_timeout),
      stall_timer_(io) {}

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
    boost::asio::post(io_, [self = shared_from_this()] {
      self->flush();
      if (self->on_flushed_) self->on_flushed_();
    });
  });
}

void ReplyWriter::start() {
  stream_->output().async_wait(
      Stream::Wait::wait_error,
      [self = shared_from_this()](const boost::system::error_code& error) {
        if (error || self->broken_ || !hung_up(self->stream_->output().native_handle())) return;
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
  drained_ = drained_ || !flush_coming_;
  return flush_coming_;
}

/// One system call. False if the flush is over for now: the stream is full or broken.
bool ReplyWriter::write_some() {
  std::array<iovec, gathered_max> pieces;
  std::size_t count = 0;
  for (wire::Frame& frame : outgoing_) {
    if (count == pieces.size()) break;
    pieces[count++] = {frame.data(), frame.size()};
  }
  pieces[0].iov_base = static_cast<std::uint8_t*>(pieces[0].iov_base) + first_offset_;
  pieces[0].iov_len -= first_offset_;
  const ssize_t bytes = stream_->write(std::span(pieces.data(), count));
  if (bytes >= 0) {
    written(static_cast<std::size_t>(bytes));
    return true;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    wait_writable();
  } else {
    break_off();
  }
  return false;
}

void ReplyWriter::written(std::size_t bytes) {
  written_bytes_ += bytes;
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
    stream_->output().async_wait(
        stream_->write_wait(), [self = shared_from_this()](const boost::system::error_code& error) {
          if (error) return;
          self->waiting_ = false;
          self->flush();
          if (self->on_flushed_) self->on_flushed_();
        });
  });
  if (send_timeout_.count() != 0 && !watching_) watch_stall();
}

void ReplyWriter::watch_stall() {
  watching_ = true;
  drained_ = false;
  watched_from_ = written_bytes_;
  stall_timer_.expires_after(send_timeout_);
  with_last_memory([this] {
    stall_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      self->watching_ = false;
      if (error || !self->waiting_ || self->broken_) return;
      const bool progress =
          self->drained_ || self->written_bytes_ - self->watched_from_ >= progress_bytes_min;
      if (progress) return self->watch_stall();
      self->stalled_ = true;
      self->break_off();
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
  stall_timer_.cancel();
}

}  // namespace outrigger::net
