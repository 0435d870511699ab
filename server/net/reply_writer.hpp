#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "engine/session/session.hpp"
#include "net/stream.hpp"

namespace outrigger::net {

/// The replies of one connection on their way to its stream.
///
/// Any thread may send(). All writing is done by the I/O thread, without blocking, up to 64 frames
/// in one system call. Invariant: whenever a frame is queued, flush_coming_ is true, that is, a
/// flush is posted, or the I/O thread has promised one with hold(), or the stream is being waited
/// for. So a send wakes the I/O thread at most once per flush, and not at all within a
/// batch of requests.
class ReplyWriter final : public engine::Outbox, public std::enable_shared_from_this<ReplyWriter> {
 public:
  /// Is full beyond `bytes_max` unsent bytes. `io` must live longer than this. `on_flushed` is
  /// called on the I/O thread after each flush that the owner did not ask for, and when the stream
  /// breaks. It also breaks when the peer takes neither all that waits nor `progress_bytes_min`
  /// within `send_timeout`; 0: it may wait for ever.
  ReplyWriter(boost::asio::io_context& io, std::shared_ptr<Stream> stream, std::uint64_t bytes_max,
              std::function<void()> on_flushed, std::chrono::milliseconds send_timeout = {});

  /// A peer that takes less in the time of a send timeout, while more waits, does not really read.
  static constexpr std::uint64_t progress_bytes_min = 64U << 10;

  /// Any thread. Dropped if the connection is closed or broken.
  void send(wire::Frame frame) override;
  /// Any thread: what has been sent but not written, as it lies in memory.
  std::uint64_t unsent_bytes() const { return unsent_bytes_.load(); }
  bool full() const override { return unsent_bytes() > bytes_max_; }
  std::uint64_t waiting_bytes() const override { return unsent_bytes(); }

  // The I/O thread only, from here on.

  /// Watches for the reader's end: broken() tells.
  void start();
  /// Promises a flush() soon, so that sends until then need not wake anybody.
  void hold();
  /// Writes what can be written at once; the rest follows by itself.
  void flush();
  /// The peer does not read any more.
  bool broken() const { return broken_; }
  /// … and that is why: it took too little for too long.
  bool stalled() const { return stalled_; }
  /// Drops what is unsent; on_flushed is not called again. Does not close the stream.
  void close();

 private:
  void post_flush();
  bool collect();
  bool write_some();
  void written(std::size_t bytes);
  void wait_writable();
  void watch_stall();
  void break_off();

  boost::asio::io_context& io_;
  std::shared_ptr<Stream> stream_;
  const std::uint64_t bytes_max_;
  std::function<void()> on_flushed_;
  std::atomic<std::uint64_t> unsent_bytes_ = 0;

  std::mutex mutex_;  ///< guards the following three
  std::vector<wire::Frame> incoming_;
  bool flush_coming_ = false;
  bool closed_ = false;

  // The I/O thread's.
  std::deque<wire::Frame> outgoing_;
  std::size_t first_offset_ = 0;  ///< bytes of outgoing_.front() that are written
  bool waiting_ = false;
  bool broken_ = false;
  const std::chrono::milliseconds send_timeout_;
  boost::asio::steady_timer stall_timer_;  ///< runs only while something waits to be written
  std::uint64_t written_bytes_ = 0;
  std::uint64_t watched_from_ = 0;  ///< written_bytes_ when the watch began
  bool drained_ = true;             ///< since then, nothing waited any more
  bool watching_ = false;
  bool stalled_ = false;
};

}  // namespace outrigger::net
