#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "net/connection.hpp"
#include "net/fake_session.hpp"
#include "net/peer.hpp"

namespace outrigger::testing {

enum class Way : std::uint8_t { pipes, sockets };

/// A connection with a fake session on its own I/O thread, and its peer.
class Served {
 public:
  explicit Served(Way way, bool hold, const Limits& limits = {}) : buffers_(limits) {
    Fd in;
    Fd out;
    connect(way, in, out);
    auto ended = std::make_shared<std::promise<net::End>>();
    end_ = ended->get_future().share();
    const auto open = [this, hold](std::shared_ptr<engine::Outbox> outbox) {
      return session = std::make_shared<FakeSession>(std::move(outbox), hold);
    };
    auto stream = std::make_shared<net::DescriptorStream>(io_, in.release(), out.release());
    connection_ = net::Connection::start(io_, buffers_, std::move(stream), open,
                                         [ended](net::End end) { ended->set_value(end); });
    thread_ = std::thread([this] { io_.run(); });
  }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;
  ~Served() {
    peer.to_daemon.close();
    peer.from_daemon.close();
    static_cast<void>(end());
    work_.reset();
    thread_.join();
    session.reset();  // before the loop that its outbox uses
  }

  /// The reason for the end of the connection; nothing if it has not ended in time.
  std::optional<net::End> end(std::chrono::milliseconds patience = std::chrono::seconds(5)) const {
    if (end_.wait_for(patience) != std::future_status::ready) return std::nullopt;
    return end_.get();
  }

  bool paused() {
    std::promise<bool> answer;
    boost::asio::post(io_, [&] { answer.set_value(connection_->paused()); });
    return answer.get_future().get();
  }

  Peer peer;
  std::shared_ptr<FakeSession> session;

 private:
  void connect(Way way, Fd& in, Fd& out) {
    int requests[2];
    int replies[2];
    const auto make = [way](int* ends) {
      // The second end of a socket pair is the one for writes, as it is for pipes.
      return way == Way::pipes ? ::pipe(ends) : ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    };
    if (make(requests) != 0 || (way == Way::pipes && make(replies) != 0)) {
      throw std::runtime_error("no descriptors");
    }
    in = Fd(requests[0]);
    peer.to_daemon = Fd(requests[1]);
    out = Fd(way == Way::pipes ? replies[1] : ::dup(requests[0]));
    peer.from_daemon = Fd(way == Way::pipes ? replies[0] : ::dup(requests[1]));
  }

  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      io_.get_executor()};
  net::ReadBuffers buffers_;
  std::shared_ptr<net::Connection> connection_;
  std::shared_future<net::End> end_;
  std::thread thread_;
};

/// Waits until `condition` is true. Returns false after five seconds.
template <typename Condition>
bool eventually(const Condition& condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

}  // namespace outrigger::testing
