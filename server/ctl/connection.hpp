#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "ctl/arguments.hpp"
#include "ctl/link.hpp"
#include "wire/frame.hpp"
#include "wire/value.hpp"

namespace outrigger::ctl {

/// The value of an entry of a map; none if the value is no map, or has no such key.
std::optional<wire::Value> find(wire::Value map, std::string_view key);

/// A reply with the memory that its values lie in.
class Reply {
 public:
  /// A reply or an event; or what the server's bytes are not.
  static Result<Reply> parse(std::shared_ptr<const wire::Frame> frame);

  wire::Value value() const { return value_; }
  /// 0: an event, or a frame that ends the connection.
  std::uint64_t id() const;
  bool is_event() const { return find(value_, "event").has_value(); }
  /// The server's error, unless the reply is `ok`; the text begins with its code.
  Result<void> verdict() const;

 private:
  Reply(std::shared_ptr<const wire::Frame> frame, std::unique_ptr<wire::ValueParser> parser,
        wire::Value value)
      : frame_(std::move(frame)), parser_(std::move(parser)), value_(value) {}

  std::shared_ptr<const wire::Frame> frame_;
  std::unique_ptr<wire::ValueParser> parser_;
  wire::Value value_;
};

struct Target {
  Endpoint endpoint;
  TlsOptions tls;
  std::optional<std::string> token;
  std::chrono::milliseconds timeout{5000};
};

/// A session of a server: PROTOCOL.md, sections 4 and 9.
class Connection {
 public:
  /// Connects, and shows the token if there is one.
  static Result<Connection> open(const Target& target);

  /// The server's reply to hello.
  const Reply& hello() const { return *hello_; }
  /// Carries out a request. Errors: also that in the reply.
  Result<Reply> request(std::string_view kind, const Arguments& arguments = {});
  /// Sends a request: its id, for reply_to().
  std::uint64_t send(std::string_view kind, const Arguments& arguments);
  /// The reply to the earliest request that has none yet, which must have this id. Errors: also
  /// that in the reply, and in a frame with id 0, which is the last one of a connection.
  Result<Reply> reply_to(std::uint64_t id);
  /// Waits for the next event. Errors: as those of reply_to().
  Result<Reply> next_event();

 private:
  explicit Connection(Link link) : link_(std::move(link)), frames_(Limits{}) {}
  Result<void> greet(const std::optional<std::string>& token);
  void write(std::span<const std::uint8_t> bytes);
  Result<std::shared_ptr<wire::Frame>> next_frame();
  tl::unexpected<Error> closed() const;

  Link link_;
  wire::FrameReader frames_;
  std::vector<std::uint8_t> buffer_;
  std::span<const std::uint8_t> received_;  ///< in buffer_, behind the frame that was taken last
  bool heard_ = false;                      ///< the server has sent a byte
  std::uint64_t last_id_ = 0;
  std::optional<Reply> hello_;
};

}  // namespace outrigger::ctl
