#include "http/health.hpp"

#include <new>
#include <utility>

#include <boost/asio/post.hpp>

#include "base/last_memory.hpp"

namespace outrigger::http {

namespace {

/// The engine's thread answers a deadline between two tiles, so that its reply comes a little late.
constexpr std::chrono::milliseconds beyond_deadline{500};
/// A good outcome holds for so long.
constexpr std::chrono::milliseconds good_time{1000};

}  // namespace

HealthCheck::HealthCheck(boost::asio::io_context& io, std::unique_ptr<engine::Probe> probe,
                         std::chrono::milliseconds deadline)
    : io_(io), deadline_(deadline), timer_(io), probe_(std::move(probe)) {}

void HealthCheck::ask(Receiver receiver) {
  // Frequent questions cost the engine one program a second.
  if (std::chrono::steady_clock::now() < good_until_)
    return receiver(answer_of(engine::Probe::Health::good));
  const LastMemory::Use use;
  waiting_.push_back(std::move(receiver));
  if (waiting_.size() > 1) return;
  try {
    timer_.expires_after(deadline_ + beyond_deadline);
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (!error) late();
    });
    if (!busy_) begin();
  } catch (const std::bad_alloc&) {
    tell(answer_of(engine::Probe::Health::no_memory));
  }
}

void HealthCheck::begin() {
  probe_->start(deadline_, [this](const Result<engine::Probe::Health>& outcome) {
    // Another thread calls this.
    with_last_memory([&] {
      boost::asio::post(io_, [this, outcome] {
        busy_ = false;
        if (outcome && *outcome == engine::Probe::Health::good)
          good_until_ = std::chrono::steady_clock::now() + good_time;
        tell(answer_of(outcome));
      });
    });
  });
  busy_ = true;
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
