#include "net/connection.hpp"

#include <cerrno>
#include <chrono>
#include <new>
#include <thread>
#include <utility>

#include <spdlog/spdlog.h>
#include <boost/asio/post.hpp>

#include "base/last_memory.hpp"
#include "net/descriptor.hpp"

namespace outrigger::net {

namespace {
constexpr std::size_t scratch_bytes = 64U << 10;
/// Rests of payloads from this size on are read straight into their place.
constexpr std::size_t direct_bytes_min = 16U << 10;
/// One wake-up reads this often at most, to be fair to other connections.
constexpr int reads_per_wake_up_max = 8;
/// Replies wait for at most so many requests read after theirs.
constexpr std::uint32_t requests_per_flush_max = 64;
/// … and until so many bytes have gathered.
constexpr std::uint64_t bytes_per_flush_max = 256U << 10;
/// For what still arrives after the last frame.
constexpr std::chrono::milliseconds draining_time{1000};
/// Waiting awake: so long after the last request, if that one came so soon after its predecessor.
constexpr std::chrono::microseconds linger_time{50};
/// … and no other connection has read for so long: it would wait for us.
constexpr std::chrono::milliseconds alone_time{1};
/// On a single one the peer could not run meanwhile.
const bool several_processors = std::thread::hardware_concurrency() > 1;
/// The loop's other events wait for so many requests at most.
constexpr int lingered_requests_max = 64;
}  // namespace

ReadBuffers::ReadBuffers(const Limits& the_limits)
    : limits(the_limits), decoder(the_limits), scratch(scratch_bytes) {}

Connection::Connection(boost::asio::io_context& io, ReadBuffers& buffers,
                       std::shared_ptr<Stream> stream, std::function<void(End)> on_end,
                       ConnectionOptions options)
    : io_(io),
      buffers_(buffers),
      stream_(std::move(stream)),
      options_(std::move(options)),
      timer_(io),
      on_end_(std::move(on_end)),
      reader_(buffers.limits) {}

std::shared_ptr<Connection> Connection::start(boost::asio::io_context& io, ReadBuffers& buffers,
                                              std::shared_ptr<Stream> stream,
                                              const SessionFactory& open,
                                              std::function<void(End)> on_end,
                                              ConnectionOptions options) {
  std::shared_ptr<Connection> self(
      new Connection(io, buffers, std::move(stream), std::move(on_end), std::move(options)));
  self->writer_ = std::make_shared<ReplyWriter>(
      io, self->stream_, buffers.limits.replies_bytes_max,
      [weak = self->weak_from_this()] {
        if (const auto connection = weak.lock()) connection->settle();
      },
      self->options_.send_timeout);
  self->session_ = open(self->writer_);
  self->writer_->start();
  self->watch_hang_up();
  if (self->options_.socket) {
    self->reader_.set_frame_bytes_max(Limits::first_frames_bytes_max);
    self->set_timer(self->options_.handshake_timeout);
  } else {
    self->greeted_ = true;
  }
  self->shake_hands();
  return self;
}

void Connection::shake_hands() {
  if (ended_) return;
  if (stream_->handshake() > 0) return begin();
  if (errno != EAGAIN) {
    const std::string reason = stream_->failure();
    if (reason.empty()) return finish(End::peer_closed);
    spdlog::warn("{}: {}", options_.peer, reason);
    begin_closing(End::refused);
    return begin_draining();
  }
  with_last_memory([this] {
    stream_->input().async_wait(
        stream_->handshake_wait(),
        [self = shared_from_this()](const boost::system::error_code& error) {
          error ? self->finish(End::peer_closed) : self->shake_hands();
        });
  });
}

void Connection::begin() {
  ready_ = true;
  if (options_.refusal) return close_with(*options_.refusal);
  wait_readable();
}

void Connection::greeted() {
  greeted_ = true;
  reader_.set_frame_bytes_max(buffers_.limits.frame_bytes_max);
  set_timer(options_.idle_timeout);
}

void Connection::wait_readable() {
  reading_ = true;
  if (stream_->holds_input()) {
    with_last_memory([this] {
      boost::asio::post(io_, [self = shared_from_this()] {
        self->reading_ = false;
        self->on_readable();
      });
    });
    return;
  }
  with_last_memory([this] {
    stream_->input().async_wait(
        stream_->read_wait(), [self = shared_from_this()](const boost::system::error_code& error) {
          self->reading_ = false;
          error ? self->finish(End::peer_closed) : self->on_readable();
        });
  });
}

/// The system always reports a hang-up, even while nobody waits for input. Only a real one counts,
/// not a socket's urgent data.
void Connection::watch_hang_up() {
  stream_->input().async_wait(
      Stream::Wait::wait_error,
      [self = shared_from_this()](const boost::system::error_code& error) {
        if (error || self->ended_ || !hung_up(self->stream_->input().native_handle())) return;
        self->hung_up_ = true;
        self->settle();
      });
}

void Connection::on_readable() {
  if (draining_) return drain();
  if (ended_ || closing_ || paused_) return;
  const auto now = Clock::now();
  const bool soon = several_processors && comes_alone(now) && now - drained_at_ <= linger_time;
  Read last = read_burst();
  for (int i = 0; soon && i < lingered_requests_max && last == Read::drained; ++i) last = linger();
  drained_at_ = Clock::now();
  if (last == Read::end_of_file) return finish(End::peer_closed);
  settle();
}

bool Connection::comes_alone(Clock::time_point now) {
  if (buffers_.reader == this) return now - buffers_.reader_since >= alone_time;
  buffers_.reader = this;
  buffers_.reader_since = now;
  return false;
}

/// Reads what is there and writes the replies that are ready.
Connection::Read Connection::read_burst() {
  writer_->hold();
  Read last = Read::more;
  for (int i = 0; i < reads_per_wake_up_max && last == Read::more; ++i) {
    last = read_once();
    if (closing_ || paused_) break;
  }
  writer_->flush();
  return last;
}

/// The next burst, if it comes within the time for which we wait awake; otherwise `nothing`.
/// Without yielding: on a busy machine that could cost a time slice, of milliseconds.
Connection::Read Connection::linger() {
  const auto until = Clock::now() + linger_time;
  while (next_is_near()) {
    const Read last = read_burst();
    if (last != Read::nothing) return last;
    if (Clock::now() >= until) break;
  }
  return Read::nothing;
}

/// Not while replies are still to come from the engine's thread or to be taken by the peer.
bool Connection::next_is_near() const {
  return !closing_ && !paused_ && session_->pending_requests() == 0 && writer_->unsent_bytes() == 0;
}

Connection::Read Connection::read_once() {
  std::span<std::uint8_t> target = with_last_memory([this] { return reader_.space(); });
  const bool direct = target.size() >= direct_bytes_min;
  if (!direct) target = buffers_.scratch;
  const ssize_t got = stream_->read(target);
  if (got < 0) return errno == EAGAIN ? Read::nothing : Read::end_of_file;
  if (got == 0) return Read::end_of_file;
  const auto count = static_cast<std::size_t>(got);
  if (!direct) {
    split(target.first(count));
  } else if (auto frame = reader_.filled(count)) {
    handle(std::move(frame));
  }
  if (over_limits()) paused_ = true;
  return count < target.size() ? Read::drained : Read::more;
}

void Connection::split(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty() && !closing_) {
    if (over_limits()) {
      paused_ = true;
      with_last_memory([&] { leftover_.assign(bytes.begin(), bytes.end()); });
      return;
    }
    auto frame = with_last_memory([&] { return reader_.take(bytes); });
    if (!frame) return close_with(frame.error(), End::malformed);
    if (*frame) handle(*std::move(frame));
  }
}

