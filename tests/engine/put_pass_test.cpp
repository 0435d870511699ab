// A put_slice of the result of a pass: the pass writes the window directly.

#include "engine/builder.hpp"

namespace outrigger::engine::test {
namespace {

using enum DType;
using Ints = std::vector<std::int32_t>;

/// slice(x, starts) with the given lengths.
Instruction window(ValueId x, std::vector<std::int64_t> starts, List lengths, ValueId out) {
  std::vector<Operand> in{v(x)};
  for (const std::int64_t start : starts) in.push_back(number(start));
  return op("slice", std::move(in), out, {{"lengths", std::move(lengths)}});
}

class PutPassTest : public testing::TestWithParam<int> {
 protected:
  Outcome run(const Program& program, const std::vector<Tensor>& arguments) {
    return runner_.run(program, arguments, GetParam());
  }
  std::size_t put_passes(const Program& program, const std::vector<Tensor>& arguments) {
    const auto plan = runner_.plan(program, arguments);
    EXPECT_TRUE(plan);
    return plan ? count((*plan)->main, Kind::put_pass) : 999;
  }
  static Ints ints(const Tensor& tensor) { return values<std::int32_t>(tensor); }

  Tensor counting(const Dims& shape) {
    Tensor made = runner_.empty(s32, shape);
    for (std::int32_t i = 0; i < made.size(); ++i) made.as<std::int32_t>()[i] = i * 7919 % 1009;
    return made;
  }

  /// The largest memory of the runs, above the memory in use before.
  template <typename F>
  std::uint64_t taken(F&& run) {
    runner_.memory.reset_watermark();
    const std::uint64_t before = runner_.memory.used();
    run();
    return runner_.memory.watermark() - before;
  }

  Runner runner_;
  Tensor x_ = runner_.tensor<std::int32_t>(s32, {6}, {1, 2, 3, 4, 5, 6});
  /// x[1..4] = x[0..3] + x[2..5]
  std::vector<Instruction> neighbours(ValueId x, ValueId first, ValueId result) {
    return {window(x, {0}, {4}, first), window(x, {2}, {4}, first + 1),
            op("add", {v(first), v(first + 1)}, first + 2),
            op("put_slice", {v(x), v(first + 2), number(1)}, result)};
  }
  const Ints neighbours_{1, 4, 6, 8, 10, 6};
};

TEST_P(PutPassTest, InPlace) {
  Program program{{0}, neighbours(0, 1, 4), {}};
  program.body.back().in_place = true;
  EXPECT_EQ(put_passes(program, {x_}), 1U);
  const Outcome outcome = run(program, {x_});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(x_), neighbours_);
  EXPECT_EQ(outcome.written, std::vector<bool>{true});
}

TEST_P(PutPassTest, Functional) {
  const Program program{{0}, neighbours(0, 1, 4), {4}};
  EXPECT_EQ(put_passes(program, {x_}), 1U);
  const Outcome outcome = run(program, {x_});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), neighbours_);
  EXPECT_EQ(ints(x_), (Ints{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(outcome.written, std::vector<bool>{false});
}

TEST_P(PutPassTest, WhatElseTheGroupGivesKeepsItAPass) {
  const auto with = [&](Ids outputs, std::vector<Instruction> more = {}) {
    Program program{{0}, neighbours(0, 1, 4), std::move(outputs)};
    program.body.insert(program.body.begin() + 3, more.begin(), more.end());
    return program;
  };
  EXPECT_EQ(put_passes(with({4, 3}), {x_}), 0U) << "the slice is a result";
  EXPECT_EQ(put_passes(with({4, 9}, {op("negate", {v(3)}, 9)}), {x_}), 0U);
  EXPECT_EQ(put_passes(with({4, 9}, {op("negate", {v(1)}, 9)}), {x_}), 0U);
  EXPECT_EQ(put_passes(with({4, 9}, {op("sum", {v(3)}, 9)}), {x_}), 0U);
  EXPECT_EQ(put_passes(with({4, 2, 1}), {x_}), 1U) << "views are not the group's";
  for (const Program& program :
       {with({4, 3}), with({4, 9}, {op("negate", {v(3)}, 9)}), with({4, 2, 1})}) {
    const Outcome outcome = run(program, {x_});
    ASSERT_TRUE(succeeded(outcome));
    EXPECT_EQ(ints(outcome.results[0]), neighbours_);
  }
}

TEST_P(PutPassTest, CastsOfTheSliceArePartOfThePass) {
  const Tensor wide = runner_.tensor<std::int64_t>(s64, {4}, {10, 20, 30, 40});
  const Tensor small = runner_.tensor<std::uint8_t>(u8, {2}, {5, 6});
  const Program program{
      {0, 1, 2},
      {op("add", {v(1), number(1)}, 3), op("as_type", {v(3)}, 4, {{"type", std::string("s32")}}),
       op("put_slice", {v(0), v(4), number(1)}, 5), op("add", {v(2), v(2)}, 6),
       op("put_slice", {v(0), v(6), number(4)}, 7)},
      {5, 7}};
  EXPECT_EQ(put_passes(program, {x_, wide, small}), 2U);
  const Outcome outcome = run(program, {x_, wide, small});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), (Ints{1, 11, 21, 31, 41, 6}));
  EXPECT_EQ(ints(outcome.results[1]), (Ints{1, 2, 3, 4, 10, 12}));
}

