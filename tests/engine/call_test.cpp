// Programs that call prepared programs.

#include "engine/session_support.hpp"

namespace outrigger::engine::test {
namespace {

Instruction call(std::int64_t id, std::vector<Operand> in, Ids out) {
  return Instruction{"call", std::move(in), std::move(out), {{"program_id", Number{id}}},
                     {},     false};
}

/// x + n, as a new value, or written into x.
Program plus(std::int64_t n, bool writes = false) {
  Instruction add = op("add", {v(0), number(n)}, 1);
  add.in_place = writes;
  return {{0}, {add}, {1}};
}

/// Calls program `id` `times` times. The argument of each call is the result of the call before.
Program repeated(std::int64_t id, ValueId times) {
  Program program{{0}, {}, {times}};
  for (ValueId i = 0; i < times; ++i) program.body.push_back(call(id, {v(i)}, {i + 1}));
  return program;
}

class CallTest : public SessionTestBase {
 protected:
  Reply prepare(std::uint64_t id, Program program) {
    return caller_.ask(wire::Prepare{id, std::move(program)});
  }
  Reply call_prepared(std::uint64_t id, Handles args, Handles results) {
    return caller_.ask(wire::Run{{}, id, std::move(args), std::move(results), false, {}});
  }
  std::int32_t number_in(std::uint64_t handle) {
    return caller_.download<std::int32_t>(handle, 1).at(0);
  }
  void upload(std::uint64_t handle, std::int32_t value) {
    ASSERT_TRUE(caller_.upload(handle, "s32", {}, std::vector{value}).ok());
  }

