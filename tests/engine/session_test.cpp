// Sessions: greeting, ids, handles, prepared programs, budget, isolation.

#include "engine/session_support.hpp"

namespace outrigger::engine::test {
namespace {

using Ints = std::vector<std::int32_t>;

class SessionTest : public SessionTestBase {
 protected:
  Caller caller_{engine_};
};

TEST_F(SessionTest, HelloTellsWhatTheDaemonIs) {
  const Reply hello = caller_.outbox->wait(1);
  EXPECT_EQ(hello.numbers.at("protocol"), 1U);
  EXPECT_EQ(hello.numbers.at("epoch"), engine_->epoch());
  EXPECT_EQ(hello.numbers.at("threads"), 2U);
  EXPECT_EQ(hello.numbers.at("limits.handles_max"), Limits{}.handles_max);
  EXPECT_EQ(caller_.ask(wire::Hello{1, "again"}).code(), "bad_request");
  EXPECT_FALSE(caller_.session->finished());
}

TEST_F(SessionTest, HelloMustComeFirst) {
  Caller stranger(engine_, false);
  EXPECT_EQ(stranger.ask(wire::Ping{}).code(), "bad_request");
  EXPECT_TRUE(stranger.session->finished());
  Caller from_the_future(engine_, false);
  EXPECT_EQ(from_the_future.ask(wire::Hello{2, "new"}).code(), "bad_request");
  EXPECT_TRUE(from_the_future.session->finished());
}

TEST_F(SessionTest, RunsAndGivesTypes) {
  ASSERT_TRUE(caller_.upload(1, "s32", {2, 2}, Ints{1, 2, 3, 4}).ok());
  const Reply reply = caller_.run(increment, {1}, {2});
  ASSERT_TRUE(reply.ok()) << reply.text();
  ASSERT_EQ(reply.results.size(), 1U);
  EXPECT_EQ(reply.results[0].handle, 2U);
  EXPECT_EQ(reply.results[0].dtype, "s32");
  EXPECT_EQ(reply.results[0].shape, (List{2, 2}));
  EXPECT_EQ(caller_.download<std::int32_t>(2, 4), (Ints{2, 3, 4, 5}));
}

TEST_F(SessionTest, AFailedHandleCarriesItsCauseDownTheChain) {
  const std::uint64_t a =
      caller_.run_later({{}, {op("reshape", {number(1)}, 0, {{"shape", List{2}}})}, {0}}, {}, {1});
  const std::uint64_t b = caller_.run_later(increment, {1}, {2});
  const std::uint64_t c = caller_.run_later(increment, {2}, {3});
  EXPECT_EQ(caller_.outbox->wait(a).code(), "bad_shape");
  EXPECT_EQ(caller_.outbox->wait(b).code(), "failed_operand");
  Reply last = caller_.outbox->wait(c);
  for (std::uint64_t handle = 4; handle < 200; ++handle)
    last = caller_.run(increment, {handle - 1}, {handle});
  EXPECT_EQ(last.code(), "failed_operand");
  EXPECT_NE(last.error->text.find("reshape"), std::string::npos)
      << "the first cause: " << last.error->text;
  ASSERT_EQ(last.error->cause.size(), 1U);
  const Reply::Error& cause = last.error->cause[0];
  EXPECT_EQ(cause.code, "bad_shape");
  EXPECT_EQ(cause.op, "reshape");
  EXPECT_EQ(cause.index, std::vector<std::uint32_t>{0});
  EXPECT_TRUE(cause.cause.empty());
  EXPECT_EQ(caller_.ask(wire::Download{3, 0, 4}).code(), "failed_operand");
  EXPECT_EQ(caller_.ask(wire::Release{{1, 2, 3, 777}}).numbers.at("released"), 3U);
  EXPECT_EQ(caller_.ask(wire::Download{3, 0, 4}).code(), "bad_handle");
}

TEST_F(SessionTest, HandlesInUse) {
  ASSERT_TRUE(caller_.upload(1, "s32", {1}, Ints{1}).ok());
  EXPECT_EQ(caller_.run(increment, {1}, {1}).code(), "handle_in_use");
  EXPECT_EQ(caller_.upload(1, "s32", {1}, Ints{1}).code(), "handle_in_use");
  EXPECT_EQ(caller_.download<std::int32_t>(1, 1), Ints{1}) << "the old tensor is still there";
  EXPECT_EQ(caller_.run({{0}, {}, {0, 0}}, {1}, {5, 5}).code(), "handle_in_use");
  EXPECT_EQ(caller_.run(increment, {99}, {6}).code(), "bad_handle");
  EXPECT_EQ(caller_.run(increment, {1}, {7, 8}).code(), "bad_program") << "a handle too many";
}

TEST_F(SessionTest, AHandleThatIsBeingUploadedIsInUse) {
  ASSERT_TRUE(caller_.upload(1, "s32", {1}, Ints{1}).ok());
  ASSERT_TRUE(caller_.upload(2, "s32", {2}, Ints{10}).ok());
  EXPECT_EQ(caller_.run(increment, {1}, {2}).code(), "handle_in_use");
}

TEST_F(SessionTest, AnIdThatIsPendingIsRefused) {
  const std::uint64_t long_one = caller_.run_later(endless(), {}, {1});
  caller_.next_id = long_one;
  caller_.run_later(increment, {1}, {2});
  caller_.ask(wire::Cancel{long_one});
  int cancelled = 0;
  int refused = 0;
  for (int i = 0; i < 2000 && (cancelled == 0 || refused == 0); ++i) {
    cancelled = refused = 0;
    for (const Reply& reply : caller_.outbox->all()) {
      cancelled += reply.id == long_one && reply.status == "cancelled" ? 1 : 0;
      refused += reply.id == long_one && reply.code() == "bad_request" ? 1 : 0;
    }
    std::this_thread::sleep_for(Milliseconds(1));
  }
  EXPECT_EQ(cancelled, 1);
  EXPECT_EQ(refused, 1);
}

TEST_F(SessionTest, PreparedProgramsAreCalledAndForgotten) {
  ASSERT_TRUE(caller_.upload(1, "s32", {1}, Ints{1}).ok());
  ASSERT_TRUE(caller_.ask(wire::Prepare{7, increment}).ok());
  ASSERT_TRUE(caller_.ask(wire::Run{{}, 7, {1}, {2}, false, {}}).ok());
  ASSERT_TRUE(caller_.ask(wire::Run{{}, 7, {2}, {3}, false, {}}).ok());
  EXPECT_EQ(caller_.download<std::int32_t>(3, 1), Ints{3});
  EXPECT_EQ(caller_.ask(wire::Info{}).numbers.at("programs"), 1U);
  ASSERT_TRUE(caller_.ask(wire::Forget{7}).ok());
  ASSERT_TRUE(caller_.ask(wire::Forget{7}).ok()) << "no error if it is gone already";
  EXPECT_EQ(caller_.ask(wire::Run{{}, 7, {1}, {4}, false, {}}).code(), "unknown_program");
  EXPECT_EQ(caller_.ask(wire::Prepare{8, Program{{}, {op("no_such", {}, 0)}, {0}}}).code(),
            "unknown_op");
  EXPECT_EQ(caller_.ask(wire::Run{{}, 8, {}, {5}, false, {}}).code(), "unknown_op")
      << "what prepare found, for clients that did not wait for its reply";
}

TEST_F(SessionTest, AtomicRunsUndoAllWrites) {
  ASSERT_TRUE(caller_.upload(1, "s32", {3}, Ints{1, 2, 3}).ok());
  ASSERT_TRUE(caller_.upload(2, "s64", {}, std::vector<std::int64_t>{9}).ok());
  // A mutable view that was made before must keep sharing its base's memory.
  ASSERT_TRUE(
      caller_
          .run({{0}, {in_place(op("slice", {v(0), number(1)}, 1, {{"lengths", List{2}}}))}, {1}},
               {1}, {3})
          .ok());
  const Program fails{
      {0, 1}, {in_place(op("add", {v(0), number(1)}, 2)), op("take", {v(0), v(1)}, 3)}, {}};
  const Reply undone = caller_.run(fails, {1, 2}, {}, true);
  EXPECT_EQ(undone.code(), "bad_index");
  EXPECT_TRUE(undone.error->written.empty());
  EXPECT_EQ(caller_.download<std::int32_t>(1, 3), (Ints{1, 2, 3}));
  EXPECT_EQ(caller_.download<std::int32_t>(3, 2), (Ints{2, 3}));
  const Reply kept = caller_.run(fails, {1, 2}, {});
  EXPECT_EQ(kept.error->written, Handles{1});
  EXPECT_EQ(kept.error->index, std::vector<std::uint32_t>{1});
  EXPECT_EQ(kept.error->op, "take");
  EXPECT_EQ(caller_.download<std::int32_t>(1, 3), (Ints{2, 3, 4}));
  EXPECT_EQ(caller_.download<std::int32_t>(3, 2), (Ints{3, 4}));
  ASSERT_TRUE(
      caller_.run({{0}, {in_place(op("add", {v(0), number(1)}, 2))}, {}}, {1}, {}, true).ok());
  EXPECT_EQ(caller_.download<std::int32_t>(3, 2), (Ints{4, 5}))
      << "an atomic write that succeeds shows in the view too";
}

TEST_F(SessionTest, SessionsDoNotSeeEachOther) {
  Caller other(engine_);
  ASSERT_TRUE(caller_.upload(1, "s32", {1}, Ints{1}).ok());
  EXPECT_EQ(other.ask(wire::Download{1, 0, 4}).code(), "bad_handle");
  EXPECT_EQ(other.run(increment, {1}, {2}).code(), "bad_handle");
  EXPECT_EQ(other.ask(wire::Release{{1}}).numbers.at("released"), 0U);
  ASSERT_TRUE(other.upload(1, "s32", {1}, Ints{50}).ok()) << "the same handle is free here";
  EXPECT_EQ(caller_.download<std::int32_t>(1, 1), Ints{1});
  ASSERT_TRUE(caller_.ask(wire::Prepare{1, increment}).ok());
  EXPECT_EQ(other.ask(wire::Run{{}, 1, {1}, {3}, false, {}}).code(), "unknown_program");
}

TEST_F(SessionTest, InfoOfATensor) {
  ASSERT_TRUE(caller_.upload(1, "s32", {2, 3}, Ints{1, 2, 3, 4, 5, 6}).ok());
  ASSERT_TRUE(caller_.run({{0}, {op("transpose", {v(0)}, 1)}, {1}}, {1}, {2}).ok());
  const Reply info = caller_.ask(wire::Info{2});
  EXPECT_EQ(info.strings.at("dtype"), "s32");
  EXPECT_EQ(info.shape, (List{3, 2}));
  EXPECT_EQ(info.numbers.at("bytes"), 24U);
  EXPECT_FALSE(info.flags.at("contiguous"));
  EXPECT_TRUE(info.flags.at("shared"));
  EXPECT_EQ(caller_.ask(wire::Info{9}).code(), "bad_handle");
  const Reply all = caller_.ask(wire::Info{});
  EXPECT_EQ(all.numbers.at("tensors"), 2U);
  EXPECT_GT(all.numbers.at("memory.used"), 0U);
}

TEST_F(SessionTest, AReplyComesAfterTheCountsFell) {
  bool early = false;
  std::shared_ptr<Session> session = caller_.session;
  caller_.outbox->before_reply = [&] {
    early = early || session->pending_requests() != 0 || session->pending_bytes() != 0;
  };
  for (std::uint64_t i = 1; i < 200; ++i)
    EXPECT_TRUE(caller_.upload(i, "s32", {2}, Ints{1, 2}).ok());
  EXPECT_FALSE(early);
  caller_.outbox->before_reply = nullptr;
}

class BudgetTest : public SessionTestBase {
 protected:
  BudgetTest() : SessionTestBase(8 << 20) {}
  Caller caller_{engine_};
};

TEST_F(BudgetTest, WhatExceedsItIsRefusedWithSizesAndNothingIsDone) {
  ASSERT_TRUE(caller_.upload(1, "s32", {2}, Ints{1, 2}).ok());
  const std::uint64_t before = used();
  const Program large{
      {0}, {in_place(op("add", {v(0), number(1)}, 1)), iota(2, "s32", {4 << 20})}, {2}};
  const Reply refused = caller_.run(large, {1}, {2});
  EXPECT_EQ(refused.code(), "out_of_memory");
  EXPECT_NE(refused.error->text.find("16.0 MiB"), std::string::npos) << refused.error->text;
  EXPECT_NE(refused.error->text.find("8.0 MiB"), std::string::npos) << refused.error->text;
  EXPECT_TRUE(refused.error->written.empty());
  EXPECT_EQ(caller_.download<std::int32_t>(1, 2), (Ints{1, 2}));
  caller_.ask(wire::Release{{2}});  // the failed handle
  EXPECT_EQ(used(), before);
  EXPECT_EQ(caller_.upload(5, "u8", {9 << 20}, std::vector<std::uint8_t>{1}).code(),
            "out_of_memory");
}

TEST_F(BudgetTest, NothingIsDoneEvenIfATemporaryIsWhatExceedsIt) {
  // The argument has 1 MiB; argsort of a long line needs 16 bytes for each element beside its
  // result.
  const Program make{{}, {iota(0, "s32", {1 << 18})}, {0}};
  ASSERT_TRUE(caller_.run(make, {}, {1}).ok());
  ASSERT_TRUE(caller_.upload(2, "s32", {1}, Ints{1}).ok());
  const Program program{{0, 1},
                        {in_place(op("add", {v(1), number(1)}, 2)), op("argsort", {v(0)}, 3),
                         op("argsort", {v(0)}, 4), op("argsort", {v(0)}, 5)},
                        {3, 4, 5}};
  const Reply reply = caller_.run(program, {1, 2}, {3, 4, 5});
  EXPECT_EQ(reply.code(), "out_of_memory");
  EXPECT_TRUE(reply.error && reply.error->written.empty())
      << "PROTOCOL: out_of_memory: nothing done";
  EXPECT_EQ(caller_.download<std::int32_t>(2, 1), Ints{1});
}

TEST_F(BudgetTest, WhatIsReleasedCanBeUsedAgain) {
  const Program make{{}, {iota(0, "s32", {3 << 18})}, {0}};
  for (std::uint64_t i = 1; i <= 20; ++i) {
    ASSERT_TRUE(caller_.run(make, {}, {i}).ok()) << i;
    ASSERT_TRUE(caller_.ask(wire::Release{{i - 1}}).ok());
  }
}

}  // namespace
}  // namespace outrigger::engine::test
