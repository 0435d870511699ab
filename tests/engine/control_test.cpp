// Tests of while and cond.

#include <cmath>

#include "engine/builder.hpp"

namespace outrigger::engine::test {
namespace {

using enum DType;
using Ints = std::vector<std::int32_t>;

class ControlTest : public testing::Test {
 protected:
  static Ints ints(const Tensor& tensor) { return values<std::int32_t>(tensor); }
  Tensor scalar(std::int32_t value) { return runner_.tensor<std::int32_t>(s32, {}, {value}); }
  Runner runner_;
};

/// i < 10, where `id` is i.
Region below_ten(Ids params, ValueId id, ValueId fresh) {
  return Region{std::move(params), {op("less", {v(id), number(10)}, fresh)}, {fresh}};
}

TEST_F(ControlTest, CountsToTen) {
  const Program program{{0},
                        {loop({v(0)}, {5}, below_ten({1}, 1, 2),
                              Region{{3}, {op("add", {v(3), number(1)}, 4)}, {4}})},
                        {5}};
  const Tensor start = scalar(3);
  const Outcome outcome = runner_.run(program, {start});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), Ints{10});
  EXPECT_EQ(ints(start), Ints{3}) << "without in_place no operand changes";
}

TEST_F(ControlTest, NoTurnGivesTheInitialValues) {
  const Program program{{0},
                        {loop({v(0)}, {5}, below_ten({1}, 1, 2),
                              Region{{3}, {op("add", {v(3), number(1)}, 4)}, {4}})},
                        {5}};
  const Tensor start = scalar(30);
  Outcome outcome = runner_.run(program, {start});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), Ints{30});
  ASSERT_TRUE(succeeded(
      runner_.run({{0}, {in_place(op("add", {v(0), number(1)}, 1))}, {}}, {outcome.results[0]})));
  EXPECT_EQ(ints(start), Ints{30}) << "the result is a value of its own";
}

TEST_F(ControlTest, CarriedValuesSwap) {
  // (i, a, b) → (i + 1, b, a), ten times and three times.
  for (const int from : {0, 7}) {
    const Program program{{0, 1, 2},
                          {loop({v(0), v(1), v(2)}, {20, 21, 22}, below_ten({3, 4, 5}, 3, 6),
                                Region{{7, 8, 9}, {op("add", {v(7), number(1)}, 10)}, {10, 9, 8}})},
                          {21, 22}};
    const Outcome outcome = runner_.run(program, {scalar(from), scalar(100), scalar(200)});
    ASSERT_TRUE(succeeded(outcome));
    EXPECT_EQ(ints(outcome.results[0]), Ints{from == 0 ? 100 : 200});
    EXPECT_EQ(ints(outcome.results[1]), Ints{from == 0 ? 200 : 100});
  }
}

TEST_F(ControlTest, OneValueCarriedTwiceIsTwoValues) {
  const Program program{
      {0, 1},
      {loop({v(0), v(1), v(1)}, {20, 21, 22}, below_ten({3, 4, 5}, 3, 6),
            Region{{7, 8, 9},
                   {op("add", {v(7), number(1)}, 10), in_place(op("add", {v(8), number(1)}, 11))},
                   {10, 8, 9}})},
      {21, 22, 1}};
  const Outcome outcome = runner_.run(program, {scalar(0), scalar(5)});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), Ints{15});
  EXPECT_EQ(ints(outcome.results[1]), Ints{5});
  EXPECT_EQ(ints(outcome.results[2]), Ints{5});
}

TEST_F(ControlTest, BothOutputsTheSameValue) {
  const Program program{{0, 1},
                        {loop({v(0), v(1)}, {20, 21}, below_ten({3, 4}, 3, 6),
                              Region{{7, 8}, {op("add", {v(7), number(1)}, 10)}, {10, 10}})},
                        {20, 21}};
  const Outcome outcome = runner_.run(program, {scalar(0), scalar(5)});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), Ints{10});
  EXPECT_EQ(ints(outcome.results[1]), Ints{10});
}

TEST_F(ControlTest, CapturedValuesStay) {
  // acc += step, where step is captured; step is a result, too.
  const Program program{
      {0, 1},
      {op("multiply", {v(1), number(2)}, 2),
       loop(
           {v(0), v(2)}, {20, 21}, below_ten({3, 4}, 3, 6),
           Region{
               {7, 8}, {op("add", {v(7), number(1)}, 10), op("add", {v(8), v(2)}, 11)}, {10, 11}})},
      {21, 2}};
  const Outcome outcome = runner_.run(program, {scalar(0), scalar(3)});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), Ints{66});
  EXPECT_EQ(ints(outcome.results[1]), Ints{6});
}

