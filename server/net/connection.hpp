#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/limits.hpp"
#include "engine/session/session.hpp"
#include "net/reply_writer.hpp"
#include "net/stream.hpp"
#include "wire/frame.hpp"
#include "wire/request.hpp"

namespace outrigger::net {

/// Why a connection ended.
enum class End : std::uint8_t {
  bye,          ///< the session was finished; its replies were written, or it took too long
  malformed,    ///< the bytes were no frames of ours; the peer was told, or it took too long
  refused,      ///< ended by close_with(), or the handshake of the stream failed
  peer_closed,  ///< end of file, hang-up, or the peer does not read our replies
};

/// The buffers that the connections of one I/O thread share, so that an idle one holds none.
struct ReadBuffers {
  using Clock = std::chrono::steady_clock;

  explicit ReadBuffers(const Limits& limits);
  Limits limits;
  wire::Decoder decoder;
  std::vector<std::uint8_t> scratch;
  /// The connection that read last, and since when no other has.
  const void* reader = nullptr;
  Clock::time_point reader_since;
};

/// By default, those of the standard streams: only the peer ends them.
struct ConnectionOptions {
  std::string peer = "standard input";  ///< for logs
  /// The stream is a socket: frames are short before the handshake is done, and what arrives after
  /// the last frame is read and dropped, as closing before that would destroy the frame on its way.
  bool socket = false;
  /// 0: none. The handshake is done with `hello`.
  std::chrono::milliseconds handshake_timeout{0};
  std::chrono::milliseconds idle_timeout{0};
  std::chrono::milliseconds send_timeout{0};
  /// For what is pending and unwritten after `bye`.
  std::chrono::milliseconds closing_time{1000};
  /// The connection ends with this when its stream is ready.
  std::optional<Error> refusal = {};
};

using SessionFactory =
    std::function<std::shared_ptr<engine::Session>(std::shared_ptr<engine::Outbox>)>;

/// One session over a stream: bytes in → frames → requests → session → replies → bytes out.
///
/// Runs on the I/O thread alone. A wake-up reads what is there, submits its requests, and writes
/// their replies together. Reading pauses while the session's pending requests or bytes, or the
/// unwritten replies, exceed their limits, and goes on when all have fallen to the half. So what a
/// peer can make us hold is bounded by those limits, one frame and one reply: the session makes no
/// replies while too many are unwritten. While paused, the input's
/// hang-up is still seen; end of file without hang-up (a half-closed socket) only after that.
///
/// A peer that sends its next request at once when it has its reply is waited for awake, for some
/// ten microseconds, while no other connection reads: falling asleep and being woken costs more
/// than a small request does.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  /// `on_end` is called once, on the I/O thread, when the session is closed already.
  static std::shared_ptr<Connection> start(boost::asio::io_context& io, ReadBuffers& buffers,
                                           std::shared_ptr<Stream> stream,
                                           const SessionFactory& open,
                                           std::function<void(End)> on_end,
                                           ConnectionOptions options = {});

  bool paused() const { return paused_; }
  /// The handshake is done.
  bool has_greeted() const { return greeted_; }
  /// Ends the session and the connection; the peer is told why by a last frame with id 0, except in
  /// the middle of a TLS handshake.
  void close_with(const Error& error, End end = End::refused);
  /// The same as soon as no request is pending and no reply is unwritten.
  void close_when_idle(Error error);

 private:
  Connection(boost::asio::io_context& io, ReadBuffers& buffers, std::shared_ptr<Stream> stream,
             std::function<void(End)> on_end, ConnectionOptions options);

  enum class Read : std::uint8_t { nothing, more, drained, end_of_file };
  using Clock = ReadBuffers::Clock;

  void shake_hands();
  void begin();
  void greeted();
  void wait_readable();
  void watch_hang_up();
  void on_readable();
  bool comes_alone(Clock::time_point now);
  Read read_burst();
  Read linger();
  bool next_is_near() const;
  Read read_once();
  void split(std::span<const std::uint8_t> bytes);
  void handle(std::shared_ptr<wire::Frame> frame);
  void give_up(std::uint64_t id);

  bool over_limits() const;
  bool under_half_of_limits() const;
  bool busy() const;
  void settle();
  void resume();
  void set_timer(std::chrono::milliseconds time);
  void on_timer();
  void check_idle();
  void begin_closing(End end);
  bool closing_is_done() const;
  void begin_draining();
  void drain();
  void finish(End end);

  boost::asio::io_context& io_;
  ReadBuffers& buffers_;
  std::shared_ptr<Stream> stream_;
  const ConnectionOptions options_;
  /// The limit of the handshake, of an idle connection, or of one that closes.
  boost::asio::steady_timer timer_;
  std::shared_ptr<ReplyWriter> writer_;
  std::shared_ptr<engine::Session> session_;
  std::function<void(End)> on_end_;
  wire::FrameReader reader_;
  /// Bytes that were read before a pause and are not split yet.
  std::vector<std::uint8_t> leftover_;
  std::uint32_t unflushed_requests_ = 0;
  Clock::time_point drained_at_;  ///< when we last stopped to look for input
  Clock::time_point active_at_;   ///< when anything last happened, if there is an idle timeout
  std::optional<Error> farewell_;
  bool ready_ = false;    ///< the stream's handshake is done
  bool greeted_ = false;  ///< the session has begun
  bool reading_ = false;  ///< a wait for the input is under way
  bool paused_ = false;
  bool hung_up_ = false;
  bool closing_ = false;
  bool abandoned_ = false;  ///< closing without the pending requests' replies
  bool draining_ = false;   ///< the last frame is written, what arrives is dropped
  bool ended_ = false;
  End closing_end_ = End::bye;
};

}  // namespace outrigger::net