TEST_P(PutPassTest, ATargetThatTheGroupMakes) {
  // y = x + 1; y[1..6] = 2 · y[0..5] where the slice is all of y.
  const Program program{{0},
                        {op("add", {v(0), number(1)}, 1), op("multiply", {v(1), number(2)}, 2),
                         op("put_slice", {v(1), v(2), number(0)}, 3)},
                        {3}};
  EXPECT_EQ(put_passes(program, {x_}), 0U);
  const Outcome outcome = run(program, {x_});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), (Ints{4, 6, 8, 10, 12, 14}));
}

TEST_P(PutPassTest, TheTargetIsAlsoRead) {
  // The pass reads all of the target twice: directly, and through a view.
  const Program program{{0},
                        {op("negate", {v(0)}, 1), op("reverse", {v(1)}, 2),
                         op("add", {v(1), v(2)}, 3), op("put_slice", {v(1), v(3), number(0)}, 4)},
                        {4}};
  EXPECT_EQ(put_passes(program, {x_}), 1U);
  const Outcome outcome = run(program, {x_});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), Ints(6, -7));
}

TEST_P(PutPassTest, ViewsThatLiveOnKeepWhatTheySaw) {
  for (const bool writes : {false, true}) {
    const Tensor x = runner_.tensor<std::int32_t>(s32, {6}, {1, 2, 3, 4, 5, 6});
    Program program{{0}, neighbours(0, 1, 4), {2, 4}};
    program.body.back().in_place = writes;
    program.body.push_back(op("negate", {v(1)}, 5));
    program.outputs.push_back(5);
    EXPECT_EQ(put_passes(program, {x}), 1U);
    const Outcome outcome = run(program, {x});
    ASSERT_TRUE(succeeded(outcome));
    EXPECT_EQ(ints(outcome.results[0]), (Ints{3, 4, 5, 6}));
    EXPECT_EQ(ints(outcome.results[1]), neighbours_);
    EXPECT_EQ(ints(outcome.results[2]), (Ints{-1, -2, -3, -4}));
    EXPECT_EQ(ints(x), writes ? neighbours_ : (Ints{1, 2, 3, 4, 5, 6}));
  }
}

TEST_P(PutPassTest, ATargetThatLivesOnIsCopied) {
  Program program{{9}, neighbours(0, 1, 4), {4, 5}};
  program.body.insert(program.body.begin(), op("add", {v(9), number(0)}, 0));
  program.body.push_back(op("negate", {v(0)}, 5));
  EXPECT_EQ(put_passes(program, {x_}), 1U);
  const Outcome outcome = run(program, {x_});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), neighbours_);
  EXPECT_EQ(ints(outcome.results[1]), (Ints{-1, -2, -3, -4, -5, -6}));
}

