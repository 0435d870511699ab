#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/limits.hpp"
#include "engine/session/session.hpp"
#include "net/reply_writer.hpp"
#include "wire/frame.hpp"
#include "wire/request.hpp"

namespace outrigger::net {

/// Why a connection ended.
enum class End : std::uint8_t {
  bye,          ///< the session was finished; its replies were written, or a second had passed
  malformed,    ///< the bytes were no frames of ours; the peer was told, or a second had passed
  peer_closed,  ///< end of file, hang-up, or the peer does not read our replies
};

/// The buffers that the connections of one I/O thread share, so that an idle one holds none.
struct ReadBuffers {
  explicit ReadBuffers(const Limits& limits);
  Limits limits;
  wire::Decoder decoder;
  std::vector<std::uint8_t> scratch;
};

using SessionFactory =
    std::function<std::shared_ptr<engine::Session>(std::shared_ptr<engine::Outbox>)>;

/// One session over two descriptors: bytes in → frames → requests → session → replies → bytes out.
///
/// Runs on the I/O thread alone. A wake-up reads what is there, submits its requests, and writes
/// their replies together. Reading pauses while the session's pending requests or bytes, or the
/// unwritten replies, exceed their limits, and goes on when all have fallen to the half. So what a
/// peer can make us hold is bounded by those limits, one frame and one reply: the session makes no
/// replies while too many are unwritten. While paused, the input's
/// hang-up is still seen; end of file without hang-up (a half-closed socket) only after that.
///
/// A peer that sends its next request at once when it has its reply is waited for awake, for some
/// ten microseconds: falling asleep and being woken costs more than a small request does.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  /// Owns both descriptors, which must be two (dup a socket), and makes them non-blocking.
  /// `on_end` is called once, on the I/O thread, when the session is closed already.
  static std::shared_ptr<Connection> start(boost::asio::io_context& io, ReadBuffers& buffers,
                                           int in_fd, int out_fd, const SessionFactory& open,
                                           std::function<void(End)> on_end);

  bool paused() const { return paused_; }

 private:
  Connection(boost::asio::io_context& io, ReadBuffers& buffers, int in_fd,
             std::function<void(End)> on_end);

  enum class Read : std::uint8_t { nothing, more, drained, end_of_file };
  using Clock = std::chrono::steady_clock;

  void wait_readable();
  void watch_hang_up();
  void on_readable();
  Read read_burst();
  Read linger();
  bool next_is_near() const;
  Read read_once();
  void split(std::span<const std::uint8_t> bytes);
  void handle(std::shared_ptr<wire::Frame> frame);
  void give_up(std::uint64_t id);
  void refuse_stream(const Error& error);

  bool over_limits() const;
  bool under_half_of_limits() const;
  void settle();
  void resume();
  void begin_closing(End end);
  bool closing_is_done() const;
  void finish(End end);

  ReadBuffers& buffers_;
  boost::asio::posix::stream_descriptor in_;
  boost::asio::steady_timer closing_timer_;
  std::shared_ptr<ReplyWriter> writer_;
  std::shared_ptr<engine::Session> session_;
  std::function<void(End)> on_end_;
  wire::FrameReader reader_;
  /// Bytes that were read before a pause and are not split yet.
  std::vector<std::uint8_t> leftover_;
  std::uint32_t unflushed_requests_ = 0;
  Clock::time_point drained_at_;  ///< when we last stopped to look for input
  bool reading_ = false;          ///< a wait for the input is under way
  bool paused_ = false;
  bool hung_up_ = false;
  bool closing_ = false;
  bool ended_ = false;
  End closing_end_ = End::bye;
};

}  // namespace outrigger::net
