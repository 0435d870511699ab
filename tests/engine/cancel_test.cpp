// Cancels, deadlines, bye and the end of a session, with programs queued and running.

#include "engine/session_support.hpp"

namespace outrigger::engine::test {
namespace {

using Clock = std::chrono::steady_clock;

class CancelTest : public SessionTestBase {
 protected:
  /// Waits until the engine runs the request.
  bool runs(std::uint64_t id) {
    for (int i = 0; i < 2000; ++i) {
      const Reply info = caller_->ask(wire::Info{});
      if (const auto found = info.numbers.find("running");
          found != info.numbers.end() && found->second == id)
        return true;
      std::this_thread::sleep_for(Milliseconds(1));
    }
    return false;
  }
  std::unique_ptr<Caller> caller_ = std::make_unique<Caller>(engine_);
};

TEST_F(CancelTest, ARunningLoopEndsAtOnce) {
  const std::uint64_t busy = caller_->run_later(endless(), {}, {1});
  ASSERT_TRUE(runs(busy));
  const auto started = Clock::now();
  EXPECT_TRUE(caller_->ask(wire::Cancel{busy}).flags.at("found"));
  EXPECT_EQ(caller_->outbox->wait(busy).status, "cancelled");
  EXPECT_LT(Clock::now() - started, Milliseconds(500));
  EXPECT_EQ(caller_->ask(wire::Download{1, 0, 1}).code(), "failed_operand");
  EXPECT_FALSE(caller_->ask(wire::Cancel{busy}).flags.at("found"));
  EXPECT_TRUE(caller_->ask(wire::Ping{}).ok());
}

TEST_F(CancelTest, AQueuedRequestIsNeverCarriedOut) {
  const std::uint64_t busy = caller_->run_later(endless(), {}, {1});
  ASSERT_TRUE(runs(busy));
  const std::uint64_t queued = caller_->run_later({{}, {iota(0, "s32", {4})}, {0}}, {}, {2});
  const std::uint64_t after = caller_->run_later({{0}, {op("negate", {v(0)}, 1)}, {1}}, {2}, {3});
  EXPECT_TRUE(caller_->ask(wire::Cancel{queued}).flags.at("found"));
  EXPECT_TRUE(caller_->ask(wire::Cancel{busy}).flags.at("found"));
  EXPECT_EQ(caller_->outbox->wait(queued).status, "cancelled");
  EXPECT_EQ(caller_->outbox->wait(after).code(), "failed_operand");
}

TEST_F(CancelTest, PingInfoAndCancelAreAnsweredMeanwhile) {
  const std::uint64_t busy = caller_->run_later(endless(), {}, {1});
  ASSERT_TRUE(runs(busy));
  const std::uint64_t waiting = caller_->later(wire::Info{1});
  const auto started = Clock::now();
  EXPECT_TRUE(caller_->ask(wire::Ping{}).ok());
  const Reply info = caller_->ask(wire::Info{});
  EXPECT_EQ(info.numbers.at("queue"), 1U);
  EXPECT_FALSE(caller_->ask(wire::Cancel{999}).flags.at("found"));
  EXPECT_LT(Clock::now() - started, Milliseconds(500));
  EXPECT_EQ(caller_->outbox->wait(waiting, Milliseconds(0)).status, "none");
  caller_->ask(wire::Cancel{busy});
  EXPECT_EQ(caller_->outbox->wait(waiting).code(), "failed_operand");
}

TEST_F(CancelTest, ADeadlineEndsWhatRuns) {
  const auto started = Clock::now();
  const Reply reply = caller_->outbox->wait(caller_->run_later(endless(), {}, {1}, 50));
  EXPECT_EQ(reply.status, "deadline_exceeded");
  EXPECT_GE(Clock::now() - started, Milliseconds(50));
  EXPECT_LT(Clock::now() - started, Milliseconds(600));
}

TEST_F(CancelTest, ADeadlineThatPassesInTheQueue) {
  const std::uint64_t busy = caller_->run_later(endless(), {}, {1}, 100);
  const std::uint64_t queued = caller_->run_later({{}, {iota(0, "s32", {4})}, {0}}, {}, {2}, 10);
  EXPECT_EQ(caller_->outbox->wait(queued).status, "deadline_exceeded");
  EXPECT_EQ(caller_->outbox->wait(busy).status, "deadline_exceeded");
  EXPECT_EQ(caller_->outbox->wait(caller_->run_later(endless(), {}, {3}, 0)).status,
            "deadline_exceeded");
  EXPECT_TRUE(caller_->outbox
                  ->wait(caller_->run_later({{}, {iota(0, "s32", {4})}, {0}}, {}, {4},
                                            ~std::uint64_t{0} >> 1))
                  .ok());
}

TEST_F(CancelTest, ByeIsAnsweredAndEndsTheSession) {
  const std::uint64_t busy = caller_->run_later(endless(), {}, {1});
  ASSERT_TRUE(runs(busy));
  EXPECT_TRUE(caller_->ask(wire::Bye{}).ok());
  EXPECT_TRUE(caller_->session->finished());
  EXPECT_EQ(caller_->outbox->wait(busy, Milliseconds(1000)).status, "cancelled")
      << "PROTOCOL: bye: pending requests are cancelled; each request gets exactly one terminal "
         "reply";
}

TEST_F(CancelTest, CloseEndsARunningProgramAndFreesEverything) {
  ASSERT_TRUE(caller_->run({{}, {iota(0, "s32", {1 << 20})}, {0}}, {}, {7}).ok());
  const std::uint64_t busy = caller_->run_later(endless(), {}, {1});
  ASSERT_TRUE(runs(busy));
  for (std::uint64_t i = 10; i < 20; ++i)
    caller_->run_later({{}, {iota(0, "s32", {1 << 10})}, {0}}, {}, {i});
  const std::size_t before = caller_->outbox->all().size();
  caller_->close();
  EXPECT_TRUE(becomes_unused(Milliseconds(1000)));
  EXPECT_EQ(caller_->outbox->all().size(), before) << "no reply after close";
}

TEST_F(CancelTest, CloseWhileIdleFreesEverything) {
  ASSERT_TRUE(caller_->run({{}, {iota(0, "s32", {1 << 20})}, {0}}, {}, {7}).ok());
  caller_->close();
  EXPECT_TRUE(becomes_unused(Milliseconds(1000)));
}

/// The engine's own thread may be the last owner of a session, and of the engine through it.
void drop_everything() {
  for (int i = 0; i < 200; ++i) {
    auto engine = make_engine(EngineOptions{1, 0, {}});
    const auto outbox = std::make_shared<Collector>();
    auto session = open_session(engine, outbox);
    session->submit(wire::Request{1, wire::Hello{1, "test"}}, nullptr);
    session->close();
    session.reset();
    engine.reset();
  }
  std::this_thread::sleep_for(Milliseconds(50));
  std::_Exit(0);
}

TEST(EngineDeathTest, TheEngineMayBeDroppedRightAfterClose) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(drop_everything(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace outrigger::engine::test