TEST_P(PutPassTest, MutableViewsSeeTheWrite) {
  Program program{{0}, neighbours(0, 1, 4), {1}};
  for (std::size_t i : {0, 1, 3}) program.body[i].in_place = true;
  EXPECT_EQ(put_passes(program, {x_}), 1U);
  const Outcome outcome = run(program, {x_});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(x_), neighbours_);
  EXPECT_EQ(ints(outcome.results[0]), (Ints{1, 4, 6, 8}));
}

TEST_P(PutPassTest, AFunctionalPutLeavesWhatMutableViewsSee) {
  // y is made here and has its last use in the put_slice. A mutable view of it stays alive, or also
  // ends there.
  for (const Ids& outputs : {Ids{4, 1}, Ids{4}}) {
    Program program{{9}, neighbours(0, 1, 4), outputs};
    program.body.insert(program.body.begin(), op("add", {v(9), number(0)}, 0));
    program.body[1].in_place = true;
    EXPECT_EQ(put_passes(program, {x_}), 1U);
    const Outcome outcome = run(program, {x_});
    ASSERT_TRUE(succeeded(outcome));
    EXPECT_EQ(ints(outcome.results[0]), neighbours_);
    EXPECT_EQ(ints(outcome.results.back()), outputs.size() == 2 ? (Ints{1, 2, 3, 4}) : neighbours_);
  }
}

TEST_P(PutPassTest, AMutableViewAsTheTarget) {
  // m = x[1..5] in place; m[0..2] = x[0..2] + x[3..5]
  const Program program{
      {0},
      {in_place(window(0, {1}, {5}, 1)), window(0, {0}, {3}, 2), window(0, {3}, {3}, 3),
       op("add", {v(2), v(3)}, 4), in_place(op("put_slice", {v(1), v(4), number(0)}, 5))},
      {}};
  EXPECT_EQ(put_passes(program, {x_}), 1U);
  ASSERT_TRUE(succeeded(run(program, {x_})));
  EXPECT_EQ(ints(x_), (Ints{1, 5, 7, 9, 5, 6}));
}

TEST_P(PutPassTest, OtherHoldersOfTheMemoryDoNotSeeTheWrite) {
  const Tensor other = view_of(x_, x_.type, x_.strides, 0, false);
  Program program{{0}, neighbours(0, 1, 4), {}};
  program.body.back().in_place = true;
  ASSERT_TRUE(succeeded(run(program, {x_})));
  EXPECT_EQ(ints(x_), neighbours_);
  EXPECT_EQ(ints(other), (Ints{1, 2, 3, 4, 5, 6}));
}

TEST_P(PutPassTest, ATargetThatRepeatsElements) {
  const Tensor one = runner_.tensor<std::int32_t>(s32, {1}, {3});
  const Program program{
      {0},
      {op("broadcast", {v(0)}, 1, {{"shape", List{4}}}), window(1, {0}, {2}, 2),
       op("add", {v(2), number(1)}, 3), in_place(op("put_slice", {v(1), v(3), number(1)}, 4)),
       op("add", {v(1), number(0)}, 5)},
      {5}};
  EXPECT_EQ(put_passes(program, {one}), 1U);
  const Outcome outcome = run(program, {one});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), (Ints{3, 4, 4, 3}));
  EXPECT_EQ(ints(one), Ints{3});
}

