#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/session/session.hpp"

namespace outrigger::testing {

/// A session without an engine. It answers ping, cancel and bye at once. It also answers other
/// requests at once or, if `hold` is set, only when the test (from any thread) allows it, as the
/// engine's thread would. A download gets as many bytes as it requested, each the low byte of the
/// request's id.
class FakeSession : public engine::Session {
 public:
  FakeSession(std::shared_ptr<engine::Outbox> outbox, bool hold)
      : outbox_(std::move(outbox)), hold_(hold) {}

  void submit(wire::Request request, std::shared_ptr<const wire::Frame> /*frame*/) override {
    ++submitted_;
    if (std::holds_alternative<wire::Bye>(request.body)) finished_ = true;
    const std::uint64_t bytes = bytes_of(request);
    if (!hold_ || is_immediate(request)) return outbox_->send(reply_to(request));
    ++pending_;
    pending_bytes_ += bytes;
    const std::lock_guard lock(mutex_);
    held_.emplace_back(reply_to(request), bytes);
  }

  void refuse(const wire::Refusal& refusal) override {
    outbox_->send(wire::encode_error(refusal.id, refusal.error));
  }

  std::uint64_t pending_requests() const override { return pending_; }
  std::uint64_t pending_bytes() const override { return pending_bytes_; }
  bool finished() const override { return finished_; }
  void close() override { closed_ = true; }
  void cancel_all() override { answer(SIZE_MAX); }

  // The following functions are for tests, from any thread.

  /// Answers the oldest `count` requests that are held. Returns the number of answers.
  std::size_t answer(std::size_t count) {
    std::size_t done = 0;
    for (; done < count; ++done) {
      std::pair<wire::Frame, std::uint64_t> next;
      {
        const std::lock_guard lock(mutex_);
        if (held_.empty()) break;
        next = std::move(held_.front());
        held_.pop_front();
      }
      --pending_;
      pending_bytes_ -= next.second;
      outbox_->send(std::move(next.first));
    }
    return done;
  }
  std::uint64_t submitted() const { return submitted_; }
  bool closed() const { return closed_; }

 private:
  static bool is_immediate(const wire::Request& request) {
    return std::holds_alternative<wire::Ping>(request.body) ||
           std::holds_alternative<wire::Cancel>(request.body) ||
           std::holds_alternative<wire::Bye>(request.body);
  }

  static std::uint64_t bytes_of(const wire::Request& request) {
    if (const auto* download = std::get_if<wire::Download>(&request.body)) return download->length;
    if (const auto* upload = std::get_if<wire::Upload>(&request.body)) return upload->data.size();
    return 0;
  }

  static wire::Frame reply_to(const wire::Request& request) {
    const auto* download = std::get_if<wire::Download>(&request.body);
    if (download == nullptr) return wire::encode_ok(request.id);
    wire::DataFrame reply = wire::encode_data(request.id, download->length);
    std::fill(reply.frame.begin() + static_cast<std::ptrdiff_t>(reply.data_offset),
              reply.frame.end(), static_cast<std::uint8_t>(request.id));
    return std::move(reply.frame);
  }

  std::shared_ptr<engine::Outbox> outbox_;
  const bool hold_;
  std::mutex mutex_;
  std::deque<std::pair<wire::Frame, std::uint64_t>> held_;
  std::atomic<std::uint64_t> pending_ = 0;
  std::atomic<std::uint64_t> pending_bytes_ = 0;
  std::atomic<std::uint64_t> submitted_ = 0;
  std::atomic<bool> finished_ = false;
  std::atomic<bool> closed_ = false;
};

}  // namespace outrigger::testing
