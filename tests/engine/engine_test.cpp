// Several sessions on one engine.

#include <atomic>
#include <random>

#include "engine/session_support.hpp"
#include "support/random.hpp"

namespace outrigger::engine::test {
namespace {

class EngineTest : public SessionTestBase {};

/// A program of some milliseconds, which is too long for the I/O thread.
Program some_work() {
  return Program{
      {},
      {iota(0, "f32", {1 << 18}), op("exp", {v(0)}, 1), op("sin", {v(1)}, 2), op("sum", {v(2)}, 3)},
      {3}};
}

TEST_F(EngineTest, SessionsTakeTurns) {
  Caller greedy(engine_);
  Caller modest(engine_);
  std::atomic<int> greedy_done{0};
  greedy.outbox->before_reply = [&] { ++greedy_done; };
  std::vector<std::uint64_t> many;
  for (std::uint64_t i = 1; i <= 100; ++i) many.push_back(greedy.run_later(some_work(), {}, {i}));
  ASSERT_TRUE(modest.run(some_work(), {}, {1}).ok());
  EXPECT_LT(greedy_done, 50) << "one request must not wait for another session's hundred";
  for (const std::uint64_t id : many) ASSERT_TRUE(greedy.outbox->wait(id).ok());
}

TEST_F(EngineTest, RequestsOfOneSessionKeepTheirOrder) {
  Caller caller(engine_);
  ASSERT_TRUE(caller.upload(1, "s32", {}, std::vector<std::int32_t>{0}).ok());
  const Program small{{0}, {in_place(op("add", {v(0), number(1)}, 1))}, {}};
  const Program doubled{{0},
                        {in_place(op("multiply", {v(0), number(2)}, 1)), iota(2, "f32", {1 << 16}),
                         op("exp", {v(2)}, 3), op("sum", {v(3)}, 4)},
                        {4}};
  std::int32_t expected = 0;
  std::uint64_t last = 0;
  for (std::uint64_t i = 0; i < 300; ++i) {
    last =
        i % 3 == 0 ? caller.run_later(doubled, {1}, {100 + i}) : caller.run_later(small, {1}, {});
    expected = i % 3 == 0 ? static_cast<std::int32_t>(static_cast<std::uint32_t>(expected) * 2U)
                          : static_cast<std::int32_t>(static_cast<std::uint32_t>(expected) + 1U);
  }
  ASSERT_TRUE(caller.outbox->wait(last).ok());
  EXPECT_EQ(caller.download<std::int32_t>(1, 1), std::vector<std::int32_t>{expected});
}

TEST_F(EngineTest, ManySessionsFromManyThreads) {
  const unsigned seed = outrigger::test::new_seed();
  SCOPED_TRACE(testing::Message() << "OUTRIGGER_SEED=" << seed);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(seed + t);
      for (int round = 0; round < 5; ++round) {
        Caller caller(engine_);
        std::vector<std::uint64_t> ids;
        for (std::uint64_t i = 1; i <= 40; ++i) {
          const std::int64_t n = random() % 4 == 0 ? 1 << 15 : 16;
          ids.push_back(
              caller.run_later({{}, {iota(0, "s32", {n}), op("sum", {v(0)}, 1)}, {1}}, {}, {i}));
          if (random() % 10 == 0) caller.later(wire::Cancel{ids.back()});
        }
        if (random() % 3 == 0) continue;  // its session is closed with requests in the queue
        for (const std::uint64_t id : ids) {
          const Reply reply = caller.outbox->wait(id);
          if (!reply.ok() && reply.status != "cancelled") ++wrong;
        }
        for (const std::uint64_t id : ids) {
          int replies = 0;
          for (const Reply& reply : caller.outbox->all()) replies += reply.id == id ? 1 : 0;
          if (replies != 1) ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(becomes_unused());
}

TEST_F(EngineTest, ThePoolIsGivenBackWhenIdle) {
  Caller caller(engine_);
  ASSERT_TRUE(caller.run({{}, {iota(0, "s32", {1 << 20})}, {0}}, {}, {1}).ok());
  ASSERT_TRUE(caller.ask(wire::Release{{1}}).ok());
  EXPECT_GT(engine_->memory().pooled(), 0U);
  for (int i = 0; i < 400 && engine_->memory().pooled() > 0; ++i)
    std::this_thread::sleep_for(Milliseconds(10));
  EXPECT_EQ(engine_->memory().pooled(), 0U) << "although the release ran on the I/O thread";
}

TEST_F(EngineTest, PlanningALongProgramDoesNotHoldTheIoThread) {
  // A frame has space for 20,000 conds. submit() returns quickly, whichever thread plans.
  Caller caller(engine_);
  ASSERT_TRUE(caller.upload(1, "s32", {}, std::vector<std::int32_t>{1}).ok());
  Program program{{0}, {}, {}};
  for (ValueId i = 1; i <= 20000; ++i)
    program.body.push_back(branch(v(0), {i}, Region{{}, {}, {0}}, Region{{}, {}, {0}}));
  const auto started = std::chrono::steady_clock::now();
  const std::uint64_t id = caller.run_later(program, {1}, {});
  const auto took = std::chrono::steady_clock::now() - started;
  EXPECT_TRUE(caller.outbox->wait(id).ok());
  const auto answered = std::chrono::steady_clock::now() - started;
  EXPECT_LT(took, answered / 2) << std::chrono::duration_cast<Milliseconds>(took).count()
                                << " ms for submit()";
}

}  // namespace
}  // namespace outrigger::engine::test
