// Functional ops write into the memory of values without a later use. Memory::peak shows it.

#include "engine/session_support.hpp"

namespace outrigger::engine::test {
namespace {

using enum DType;

constexpr std::int64_t donated_size = std::int64_t{1} << 20;  // 4 MiB of s32

/// while i < turns: x = put_slice(x, [i], i)
Program slices_in_a_loop(std::int64_t turns) {
  return Program{
      {0, 1},
      {loop({v(0), v(1)}, {20, 21}, Region{{2, 3}, {op("less", {v(2), number(turns)}, 4)}, {4}},
            Region{{5, 6},
                   {op("reshape", {v(5)}, 7, {{"shape", List{1}}}),
                    op("put_slice", {v(6), v(7), v(5)}, 8), op("add", {v(5), number(1)}, 9)},
                   {9, 8}})},
      {21}};
}

TEST(DonationTest, PutSliceInALoopNeverCopiesTheArrayAgain) {
  Runner runner;
  const Tensor i = runner.tensor<std::int32_t>(s32, {}, {0});
  const Tensor x = runner.empty(s32, {donated_size});
  const std::uint64_t before = runner.memory.used();
  Outcome outcome = runner.run(slices_in_a_loop(1000), {i, x});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_GE(runner.memory.peak(), before + 4 * MiB) << "the argument is not ours: one copy";
  EXPECT_LT(runner.memory.peak(), before + 5 * MiB) << "and only one";
  const auto got = values<std::int32_t>(outcome.results[0]);
  for (std::int32_t k = 0; k < 1000; ++k) ASSERT_EQ(got[static_cast<std::size_t>(k)], k);
  EXPECT_EQ(got[1000], 0x01010101);
  EXPECT_EQ(x.as<std::int32_t>()[5], 0x01010101);
}

TEST(DonationTest, AComputedArrayIsNotCopiedAtAll) {
  Runner runner;
  Program program = slices_in_a_loop(100);
  program.params = {0};
  program.body.insert(program.body.begin(), iota(1, "s32", {donated_size}));
  const Outcome outcome = runner.run(program, {runner.tensor<std::int32_t>(s32, {}, {50})});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_LT(runner.memory.peak(), 5 * MiB);
}

TEST(DonationTest, AFunctionalChainReusesItsBuffer) {
  Runner runner;
  // A reduction between them ends each pass.
  Program program{{}, {iota(0, "s32", {donated_size})}, {}};
  for (ValueId k = 0; k < 6; ++k) {
    program.body.push_back(op("reduce_max", {v(100 + k)}, 200 + k));
    program.body.push_back(op("subtract", {v(100 + k), v(200 + k)}, 101 + k));
  }
  program.body[0].out = {100};
  program.outputs = {106};
  const Outcome outcome = runner.run(program, {});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_LT(runner.memory.peak(), 5 * MiB);
}

TEST(DonationTest, AScatterTakesADyingOperandOver) {
  Runner runner;
  const Tensor at = runner.tensor<std::int64_t>(s64, {1, 1}, {3});
  const Tensor value = runner.tensor<std::int32_t>(s32, {1}, {9});
  const Program program{{0, 1},
                        {iota(2, "s32", {donated_size}), op("indexed_add", {v(2), v(0), v(1)}, 3),
                         op("indexed_put", {v(3), v(0), v(1)}, 4)},
                        {4}};
  const std::uint64_t before = runner.memory.used();
  ASSERT_TRUE(succeeded(runner.run(program, {at, value})));
  EXPECT_LT(runner.memory.peak(), before + 5 * MiB);
}

TEST(DonationTest, WhatIsNeededLaterIsNotTaken) {
  Runner runner;
  const Program program{
      {},
      {iota(0, "s32", {donated_size}), op("sum", {v(0)}, 1), op("add", {v(0), v(1)}, 2),
       op("sum", {v(2)}, 3), op("subtract", {v(2), v(3)}, 4)},
      {0, 2, 4}};
  const Outcome outcome = runner.run(program, {});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(values<std::int32_t>(outcome.results[0])[5], 5);
  const std::int32_t sum = *outcome.results[1].as<std::int32_t>();
  EXPECT_EQ(values<std::int32_t>(outcome.results[1])[5], sum + 5);
}

TEST(DonationTest, InPlaceOnAnUnsharedArgumentTakesNothing) {
  Runner runner;
  const Tensor x = runner.empty(s32, {donated_size});
  const std::uint64_t before = runner.memory.used();
  ASSERT_TRUE(succeeded(runner.run(
      {{0},
       {in_place(op("add", {v(0), number(1)}, 1)), in_place(op("multiply", {v(0), number(3)}, 2))},
       {}},
      {x})));
  EXPECT_LT(runner.memory.peak(), before + MiB);
}

TEST(DonationTest, AValueOnlyReadInALoopIsNotCopied) {
  Runner runner;
  const Tensor x = runner.empty(s32, {donated_size});
  const Tensor i = runner.tensor<std::int32_t>(s32, {}, {0});
  const std::uint64_t before = runner.memory.used();
  const Program program{
      {0, 1},
      {loop({v(0), v(1)}, {20, 21}, Region{{2, 3}, {op("less", {v(2), number(10)}, 4)}, {4}},
            Region{{5, 6},
                   {op("slice", {v(6), v(5)}, 7, {{"lengths", List{1}}}), op("squeeze", {v(7)}, 8),
                    op("min", {v(8), number(1)}, 9), op("add", {v(5), v(9)}, 10)},
                   {10, 6}})},
      {20}};
  ASSERT_TRUE(succeeded(runner.run(program, {i, x})));
  EXPECT_LT(runner.memory.peak(), before + MiB);
}

TEST(DonationTest, AFilledValueDoesNotReadWhatItReplaces) {
  Runner runner;
  const Tensor x = runner.empty(s32, {donated_size});
  const Program program{{0}, {op("fill", {v(0), number(7)}, 1)}, {1}};
  const auto plan = runner.plan(program, {x});
  ASSERT_TRUE(plan);
  const auto* pass = (*plan)->main.steps.at(0).as<PassStep>();
  ASSERT_NE(pass, nullptr);
  EXPECT_EQ(pass->pass->inputs, 1) << "the number only";
  const Outcome outcome = runner.run(**plan, {x});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(values<std::int32_t>(outcome.results[0]),
            std::vector<std::int32_t>(static_cast<std::size_t>(donated_size), 7));
}

TEST(DonationTest, ALoopOverAnArrayWithAPassNeedsTwoBuffersAtMost) {
  Runner runner;
  const Program program{
      {0},
      {iota(1, "s32", {donated_size}),
       loop({v(0), v(1)}, {20, 21}, Region{{2, 3}, {op("less", {v(2), number(20)}, 4)}, {4}},
            Region{{5, 6}, {op("add", {v(6), v(5)}, 7), op("add", {v(5), number(1)}, 8)}, {8, 7}})},
      {21}};
  ASSERT_TRUE(succeeded(runner.run(program, {runner.tensor<std::int32_t>(s32, {}, {0})})));
  EXPECT_LT(runner.memory.peak(), 5 * MiB) << "x + i may be computed in x's memory";
}

/// A budget for one array and a half.
class DonatedArgumentTest : public SessionTestBase {
 protected:
  DonatedArgumentTest() : SessionTestBase(6 * MiB) {
    EXPECT_TRUE(caller_.run({{}, {iota(0, "s32", {donated_size})}, {0}}, {}, {1}).ok());
  }
  Reply donate(Program program, Handles args, Handles results, Handles donated,
               bool atomic = false) {
    return caller_.ask(wire::Run{std::move(program),
                                 {},
                                 std::move(args),
                                 std::move(results),
                                 atomic,
                                 {},
                                 false,
                                 std::move(donated)});
  }
  Reply donate(Program program, bool atomic = false) {
    return donate(std::move(program), {1}, {2}, {1}, atomic);
  }
  bool is_there(std::uint64_t handle) { return caller_.ask(wire::Info{handle}).ok(); }

