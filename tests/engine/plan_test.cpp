// The plans of programs: the number of passes, the types, and the aliases.

#include <cmath>

#include "engine/builder.hpp"

namespace outrigger::engine::test {
namespace {

using enum DType;

class PlanTest : public testing::Test {
 protected:
  std::size_t passes(Program program, const std::vector<Tensor>& arguments) {
    const auto plan = runner_.plan(std::move(program), arguments);
    EXPECT_TRUE(plan) << (plan ? "" : plan.error().text);
    return plan ? count((*plan)->main, Kind::pass) : 999;
  }
  Runner runner_;
  Tensor x_ = runner_.tensor<float>(f32, {2, 3}, {1, 2, 3, 4, 5, 6});
  Tensor y_ = runner_.tensor<float>(f32, {2, 3}, {6, 5, 4, 3, 2, 1});
};

TEST_F(PlanTest, AChainIsOnePass) {
  const Program program{
      {0, 1},
      {op("multiply", {v(0), v(1)}, 2), op("add", {v(2), number(1)}, 3), op("tanh", {v(3)}, 4),
       op("negate", {v(0)}, 5), op("exp", {v(5)}, 6), op("multiply", {v(4), v(6)}, 7)},
      {7}};
  EXPECT_EQ(passes(program, {x_, y_}), 1U);
  const Outcome outcome = runner_.run(program, {x_, y_});
  ASSERT_TRUE(succeeded(outcome));
  const auto got = values<float>(outcome.results[0]);
  for (std::size_t i = 0; i < got.size(); ++i) {
    const float a = x_.as<float>()[i];
    EXPECT_NEAR(got[i], std::tanh(a * y_.as<float>()[i] + 1) * std::exp(-a), 1e-6);
  }
}

TEST_F(PlanTest, CastsComparisonsAndSelectsAreInThePass) {
  const Program program{{0, 1},
                        {op("as_type", {v(0)}, 2, {{"type", std::string("s32")}}),
                         op("greater", {v(2), number(3)}, 3), op("logical_not", {v(3)}, 4),
                         op("select", {v(4), v(0), v(1)}, 5)},
                        {5}};
  EXPECT_EQ(passes(program, {x_, y_}), 1U);
  const Outcome outcome = runner_.run(program, {x_, y_});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(values<float>(outcome.results[0]), (std::vector<float>{1, 2, 3, 3, 2, 1}));
}

TEST_F(PlanTest, ManyOutputsAreStillOnePass) {
  const Program program{
      {0}, {op("negate", {v(0)}, 1), op("abs", {v(1)}, 2), op("add", {v(1), v(2)}, 3)}, {1, 2, 3}};
  EXPECT_EQ(passes(program, {x_}), 1U);
}

TEST_F(PlanTest, WhatNobodyNeedsIsNotStored) {
  const Program program{
      {0}, {op("negate", {v(0)}, 1), op("abs", {v(1)}, 2), op("exp", {v(0)}, 3)}, {2}};
  const auto plan = runner_.plan(program, {x_});
  ASSERT_TRUE(plan);
  ASSERT_EQ((*plan)->main.steps.size(), 1U);
  EXPECT_EQ((*plan)->main.steps[0].out.size(), 1U);
}

TEST_F(PlanTest, AReductionEndsThePassAndTheNextBegins) {
  const Program program{{0},
                        {op("negate", {v(0)}, 1), op("sum", {v(1)}, 2),
                         op("divide", {v(1), v(2)}, 3), op("exp", {v(3)}, 4)},
                        {4}};
  EXPECT_EQ(passes(program, {x_}), 2U);
}

TEST_F(PlanTest, AnotherShapeBeginsAnotherPass) {
  const Tensor row = runner_.tensor<float>(f32, {3}, {1, 2, 3});
  const Program program{{0, 1}, {op("exp", {v(1)}, 2), op("add", {v(0), v(2)}, 3)}, {3}};
  EXPECT_EQ(passes(program, {x_, row}), 2U) << "exp of the row once, not for each row";
}

TEST_F(PlanTest, ACounterOnTheSideDoesNotEndThePass) {
  const Tensor i = runner_.tensor<std::int32_t>(s32, {}, {1});
  const Program program{
      {0, 1},
      {op("negate", {v(0)}, 2), op("add", {v(1), number(1)}, 3), op("exp", {v(2)}, 4)},
      {4, 3}};
  EXPECT_EQ(passes(program, {x_, i}), 2U);
}

TEST_F(PlanTest, AVeryLongChainIsCutAndRight) {
  Program program{{0}, {}, {}};
  for (ValueId i = 0; i < 300; ++i)
    program.body.push_back(op("add", {v(i), i % 2 == 0 ? number(1) : Operand{ValueId{0}}}, i + 1));
  program.outputs = {300};
  const std::size_t found = passes(program, {x_});
  EXPECT_GT(found, 1U);
  EXPECT_LT(found, 30U);
  const Outcome outcome = runner_.run(program, {x_});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(values<float>(outcome.results[0])[1], 2 + 150 + 150 * 2);
}

TEST_F(PlanTest, TypesOfResultsAreKnown) {
  const Program program{
      {0},
      {op("greater", {v(0), real(2.5)}, 1), op("sum", {v(1)}, 2), op("transpose", {v(0)}, 3)},
      {1, 2, 3, 0}};
  const auto plan = runner_.plan(program, {x_});
  ASSERT_TRUE(plan);
  EXPECT_EQ((*plan)->results,
            (std::vector<TensorType>{{u8, {2, 3}}, {u32, {}}, {f32, {3, 2}}, {f32, {2, 3}}}));
  ASSERT_EQ((*plan)->argument_count(), 1U);
  EXPECT_EQ((*plan)->argument(0), (TensorType{f32, {2, 3}}));
  EXPECT_EQ((*plan)->result_aliases, std::vector<bool>(4, false));
}

TEST_F(PlanTest, WrittenArgumentsAndAliasesAreKnown) {
  const Program program{{0, 1},
                        {in_place(op("reshape", {v(0)}, 2, {{"shape", List{6}}})),
                         in_place(op("add", {v(2), number(1)}, 3))},
                        {2}};
  const auto plan = runner_.plan(program, {x_, y_});
  ASSERT_TRUE(plan);
  EXPECT_EQ((*plan)->written, (std::vector<bool>{true, false}));
  EXPECT_EQ((*plan)->result_aliases, std::vector<bool>{true});
}

TEST_F(PlanTest, WorkIsBoundedByWhatIsThere) {
  EXPECT_LT((*runner_.plan(Program{{0}, {op("negate", {v(0)}, 1)}, {1}}, {x_}))->work, 100U);
  const Program turns{
      {0},
      {loop({v(0)}, {5}, Region{{1}, {constant(2, 0, "u8", {})}, {2}}, Region{{3}, {}, {3}})},
      {5}};
  EXPECT_EQ((*runner_.plan(turns, {x_}))->work, ~std::uint64_t{0});
}

}  // namespace
}  // namespace outrigger::engine::test
