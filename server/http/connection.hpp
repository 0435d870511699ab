#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include "http/answers.hpp"

namespace outrigger::http {

/// Limits of a connection. A peer can make the server hold one header and one answer.
struct ConnectionLimits {
  std::uint32_t header_bytes_max = 8192;
  /// From the connection to the end of its first request's header.
  std::chrono::milliseconds first_request_time{10'000};
  /// The same for later requests: scrapers keep a connection for the next scrape.
  std::chrono::milliseconds next_request_time{120'000};
  /// For the peer to take an answer.
  std::chrono::milliseconds answer_time{10'000};
  /// For what still arrives behind the last answer.
  std::chrono::milliseconds draining_time{1000};
};

/// One connection of HTTP/1.1: a request at a time, GET and HEAD only. For the thread of HTTP.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  /// Gives the answer, now or later.
  using Respond = std::function<void(std::string_view path, std::function<void(Answer)>)>;

  HttpConnection(boost::asio::ip::tcp::socket socket, const ConnectionLimits& limits, bool local,
                 Respond respond, std::function<void(const HttpConnection*)> on_end);
  void start();
  /// It waits for a request, so that nobody misses it.
  bool idle() const { return idle_; }
  /// It waits for the peer to take an answer, or to close.
  bool answering() const { return answering_; }
  void close();

 private:
  using Request = boost::beast::http::request_parser<boost::beast::http::empty_body>;

  void read(std::chrono::milliseconds time);
  void on_read(const boost::system::error_code& error);
  static std::optional<Answer> objection(const boost::system::error_code& why);
  std::optional<Answer> objection() const;
  void take(const boost::system::error_code& error);
  void send(Answer answer);
  void write(Answer answer);
  void finish();
  void drain();
  void end();

  boost::beast::tcp_stream stream_;
  const ConnectionLimits& limits_;
  const bool local_;  ///< the server listens to this machine only
  Respond respond_;
  std::function<void(const HttpConnection*)> on_end_;
  boost::beast::flat_buffer buffer_;
  std::optional<Request> parser_;
  std::optional<boost::beast::http::response<boost::beast::http::string_body>> response_;
  std::optional<boost::beast::http::response_serializer<boost::beast::http::string_body>>
      serializer_;
  bool head_ = false;
  bool keep_alive_ = false;
  bool idle_ = true;
  bool answering_ = false;
};

}  // namespace outrigger::http
