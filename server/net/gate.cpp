#include "net/gate.hpp"

#include <chrono>
#include <utility>
#include <variant>

#include <spdlog/spdlog.h>

#include "base/last_memory.hpp"

namespace outrigger::net {

namespace {

/// A wrong token is told so late: a client that tries again and again gets no further.
constexpr std::chrono::seconds refusal_delay{1};

using Body = decltype(wire::Request::body);

/// True if the session answers the request at once, also while another one runs.
bool is_immediate(const Body& body) {
  const auto* info = std::get_if<wire::Info>(&body);
  return std::holds_alternative<wire::Ping>(body) || std::holds_alternative<wire::Cancel>(body) ||
         std::holds_alternative<wire::Bye>(body) || std::holds_alternative<wire::Hello>(body) ||
         std::holds_alternative<wire::Auth>(body) || (info != nullptr && !info->handle) ||
         std::holds_alternative<wire::ListSessions>(body) ||
         std::holds_alternative<wire::Stats>(body) || std::holds_alternative<wire::SlowLog>(body) ||
         std::holds_alternative<wire::Monitor>(body) || std::holds_alternative<wire::Kick>(body);
}

struct NeededRight {
  using Answer = std::optional<Right>;
  Answer operator()(const wire::Hello&) const { return {}; }
  Answer operator()(const wire::Auth&) const { return {}; }
  Answer operator()(const wire::Ping&) const { return {}; }
  Answer operator()(const wire::Info&) const { return {}; }
  Answer operator()(const wire::Release&) const { return {}; }
  Answer operator()(const wire::Cancel& cancel) const {
    return cancel.session ? Answer(Right::admin) : Answer();
  }
  Answer operator()(const wire::Bye&) const { return {}; }
  Answer operator()(const wire::Download&) const { return Right::read; }
  Answer operator()(const wire::Open&) const { return Right::read; }
  Answer operator()(const wire::ListNames&) const { return Right::read; }
  Answer operator()(const wire::Subscribe&) const { return Right::read; }
  Answer operator()(const wire::Unsubscribe&) const { return Right::read; }
  Answer operator()(const wire::Publish&) const { return Right::publish; }
  Answer operator()(const wire::Unpublish&) const { return Right::publish; }
  Answer operator()(const wire::Checkpoint&) const { return Right::admin; }
  Answer operator()(const wire::ListSessions&) const { return Right::admin; }
  Answer operator()(const wire::Stats&) const { return Right::admin; }
  Answer operator()(const wire::SlowLog&) const { return Right::admin; }
  Answer operator()(const wire::Monitor&) const { return Right::admin; }
  Answer operator()(const wire::Kick&) const { return Right::admin; }
  Answer operator()(const wire::Upload&) const { return Right::write; }
  Answer operator()(const wire::Run&) const { return Right::write; }
  Answer operator()(const wire::Prepare&) const { return Right::write; }
  Answer operator()(const wire::Forget&) const { return Right::write; }
  Answer operator()(const wire::DefineKernel&) const { return Right::write; }
  Answer operator()(const wire::ForgetKernel&) const { return Right::write; }
  Answer operator()(const wire::Load&) const { return Right::files; }
  Answer operator()(const wire::LoadRaw&) const { return Right::files; }
  Answer operator()(const wire::LoadCsv&) const { return Right::files; }
  Answer operator()(const wire::Save&) const { return Right::files; }
  Answer operator()(const wire::SaveNpz&) const { return Right::files; }
};

}  // namespace

std::optional<Right> needed_right(const Body& body) { return std::visit(NeededRight{}, body); }

Gate::Gate(boost::asio::io_context& io, const Tokens& tokens, Visitor visitor,
           std::shared_ptr<engine::Outbox> outbox, OpenSession open,
           std::function<std::uint64_t()> count)
    : tokens_(tokens),
      visitor_(std::move(visitor)),
      outbox_(std::move(outbox)),
      open_(std::move(open)),
      count_(std::move(count)),
      delay_(io) {
  if (tokens_.empty()) this->open({});
}

bool Gate::open(const Quotas& quotas) {
  // The session calls this from submit() only, which this object calls.
  session_ = open_(outbox_, {visitor_.number, [this] { return describe(); }, name_, rights_, quotas,
                             std::string(visitor_.transport), visitor_.peer, visitor_.end});
  return session_ != nullptr;
}

wire::ConnectionInfo Gate::describe() const {
  return {visitor_.number, count_(), visitor_.transport, visitor_.peer, name_, rights_};
}

void Gate::submit(wire::Request request, std::shared_ptr<const wire::Frame> frame) {
  if (turned_away_) return;
  if (!session_) {
    if (!enter(request)) return;
    return outbox_->send(
        with_last_memory([&] { return wire::encode_auth(request.id, name_, rights_); }));
  }
  if (!tokens_.empty() && std::holds_alternative<wire::Auth>(request.body)) {
    return session_->refuse({request.id, {ErrorCode::bad_request, "auth: comes once, first"}});
  }
  if (const auto error = objection(request)) return session_->refuse({request.id, *error});
  session_->submit(std::move(request), std::move(frame));
}

/// True if the first request has a token of the list, which opens the session.
bool Gate::enter(const wire::Request& request) {
  const auto* auth = std::get_if<wire::Auth>(&request.body);
  if (auth == nullptr) {
    turn_away(request.id, "this server wants a token: the first request must be auth");
    return false;
  }
  const Tokens::Holder* holder = tokens_.find(auth->token);
  if (holder == nullptr) {
    turn_away(request.id, "this server has no such token");
    return false;
  }
  name_ = holder->name;
  rights_ = holder->rights;
  if (open(holder->quotas)) return true;
  const std::string why = "the token " + name_ + " has " + std::to_string(holder->quotas.sessions) +
                          " sessions, and its quota `sessions` allows no more: end one, or raise "
                          "the quota";
  spdlog::warn("{}: quota_exceeded: {}", visitor_.peer, why);
  turned_away_ = true;
  outbox_->send(wire::encode_error(request.id, {ErrorCode::quota_exceeded, why}));
  return false;
}

void Gate::turn_away(std::uint64_t id, std::string_view why) {
  spdlog::warn("{}: unauthorized: {}", visitor_.peer, why);
  turned_away_ = true;
  answer_due_ = true;
  delay_.expires_after(refusal_delay);
  auto answer = wire::encode_error(id, {ErrorCode::unauthorized, std::string(why)});
  delay_.async_wait([self = shared_from_this(),
                     frame = std::move(answer)](const boost::system::error_code& error) mutable {
    if (error) return;
    self->answer_due_ = false;
    self->outbox_->send(std::move(frame));
  });
}

/// Why a request is not handed on.
std::optional<Error> Gate::objection(const wire::Request& request) const {
  const auto right = needed_right(request.body);
  if (right && !rights_.has(*right)) {
    return Error{ErrorCode::forbidden, "the token " + name_ + " has not the right " +
                                           std::string(right_names[static_cast<int>(*right)])};
  }
  if (stopping_ && !is_immediate(request.body))
    return Error{ErrorCode::shutting_down, "the server stops; the request was not carried out"};
  return std::nullopt;
}

void Gate::stop() {
  stopping_ = true;
  if (session_) session_->stop_events();
}

void Gate::refuse(const wire::Refusal& refusal) {
  if (turned_away_) return;
  if (session_) return session_->refuse(refusal);
  turn_away(refusal.id, "this server wants a token: the first request must be auth");
}

std::uint64_t Gate::pending_requests() const {
  return (answer_due_ ? 1 : 0) + (session_ ? session_->pending_requests() : 0);
}

std::uint64_t Gate::pending_bytes() const { return session_ ? session_->pending_bytes() : 0; }

void Gate::cancel_all() {
  if (session_) session_->cancel_all();
}

void Gate::replies_taken() {
  if (session_) session_->replies_taken();
}

bool Gate::finished() const { return turned_away_ || (session_ && session_->finished()); }

void Gate::close() {
  delay_.cancel();
  if (session_) session_->close();
}

}  // namespace outrigger::net