TEST_P(PutPassTest, StartsAreMovedSoThatTheWindowFits) {
  for (const std::int64_t start : {-100, -1, 0, 1, 2, 3, 100}) {
    const Tensor x = runner_.tensor<std::int32_t>(s32, {6}, {1, 2, 3, 4, 5, 6});
    const Tensor at = runner_.tensor<std::int64_t>(s64, {}, {start});
    const Program program{{0, 1},
                          {window(0, {0}, {4}, 2), op("multiply", {v(2), number(10)}, 3),
                           in_place(op("put_slice", {v(0), v(3), v(1)}, 4))},
                          {}};
    EXPECT_EQ(put_passes(program, {x, at}), 1U);
    ASSERT_TRUE(succeeded(run(program, {x, at})));
    Ints expected{1, 2, 3, 4, 5, 6};
    const auto first = std::clamp<std::int64_t>(start, 0, 2);
    for (std::int64_t i = 0; i < 4; ++i)
      expected[static_cast<std::size_t>(first + i)] = 10 * static_cast<std::int32_t>(i + 1);
    EXPECT_EQ(ints(x), expected) << start;
  }
  const Tensor huge = runner_.tensor<std::uint64_t>(u64, {}, {~std::uint64_t{0}});
  const Program program{
      {0, 1},
      {op("negate", {v(0)}, 5), window(5, {0}, {4}, 2), op("multiply", {v(2), number(10)}, 3),
       op("put_slice", {v(5), v(3), v(1)}, 4)},
      {4}};
  const Outcome outcome = run(program, {x_, huge});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), (Ints{-1, -2, -10, -20, -30, -40}));
}

TEST_P(PutPassTest, AStartThatIsAnElementOfTheTarget) {
  const Tensor x = runner_.tensor<std::int64_t>(s64, {4}, {2, 7, 8, 9});
  const Program program{{0},
                        {window(0, {0}, {1}, 1), op("squeeze", {v(1)}, 2), window(0, {1}, {2}, 3),
                         op("negate", {v(3)}, 4), in_place(op("put_slice", {v(0), v(4), v(2)}, 5))},
                        {}};
  EXPECT_EQ(put_passes(program, {x}), 1U);
  ASSERT_TRUE(succeeded(run(program, {x})));
  EXPECT_EQ(values<std::int64_t>(x), (std::vector<std::int64_t>{2, 7, -7, -8}));
}

TEST_P(PutPassTest, AnInPlacePassOverDyingViewsOfItsTarget) {
  // m is a mutable window; the others are values whose last use is the write.
  const std::int64_t n = 200'000;
  const Tensor x = counting({n});
  Ints expected = ints(x);
  const Ints before = expected;
  for (std::size_t i = 1; i + 1 < expected.size(); ++i)
    expected[i] = before[i] + before[i - 1] + before[i + 1];
  const List length{n - 2};
  const Program program{
      {0},
      {in_place(window(0, {1}, length, 1)), window(0, {0}, length, 2), window(0, {2}, length, 3),
       op("add", {v(2), v(3)}, 4), in_place(op("add", {v(1), v(4)}, 5))},
      {}};
  const auto bytes = taken([&] { ASSERT_TRUE(succeeded(run(program, {x}))); });
  EXPECT_EQ(ints(x), expected);
  EXPECT_LT(bytes, n * 4 * 9 / 10) << "neither x nor a view of it was copied";
}

/// A number of turns of (the inside of u = the sum of its four neighbours, halved), on an argument
/// or on a carried value.
class PutPassGridTest : public PutPassTest {
 protected:
  static constexpr std::int64_t rows = 450;
  static constexpr std::int64_t columns = 500;
  static constexpr int turns = 5;

  static std::vector<Instruction> stencil(ValueId u, ValueId first, ValueId result) {
    const List inside{rows - 2, columns - 2};
    return {window(u, {0, 1}, inside, first),
            window(u, {2, 1}, inside, first + 1),
            window(u, {1, 0}, inside, first + 2),
            window(u, {1, 2}, inside, first + 3),
            op("add", {v(first), v(first + 1)}, first + 4),
            op("add", {v(first + 2), v(first + 3)}, first + 5),
            op("add", {v(first + 4), v(first + 5)}, first + 6),
            op("right_shift", {v(first + 6), number(1)}, first + 7),
            op("put_slice", {v(u), v(first + 7), number(1), number(1)}, result)};
  }

  static Region condition(ValueId first) {
    return {{first, first + 1}, {op("less", {v(first), number(turns)}, first + 2)}, {first + 2}};
  }

  static Ints reference(Ints grid) {
    for (int turn = 0; turn < turns; ++turn) {
      const Ints old = grid;
      for (std::size_t i = columns; i < grid.size() - columns; ++i) {
        const bool inside = i % columns != 0 && i % columns != columns - 1;
        if (inside) grid[i] = (old[i - columns] + old[i + columns] + old[i - 1] + old[i + 1]) >> 1;
      }
    }
    return grid;
  }

