// The report of a profiled run about its steps.

#include "engine/executor/profile.hpp"
#include "engine/builder.hpp"

namespace outrigger::engine::test {
namespace {

using enum DType;
using Strings = std::vector<std::string_view>;

class ProfileTest : public testing::Test {
 protected:
  /// The steps point into the plan, which therefore stays alive.
  std::vector<wire::StepProfile> profile(Program program, const std::vector<Tensor>& arguments) {
    auto plan = runner_.plan(std::move(program), arguments);
    if (!plan) {
      ADD_FAILURE() << plan.error().text;
      return {};
    }
    plan_ = *plan;
    Profile profile;
    ops::Context context{runner_.memory, runner_.interrupt, 1, runner_.scratch};
    const Outcome outcome = execute(context, *plan_, arguments, {}, &profile);
    EXPECT_TRUE(succeeded(outcome));
    return profile.steps(*plan_);
  }
  static Strings names(const wire::StepProfile& step) { return {step.ops.begin(), step.ops.end()}; }

  Runner runner_;
  std::shared_ptr<const Plan> plan_;
  Tensor x_ = runner_.tensor<float>(f32, {2, 3}, {1, 2, 3, 4, 5, 6});
};

TEST_F(ProfileTest, APassNamesItsInstructionsAndCountsBytes) {
  const auto steps = profile({{0},
                              {op("multiply", {v(0), number(2)}, 1), op("exp", {v(1)}, 2),
                               op("sum", {v(2)}, 3), op("cumulative_sum", {v(2)}, 4)},
                              {3, 4}},
                             {x_});
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(names(steps[0]), (Strings{"multiply", "exp", "sum"}));
  EXPECT_EQ(names(steps[1]), (Strings{"cumulative_sum"}));
  EXPECT_EQ(steps[0].calls, 1U);
  // The literal is a scalar of 4 bytes, in its own buffer.
  EXPECT_EQ(steps[0].bytes, 24U + 4U + 24U + 4U);
  EXPECT_EQ(steps[1].bytes, 24U + 24U);
  EXPECT_EQ(std::vector(steps[1].index.begin(), steps[1].index.end()),
            (std::vector<std::uint32_t>{3}));
}

TEST_F(ProfileTest, StepsOfALoopCountTheirTurnsAndTheirTimeIsNotTheLoops) {
  const Tensor big = runner_.empty(f32, {1 << 16});
  const Region condition{{1, 2}, {op("less", {v(1), number(5)}, 3)}, {3}};
  const Region body{{4, 5}, {op("add", {v(4), number(1)}, 6), op("sin", {v(5)}, 7)}, {6, 7}};
  const auto steps = profile(
      {{0}, {constant(8, 0, "s32", {}), loop({v(8), v(0)}, {9, 10}, condition, body)}, {10}},
      {big});
  const auto find = [&](std::string_view name) {
    return *std::find_if(steps.begin(), steps.end(),
                         [&](const auto& step) { return step.ops[0] == name; });
  };
  const auto sine = find("sin");
  EXPECT_EQ(sine.calls, 5U);
  EXPECT_EQ(sine.bytes, 5 * 2 * big.size() * 4U);
  EXPECT_EQ(find("less").calls, 6U);
  EXPECT_EQ(find("while").calls, 1U);
  EXPECT_EQ(find("while").bytes, 0U);
  EXPECT_LT(find("while").ns, sine.ns) << "its own time, without its body's";
}

TEST_F(ProfileTest, AnUpdateTouchesWhatItIsGiven) {
  const Tensor target = runner_.empty(f32, {1000});
  const Tensor slice = runner_.empty(f32, {10});
  const auto steps = profile({{0, 1}, {in_place(op("put_slice", {v(0), v(1), number(3)}, 2))}, {}},
                             {target, slice});
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_LE(steps[0].bytes, 2 * (40U + 8U));
  EXPECT_GE(steps[0].bytes, 2 * 40U);
}

TEST_F(ProfileTest, APassThatPutsItsResultNamesBoth) {
  const Tensor target = runner_.empty(f32, {1000});
  const Tensor slice = runner_.empty(f32, {10});
  const auto steps = profile(
      {{0, 1},
       {op("negate", {v(1)}, 2), op("exp", {v(2)}, 3), op("put_slice", {v(0), v(3), number(3)}, 4)},
       {4}},
      {target, slice});
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(names(steps[0]), (Strings{"negate", "exp", "put_slice"}));
  EXPECT_EQ(std::vector(steps[0].index.begin(), steps[0].index.end()),
            (std::vector<std::uint32_t>{2}));
  EXPECT_EQ(steps[0].bytes, 40U + 40U);
}

TEST_F(ProfileTest, OfManyStepsTheSlowestAreTold) {
  Program program{{0}, {}, {}};
  // Four sums share a pass, which runs last. The others are separate steps.
  for (ValueId i = 0; i < 300; ++i) program.body.push_back(op("sum", {v(0)}, i + 1));
  program.outputs = {300};
  const auto steps = profile(std::move(program), {x_});
  EXPECT_EQ(steps.size(), Limits::profiled_steps_max);
  EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end(), [](const auto& a, const auto& b) {
    return a.index[0] < b.index[0];
  })) << "in the program's order";
}

}  // namespace
}  // namespace outrigger::engine::test