TEST_F(ControlTest, ACapturedValueCarriedOnIsNotWritten) {
  // The body returns the captured c as the next a, and writes a in place: c must not change.
  const Program program{
      {0, 1},
      {iota(2, "s32", {4}),
       loop({v(0), v(1)}, {20, 21}, below_ten({3, 4}, 3, 6),
            Region{{7, 8},
                   {op("add", {v(7), number(1)}, 10), in_place(op("add", {v(8), number(50)}, 11))},
                   {10, 2}})},
      {21, 2}};
  const Tensor a = runner_.tensor<std::int32_t>(s32, {4}, {9, 9, 9, 9});
  const Outcome outcome = runner_.run(program, {scalar(0), a});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), (Ints{0, 1, 2, 3}));
  EXPECT_EQ(ints(outcome.results[1]), (Ints{0, 1, 2, 3}));
  EXPECT_EQ(ints(a), (Ints{9, 9, 9, 9}));
}

TEST_F(ControlTest, InPlaceOnACapturedValueLasts) {
  const Program program{
      {0, 1},
      {loop({v(0)}, {20}, below_ten({3}, 3, 6),
            Region{{7},
                   {op("add", {v(7), number(1)}, 10), in_place(op("add", {v(1), number(1)}, 11))},
                   {10}})},
      {}};
  const Tensor counter = scalar(0);
  ASSERT_TRUE(succeeded(runner_.run(program, {scalar(0), counter})));
  EXPECT_EQ(ints(counter), Ints{10});
}

TEST_F(ControlTest, BranchesGiveTheirOwnOrCapturedValues) {
  for (const int pred : {0, 1, -7}) {
    const Program program{{0, 1},
                          {op("add", {v(1), number(1)}, 2),
                           branch(v(0), {20, 21}, Region{{}, {op("negate", {v(2)}, 3)}, {3, 2}},
                                  Region{{}, {}, {2, 2}})},
                          {20, 21, 2}};
    const Outcome outcome = runner_.run(program, {scalar(pred), scalar(4)});
    ASSERT_TRUE(succeeded(outcome));
    EXPECT_EQ(ints(outcome.results[0]), Ints{pred != 0 ? -5 : 5});
    EXPECT_EQ(ints(outcome.results[1]), Ints{5});
    EXPECT_EQ(ints(outcome.results[2]), Ints{5});
  }
}

TEST_F(ControlTest, OnlyTheTakenBranchRuns) {
  const Tensor index = runner_.tensor<std::int64_t>(s64, {}, {99});
  const Tensor x = runner_.tensor<std::int32_t>(s32, {2}, {1, 2});
  const Program program{{0, 1, 2},
                        {branch(v(0), {20}, Region{{}, {op("take", {v(1), v(2)}, 3)}, {3}},
                                Region{{}, {op("sum", {v(1)}, 4)}, {4}})},
                        {20}};
  EXPECT_TRUE(succeeded(runner_.run(program, {scalar(0), x, index})));
  const Outcome failed = runner_.run(program, {scalar(1), x, index});
  ASSERT_TRUE(failed.error);
  EXPECT_EQ(failed.error->path, (std::vector<std::uint32_t>{0, 0, 0}))
      << "instruction 0, region 0, instruction 0";
  EXPECT_EQ(failed.error->op, "take");
}

TEST_F(ControlTest, NestedLoops) {
  // for i < 10: for j < 10: n += 1
  Region inner_body{
      {30, 31}, {op("add", {v(30), number(1)}, 32), op("add", {v(31), number(1)}, 33)}, {32, 33}};
  const Program program{
      {0, 1},
      {loop({v(0), v(1)}, {20, 21}, below_ten({3, 4}, 3, 6),
            Region{{7, 8},
                   {op("add", {v(7), number(1)}, 10), constant(11, 0, "s32", {}),
                    loop({v(11), v(8)}, {12, 13}, below_ten({14, 15}, 14, 16), inner_body)},
                   {10, 13}})},
      {21}};
  const Outcome outcome = runner_.run(program, {scalar(0), scalar(0)});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), Ints{100});
}

TEST_F(ControlTest, ANanVerdictIsTrueOnceAndTheLoopEnds) {
  const Tensor verdict = runner_.tensor<float>(f32, {}, {NAN});
  const Program program{
      {0},
      {loop({v(0)}, {20}, Region{{1}, {}, {1}}, Region{{2}, {constant(3, 0, "f32", {})}, {3}})},
      {20}};
  const Outcome outcome = runner_.run(program, {verdict});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(values<float>(outcome.results[0]), std::vector<float>{0});
}

}  // namespace
}  // namespace outrigger::engine::test
