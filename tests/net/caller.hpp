#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "support/encode.hpp"
#include "support/link.hpp"
#include "support/reply.hpp"
#include "wire/bytes.hpp"

namespace outrigger::testing {

/// A client at a server's address that does by itself nothing but count ids.
class Caller {
 public:
  explicit Caller(const std::string& address, const test::TlsClient& tls = {})
      : frames_(test::dial(address, tls)) {}

  test::Framed& frames() { return frames_; }
  std::uint64_t new_id() { return ++last_id_; }

  void write(std::string_view bytes) { frames_.write(bytes_of(bytes)); }
  void send(const test::Payload& payload) { frames_.send(payload); }
  test::Reply receive(std::chrono::milliseconds patience = std::chrono::seconds(10)) {
    return test::decode_reply(frames_.receive(patience));
  }
  test::Reply ask(const test::Payload& payload) {
    send(payload);
    return receive();
  }
  test::Reply hello() { return ask(test::encode_hello(new_id())); }
  test::Reply auth(std::string_view token) { return ask(test::encode_auth(new_id(), token)); }
  test::Reply ping() { return ask(test::encode_simple(new_id(), "ping")); }
  test::Reply info() { return ask(test::encode_simple(new_id(), "info")); }

  /// True if the server ends the connection with this code in its last frame.
  bool ends_with(std::string_view code) {
    const test::Reply last = receive();
    return last.id == 0 && last.code() == code && ends();
  }
  bool ends(std::chrono::milliseconds patience = std::chrono::seconds(10)) {
    return frames_.ends(patience);
  }

 private:
  test::Framed frames_;
  std::uint64_t last_id_ = 0;
};

}  // namespace outrigger::testing