  const Program more_{{0}, {op("add", {v(0), number(1)}, 1)}, {1}};
  Caller caller_{engine_};
};

TEST_F(DonatedArgumentTest, ItsMemoryIsReusedWithinTheCall) {
  EXPECT_EQ(caller_.run(more_, {1}, {2}).code(), "out_of_memory");
  EXPECT_TRUE(is_there(1));
  const Reply reply = donate(more_, {1}, {3}, {1});
  ASSERT_TRUE(reply.ok()) << reply.text();
  EXPECT_LT(engine_->memory().peak(), 5 * MiB);
  EXPECT_FALSE(is_there(1));
  EXPECT_EQ(caller_.download<std::int32_t>(3, 3), (std::vector<std::int32_t>{1, 2, 3}));
}

TEST_F(DonatedArgumentTest, ALoopAndAnUpdateTakeItOver) {
  const Reply reply = donate(
      {{0},
       {loop({number(0), v(0)}, {20, 21}, Region{{2, 3}, {op("less", {v(2), number(3)}, 4)}, {4}},
             Region{{5, 6},
                    {op("reshape", {v(5)}, 7, {{"shape", List{1}}}),
                     op("put_slice", {v(6), v(7), number(1)}, 8), op("add", {v(5), number(1)}, 9)},
                    {9, 8}})},
       {21}});
  ASSERT_TRUE(reply.ok()) << reply.text();
  EXPECT_LT(engine_->memory().peak(), 5 * MiB);
  EXPECT_EQ(caller_.download<std::int32_t>(2, 3), (std::vector<std::int32_t>{0, 2, 2}));
}

TEST_F(DonatedArgumentTest, ItIsFreeOnceItWasUsedForTheLastTime) {
  // The sum needs x; the new array then takes the memory of x.
  const Reply reply =
      donate({{0},
              {op("sum", {v(0)}, 1), iota(2, "s32", {donated_size}), op("add", {v(2), v(1)}, 3)},
              {3}});
  ASSERT_TRUE(reply.ok()) << reply.text();
}

TEST_F(DonatedArgumentTest, WhatOthersHoldIsNotWrittenTo) {
  ASSERT_TRUE(caller_.run({{}, {iota(0, "s32", {3})}, {0}}, {}, {4}).ok());
  ASSERT_TRUE(caller_.run({{0}, {op("reverse", {v(0)}, 1)}, {1}}, {4}, {5}).ok());
  ASSERT_TRUE(donate(more_, {4}, {6}, {4}).ok());
  EXPECT_FALSE(is_there(4));
  EXPECT_EQ(caller_.download<std::int32_t>(5, 3), (std::vector<std::int32_t>{2, 1, 0}));
  EXPECT_EQ(caller_.download<std::int32_t>(6, 3), (std::vector<std::int32_t>{1, 2, 3}));
}

TEST_F(DonatedArgumentTest, WhatIsRefusedReleasesNothing) {
  EXPECT_EQ(donate(more_, {1}, {2}, {9}).code(), "bad_request");
  EXPECT_TRUE(is_there(1));
  const Program wrong{{0}, {op("reshape", {v(0)}, 1, {{"shape", List{7}}})}, {1}};
  EXPECT_EQ(donate(wrong).code(), "bad_shape");
  EXPECT_TRUE(is_there(1));
}

TEST_F(DonatedArgumentTest, AnAtomicRunThatFailsReleasesNothing) {
  ASSERT_TRUE(caller_.upload<std::int32_t>(7, "s32", {1, 1}, {1 << 30}).ok());
  ASSERT_TRUE(caller_.upload<std::int32_t>(8, "s32", {1}, {5}).ok());
  const Program beyond{{0, 1, 2},
                       {in_place(op("put_slice", {v(0), v(2), number(0)}, 3)),
                        in_place(op("indexed_put", {v(0), v(1), v(2)}, 4))},
                       {}};
  EXPECT_EQ(donate(beyond, {1, 7, 8}, {}, {1}, true).code(), "out_of_memory") << "the undo log";
  ASSERT_TRUE(caller_
                  .run({{0},
                        {op("slice", {v(0), number(0)}, 1, {{"lengths", List{4}}}),
                         op("add", {v(1), number(0)}, 2)},
                        {2}},
                       {1}, {9})
                  .ok());
  EXPECT_EQ(donate(beyond, {9, 7, 8}, {}, {9}, true).code(), "bad_index");
  EXPECT_EQ(caller_.download<std::int32_t>(9, 4), (std::vector<std::int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(donate(beyond, {9, 7, 8}, {}, {9}).code(), "bad_index");
  EXPECT_FALSE(is_there(9));
}

TEST_F(DonatedArgumentTest, OneThatIsNamedTwiceIsReadTwice) {
  const Program twice{
      {0, 1}, {op("sum", {v(0)}, 2), op("sum", {v(1)}, 3), op("add", {v(2), v(3)}, 4)}, {4}};
  ASSERT_TRUE(donate(twice, {1, 1}, {2}, {1}).ok());
  EXPECT_FALSE(is_there(1));
  EXPECT_EQ(caller_.download<std::int32_t>(2, 1)[0],
            static_cast<std::int32_t>(donated_size * (donated_size - 1)));
}

}  // namespace
}  // namespace outrigger::engine::test