  Tensor u_ = counting({rows, columns});
  Tensor zero_ = runner_.tensor<std::int32_t>(s32, {}, {0});
  Ints expected_ = reference(ints(u_));
  const std::uint64_t grid_bytes_ = rows * columns * 4;
};

TEST_P(PutPassGridTest, InPlaceInAWhile) {
  Region body{{10, 11}, stencil(0, 20, 40), {12, 11}};
  body.body.back().in_place = true;
  body.body.push_back(op("add", {v(10), number(1)}, 12));
  const Program program{{0, 1}, {loop({v(1), v(1)}, {2, 3}, condition(4), std::move(body))}, {}};
  const auto plan = runner_.plan(program, {u_, zero_}, GetParam());
  ASSERT_TRUE(plan);
  EXPECT_EQ(count((*plan)->main, Kind::put_pass), 1U);
  const auto bytes = taken([&] {
    ASSERT_TRUE(succeeded(runner_.run(**plan, {u_, zero_}, GetParam())));
  });
  EXPECT_EQ(ints(u_), expected_);
  EXPECT_LT(bytes, grid_bytes_ * 9 / 10) << "nothing was copied as a whole";
}

TEST_P(PutPassGridTest, CarriedThroughAWhile) {
  Region body{{10, 11}, stencil(11, 20, 40), {12, 40}};
  body.body.push_back(op("add", {v(10), number(1)}, 12));
  const Program program{{0, 1}, {loop({v(1), v(0)}, {2, 3}, condition(4), std::move(body))}, {3}};
  const Ints before = ints(u_);
  const auto plan = runner_.plan(program, {u_, zero_}, GetParam());
  ASSERT_TRUE(plan);
  EXPECT_EQ(count((*plan)->main, Kind::put_pass), 1U);
  Outcome outcome;
  const auto bytes = taken([&] { outcome = runner_.run(**plan, {u_, zero_}, GetParam()); });
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), expected_);
  EXPECT_EQ(ints(u_), before);
  EXPECT_LT(bytes, grid_bytes_ * 19 / 10) << "only the first turn copies";
  EXPECT_LE(bytes, (*plan)->peak.bytes);
}

TEST_P(PutPassGridTest, ACarriedGridNeedsNoMoreThanBefore) {
  // The plan knows that the grid of each turn takes the memory of the previous one.
  Region body{{10, 11}, stencil(11, 20, 40), {12, 40}};
  body.body.push_back(op("add", {v(10), number(1)}, 12));
  const Program program{
      {1},
      {iota(0, "s32", {rows, columns}), loop({v(1), v(0)}, {2, 3}, condition(4), std::move(body))},
      {3}};
  const auto plan = runner_.plan(program, {zero_}, GetParam());
  ASSERT_TRUE(plan);
  EXPECT_LT((*plan)->peak.bytes, grid_bytes_ * 21 / 10) << "the grid, and a result beside it";
}

TEST_P(PutPassGridTest, ACancelNamesTheOpAndWhatIsWritten) {
  Program program{{0}, stencil(0, 20, 40), {}};
  program.body.back().in_place = true;
  const Ints before = ints(u_);
  runner_.interrupt.cancel();
  const Outcome outcome = run(program, {u_});
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code, ErrorCode::cancelled);
  EXPECT_EQ(outcome.error->op, "put_slice");
  EXPECT_EQ(outcome.error->path, (std::vector<std::uint32_t>{8}));
  EXPECT_EQ(outcome.written, std::vector<bool>{true}) << "possibly in part";
  EXPECT_EQ(ints(u_), before);
}

INSTANTIATE_TEST_SUITE_P(Threads, PutPassTest, testing::Values(1, 2, 5));
INSTANTIATE_TEST_SUITE_P(Threads, PutPassGridTest, testing::Values(1, 2, 5));

}  // namespace
}  // namespace outrigger::engine::test
