// The order of reads and writes: the effect of in-place writes, and the values that they change.

#include <array>
#include <numeric>
#include <random>

#include "engine/builder.hpp"
#include "support/random.hpp"

namespace outrigger::engine::test {
namespace {

using enum DType;
using Ints = std::vector<std::int32_t>;

class HazardTest : public testing::TestWithParam<int> {
 protected:
  Outcome run(const Program& program, const std::vector<Tensor>& arguments) {
    return runner_.run(program, arguments, GetParam());
  }
  static Ints ints(const Tensor& tensor) { return values<std::int32_t>(tensor); }
  Runner runner_;
  Tensor x_ = runner_.tensor<std::int32_t>(s32, {4}, {1, 2, 3, 4});
};

TEST_P(HazardTest, AReadBeforeAWriteSeesTheOldValues) {
  const Outcome outcome =
      run({{0},
           {op("multiply", {v(0), number(10)}, 1), in_place(op("add", {v(0), number(1)}, 2))},
           {1}},
          {x_});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), (Ints{10, 20, 30, 40}));
  EXPECT_EQ(ints(x_), (Ints{2, 3, 4, 5}));
  EXPECT_EQ(outcome.written, std::vector<bool>{true});
}

TEST_P(HazardTest, AReadAfterAWriteSeesTheNewValues) {
  const Outcome outcome =
      run({{0},
           {in_place(op("add", {v(0), number(1)}, 1)), op("multiply", {v(0), number(10)}, 2),
            op("multiply", {v(1), number(100)}, 3)},
           {2, 3}},
          {x_});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), (Ints{20, 30, 40, 50})) << "the result value is the operand";
  EXPECT_EQ(ints(outcome.results[1]), (Ints{200, 300, 400, 500}));
}

TEST_P(HazardTest, AValueViewKeepsWhatItSaw) {
  const Program program{{0},
                        {op("reverse", {v(0)}, 1), in_place(op("add", {v(0), number(1)}, 2)),
                         op("multiply", {v(1), number(1)}, 3)},
                        {3, 1}};
  const Outcome outcome = run(program, {x_});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), (Ints{4, 3, 2, 1}));
  EXPECT_EQ(ints(outcome.results[1]), (Ints{4, 3, 2, 1}));
  EXPECT_EQ(ints(x_), (Ints{2, 3, 4, 5}));
}

TEST_P(HazardTest, AMutableViewSeesWritesAndWrites) {
  const Program program{{0},
                        {in_place(op("slice", {v(0), number(1)}, 1, {{"lengths", List{2}}})),
                         in_place(op("multiply", {v(0), number(10)}, 2)),
                         op("add", {v(1), number(0)}, 3), in_place(op("negate", {v(1)}, 4))},
                        {3}};
  const Outcome outcome = run(program, {x_});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), (Ints{20, 30}));
  EXPECT_EQ(ints(x_), (Ints{10, -20, -30, 40}));
}

TEST_P(HazardTest, AReversedMutableViewOfTheTarget) {
  // x += reverse(x) through a mutable view: all reads are before the writes.
  const Program program{
      {0}, {in_place(op("reverse", {v(0)}, 1)), in_place(op("add", {v(0), v(1)}, 2))}, {}};
  ASSERT_TRUE(succeeded(run(program, {x_})));
  EXPECT_EQ(ints(x_), (Ints{5, 5, 5, 5}));
}

TEST_P(HazardTest, AMutableViewAsAResultStaysOneWithItsBase) {
  Outcome first =
      run({{0}, {in_place(op("slice", {v(0), number(2)}, 1, {{"lengths", List{2}}}))}, {1}}, {x_});
  ASSERT_TRUE(succeeded(first));
  ASSERT_TRUE(
      succeeded(run({{0}, {in_place(op("add", {v(0), number(100)}, 1))}, {}}, {first.results[0]})));
  EXPECT_EQ(ints(x_), (Ints{1, 2, 103, 104}));
}

