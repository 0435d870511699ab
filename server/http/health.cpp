#include "http/health.hpp"

#include <utility>

#include <boost/asio/post.hpp>

#include "base/last_memory.hpp"

namespace outrigger::http {

namespace {

/// The engine's thread answers a deadline between two tiles, so that its reply comes a little late.
constexpr std::chrono::milliseconds beyond_deadline{500};

}  // namespace

HealthCheck::HealthCheck(boost::asio::io_context& io, std::unique_ptr<engine::Probe> probe,
                         std::chrono::milliseconds deadline)
    : io_(io), deadline_(deadline), timer_(io), probe_(std::move(probe)) {}

void HealthCheck::ask(Receiver receiver) {
  waiting_.push_back(std::move(receiver));
  if (waiting_.size() > 1) return;
  timer_.expires_after(deadline_ + beyond_deadline);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) late();
  });
  if (!busy_) begin();
}

void HealthCheck::begin() {
  busy_ = true;
  probe_->start(deadline_, [this](const Result<engine::Probe::Health>& outcome) {
    // Another thread calls this.
    with_last_memory([&] {
      boost::asio::post(io_, [this, outcome] {
        busy_ = false;
        tell(answer_of(outcome));
      });
    });
  });
}

void HealthCheck::late() {
  tell({.status = 503,
        .body = "not healthy: the engine has not answered within " +
                std::to_string(deadline_.count()) + " ms\n"});
}

void HealthCheck::tell(const Answer& answer) {
  timer_.cancel();
  for (const Receiver& receiver : std::exchange(waiting_, {})) receiver(answer);
}

}  // namespace outrigger::http
