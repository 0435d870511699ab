#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "http/answers.hpp"

namespace outrigger::http {

/// Answers /healthz: all who ask while a program runs get its outcome. For the thread of HTTP.
class HealthCheck {
 public:
  using Receiver = std::function<void(Answer)>;

  HealthCheck(boost::asio::io_context& io, std::unique_ptr<engine::Probe> probe,
              std::chrono::milliseconds deadline);
  void ask(Receiver receiver);

 private:
  void begin();
  void late();
  void tell(const Answer& answer);

  boost::asio::io_context& io_;
  const std::chrono::milliseconds deadline_;
  boost::asio::steady_timer timer_;  ///< runs only while somebody waits
  std::vector<Receiver> waiting_;
  std::chrono::steady_clock::time_point good_until_;
  bool busy_ = false;  ///< a program is on its way
  std::unique_ptr<engine::Probe> probe_;
};

}  // namespace outrigger::http