/// Answers a request that there was no memory for: nothing has come of it.
void Connection::give_up(std::uint64_t id) {
  const LastMemory::Use use;
  buffers_.decoder.trim();
  if (id == 0) return close_with(no_memory(), End::malformed);
  session_->refuse({id, no_memory()});
}

void Connection::handle(std::shared_ptr<wire::Frame> frame) {
  std::uint64_t id = 0;
  try {
    auto request = buffers_.decoder.decode(*frame);
    id = request ? request->id : request.error().id;
    if (request) {
      const bool first = !greeted_ && std::holds_alternative<wire::Hello>(request->body);
      session_->submit(*std::move(request), std::move(frame));
      if (first && !session_->finished()) greeted();
    } else if (id != 0) {
      session_->refuse(request.error());
    } else {
      close_with(request.error().error, End::malformed);
    }
  } catch (const std::bad_alloc&) {
    if (id == 0) id = with_last_memory([&] { return wire::Decoder::find_id(*frame); });
    give_up(id);
  }
  if (closing_) return;
  if (session_->finished()) return begin_closing(End::bye);
  if (++unflushed_requests_ >= requests_per_flush_max ||
      writer_->unsent_bytes() >= bytes_per_flush_max) {
    unflushed_requests_ = 0;
    writer_->flush();
    writer_->hold();
  }
}

bool Connection::over_limits() const {
  const Limits& limits = buffers_.limits;
  return session_->pending_requests() > limits.requests_window ||
         session_->pending_bytes() > limits.bytes_window ||
         writer_->unsent_bytes() > limits.replies_bytes_max;
}

