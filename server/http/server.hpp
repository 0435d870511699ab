#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include <boost/asio/io_context.hpp>

#include "base/error.hpp"
#include "http/answers.hpp"
#include "http/connection.hpp"
#include "http/health.hpp"
#include "net/address.hpp"
#include "net/listener.hpp"

namespace outrigger::http {

/// Reads `127.0.0.1:9464` or `[::1]:9464`, also with `http://` before it.
Result<net::Address> parse_http_address(std::string_view text);
/// `http://127.0.0.1:9464`.
std::string http_text(const net::Address& address);

struct HttpOptions {
  net::Address address;
  /// When all are taken, the connection that has waited longest for a request gives its place to
  /// the next one.
  std::size_t connections_max = 128;
  std::chrono::milliseconds health_deadline{5000};
  ConnectionLimits limits = {};
};

/// Answers HTTP on a thread of its own, which never waits for the engine's or the I/O thread's.
class HttpServer {
 public:
  /// Binds the address, and begins to answer. Errors: those of Listener::open().
  static Result<std::unique_ptr<HttpServer>> start(HttpOptions options, Sources sources);
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();

  /// With the port that the system chose, if it was 0.
  const net::Address& address() const { return listener_->address(); }

 private:
  using Connections = std::list<std::shared_ptr<HttpConnection>>;

  HttpServer(HttpOptions options, Sources sources);
  void run();
  void accept(int descriptor);
  void open(boost::asio::ip::tcp::socket socket);
  bool make_place();
  void respond(std::string_view path, std::function<void(Answer)> receiver);

  const HttpOptions options_;
  boost::asio::io_context io_{1};
  Sources sources_;
  HealthCheck health_;
  std::shared_ptr<net::Listener> listener_;
  Connections connections_;  ///< the oldest first
  std::uint64_t answers_ = 0;
  std::thread thread_;
};

}  // namespace outrigger::http