TEST_P(HazardTest, AMutableViewAndItsComputedBaseAsResults) {
  Outcome made = run(
      {{},
       {iota(0, "s32", {4}), in_place(op("slice", {v(0), number(2)}, 1, {{"lengths", List{2}}}))},
       {0, 1}},
      {});
  ASSERT_TRUE(succeeded(made));
  ASSERT_TRUE(
      succeeded(run({{0}, {in_place(op("add", {v(0), number(100)}, 1))}, {}}, {made.results[1]})));
  EXPECT_EQ(ints(made.results[0]), (Ints{0, 1, 102, 103}))
      << "PROTOCOL: writes through either show in the other";
}

TEST_P(HazardTest, OtherHoldersOfTheMemoryDoNotSeeTheWrite) {
  const Tensor other = view_of(x_, x_.type, x_.strides, 0, false);
  ASSERT_TRUE(succeeded(run({{0}, {in_place(op("add", {v(0), number(1)}, 1))}, {}}, {x_})));
  EXPECT_EQ(ints(x_), (Ints{2, 3, 4, 5}));
  EXPECT_EQ(ints(other), (Ints{1, 2, 3, 4}));
}

TEST_P(HazardTest, OneTensorForTwoParameters) {
  const Tensor same = x_;
  const Outcome outcome =
      run({{0, 1}, {in_place(op("add", {v(0), v(1)}, 2)), op("add", {v(1), number(0)}, 3)}, {3}},
          {x_, same});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(x_), (Ints{2, 4, 6, 8}));
}

TEST_P(HazardTest, PutSliceOfAWindowOfItself) {
  const Tensor x = runner_.tensor<std::int32_t>(s32, {6}, {1, 2, 3, 4, 5, 6});
  const Program program{{0},
                        {in_place(op("slice", {v(0), number(0)}, 1, {{"lengths", List{4}}})),
                         in_place(op("put_slice", {v(0), v(1), number(1)}, 2))},
                        {}};
  ASSERT_TRUE(succeeded(run(program, {x})));
  EXPECT_EQ(ints(x), (Ints{1, 1, 2, 3, 4, 6}));
}

TEST_P(HazardTest, IndicesThatAreTheTargetItself) {
  // Indices must not change after they are checked: the first update would put the second one out
  // of bounds.
  const Tensor x = runner_.tensor<std::int32_t>(s32, {3}, {1, 2, 0});
  const Program program{{0, 1},
                        {in_place(op("reshape", {v(0)}, 2, {{"shape", List{3, 1}}})),
                         in_place(op("indexed_put", {v(0), v(2), v(1)}, 3))},
                        {}};
  const Tensor updates = runner_.tensor<std::int32_t>(s32, {3}, {1 << 30, 1 << 29, 1 << 28});
  ASSERT_TRUE(succeeded(run(program, {x, updates})));
  EXPECT_EQ(ints(x), (Ints{1 << 28, 1 << 30, 1 << 29}));
}

TEST_P(HazardTest, AStartThatIsAnElementOfTheTarget) {
  const Tensor x = runner_.tensor<std::int64_t>(s64, {4}, {2, 7, 7, 7});
  const Program program{
      {0},
      {in_place(op("slice", {v(0), number(0)}, 1, {{"lengths", List{1}}})),
       in_place(op("squeeze", {v(1)}, 2)), in_place(op("put_slice", {v(0), v(1), v(2)}, 3))},
      {}};
  ASSERT_TRUE(succeeded(run(program, {x})));
  EXPECT_EQ(values<std::int64_t>(x), (std::vector<std::int64_t>{2, 7, 2, 7}));
}

TEST_P(HazardTest, ATakenOverInputThatIsAlsoAResult) {
  // x ends in the pass, so that y may take its memory; z is x before the pass.
  const Program program{{},
                        {iota(0, "s32", {3000}), op("negate", {v(0)}, 1),
                         op("as_type", {v(0)}, 2, {{"type", std::string("s32")}})},
                        {1, 2}};
  const Outcome outcome = run(program, {});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0])[2], -2);
  EXPECT_EQ(ints(outcome.results[1])[2], 2);
}