bool Connection::under_half_of_limits() const {
  const Limits& limits = buffers_.limits;
  return session_->pending_requests() <= limits.requests_window / 2 &&
         session_->pending_bytes() <= limits.bytes_window / 2 &&
         writer_->unsent_bytes() <= limits.replies_bytes_max / 2;
}

bool Connection::busy() const {
  return session_->pending_requests() > 0 || writer_->unsent_bytes() > 0;
}

/// Decides what comes next, after anything has happened.
void Connection::settle() {
  if (ended_) return;
  if (options_.idle_timeout.count() != 0) active_at_ = Clock::now();
  if (draining_) {
    if (hung_up_) finish(closing_end_);
    return;
  }
  if (writer_->broken()) {
    if (writer_->stalled())
      spdlog::warn("{}: closed, as the client took less than {} bytes of its replies in {} ms",
                   options_.peer, ReplyWriter::progress_bytes_min, options_.send_timeout.count());
    return finish(End::peer_closed);
  }
  if (writer_->unsent_bytes() <= buffers_.limits.replies_bytes_max / 2) session_->replies_taken();
  if (closing_) {
    if (closing_is_done()) begin_draining();
    return;
  }
  if (farewell_ && ready_ && !busy()) return close_with(*farewell_);
  if (!paused_) {
    if (ready_ && !reading_) wait_readable();
    return;
  }
  if (hung_up_) return finish(End::peer_closed);
  if (under_half_of_limits()) resume();
}

void Connection::resume() {
  paused_ = false;
  writer_->hold();
  const auto bytes = std::exchange(leftover_, {});
  split(bytes);
  writer_->flush();
  // Not by calling settle(): requests that are carried out at once could nest us deeply.
  with_last_memory(
      [this] { boost::asio::post(io_, [self = shared_from_this()] { self->settle(); }); });
}

void Connection::set_timer(std::chrono::milliseconds time) {
  timer_.cancel();
  if (time.count() == 0) return;
  timer_.expires_after(time);
  with_last_memory([this] {
    timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error) self->on_timer();
    });
  });
}

void Connection::on_timer() {
  // The timer may have been set anew after this was queued.
  if (ended_ || timer_.expiry() > Clock::now()) return;
  if (closing_) return finish(closing_end_);
  if (greeted_) return check_idle();
  if (ready_) return close_with({ErrorCode::timeout, "no hello within the handshake timeout"});
  spdlog::warn("{}: closed, as the TLS handshake takes too long", options_.peer);
  finish(End::refused);
}

void Connection::check_idle() {
  using std::chrono::milliseconds;
  if (options_.idle_timeout.count() == 0) return;
  if (busy()) return set_timer(options_.idle_timeout);
  const auto idle = std::chrono::duration_cast<milliseconds>(Clock::now() - active_at_);
  // One more, as 0 would be no timeout.
  if (idle < options_.idle_timeout)
    return set_timer(options_.idle_timeout - idle + milliseconds(1));
  close_with({ErrorCode::timeout, "no request within the idle timeout"});
}

void Connection::close_with(const Error& error, End end) {
  if (closing_ || ended_) return;
  spdlog::warn("{}: closed: {}", options_.peer, error.text);
  if (!ready_) return finish(end);
  session_->close();
  abandoned_ = true;
  with_last_memory([&] { writer_->send(wire::encode_error(0, error)); });
  begin_closing(end);
}

void Connection::close_when_idle(Error error) {
  if (!ready_) return finish(End::refused);
  farewell_ = std::move(error);
  settle();
}

void Connection::begin_closing(End end) {
  if (closing_) return;
  closing_ = true;
  closing_end_ = end;
  set_timer(options_.closing_time);
}

bool Connection::closing_is_done() const {
  const bool answered = abandoned_ || session_->pending_requests() == 0;
  return hung_up_ || (answered && writer_->unsent_bytes() == 0);
}

void Connection::begin_draining() {
  if (!options_.socket || hung_up_) return finish(closing_end_);
  draining_ = true;
  session_->close();
  stream_->end_output();
  set_timer(draining_time);
  if (!reading_) wait_readable();
}

void Connection::drain() {
  if (ended_) return;
  for (int i = 0; i < reads_per_wake_up_max; ++i) {
    const ssize_t got = stream_->read(buffers_.scratch);
    if (got < 0 && errno == EAGAIN) break;
    if (got <= 0) return finish(closing_end_);
  }
  wait_readable();
}

void Connection::finish(End end) {
  if (std::exchange(ended_, true)) return;
  const auto self = shared_from_this();
  session_->close();
  const bool reset = writer_->stalled();
  writer_->close();
  timer_.cancel();
  stream_->close(reset);
  on_end_(end);
}

}  // namespace outrigger::net
