#include "http/connection.hpp"

#include <exception>
#include <new>
#include <utility>

#include <spdlog/spdlog.h>

namespace outrigger::http {

namespace beast = boost::beast;

namespace {

/// Nothing on the status page comes from elsewhere, and no other page may show it.
constexpr std::string_view policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string_view text_of(beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace

HttpConnection::HttpConnection(boost::asio::ip::tcp::socket socket, const ConnectionLimits& limits,
                               bool local, Respond respond,
                               std::function<void(const HttpConnection*)> on_end)
    : stream_(std::move(socket)),
      limits_(limits),
      local_(local),
      respond_(std::move(respond)),
      on_end_(std::move(on_end)),
      buffer_(limits.header_bytes_max + 1) {}

void HttpConnection::start() { read(limits_.first_request_time); }

void HttpConnection::read(std::chrono::milliseconds time) {
  idle_ = true;
  answering_ = false;
  parser_.emplace();
  parser_->header_limit(limits_.header_bytes_max);
  parser_->body_limit(0);
  stream_.expires_after(time);
  beast::http::async_read_header(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
        self->on_read(error);
      });
}

/// The answer to bytes that are no request; none if the peer is gone, or too late.
std::optional<Answer> HttpConnection::objection(const boost::system::error_code& why) {
  using beast::http::error;
  const boost::system::error_code malformed = error::bad_version;
  if (why == error::end_of_stream || why == error::partial_message ||
      why.category() != malformed.category())
    return std::nullopt;
  if (why == error::header_limit || why == error::buffer_overflow)
    return Answer{.status = 431, .body = "The header is too long.\n"};
  if (why == error::body_limit)
    return Answer{.status = 413, .body = "Requests have no body here.\n"};
  return Answer{.status = 400, .body = "This is no request of HTTP/1.1.\n"};
}

std::optional<Answer> HttpConnection::objection() const {
  const auto& request = parser_->get();
  if (local_ && is_foreign_host(text_of(request[beast::http::field::host])))
    return Answer{.status = 421, .body = "This server answers to localhost and to addresses.\n"};
  const auto method = request.method();
  if (method == beast::http::verb::get || method == beast::http::verb::head) return std::nullopt;
  return Answer{.status = 405, .body = "Use GET or HEAD.\n", .allow = "GET, HEAD"};
}

/// Without memory the connection ends: one that waits for nothing would keep its place for ever.
void HttpConnection::on_read(const boost::system::error_code& error) {
  try {
    take(error);
  } catch (const std::exception& failure) {
    spdlog::warn("HTTP: a request was not answered: {}", failure.what());
    end();
  }
}

void HttpConnection::take(const boost::system::error_code& error) {
  idle_ = false;
  if (error) {
    auto answer = objection(error);
    if (!answer) return end();
    keep_alive_ = head_ = false;
    return send(*std::move(answer));
  }
  const auto& request = parser_->get();
  head_ = request.method() == beast::http::verb::head;
  keep_alive_ = request.keep_alive() && parser_->is_done();
  if (auto answer = objection()) return send(*std::move(answer));
  respond_(path_of(text_of(request.target())),
           [self = shared_from_this()](Answer answer) { self->send(std::move(answer)); });
}

void HttpConnection::send(Answer answer) {
  try {
    write(std::move(answer));
  } catch (const std::exception& failure) {
    spdlog::warn("HTTP: an answer was not sent: {}", failure.what());
    end();
  }
}

void HttpConnection::write(Answer answer) {
  answering_ = true;
  if (!stream_.socket().is_open()) return end();
  using beast::http::field;
  auto& response = response_.emplace();
  response.result(answer.status);
  response.version(11);
  const auto set = [&](field name, std::string_view value) {
    response.set(name, beast::string_view(value.data(), value.size()));
  };
  set(field::content_type, answer.type);
  set(field::cache_control, "no-store");
  response.set("Content-Security-Policy", beast::string_view(policy.data(), policy.size()));
  response.set("X-Content-Type-Options", "nosniff");
  response.set("Referrer-Policy", "no-referrer");
  if (!answer.allow.empty()) set(field::allow, answer.allow);
  response.keep_alive(keep_alive_);
  response.body() = std::move(answer.body);
  response.prepare_payload();
  serializer_.emplace(response);
  stream_.expires_after(limits_.answer_time);
  const auto written = [self = shared_from_this()](const boost::system::error_code& error,
                                                   std::size_t) {
    if (error) return self->end();
    try {
      if (!self->keep_alive_) return self->finish();
      self->read(self->limits_.next_request_time);
    } catch (const std::bad_alloc&) {
      self->end();
    }
  };
  if (head_) return beast::http::async_write_header(stream_, *serializer_, written);
  beast::http::async_write(stream_, *serializer_, written);
}

/// A socket that is closed with unread bytes is reset, which destroys the answer on its way.
void HttpConnection::finish() {
  boost::system::error_code ignored;
  stream_.socket().shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
  stream_.expires_after(limits_.draining_time);
  drain();
}

void HttpConnection::drain() {
  buffer_.clear();
  stream_.async_read_some(
      buffer_.prepare(buffer_.max_size()),
      [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
        error ? self->end() : self->drain();
      });
}

void HttpConnection::close() {
  boost::system::error_code ignored;
  stream_.socket().close(ignored);
}

void HttpConnection::end() {
  stream_.cancel();
  boost::system::error_code ignored;
  stream_.socket().shutdown(boost::asio::ip::tcp::socket::shutdown_both, ignored);
  stream_.socket().close(ignored);
  if (on_end_) std::exchange(on_end_, nullptr)(this);
}

}  // namespace outrigger::http