TEST_P(HazardTest, InPlaceOnTheOpJustBefore) {
  // A written value must be a tensor by then, not a register of the pass that makes it.
  for (const Ids& outputs : {Ids{1}, Ids{2}, Ids{1, 2}, Ids{3}, Ids{}}) {
    const Program program{
        {0},
        {op("add", {v(0), number(1)}, 1), in_place(op("multiply", {v(1), number(10)}, 2)),
         op("negate", {v(1)}, 3)},
        outputs};
    const Outcome outcome = run(program, {x_});
    ASSERT_TRUE(succeeded(outcome));
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_EQ(ints(outcome.results[i]),
                outputs[i] == 3 ? (Ints{-20, -30, -40, -50}) : (Ints{20, 30, 40, 50}));
    }
  }
  EXPECT_EQ(ints(x_), (Ints{1, 2, 3, 4}));
}

TEST_P(HazardTest, InPlaceOnAComputedValueThatAnotherResultReads) {
  const Program program{
      {},
      {iota(0, "s32", {4}), op("multiply", {v(0), number(10)}, 1),
       in_place(op("add", {v(0), number(1)}, 2)), op("subtract", {v(1), v(0)}, 3)},
      {1, 2, 3}};
  const Outcome outcome = run(program, {});
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_EQ(ints(outcome.results[0]), (Ints{0, 10, 20, 30}));
  EXPECT_EQ(ints(outcome.results[1]), (Ints{1, 2, 3, 4}));
  EXPECT_EQ(ints(outcome.results[2]), (Ints{-1, 8, 17, 26}));
}

TEST_P(HazardTest, AConstantWrittenInPlace) {
  const Program program{{},
                        {constant(0, 7, "s32", {3}), op("reverse", {v(0)}, 1),
                         in_place(op("put_slice", {v(0), v(2), number(1)}, 3))},
                        {0, 1}};
  Program with = program;
  with.body.insert(with.body.begin(), constant(2, 1, "s32", {1}));
  for (int again = 0; again < 2; ++again) {
    const Outcome outcome = run(with, {});
    ASSERT_TRUE(succeeded(outcome));
    EXPECT_EQ(ints(outcome.results[0]), (Ints{7, 1, 7}));
    EXPECT_EQ(ints(outcome.results[1]), (Ints{7, 7, 7})) << "the plan's constant must not change";
  }
}

TEST_P(HazardTest, AFailingOpNamesWhatWasWritten) {
  const Tensor index = runner_.tensor<std::int64_t>(s64, {1}, {9});
  const Program program{
      {0, 1}, {in_place(op("add", {v(0), number(1)}, 2)), op("take", {v(0), v(1)}, 3)}, {3}};
  const Outcome outcome = run(program, {x_, index});
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code, ErrorCode::bad_index);
  EXPECT_EQ(outcome.error->op, "take");
  EXPECT_EQ(outcome.error->path, std::vector<std::uint32_t>{1});
  EXPECT_EQ(outcome.written, (std::vector<bool>{true, false}));
  EXPECT_TRUE(outcome.results.empty());
}

TEST_P(HazardTest, AFailingInPlaceOpHasChangedNothing) {
  const Tensor index = runner_.tensor<std::int64_t>(s64, {2, 1}, {0, 9});
  const Tensor updates = runner_.tensor<std::int32_t>(s32, {2}, {5, 5});
  const Outcome outcome = run({{0, 1, 2}, {in_place(op("indexed_put", {v(0), v(1), v(2)}, 3))}, {}},
                              {x_, index, updates});
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(ints(x_), (Ints{1, 2, 3, 4}));
}

