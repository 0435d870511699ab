#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/rights.hpp"
#include "engine/session/session.hpp"
#include "net/tokens.hpp"

namespace outrigger::net {

/// A session with a number, as the engine opens it; null if the token has as many as its quota
/// allows.
using OpenSession = std::function<std::shared_ptr<engine::Session>(std::shared_ptr<engine::Outbox>,
                                                                   engine::SessionOptions)>;

/// The client that asks for a session.
struct Visitor {
  std::uint64_t number = 0;
  std::string_view transport;
  std::string peer;
  /// Ends the connection, soon, with this error in its last frame.
  std::function<void(const Error&)> end = {};
};

/// The right that a request needs, if it needs one.
std::optional<Right> needed_right(const decltype(wire::Request::body)& body);

/// Stands before a session of a socket: asks for the token, holds requests to its rights, and takes
/// none any more when the server stops. Until there is a token, there is no session behind it.
///
/// For the I/O thread alone, as each Session is.
class Gate final : public engine::Session, public std::enable_shared_from_this<Gate> {
 public:
  /// `tokens` must outlive this; without any, all may enter. `count` tells the open sessions.
  Gate(boost::asio::io_context& io, const Tokens& tokens, Visitor visitor,
       std::shared_ptr<engine::Outbox> outbox, OpenSession open,
       std::function<std::uint64_t()> count);

  void submit(wire::Request request, std::shared_ptr<const wire::Frame> frame) override;
  void refuse(const wire::Refusal& refusal) override;
  std::uint64_t pending_requests() const override;
  std::uint64_t pending_bytes() const override;
  void cancel_all() override;
  void replies_taken() override;
  bool finished() const override;
  void close() override;

  /// From now on, requests that would have to wait for their turn are refused.
  void stop();

 private:
  bool open(const Quotas& quotas);
  bool enter(const wire::Request& request);
  void turn_away(std::uint64_t id, std::string_view why);
  std::optional<Error> objection(const wire::Request& request) const;
  wire::ConnectionInfo describe() const;

  const Tokens& tokens_;
  const Visitor visitor_;
  std::shared_ptr<engine::Outbox> outbox_;
  OpenSession open_;
  std::function<std::uint64_t()> count_;
  boost::asio::steady_timer delay_;
  std::shared_ptr<engine::Session> session_;  ///< null until the token is there
  std::string name_;                          ///< of the token
  Rights rights_ = Rights::all();
  bool turned_away_ = false;
  bool answer_due_ = false;  ///< … and not told yet
  bool stopping_ = false;
};

}  // namespace outrigger::net
