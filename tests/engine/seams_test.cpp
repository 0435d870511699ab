// The assertions at the seams: each fails for a plan, a run or a session that breaks its promise.

#include "engine/executor/run_checks.hpp"
#include "engine/session_support.hpp"

// A build without assertions has nothing to test here.
#ifndef NDEBUG

namespace outrigger::engine::test {
namespace {

using enum DType;

constexpr std::int64_t seam_size = std::int64_t{1} << 16;

class SeamsTest : public testing::Test {
 protected:
  SeamsTest() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }

  /// A plan that the test may falsify.
  std::shared_ptr<Plan> plan(Program program, const std::vector<Tensor>& arguments = {}) {
    std::vector<TensorType> types;
    for (const Tensor& tensor : arguments) types.push_back(tensor.type);
    auto made = make_plan(runner_.memory, std::make_shared<const Program>(std::move(program)),
                          types, Planning{});
    EXPECT_TRUE(made) << (made ? "" : made.error().text);
    return made ? *made : nullptr;
  }

  template <typename Kind>
  static Kind& kind(Step& step) {
    return std::get<Kind>(step.kind);
  }

  Runner runner_;
};

TEST_F(SeamsTest, AResultMustNotTakeMemoryThatIsStillUsed) {
  const auto plan =
      this->plan({{}, {iota(0, "s32", {seam_size}), op("negate", {v(0)}, 1)}, {0, 1}});
  ASSERT_TRUE(succeeded(runner_.run(*plan, {})));
  source::Donated first;
  first.donors.add(0);
  plan->main.steps.at(1).out.at(0).source = first;
  EXPECT_DEATH(runner_.run(*plan, {}), "another value sees the memory that a result took");
}

TEST_F(SeamsTest, ACopyMustNotTakeMemoryThatIsStillUsed) {
  const Tensor slice = runner_.empty(s32, {5});
  const auto plan = this->plan(
      {{0}, {iota(1, "s32", {seam_size}), op("put_slice", {v(1), v(0), number(7)}, 2)}, {1, 2}},
      {slice});
  ASSERT_TRUE(succeeded(runner_.run(*plan, {slice})));
  std::get<source::Copied>(plan->main.steps.at(1).out.at(0).source).ends = true;
  EXPECT_DEATH(runner_.run(*plan, {slice}), "another value sees the memory that a result took");
}

TEST_F(SeamsTest, AWriteInPlaceMustNotShowInOtherValues) {
  const auto plan = this->plan({{},
                                {iota(0, "s32", {seam_size}), op("reverse", {v(0)}, 1),
                                 in_place(op("add", {v(0), v(1)}, 2))},
                                {1}});
  Step& write = plan->main.steps.at(2);
  ASSERT_FALSE(write.out.at(0).made());
  ASSERT_TRUE(succeeded(runner_.run(*plan, {})));
  // As if the view ended with the step.
  kind<PassStep>(write).ending.add(1);
  plan->main.outputs[0] = write.in[0];
  write.dead = {write.in[1]};
  ASSERT_TRUE(succeeded(runner_.run(*plan, {})));
  write.dead.clear();
  EXPECT_DEATH(runner_.run(*plan, {}), "another value sees what a step wrote in place");
}

TEST_F(SeamsTest, AResultMustHaveThePlannedType) {
  const Tensor verdict = runner_.tensor<std::int32_t>(s32, {}, {1});
  const auto plan = this->plan(
      {{0},
       {iota(1, "s32", {seam_size}), branch(v(0), {2}, Region{{}, {}, {1}}, Region{{}, {}, {1}})},
       {2}},
      {verdict});
  ASSERT_TRUE(succeeded(runner_.run(*plan, {verdict})));
  kind<BranchStep>(plan->main.steps.at(1)).on_true->outputs = plan->main.params;
  EXPECT_DEATH(runner_.run(*plan, {verdict}), "a result has not the planned type");
}

TEST_F(SeamsTest, AStepMustNotTakeMoreMemoryThanItsRowSays) {
  const Tensor x = runner_.empty(s32, {seam_size});
  const auto plan = this->plan({{0}, {op("argsort", {v(0)}, 1)}, {1}}, {x});
  ASSERT_TRUE(succeeded(runner_.run(*plan, {x})));
  ops::OpRow modest = *plan->main.steps.at(0).row;
  ASSERT_NE(modest.scratch, nullptr);
  modest.scratch = nullptr;
  plan->main.steps[0].row = &modest;
  EXPECT_DEATH(runner_.run(*plan, {x}), "more memory than the plan says");
}

TEST_F(SeamsTest, TheMemoryOfAStepInALoopIsThatOfAnyTurn) {
  // The later steps of the first turn have taken more than the first step of the second turn does.
  const Region condition{{1, 2}, {op("less", {v(1), number(3)}, 3)}, {3}};
  const Region body{{4, 5},
                    {op("add", {v(4), number(1)}, 6), op("argsort", {v(5)}, 7),
                     op("as_type", {v(7)}, 8, {{"type", std::string("s32")}})},
                    {6, 8}};
  const Tensor x = runner_.empty(s32, {seam_size});
  EXPECT_TRUE(succeeded(runner_.run(
      {{0}, {constant(9, 0, "s32", {}), loop({v(9), v(0)}, {10, 11}, condition, body)}, {11}},
      {x})));
}

TEST_F(SeamsTest, ARunMustGetArgumentsOfThePlannedTypes) {
  const Tensor x = runner_.empty(s32, {seam_size});
  const auto plan = this->plan({{0}, {op("negate", {v(0)}, 1)}, {1}}, {x});
  const Tensor other = runner_.empty(f32, {seam_size});
  EXPECT_DEATH(runner_.run(*plan, {other}), "not of the type that the plan is for");
}

TEST_F(SeamsTest, ARunMustLeaveNoMemoryBehind) {
  const Tensor x = runner_.empty(s32, {seam_size});
  const auto plan = this->plan({{0}, {op("negate", {v(0)}, 1)}, {1}}, {x});
  std::vector<Tensor> frame(plan->types.size());
  frame[plan->main.params[0]] = x;
  ops::Context context{runner_.memory, runner_.interrupt, 1, runner_.scratch};
  RunChecks checks(context, *plan, frame);
  checks.at_end({}, std::vector<StoragePtr>{x.storage});
  const Tensor forgotten = runner_.empty(s32, {1});
  EXPECT_DEATH(checks.at_end({}, std::vector<StoragePtr>{x.storage}), "left memory behind");
}

TEST_F(SeamsTest, NoTensorOutlivesTheEngine) {
  EXPECT_DEATH(
      {
        auto engine = make_engine(EngineOptions{1, 0, {}});
        const auto tensor = allocate_tensor(engine->memory(), TensorType{s32, {1}});
        engine.reset();
      },
      "outlives the engine");
}

TEST_F(SeamsTest, APlaceIsCommittedWithItsTensor) {
  const Limits limits;
  const TensorType type{s32, {seam_size}};
  Store store(runner_.memory, limits);
  Store::Places places(store);
  const std::uint64_t handle = 1;
  ASSERT_TRUE(store.make_places(std::span(&handle, 1), std::span(&type, 1), places));
  EXPECT_DEATH(store.commit(places), "has no tensor");
}

}  // namespace
}  // namespace outrigger::engine::test

#endif
