#pragma once

#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "net/fake_session.hpp"
#include "net/server.hpp"

namespace outrigger::testing {

/// Options for these addresses, with times that a test does not reach.
inline net::ServerOptions serving(const std::vector<std::string>& addresses) {
  net::ServerOptions options;
  for (const std::string& address : addresses)
    options.addresses.push_back(net::parse_address(address).value());
  options.handshake_timeout = options.send_timeout = std::chrono::minutes(5);
  return options;
}

/// A server with fake sessions on an I/O thread of its own.
class ServedSockets {
 public:
  explicit ServedSockets(net::ServerOptions options, bool hold = false, const Limits& limits = {}) {
    const auto open = [this, hold](std::shared_ptr<engine::Outbox> outbox,
                                   const engine::SessionOptions&) {
      auto session = std::make_shared<FakeSession>(std::move(outbox), hold);
      const std::lock_guard lock(mutex_);
      sessions_.push_back(session);
      return session;
    };
    server_ = std::make_unique<net::Server>(io_, limits, std::move(options), open);
    const auto done = server_->listen();
    if (!done) throw std::runtime_error(done.error().text);
    for (const net::Address& address : server_->addresses()) addresses_.push_back(address.text());
    thread_ = std::thread([this] { io_.run(); });
  }
  ServedSockets(const ServedSockets&) = delete;
  ServedSockets& operator=(const ServedSockets&) = delete;
  ~ServedSockets() {
    // Connections end with the loop, which destroys the handlers that own them.
    io_.stop();
    thread_.join();
  }

  const std::string& address(std::size_t index = 0) const { return addresses_[index]; }

  /// The session behind the n-th connection that got one.
  std::shared_ptr<FakeSession> session(std::size_t index) {
    const std::lock_guard lock(mutex_);
    return index < sessions_.size() ? sessions_[index] : nullptr;
  }

  /// Calls `work` on the server's thread, and returns its result.
  template <typename Work>
  auto on_loop(const Work& work) {
    std::packaged_task<decltype(work())()> task(work);
    auto result = task.get_future();
    boost::asio::post(io_, [&task] { task(); });
    return result.get();
  }

  std::size_t clients() {
    return on_loop([this] { return server_->clients(); });
  }

  /// The future is ready when the server has stopped.
  std::future<void> stop() {
    auto stopped = std::make_shared<std::promise<void>>();
    on_loop([&] { server_->stop([stopped] { stopped->set_value(); }); });
    return stopped->get_future();
  }

 private:
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      io_.get_executor()};
  std::mutex mutex_;
  std::vector<std::shared_ptr<FakeSession>> sessions_;  ///< guarded by mutex_
  std::unique_ptr<net::Server> server_;
  std::vector<std::string> addresses_;
  std::thread thread_;
};

}  // namespace outrigger::testing
