#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "engine/builder.hpp"
#include "engine/session/engine.hpp"
#include "engine/session/session.hpp"
#include "support/reply.hpp"

namespace outrigger::engine::test {

using Reply = outrigger::test::Reply;
using Handles = std::vector<std::uint64_t>;
using Milliseconds = std::chrono::milliseconds;

/// Collects the replies of a session, from any thread.
class Collector : public Outbox {
 public:
  void send(wire::Frame frame) override {
    {
      const std::lock_guard lock(mutex_);
      replies_.push_back(outrigger::test::decode_reply(std::span(frame).subspan(4)));
      if (before_reply) before_reply();
    }
    arrived_.notify_all();
  }

  std::uint64_t waiting_bytes() const override { return waiting; }
  bool full() const override { return fullness ? fullness() : is_full.load(); }

  /// The reply to a request; its status is "none" if it does not come in time.
  Reply wait(std::uint64_t id, Milliseconds timeout = std::chrono::seconds(120)) {
    std::unique_lock lock(mutex_);
    Reply found;
    found.status = "none";
    arrived_.wait_for(lock, timeout, [&] {
      for (const Reply& reply : replies_) {
        if (reply.id != id) continue;
        found = reply;
        return true;
      }
      return false;
    });
    return found;
  }
  std::vector<Reply> all() {
    const std::lock_guard lock(mutex_);
    return {replies_.begin(), replies_.end()};
  }

  /// The bytes that the client has not taken.
  std::atomic<std::uint64_t> waiting{0};
  /// The client takes no replies.
  std::atomic<bool> is_full{false};
  /// … for a test that answers each question by itself.
  std::function<bool()> fullness;
  /// Called with each reply, at the time when the I/O thread would read the session's counts.
  std::function<void()> before_reply;

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Reply> replies_;
};

/// One session and its outbox; requests have the ids 1, 2, …
class Caller {
 public:
  explicit Caller(const std::shared_ptr<Engine>& engine, bool greet = true,
                  SessionOptions options = {})
      : session(open_session(engine, outbox, std::move(options))) {
    if (!greet) return;
    EXPECT_TRUE(ask(wire::Hello{1, "test"}).ok());
  }
  ~Caller() {
    if (session) close();
  }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  void close() {
    session->close();
    session.reset();
  }

  template <typename Body>
  std::uint64_t later(Body body, std::shared_ptr<const wire::Frame> frame =
                                     std::make_shared<const wire::Frame>(64)) {
    const std::uint64_t id = next_id++;
    session->submit(wire::Request{id, std::move(body)}, std::move(frame));
    return id;
  }
  template <typename Body>
  Reply ask(Body body) {
    return outbox->wait(later(std::move(body)));
  }
  Reply run(Program program, Handles args, Handles results, bool atomic = false) {
    return ask(wire::Run{std::move(program), {}, std::move(args), std::move(results), atomic, {}});
  }
  std::uint64_t run_later(Program program, Handles args, Handles results,
                          std::optional<std::uint64_t> deadline_ms = {}) {
    return later(
        wire::Run{std::move(program), {}, std::move(args), std::move(results), false, deadline_ms});
  }
  template <typename T>
  std::uint64_t upload_later(std::uint64_t handle, const char* dtype, List shape,
                             const std::vector<T>& data, std::uint64_t offset = 0) {
    auto frame = std::make_shared<wire::Frame>(data.size() * sizeof(T));
    if (!data.empty()) std::memcpy(frame->data(), data.data(), frame->size());
    const std::span<const std::uint8_t> bytes(frame->data(), frame->size());
    return later(wire::Upload{handle, dtype, std::move(shape), offset, bytes}, std::move(frame));
  }
  template <typename T>
  Reply upload(std::uint64_t handle, const char* dtype, List shape, const std::vector<T>& data,
               std::uint64_t offset = 0) {
    return outbox->wait(upload_later(handle, dtype, std::move(shape), data, offset));
  }
  template <typename T>
  std::vector<T> download(std::uint64_t handle, std::size_t count) {
    const Reply reply = ask(wire::Download{handle, 0, count * sizeof(T)});
    EXPECT_TRUE(reply.ok()) << reply.text();
    std::vector<T> all(reply.data.size() / sizeof(T));
    if (!all.empty()) std::memcpy(all.data(), reply.data.data(), all.size() * sizeof(T));
    return all;
  }

  std::shared_ptr<Collector> outbox = std::make_shared<Collector>();
  std::shared_ptr<Session> session;
  std::uint64_t next_id = 1;
};

class SessionTestBase : public testing::Test {
 protected:
  explicit SessionTestBase(std::uint64_t limit = 0, Limits limits = {}, KernelOptions kernels = {})
      : engine_(make_engine(EngineOptions{2, limit, limits, {}, std::move(kernels)})) {}
  ~SessionTestBase() override {
    // The engine's thread may still own a closed session, and must not be the last owner of the
    // engine.
    while (engine_.use_count() > 1) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }

  std::uint64_t used() { return engine_->memory().used(); }
  bool becomes_unused(Milliseconds timeout = std::chrono::seconds(5)) {
    const auto until = std::chrono::steady_clock::now() + timeout;
    while (used() > 0 && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(Milliseconds(1));
    return used() == 0;
  }

  std::shared_ptr<Engine> engine_;
};

/// A program of about a minute, which a cancel ends.
inline Program endless() {
  return Program{
      {},
      {constant(0, 0, "s64", {}),
       loop({v(0)}, {9}, Region{{1}, {op("less", {v(1), number(std::int64_t{1} << 40)}, 2)}, {2}},
            Region{{3}, {op("add", {v(3), number(1)}, 4)}, {4}})},
      {9}};
}

}  // namespace outrigger::engine::test