  Caller caller_{engine_};
};

TEST_F(CallTest, AProgramIsBoundWhenTheOneAroundItIsPrepared) {
  upload(10, 1);
  ASSERT_TRUE(prepare(1, plus(1)).ok());
  ASSERT_TRUE(prepare(2, repeated(1, 3)).ok());
  ASSERT_TRUE(call_prepared(2, {10}, {11}).ok());
  EXPECT_EQ(number_in(11), 4);

  ASSERT_TRUE(prepare(1, plus(100)).ok());
  ASSERT_TRUE(call_prepared(2, {10}, {12}).ok());
  EXPECT_EQ(number_in(12), 4);
  ASSERT_TRUE(caller_.ask(wire::Forget{1}).ok());
  ASSERT_TRUE(caller_.upload(20, "s32", {2}, std::vector{1, 2}).ok());
  ASSERT_TRUE(call_prepared(2, {20}, {21}).ok()) << "planned anew, for other types";
  EXPECT_EQ(caller_.download<std::int32_t>(21, 2), (std::vector<std::int32_t>{4, 5}));
  EXPECT_EQ(prepare(3, repeated(1, 1)).code(), "unknown_program");
  EXPECT_EQ(caller_.run(repeated(1, 1), {10}, {13}).code(), "unknown_program");
}

TEST_F(CallTest, NoProgramCallsItself) {
  const Reply refused = prepare(1, repeated(1, 1));
  EXPECT_EQ(refused.code(), "unknown_program");
  ASSERT_TRUE(refused.error);
  EXPECT_EQ(refused.error->op, "call");
  EXPECT_EQ(refused.error->index, std::vector<std::uint32_t>{0});
  // The name then still refers to the program before.
  ASSERT_TRUE(prepare(1, plus(5)).ok());
  ASSERT_TRUE(prepare(1, repeated(1, 2)).ok());
  upload(10, 1);
  ASSERT_TRUE(call_prepared(1, {10}, {11}).ok());
  EXPECT_EQ(number_in(11), 11);
}

TEST_F(CallTest, WhatIsWrittenInPlaceIsWrittenInTheOperand) {
  upload(10, 1);
  ASSERT_TRUE(prepare(1, plus(1, true)).ok());
  ASSERT_TRUE(
      prepare(2, {{0}, {call(1, {v(0)}, {1}), call(1, {v(0)}, {2}), call(1, {v(0)}, {3})}, {1, 3}})
          .ok());
  ASSERT_TRUE(call_prepared(2, {10}, {11, 12}).ok());
  EXPECT_EQ(number_in(10), 4);
  EXPECT_EQ(number_in(11), 2) << "what it gives is a value of that moment";
  EXPECT_EQ(number_in(12), 4);
  // A later error reports the write, or undoes it.
  Program fails{{0}, {call(1, {v(0)}, {1}), iota(2, "s32", {3}), op("take", {v(2), v(1)}, 3)}, {3}};
  const Reply written = caller_.run(fails, {10}, {13});
  EXPECT_EQ(written.code(), "bad_index");
  ASSERT_TRUE(written.error);
  EXPECT_EQ(written.error->written, Handles{10});
  EXPECT_EQ(number_in(10), 5);
  EXPECT_EQ(caller_.run(fails, {10}, {14}, true).code(), "bad_index");
  EXPECT_EQ(number_in(10), 5);
}

TEST_F(CallTest, ANumberCannotBeWritten) {
  ASSERT_TRUE(prepare(1, plus(1, true)).ok());
  const Reply refused = caller_.run({{}, {call(1, {number(7)}, {1})}, {1}}, {}, {10});
  EXPECT_EQ(refused.code(), "bad_program");
  ASSERT_TRUE(refused.error);
  EXPECT_EQ(refused.error->op, "add");
  EXPECT_EQ(refused.error->index, (std::vector<std::uint32_t>{0, 0, 0}));
  // The program's result is a value like any other.
  ASSERT_TRUE(prepare(2, {{0}, {}, {0}}).ok());
  ASSERT_TRUE(
      prepare(3, {{}, {call(2, {number(7)}, {1}), in_place(op("add", {v(1), number(1)}, 2))}, {2}})
          .ok());
  for (const std::uint64_t result : {20, 21}) {
    ASSERT_TRUE(call_prepared(3, {}, {result}).ok());
    EXPECT_EQ(number_in(result), 8);
  }
}

TEST_F(CallTest, AMutableViewStaysOne) {
  ASSERT_TRUE(caller_.upload(10, "s32", {3}, std::vector{1, 2, 3}).ok());
  ASSERT_TRUE(
      prepare(1, {{0}, {in_place(op("slice", {v(0), number(1)}, 1, {{"lengths", List{2}}}))}, {1}})
          .ok());
  ASSERT_TRUE(
      caller_
          .run({{0}, {call(1, {v(0)}, {1}), in_place(op("add", {v(1), number(10)}, 2))}, {}}, {10},
               {})
          .ok());
  EXPECT_EQ(caller_.download<std::int32_t>(10, 3), (std::vector<std::int32_t>{1, 12, 13}));
}

TEST_F(CallTest, AnErrorInsideNamesItsPlace) {
  ASSERT_TRUE(
      prepare(1, {{0, 1}, {op("negate", {v(0)}, 2), op("add", {v(2), v(1)}, 3)}, {3}}).ok());
  ASSERT_TRUE(prepare(2, {{0, 1}, {call(1, {v(0), v(1)}, {2})}, {2}}).ok());
  ASSERT_TRUE(caller_.upload(10, "s32", {2}, std::vector{1, 2}).ok());
  ASSERT_TRUE(caller_.upload(11, "s32", {3}, std::vector{1, 2, 3}).ok());
  const Reply refused = caller_.run(
      {{0, 1}, {op("negate", {v(0)}, 2), call(2, {v(2), v(1)}, {3})}, {3}}, {10, 11}, {12});
  EXPECT_EQ(refused.code(), "bad_shape");
  ASSERT_TRUE(refused.error);
  EXPECT_EQ(refused.error->op, "add");
  EXPECT_EQ(refused.error->index, (std::vector<std::uint32_t>{1, 0, 0, 0, 1}));
}

TEST_F(CallTest, CountsAreCheckedWhenItIsPrepared) {
  ASSERT_TRUE(prepare(1, plus(1)).ok());
  EXPECT_EQ(prepare(2, {{0}, {call(1, {v(0), v(0)}, {1})}, {1}}).code(), "bad_program");
  EXPECT_EQ(prepare(2, {{0}, {call(1, {v(0)}, {1, 2})}, {1}}).code(), "bad_program");
  EXPECT_EQ(prepare(2, {{0}, {in_place(call(1, {v(0)}, {1}))}, {1}}).code(), "bad_program");
}

TEST_F(CallTest, NestingIsBounded) {
  ASSERT_TRUE(prepare(1, plus(1)).ok());
  std::uint64_t id = 1;
  Reply reply;
  while ((reply = prepare(id + 1, repeated(static_cast<std::int64_t>(id), 1))).ok()) ++id;
  EXPECT_EQ(reply.code(), "limit_exceeded");
  EXPECT_EQ(id, 1 + Limits::nesting_max);
  upload(10, 1);
  ASSERT_TRUE(call_prepared(id, {10}, {11}).ok());
  EXPECT_EQ(number_in(11), 2);
}

TEST_F(CallTest, SizeIsBounded) {
  ASSERT_TRUE(prepare(1, plus(1)).ok());
  std::uint64_t id = 1;
  Reply reply;
  while ((reply = prepare(id + 1, repeated(static_cast<std::int64_t>(id), 2))).ok()) ++id;
  EXPECT_EQ(reply.code(), "limit_exceeded");
  upload(10, 1);
  ASSERT_TRUE(call_prepared(id, {10}, {11}).ok());
  EXPECT_EQ(number_in(11), 1 + (1 << (id - 1)));
  EXPECT_GT(id, 14U) << "2^14 additions and their calls are within instructions_max";

  // The bytes: a constant of a quarter MiB that the program names 300 times.
  Attrs attrs = typed("u8", {1 << 18});
  attrs.emplace_back("data", Bytes(1 << 18));
  ASSERT_TRUE(prepare(1, {{}, {op("from_binary", {}, 0, attrs)}, {0}}).ok());
  Program many;
  for (ValueId i = 0; i < 300; ++i) many.body.push_back(call(1, {}, {i}));
  EXPECT_EQ(prepare(2, many).code(), "limit_exceeded");
}

TEST(CallPlanTest, ACallFusesWithWhatIsAroundIt) {
  Runner runner;
  const Tensor x = runner.tensor<std::int32_t>(DType::s32, {3}, {1, 2, 3});
  Program program{{0}, {op("negate", {v(0)}, 1), call(1, {v(1)}, {2}), op("abs", {v(2)}, 3)}, {3}};
  program.body[1].callee = std::make_shared<const Program>(plus(1));
  const auto plan = runner.plan(program, {x});
  ASSERT_TRUE(plan);
  EXPECT_EQ((*plan)->main.steps.size(), 1U);
  const Outcome outcome = runner.run(**plan, {x});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(values<std::int32_t>(outcome.results[0]), (std::vector<std::int32_t>{0, 1, 2}));
}

}  // namespace
}  // namespace outrigger::engine::test
