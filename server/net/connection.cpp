#include "net/connection.hpp"

#include <unistd.h>

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
constexpr std::chrono::seconds closing_time{1};
/// Waiting awake: so long after the last request, if that one came so soon after its predecessor.
constexpr std::chrono::microseconds linger_time{50};
/// On a single one the peer could not run meanwhile.
const bool several_processors = std::thread::hardware_concurrency() > 1;
/// The loop's other events wait for so many requests at most.
constexpr int lingered_requests_max = 64;

ssize_t read_retrying(int fd, std::span<std::uint8_t> into) {
  for (;;) {
    const ssize_t count = ::read(fd, into.data(), into.size());
    if (count >= 0 || errno != EINTR) return count;
  }
}
}  // namespace

ReadBuffers::ReadBuffers(const Limits& the_limits)
    : limits(the_limits), decoder(the_limits), scratch(scratch_bytes) {}

Connection::Connection(boost::asio::io_context& io, ReadBuffers& buffers, int in_fd,
                       std::function<void(End)> on_end)
    : buffers_(buffers),
      in_(io, in_fd),
      closing_timer_(io),
      on_end_(std::move(on_end)),
      reader_(buffers.limits) {
  in_.native_non_blocking(true);
}

std::shared_ptr<Connection> Connection::start(boost::asio::io_context& io, ReadBuffers& buffers,
                                              int in_fd, int out_fd, const SessionFactory& open,
                                              std::function<void(End)> on_end) {
  std::shared_ptr<Connection> self(new Connection(io, buffers, in_fd, std::move(on_end)));
  self->writer_ = std::make_shared<ReplyWriter>(io, out_fd, buffers.limits.replies_bytes_max,
                                                [weak = self->weak_from_this()] {
                                                  if (const auto connection = weak.lock())
                                                    connection->settle();
                                                });
  self->session_ = open(self->writer_);
  self->writer_->start();
  self->watch_hang_up();
  self->wait_readable();
  return self;
}

void Connection::wait_readable() {
  with_last_memory([this] {
    in_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                   [self = shared_from_this()](const boost::system::error_code& error) {
                     self->reading_ = false;
                     error ? self->finish(End::peer_closed) : self->on_readable();
                   });
  });
  reading_ = true;
}

/// The system always reports a hang-up, even while nobody waits for input. Only a real one counts,
/// not a socket's urgent data.
void Connection::watch_hang_up() {
  in_.async_wait(boost::asio::posix::descriptor_base::wait_error,
                 [self = shared_from_this()](const boost::system::error_code& error) {
                   if (error || !hung_up(self->in_.native_handle())) return;
                   self->hung_up_ = true;
                   self->settle();
                 });
}

void Connection::on_readable() {
  if (ended_ || closing_ || paused_) return;
  const bool soon = several_processors && Clock::now() - drained_at_ <= linger_time;
  Read last = read_burst();
  for (int i = 0; soon && i < lingered_requests_max && last == Read::drained; ++i) last = linger();
  drained_at_ = Clock::now();
  if (last == Read::end_of_file) return finish(End::peer_closed);
  settle();
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
  const ssize_t got = read_retrying(in_.native_handle(), target);
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
    if (!frame) return refuse_stream(frame.error());
    if (*frame) handle(*std::move(frame));
  }
}

/// Answers a request that there was no memory for: nothing has come of it.
void Connection::give_up(std::uint64_t id) {
  const LastMemory::Use use;
  buffers_.decoder.trim();
  if (id == 0) return refuse_stream(no_memory());
  session_->refuse({id, no_memory()});
}

void Connection::handle(std::shared_ptr<wire::Frame> frame) {
  std::uint64_t id = 0;
  try {
    auto request = buffers_.decoder.decode(*frame);
    id = request ? request->id : request.error().id;
    if (request) {
      session_->submit(*std::move(request), std::move(frame));
    } else if (id != 0) {
      session_->refuse(request.error());
    } else {
      refuse_stream(request.error().error);
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

void Connection::refuse_stream(const Error& error) {
  spdlog::warn("closing a session: {}", error.text);
  session_->close();
  writer_->send(wire::encode_error(0, error));
  begin_closing(End::malformed);
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

/// Decides what comes next, after anything has happened.
void Connection::settle() {
  if (ended_) return;
  if (writer_->broken()) return finish(End::peer_closed);
  if (writer_->unsent_bytes() <= buffers_.limits.replies_bytes_max / 2) session_->replies_taken();
  if (closing_) {
    if (closing_is_done()) finish(closing_end_);
    return;
  }
  if (!paused_) {
    if (!reading_) wait_readable();
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
  with_last_memory([this] {
    boost::asio::post(in_.get_executor(), [self = shared_from_this()] { self->settle(); });
  });
}

void Connection::begin_closing(End end) {
  if (closing_) return;
  closing_ = true;
  closing_end_ = end;
  closing_timer_.expires_after(closing_time);
  with_last_memory([this] {
    closing_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error) self->finish(self->closing_end_);
    });
  });
}

bool Connection::closing_is_done() const {
  const bool answered = closing_end_ == End::malformed || session_->pending_requests() == 0;
  return hung_up_ || (answered && writer_->unsent_bytes() == 0);
}

void Connection::finish(End end) {
  if (std::exchange(ended_, true)) return;
  const auto self = shared_from_this();
  session_->close();
  writer_->close();
  closing_timer_.cancel();
  boost::system::error_code ignored;
  in_.close(ignored);
  on_end_(end);
}

}  // namespace outrigger::net
