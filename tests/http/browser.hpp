#pragma once

#include <chrono>
#include <string>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

namespace outrigger::http {

/// A connection to an HTTP server at 127.0.0.1. Its reads end with an error after some seconds.
class Browser {
 public:
  using Response = boost::beast::http::response<boost::beast::http::string_body>;

  /// `address` ends with the port.
  explicit Browser(const std::string& address) : socket_(io_) {
    const auto port = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
    socket_.connect({boost::asio::ip::address_v4::loopback(), port});
    timeval patience{20, 0};
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }

  void write(const std::string& bytes) {
    boost::system::error_code ignored;
    boost::asio::write(socket_, boost::asio::buffer(bytes), ignored);
  }
  /// The next response; its status is 0 if there is none.
  Response read(bool head = false) {
    boost::beast::http::response_parser<boost::beast::http::string_body> parser;
    parser.skip(head);
    boost::system::error_code error;
    boost::beast::http::read(socket_, buffer_, parser, error);
    if (!error) return parser.release();
    Response none;
    none.result(0U);
    return none;
  }
  Response get(const std::string& target, const std::string& method = "GET",
               const std::string& host = "127.0.0.1") {
    write(method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    return read(method == "HEAD");
  }
  /// True if the server has closed the connection within the time.
  bool ends() {
    char byte = 0;
    boost::system::error_code error;
    boost::asio::read(socket_, boost::asio::buffer(&byte, 1), error);
    return error == boost::asio::error::eof || error == boost::asio::error::connection_reset;
  }

 private:
  boost::asio::io_context io_;
  boost::asio::ip::tcp::socket socket_;
  boost::beast::flat_buffer buffer_;
};

}  // namespace outrigger::http
