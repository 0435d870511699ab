// Reductions at the end of a pass: the instructions with which they are fused. Their results must
// be those of separate steps.

#include <cmath>
#include <numeric>

#include "engine/alone.hpp"

namespace outrigger::engine::test {
namespace {

using enum DType;
using Floats = std::vector<float>;

Floats ramp(std::int64_t n) {
  Floats all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(i % 13) - 6;
  return all;
}

class ReductionTest : public testing::TestWithParam<int> {
 protected:
  /// The kinds of the plan's steps.
  std::vector<Kind> kinds(const Program& program, const std::vector<Tensor>& arguments) {
    const auto plan = runner_.plan(program, arguments, GetParam());
    EXPECT_TRUE(plan) << (plan ? "" : plan.error().text);
    std::vector<Kind> kinds;
    if (!plan) return kinds;
    for (const Step& step : (*plan)->main.steps) kinds.push_back(kind_of(step));
    return kinds;
  }

  Outcome run(const Program& program, const std::vector<Tensor>& arguments) {
    return runner_.run(program, arguments, GetParam());
  }

  void expect_same_alone(const Program& program, const std::vector<Tensor>& arguments) {
    test::expect_same_alone(runner_, program, arguments, run(program, arguments));
  }

  Runner runner_;
};

TEST_P(ReductionTest, AProductIsSummedInOnePass) {
  const Tensor x = runner_.tensor<float>(f32, {3, 5}, ramp(15));
  const Program program{{0, 1}, {op("multiply", {v(0), v(1)}, 2), op("sum", {v(2)}, 3)}, {3}};
  EXPECT_EQ(kinds(program, {x, x}), std::vector{Kind::pass});
  const Outcome outcome = run(program, {x, x});
  ASSERT_TRUE(succeeded(outcome));
  float expected = 0;
  for (const float value : ramp(15)) expected += value * value;
  EXPECT_EQ(*outcome.results[0].as<float>(), expected);
}

TEST_P(ReductionTest, WhatIsNeededLaterIsStoredBesideTheSum) {
  const Tensor x = runner_.tensor<float>(f32, {4, 300}, ramp(1200));
  // The softmax of rows.
  const Program program{
      {0},
      {op("reduce_max", {v(0)}, 1, over({1}, true)), op("subtract", {v(0), v(1)}, 2),
       op("exp", {v(2)}, 3), op("sum", {v(3)}, 4, over({1}, true)), op("divide", {v(3), v(4)}, 5)},
      {5}};
  EXPECT_EQ(kinds(program, {x}), (std::vector{Kind::compute, Kind::pass, Kind::pass}));
  expect_same_alone(program, {x});
}

TEST_P(ReductionTest, SeveralReductionsOfTheSameAxesEndOnePass) {
  const Tensor x = runner_.tensor<float>(f32, {40, 70, 3}, ramp(40 * 70 * 3));
  const Program program{{0},
                        {op("sum", {v(0)}, 1, over({1})), op("multiply", {v(0), v(0)}, 2),
                         op("sum", {v(2)}, 3, over({1})), op("reduce_min", {v(2)}, 4, over({1})),
                         op("argmax", {v(2)}, 5, {{"axis", Number{std::int64_t{1}}}})},
                        {1, 3, 4, 5, 2}};
  EXPECT_EQ(kinds(program, {x}), std::vector{Kind::pass});
  expect_same_alone(program, {x});
}

TEST_P(ReductionTest, OtherAxesNeedAnotherPass) {
  const Tensor x = runner_.tensor<float>(f32, {6, 7}, ramp(42));
  const Program program{
      {0},
      {op("exp", {v(0)}, 1), op("sum", {v(1)}, 2, over({0})), op("sum", {v(1)}, 3, over({1}))},
      {2, 3}};
  EXPECT_EQ(kinds(program, {x}), (std::vector{Kind::pass, Kind::compute}));
  expect_same_alone(program, {x});
}

TEST_P(ReductionTest, AnInPlaceWriteAfterTheProducerIsNotSeen) {
  const Tensor x = runner_.tensor<float>(f32, {3, 5}, ramp(15));
  const Program program{{0},
                        {op("multiply", {v(0), number(2)}, 1),
                         in_place(op("add", {v(0), number(100)}, 2)), op("sum", {v(1)}, 3)},
                        {3}};
  const Floats before = ramp(15);
  const Outcome outcome = run(program, {x});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(*outcome.results[0].as<float>(),
            2 * std::accumulate(before.begin(), before.end(), 0.F));
  EXPECT_EQ(x.as<float>()[0], before[0] + 100);
}

TEST_P(ReductionTest, AnInPlaceWriteBeforeOrAfterTheReduction) {
  const Tensor x = runner_.tensor<float>(f32, {2000}, Floats(2000, 1));
  const Program program{{0},
                        {op("sum", {v(0)}, 1), in_place(op("add", {v(0), number(1)}, 2)),
                         op("sum", {v(0)}, 3), op("negate", {v(0)}, 4), op("sum", {v(4)}, 5),
                         in_place(op("multiply", {v(0), number(0)}, 6)), op("sum", {v(0)}, 7)},
                        {1, 3, 5, 7}};
  const Outcome outcome = run(program, {x});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(*outcome.results[0].as<float>(), 2000);
  EXPECT_EQ(*outcome.results[1].as<float>(), 4000);
  EXPECT_EQ(*outcome.results[2].as<float>(), -4000);
  EXPECT_EQ(*outcome.results[3].as<float>(), 0);
}

TEST_P(ReductionTest, ADyingOperandIsReducedThoughItsMemoryIsTaken) {
  // The pass stores x · 2 into the memory of x, and sums x.
  constexpr std::int64_t n = std::int64_t{1} << 20;
  const Program program{{0},
                        {iota(1, "s32", {n}), op("add", {v(1), v(0)}, 2), op("sort", {v(2)}, 3),
                         op("sum", {v(3)}, 4), op("multiply", {v(3), number(2)}, 5),
                         op("reduce_max", {v(3)}, 6), op("reduce_min", {v(5)}, 7)},
                        {4, 5, 6, 7}};
  const Outcome outcome = run(program, {runner_.tensor<std::int32_t>(s32, {}, {1})});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(*outcome.results[0].as<std::int32_t>(),
            static_cast<std::int32_t>((n * (n + 1) / 2) & 0xFFFFFFFF));
  EXPECT_EQ(outcome.results[1].as<std::int32_t>()[n - 1], 2 * n);
  EXPECT_EQ(*outcome.results[2].as<std::int32_t>(), n);
  EXPECT_EQ(*outcome.results[3].as<std::int32_t>(), 2);
}

TEST_P(ReductionTest, TheWideOperandOfASumIsNeverInMemory) {
  constexpr std::int64_t n = std::int64_t{1} << 20;
  const Tensor x = runner_.empty(bf16, {n});
  for (const auto& [name, attrs] :
       {std::pair{"sum", Attrs{}}, std::pair{"reduce_max", Attrs{}}, std::pair{"sum", over({0})}}) {
    const std::uint64_t before = runner_.memory.used();
    runner_.memory.reset_watermark();
    const Program program{{0}, {op(name, {v(0)}, 1, attrs)}, {1}};
    ASSERT_TRUE(succeeded(run(program, {x})));
    EXPECT_LT(runner_.memory.watermark() - before, 1U << 16) << name;
    EXPECT_LT((*runner_.plan(program, {x}))->peak.bytes, 1U << 16) << name;
  }
}

TEST_P(ReductionTest, AStridedOperandIsNotCopied) {
  const Tensor x = runner_.empty(s32, {1024, 1024});
  for (const List& axes : {List{0}, List{1}, List{0, 1}}) {
    const Program program{{0}, {op("transpose", {v(0)}, 1), op("sum", {v(1)}, 2, over(axes))}, {2}};
    const std::uint64_t before = runner_.memory.used();
    runner_.memory.reset_watermark();
    ASSERT_TRUE(succeeded(run(program, {x})));
    EXPECT_LT(runner_.memory.watermark() - before, 1U << 18);
    EXPECT_LT((*runner_.plan(program, {x}))->peak.bytes, 1U << 18);
  }
}

TEST_P(ReductionTest, EveryPatternOfAxesAndShapes) {
  for (const Dims& shape :
       {Dims{7}, Dims{1}, Dims{70'000}, Dims{3, 5}, Dims{1, 1}, Dims{3, 1, 5}, Dims{2, 3, 40},
        Dims{5, 1100}, Dims{1100, 5}, Dims{300, 3}, Dims{2, 100, 7}, Dims{3, 2, 1030},
        Dims{700, 33}, Dims{130, 600}, Dims{2, 3, 4, 5}}) {
    const std::size_t rank = shape.size();
    const Tensor x = runner_.tensor<float>(f32, shape, ramp(element_count(shape)));
    Dims last(rank, 1);
    last.back() = shape.back();
    const Tensor row = runner_.tensor<float>(f32, last, ramp(shape.back()));
    for (unsigned mask = 0; mask < 1U << rank; ++mask) {
      List axes;
      for (std::size_t axis = 0; axis < rank; ++axis) {
        if ((mask >> axis & 1U) != 0) axes.push_back(static_cast<std::int64_t>(axis));
      }
      SCOPED_TRACE(testing::Message() << to_string(shape) << ", axes mask " << mask);
      for (const bool keep : {false, true}) {
        expect_same_alone({{0, 1},
                           {op("multiply", {v(0), v(1)}, 2), op("subtract", {v(2), real(0.3)}, 3),
                            op("sum", {v(3)}, 4, over(axes, keep)), op("exp", {v(3)}, 5),
                            op("reduce_max", {v(5)}, 6, over(axes, keep)),
                            op("product", {v(0)}, 7, over(axes, keep))},
                           {4, 5, 6, 7}},
                          {x, row});
      }
    }
  }
}

TEST_P(ReductionTest, OperandsThatLieApart) {
  const Tensor whole = runner_.tensor<float>(f32, {130, 301}, ramp(130 * 301));
  const Tensor turned = runner_.tensor<float>(f32, {150, 130}, ramp(150 * 130));
  for (const List& axes : {List{0}, List{1}, List{0, 1}}) {
    expect_same_alone(
        {{0, 1},
         {op("slice", {v(0), number(0), number(0)}, 2,
             {{"lengths", List{130, 300}}, {"strides", List{1, 2}}}),
          op("slice", {v(0), number(0), number(1)}, 3, {{"lengths", List{130, 150}}}),
          op("transpose", {v(1)}, 4), op("add", {v(2), v(3)}, 5), op("multiply", {v(5), v(4)}, 6),
          op("sum", {v(6)}, 7, over(axes)), op("any", {v(3)}, 8, over(axes))},
         {7, 8}},
        {whole, turned});
  }
}

TEST_P(ReductionTest, NothingToReduce) {
  for (const auto& [shape, axes] :
       {std::pair{Dims{0}, List{0}}, std::pair{Dims{0, 3}, List{0}}, std::pair{Dims{3, 0}, List{0}},
        std::pair{Dims{3, 0}, List{1}}, std::pair{Dims{70'000, 0}, List{1}},
        std::pair{Dims{2, 0, 3}, List{1}}}) {
    const Tensor x = runner_.empty(f32, shape);
    const Program program{{0},
                          {op("negate", {v(0)}, 1), op("sum", {v(1)}, 2, over(axes)),
                           op("reduce_max", {v(1)}, 3, over(axes))},
                          {1, 2, 3}};
    const Outcome outcome = run(program, {x});
    ASSERT_TRUE(succeeded(outcome));
    for (const float sum : values<float>(outcome.results[1])) ASSERT_EQ(sum, 0);
    for (const float most : values<float>(outcome.results[2])) ASSERT_EQ(most, -INFINITY);
  }
}

TEST_P(ReductionTest, AChainOverARegionsParametersInALoop) {
  // Newton's method on each element, until the largest change is small.
  const Tensor x = runner_.tensor<float>(f32, {5000}, Floats(5000, 9));
  const Tensor change = runner_.tensor<float>(f32, {}, {1});
  const Program program{
      {0, 1},
      {loop({v(0), v(1)}, {20, 21}, Region{{2, 3}, {op("greater", {v(3), real(1e-3)}, 4)}, {4}},
            Region{{5, 6},
                   {op("divide", {real(2), v(5)}, 7), op("add", {v(5), v(7)}, 8),
                    op("multiply", {v(8), real(0.5)}, 9), op("subtract", {v(9), v(5)}, 10),
                    op("abs", {v(10)}, 11), op("reduce_max", {v(11)}, 12)},
                   {9, 12}})},
      {20}};
  const Outcome outcome = run(program, {x, change});
  ASSERT_TRUE(succeeded(outcome));
  for (const float root : values<float>(outcome.results[0]))
    ASSERT_NEAR(root, std::sqrt(2.F), 1e-6);
}

TEST_P(ReductionTest, ACancelEndsIt) {
  constexpr std::int64_t n = std::int64_t{1} << 20;
  const Tensor x = runner_.empty(f32, {n});
  runner_.interrupt.cancel();
  const Outcome outcome = run({{0}, {op("exp", {v(0)}, 1), op("sum", {v(1)}, 2)}, {2}}, {x});
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code, ErrorCode::cancelled);
}

INSTANTIATE_TEST_SUITE_P(Threads, ReductionTest, testing::Values(1, 2, 5));

}  // namespace
}  // namespace outrigger::engine::test
