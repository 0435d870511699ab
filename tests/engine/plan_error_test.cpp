// Each mistake that a program can have: its code, op and place. No memory may stay in use.

#include "engine/builder.hpp"
#include "engine/planner/form.hpp"

namespace outrigger::engine::test {
namespace {

using enum DType;
using Path = std::vector<std::uint32_t>;

struct Mistake {
  const char* name;
  Program program;
  ErrorCode code;
  std::string op = {};
  Path path = {};
};

/// Parameters: 0 f32[2][3], 1 s32 scalar, 2 s32[4].
const std::vector<Mistake>& mistakes() {
  using enum ErrorCode;
  const Region yes{{}, {}, {1}};
  const Region nothing{{}, {}, {}};
  static const std::vector<Mistake> all{
      {"UnknownOp", {{0, 1, 2}, {op("no_such", {v(0)}, 3)}, {3}}, unknown_op, "no_such", {0}},
      {"UndefinedOperand",
       {{0, 1, 2}, {op("negate", {v(0)}, 3), op("negate", {v(99)}, 4)}, {4}},
       bad_program,
       "negate",
       {1}},
      {"UndefinedOutput", {{0, 1, 2}, {}, {7}}, bad_program},
      {"DefinedTwice", {{0, 1, 2}, {op("negate", {v(0)}, 1)}, {1}}, bad_program, "negate", {0}},
      {"ParameterTwice", {{0, 1, 1}, {}, {0}}, bad_program},
      {"TooFewParameters", {{0, 1}, {}, {0}}, bad_program},
      {"TooFewOperands", {{0, 1, 2}, {op("add", {v(0)}, 3)}, {3}}, bad_program, "add", {0}},
      {"TooManyOperands",
       {{0, 1, 2}, {op("negate", {v(0), v(0)}, 3)}, {3}},
       bad_program,
       "negate",
       {0}},
      {"NoOperandsForMany",
       {{0, 1, 2}, {op("concatenate", {}, 3)}, {3}},
       bad_program,
       "concatenate",
       {0}},
      {"TwoResults",
       {{0, 1, 2}, {Instruction{"negate", {v(0)}, {3, 4}, {}, {}, false}}, {3}},
       bad_program,
       "negate",
       {0}},
      {"NoResults",
       {{0, 1, 2}, {Instruction{"negate", {v(0)}, {}, {}, {}, false}}, {}},
       bad_program,
       "negate",
       {0}},
      {"RegionsWhereNone",
       {{0, 1, 2}, {Instruction{"negate", {v(0)}, {3}, {}, {nothing}, false}}, {3}},
       bad_program,
       "negate",
       {0}},
      {"OneRegionForCond",
       {{0, 1, 2}, {Instruction{"cond", {v(1)}, {3}, {}, {yes}, false}}, {3}},
       bad_program,
       "cond",
       {0}},
      {"UnknownAttr",
       {{0, 1, 2}, {op("sum", {v(0)}, 3, {{"axis", Number{std::int64_t{0}}}})}, {3}},
       bad_attr,
       "sum",
       {0}},
      {"MistypedAttr",
       {{0, 1, 2}, {op("sum", {v(0)}, 3, {{"axes", std::string("0")}})}, {3}},
       bad_attr,
       "sum",
       {0}},
      {"MissingAttr", {{0, 1, 2}, {op("reshape", {v(0)}, 3)}, {3}}, bad_attr, "reshape", {0}},
      {"NoInPlaceForm",
       {{0, 1, 2}, {in_place(op("sum", {v(0)}, 3))}, {3}},
       bad_program,
       "sum",
       {0}},
      {"InPlaceOtherDtype",
       {{0, 1, 2}, {in_place(op("add", {v(2), real(0.5)}, 3))}, {}},
       bad_dtype,
       "add",
       {0}},
      {"InPlaceOtherShape",
       {{0, 1, 2}, {in_place(op("add", {v(1), v(2)}, 3))}, {}},
       bad_shape,
       "add",
       {0}},
      {"InPlaceNumber",
       {{0, 1, 2}, {in_place(op("add", {number(1), v(1)}, 3))}, {}},
       bad_program,
       "add",
       {0}},
      {"ShapesDoNotBroadcast",
       {{0, 1, 2}, {op("add", {v(0), v(2)}, 3)}, {3}},
       bad_shape,
       "add",
       {0}},
      {"FloatBits",
       {{0, 1, 2}, {op("bitwise_and", {v(0), v(1)}, 3)}, {3}},
       bad_dtype,
       "bitwise_and",
       {0}},
      {"WrongAxis",
       {{0, 1, 2}, {op("sum", {v(0)}, 3, {{"axes", List{2}}})}, {3}},
       bad_axis,
       "sum",
       {0}},
      {"ReshapeToOtherSize",
       {{0, 1, 2}, {op("reshape", {v(0)}, 3, {{"shape", List{7}}})}, {3}},
       bad_shape,
       "reshape",
       {0}},
      {"TooLargeShape", {{0, 1, 2}, {iota(3, "f64", {INT64_MAX})}, {3}}, bad_shape, "iota", {0}},
      {"WrongSlice",
       {{0, 1, 2}, {op("slice", {v(2), number(0)}, 3, {{"lengths", List{5}}})}, {3}},
       bad_shape,
       "slice",
       {0}},
      {"FloatIndices", {{0, 1, 2}, {op("take", {v(2), v(0)}, 3)}, {3}}, bad_dtype, "take", {0}},
      {"PredicateIsNoScalar",
       {{0, 1, 2}, {branch(v(2), {3}, yes, yes)}, {3}},
       bad_shape,
       "cond",
       {0}},
      {"BranchesDiffer",
       {{0, 1, 2}, {branch(v(1), {3}, yes, Region{{}, {}, {0}})}, {3}},
       bad_dtype,
       "cond",
       {0}},
      {"BranchesOfOtherCounts",
       {{0, 1, 2}, {branch(v(1), {3}, yes, nothing)}, {3}},
       bad_program,
       "cond",
       {0}},
      {"OutOfCondHasOtherCount",
       {{0, 1, 2}, {branch(v(1), {3, 4}, yes, yes)}, {3}},
       bad_program,
       "cond",
       {0}},
      {"CondRegionWithParameters",
       {{0, 1, 2}, {branch(v(1), {3}, Region{{8}, {}, {1}}, yes)}, {3}},
       bad_program,
       "cond",
       {0}},
      {"ConditionIsNoScalar",
       {{0, 1, 2}, {loop({v(2)}, {3}, Region{{4}, {}, {4}}, Region{{5}, {}, {5}})}, {3}},
       bad_shape,
       "while",
       {0}},
      {"BodyChangesTheType",
       {{0, 1, 2}, {loop({v(1)}, {3}, Region{{4}, {}, {4}}, Region{{5}, {}, {2}})}, {3}},
       bad_shape,
       "while",
       {0}},
      {"BodyDropsAValue",
       {{0, 1, 2}, {loop({v(1)}, {3}, Region{{4}, {}, {4}}, Region{{5}, {}, {}})}, {3}},
       bad_program,
       "while",
       {0}},
      {"LoopRegionParameters",
       {{0, 1, 2}, {loop({v(1)}, {3}, Region{{}, {}, {1}}, Region{{5}, {}, {5}})}, {3}},
       bad_program,
       "while",
       {0}},
      {"InnerValueUsedOutside",
       {{0, 1, 2},
        {branch(v(1), {3}, Region{{}, {op("negate", {v(1)}, 4)}, {4}}, yes),
         op("negate", {v(4)}, 5)},
        {5}},
       bad_program,
       "negate",
       {1}},
      {"NestedMistake",
       {{0, 1, 2},
        {op("negate", {v(0)}, 3),
         loop({v(1)}, {4}, Region{{5}, {}, {5}},
              Region{{6}, {op("abs", {v(6)}, 7), op("add", {v(0), v(2)}, 8)}, {7}})},
        {4}},
       bad_shape,
       "add",
       {1, 1, 1}},
      {"FillWithAVector", {{0, 1, 2}, {op("fill", {v(0), v(2)}, 3)}, {3}}, bad_shape, "fill", {0}},
  };
  return all;
}

TEST(PlanErrorTest, EachMistakeHasItsCodeOpAndPlace) {
  for (const Mistake& mistake : mistakes()) {
    SCOPED_TRACE(mistake.name);
    Runner runner;
    const std::vector<Tensor> arguments{runner.empty(f32, {2, 3}), runner.empty(s32, {}),
                                        runner.empty(s32, {4})};
    const std::uint64_t before = runner.memory.used();
    const auto plan = runner.plan(mistake.program, arguments);
    if (plan) {
      ADD_FAILURE() << "was planned";
      continue;
    }
    const Error& error = plan.error();
    EXPECT_EQ(name_of(error.code), name_of(mistake.code)) << error.text;
    EXPECT_EQ(error.op, mistake.op) << error.text;
    EXPECT_EQ(error.path, mistake.path) << error.text;
    EXPECT_FALSE(error.text.empty());
    EXPECT_TRUE(mistake.op.empty() || error.text.rfind(mistake.op + ": ", 0) == 0) << error.text;
    EXPECT_EQ(runner.memory.used(), before);
  }
}

TEST(PlanErrorTest, ThePathOfAnOutputOfARegionIsTheInstructions) {
  Runner runner;
  const Program program{{0}, {branch(v(0), {1}, Region{{}, {}, {77}}, Region{{}, {}, {0}})}, {1}};
  const auto plan = runner.plan(program, {runner.empty(s32, {})});
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::bad_program);
  EXPECT_EQ(plan.error().path, Path{0});
  EXPECT_EQ(check_program(program).error().path, Path{0});
}

TEST(PlanErrorTest, ThePathOfAnInstructionOfARegionGoesThroughTheRegion) {
  // The second region is wrong, after a first one that is right.
  const Region wrong{{}, {op("negate", {v(0)}, 2), op("no_such", {v(2)}, 3)}, {3}};
  const Program program{{0},
                        {op("negate", {v(0)}, 1),
                         branch(v(0), {4}, Region{{}, {op("negate", {v(0)}, 2)}, {2}}, wrong)},
                        {4}};
  EXPECT_EQ(check_program(program).error().path, (Path{1, 1, 1}));
}

TEST(PlanErrorTest, CheckProgramFindsWhatNeedsNoTypes) {
  EXPECT_TRUE(check_program({{0}, {op("add", {v(0), v(0)}, 1)}, {1}}));
  for (const Mistake& mistake : mistakes()) {
    const auto checked = check_program(mistake.program);
    const bool form =
        mistake.code == ErrorCode::unknown_op || (mistake.code == ErrorCode::bad_attr);
    if (form) {
      ASSERT_FALSE(checked) << mistake.name;
      EXPECT_EQ(checked.error().path, mistake.path);
      EXPECT_EQ(checked.error().op, mistake.op);
    }
  }
}

TEST(PlanErrorTest, PrepareAndRunGiveTheSameErrorForTheForm) {
  for (const Mistake& mistake : mistakes()) {
    SCOPED_TRACE(mistake.name);
    const auto checked = check_program(mistake.program);
    if (checked) continue;  // the mistake is one of types
    Runner runner;
    const std::vector<Tensor> arguments{runner.empty(f32, {2, 3}), runner.empty(s32, {}),
                                        runner.empty(s32, {4})};
    const auto plan = runner.plan(mistake.program, arguments);
    ASSERT_FALSE(plan);
    EXPECT_EQ(checked.error().text, plan.error().text);
    EXPECT_EQ(name_of(checked.error().code), name_of(plan.error().code));
    EXPECT_EQ(checked.error().op, plan.error().op);
    EXPECT_EQ(checked.error().path, plan.error().path);
  }
}

TEST(PlanErrorTest, TheNumberOfResultsIsOneRule) {
  const Region yes{{}, {}, {0}};
  Runner runner;
  const std::vector<Tensor> arguments{runner.empty(s32, {})};
  const auto branches = runner.plan({{0}, {branch(v(0), {1, 2}, yes, yes)}, {1}}, arguments);
  const auto negate =
      runner.plan({{0}, {Instruction{"negate", {v(0)}, {1, 2}, {}, {}, false}}, {1}}, arguments);
  ASSERT_FALSE(branches || negate);
  EXPECT_EQ(branches.error().text, "cond: gives 1 result, but `out` names 2");
  EXPECT_EQ(negate.error().text, "negate: gives 1 result, but `out` names 2");
}

TEST(PlanErrorTest, PrepareRefusesIdsAndRegionsThatCannotFit) {
  // PROTOCOL: `prepare` "checks the program's form". Ids and regions are form.
  EXPECT_FALSE(check_program({{0}, {op("negate", {v(99)}, 1)}, {1}})) << "an id that nobody gives";
  EXPECT_FALSE(check_program({{0}, {op("negate", {v(0)}, 0)}, {0}})) << "an id given twice";
  EXPECT_FALSE(check_program({{0}, {Instruction{"cond", {v(0)}, {1}, {}, {}, false}}, {1}}))
      << "no regions";
}

}  // namespace
}  // namespace outrigger::engine::test
