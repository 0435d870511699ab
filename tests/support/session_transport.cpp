#include <condition_variable>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

#include "engine/session/session.hpp"
#include "support/transport.hpp"
#include "wire/reply.hpp"
#include "wire/request.hpp"

namespace outrigger::test {
namespace {

constexpr std::size_t header_bytes = 4;

/// Collects replies from the engine's thread.
class Collector : public engine::Outbox {
 public:
  void send(wire::Frame frame) override {
    {
      const std::lock_guard lock(mutex_);
      frames_.push_back(std::move(frame));
    }
    arrived_.notify_one();
  }

  Payload take(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    if (!arrived_.wait_for(lock, timeout, [this] { return !frames_.empty(); })) {
      throw std::runtime_error("no reply from the session in time");
    }
    const wire::Frame frame = std::move(frames_.front());
    frames_.pop_front();
    return {frame.begin() + header_bytes, frame.end()};
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<wire::Frame> frames_;
};

class SessionTransport : public Transport {
 public:
  explicit SessionTransport(const EngineSettings& settings) : decoder_(Limits{}) {
    engine::EngineOptions options;
    options.threads = settings.threads;
    options.memory_limit = settings.memory_limit;
    engine_ = engine::make_engine(options);
    session_ = engine::open_session(engine_, outbox_);
  }

  ~SessionTransport() override {
    session_->close();
    session_.reset();
    // The engine's own thread may still own the closed session, and must not be the last owner of
    // the engine.
    while (engine_.use_count() > 1) std::this_thread::sleep_for(std::chrono::microseconds(50));
  }

  void send(std::span<const std::uint8_t> payload) override {
    const auto frame = std::make_shared<const wire::Frame>(payload.begin(), payload.end());
    auto request = decoder_.decode(*frame);
    if (request) {
      session_->submit(std::move(*request), frame);
    } else {
      session_->refuse(request.error());
    }
  }

  Payload receive(std::chrono::milliseconds timeout) override { return outbox_->take(timeout); }

 private:
  wire::Decoder decoder_;
  std::shared_ptr<Collector> outbox_ = std::make_shared<Collector>();
  std::shared_ptr<engine::Engine> engine_;
  std::shared_ptr<engine::Session> session_;
};

}  // namespace

std::unique_ptr<Transport> open_session_transport(const EngineSettings& settings) {
  return std::make_unique<SessionTransport>(settings);
}

}  // namespace outrigger::test