/// x, through mutable views of views, is put into x itself, with sizes below and above that of one
/// tile. A copy of the view gives the expected result.
TEST_P(HazardTest, WhatIsPutMayBeAnyViewOfTheTarget) {
  const unsigned seed = outrigger::test::new_seed();
  std::mt19937 random(seed);
  const auto draw = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
  };
  int put = 0;
  for (int round = 0; round < 400; ++round) {
    SCOPED_TRACE(testing::Message() << "OUTRIGGER_SEED=" << seed << ", round " << round);
    const auto rank = static_cast<std::size_t>(draw(1, 3));
    const std::int64_t side = draw(1, rank == 3 ? 50 : 300);
    Dims shape;
    for (std::size_t axis = 0; axis < rank; ++axis)
      shape.push_back(draw(0, 2) == 0 ? draw(1, side) : side);
    const DType dtype = std::array{u8, u16, s32, f64, c128}[static_cast<std::size_t>(draw(0, 4))];

    Program view{{0}, {}, {}};
    ValueId last = 0;
    Dims seen = shape;
    for (std::int64_t step = draw(1, 3); step > 0; --step) {
      Attrs attrs;
      List axes(rank), lengths, strides;
      std::vector<Operand> in{v(last)};
      const auto kind = draw(0, 3);
      std::iota(axes.begin(), axes.end(), 0);
      if (kind <= 1) {
        std::shuffle(axes.begin(), axes.end(), random);
        Dims permuted;
        for (const std::int64_t axis : axes)
          permuted.push_back(seen[static_cast<std::size_t>(axis)]);
        seen = permuted;
        attrs = {{"axes", axes}};
      } else if (kind == 2) {
        attrs = {{"axes", List{draw(0, static_cast<std::int64_t>(rank) - 1)}}};
      } else {
        for (std::int64_t& dim : seen) {
          lengths.push_back(draw(1, dim));
          strides.push_back(draw(1, 2));
          in.push_back(number(draw(0, dim - lengths.back())));
          dim = (lengths.back() - 1) / strides.back() + 1;
        }
        attrs = {{"lengths", lengths}, {"strides", strides}};
      }
      const char* name = kind <= 1 ? "transpose" : kind == 2 ? "reverse" : "slice";
      view.body.push_back(in_place(op(name, in, last + 1, attrs)));
      ++last;
    }
    bool fits = true;
    std::vector<Operand> starts;
    for (std::size_t axis = 0; axis < rank; ++axis) {
      fits = fits && seen[axis] <= shape[axis];
      starts.push_back(number(draw(0, shape[axis])));
    }
    if (!fits) continue;
    ++put;
    const auto with_put = [&](ValueId slice) {
      Program program = view;
      if (slice != last) program.body.push_back(op("add", {v(last), number(0)}, slice));
      std::vector<Operand> in{v(0), v(slice)};
      in.insert(in.end(), starts.begin(), starts.end());
      program.body.push_back(in_place(op("put_slice", in, slice + 1)));
      return program;
    };
    std::vector<std::byte> results[2];
    for (const bool copied : {false, true}) {
      const Outcome made =
          run({{},
               {iota(0, std::string(name_of(dtype)).c_str(), List(shape.begin(), shape.end()))},
               {0}},
              {});
      ASSERT_TRUE(succeeded(made));
      const Tensor& x = made.results[0];
      const Outcome outcome = run(with_put(copied ? last + 1 : last), {x});
      ASSERT_TRUE(succeeded(outcome));
      std::vector<std::byte>& bytes = results[copied ? 1 : 0];
      bytes.resize(static_cast<std::size_t>(byte_count(x.type)));
      ops::read_elements(x, 0, x.size(), bytes.data());
    }
    ASSERT_EQ(results[0], results[1]) << to_string(TensorType{dtype, shape});
  }
  EXPECT_GT(put, 100);
}

INSTANTIATE_TEST_SUITE_P(Threads, HazardTest, testing::Values(1, 2));

}  // namespace
}  // namespace outrigger::engine::test
