// A pass whose outputs are the memory of its inputs.

#include <random>

#include "ops/support.hpp"

namespace outrigger::ops::test {
namespace {

using enum DType;

constexpr std::int64_t alias_size = 3 * 65536 + 5;

std::vector<std::int32_t> counting(std::int64_t count = alias_size) {
  std::vector<std::int32_t> all(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int32_t>(i);
  return all;
}

template <typename F>
std::vector<std::int32_t> each(const std::vector<std::int32_t>& in, F f) {
  std::vector<std::int32_t> out(in.size());
  std::transform(in.begin(), in.end(), out.begin(), f);
  return out;
}

Tensor same(const Tensor& tensor) {
  return view_of(tensor, tensor.type, tensor.strides, tensor.offset, true);
}

class PassAliasTest : public testing::TestWithParam<int> {
 protected:
  Result<void> run(const Pass& pass, const std::vector<Tensor>& in,
                   const std::vector<Tensor>& out) {
    Context context = lab_.context(GetParam());
    return run_pass(context, pass, in, out);
  }
  Lab lab_;
};

TEST_P(PassAliasTest, OutputIsTheInput) {
  const Tensor x = lab_.tensor({alias_size}, counting());
  PassMaker maker({alias_size}, {s32});
  ASSERT_TRUE(run(maker.done({maker.apply("add", s32, {0, 0})}), {x}, {same(x)}));
  EXPECT_EQ(values<std::int32_t>(x), each(counting(), [](int v) { return 2 * v; }));
}

TEST_P(PassAliasTest, OutputIsAnInputThatIsReadLater) {
  // y = -x is stored over x, while x is read again for z = y · x.
  const Tensor x = lab_.tensor({alias_size}, counting());
  const Tensor z = lab_.empty(s32, {alias_size});
  PassMaker maker({alias_size}, {s32});
  const auto y = maker.apply("negate", s32, {0});
  const auto product = maker.apply("subtract", s32, {y, 0});
  ASSERT_TRUE(run(maker.done({y, product}), {x}, {same(x), z}));
  EXPECT_EQ(values<std::int32_t>(x), each(counting(), [](int v) { return -v; }));
  EXPECT_EQ(values<std::int32_t>(z), each(counting(), [](int v) { return -2 * v; }));
}

TEST_P(PassAliasTest, TwoOutputsSwapTwoInputs) {
  const Tensor x = lab_.tensor({alias_size}, counting());
  const Tensor y = lab_.tensor({alias_size}, each(counting(), [](int v) { return v + 1000; }));
  PassMaker maker({alias_size}, {s32, s32});
  const auto less = maker.apply("subtract", s32, {1, 0});
  const auto more = maker.apply("add", s32, {1, 0});
  ASSERT_TRUE(run(maker.done({more, less}), {x, y}, {same(x), same(y)}));
  EXPECT_EQ(values<std::int32_t>(x), each(counting(), [](int v) { return 2 * v + 1000; }));
  EXPECT_EQ(values<std::int32_t>(y),
            std::vector<std::int32_t>(static_cast<std::size_t>(alias_size), 1000));
}

TEST_P(PassAliasTest, OneRegisterStoredTwiceAndOverItsInput) {
  const Tensor x = lab_.tensor({alias_size}, counting());
  const Tensor other = lab_.empty(s32, {alias_size});
  PassMaker maker({alias_size}, {s32});
  const auto y = maker.apply("add", s32, {0, 0});
  ASSERT_TRUE(run(maker.done({y, y}), {x}, {other, same(x)}));
  EXPECT_EQ(values<std::int32_t>(x), each(counting(), [](int v) { return 2 * v; }));
  EXPECT_EQ(values<std::int32_t>(other), values<std::int32_t>(x));
}

TEST_P(PassAliasTest, AStoredInputIsCopied) {
  const Tensor x = lab_.tensor({alias_size}, counting());
  const Tensor copy = lab_.empty(s32, {alias_size});
  const Tensor y = lab_.empty(s32, {alias_size});
  PassMaker maker({alias_size}, {s32});
  const auto twice = maker.apply("add", s32, {0, 0});
  ASSERT_TRUE(run(maker.done({0, twice}), {x}, {copy, y}));
  EXPECT_EQ(values<std::int32_t>(copy), counting());
  EXPECT_EQ(values<std::int32_t>(y), each(counting(), [](int v) { return 2 * v; }));
}

TEST_P(PassAliasTest, AStoredInputIsCopiedBeforeItsMemoryChanges) {
  // The input is stored to `copy`, and another result overwrites the memory of the input.
  const Tensor x = lab_.tensor({alias_size}, counting());
  const Tensor copy = lab_.empty(s32, {alias_size});
  PassMaker maker({alias_size}, {s32});
  const auto twice = maker.apply("add", s32, {0, 0});
  ASSERT_TRUE(run(maker.done({0, twice}), {x}, {copy, same(x)}));
  EXPECT_EQ(values<std::int32_t>(copy), counting());
  EXPECT_EQ(values<std::int32_t>(x), each(counting(), [](int v) { return 2 * v; }));
}

TEST_P(PassAliasTest, AnOutputOverAnInputThatALaterStoreNeeds) {
  // The test before with the stores in the other order.
  const Tensor x = lab_.tensor({alias_size}, counting());
  const Tensor copy = lab_.empty(s32, {alias_size});
  PassMaker maker({alias_size}, {s32});
  const auto twice = maker.apply("add", s32, {0, 0});
  ASSERT_TRUE(run(maker.done({twice, 0}), {x}, {same(x), copy}));
  EXPECT_EQ(values<std::int32_t>(copy), counting())
      << "deferred stores run in order: the first must not destroy what the second reads";
  EXPECT_EQ(values<std::int32_t>(x), each(counting(), [](int v) { return 2 * v; }));
}

TEST_P(PassAliasTest, PartlyOverlappingWindowsReadTheOldValues) {
  for (const std::int64_t shift :
       {std::int64_t{1}, std::int64_t{-1}, std::int64_t{1024}, std::int64_t{-70000}}) {
    const Tensor base = lab_.tensor({2 * alias_size}, counting(2 * alias_size));
    const std::int64_t at = 80000;
    const Tensor in = view_of(base, TensorType{s32, {alias_size}}, {1}, at, true);
    const Tensor out = view_of(base, TensorType{s32, {alias_size}}, {1}, at + shift, true);
    PassMaker maker({alias_size}, {s32});
    ASSERT_TRUE(run(maker.done({maker.apply("add", s32, {0, 0})}), {in}, {out}));
    EXPECT_EQ(values<std::int32_t>(out), each(counting(), [](int v) { return 2 * (v + 80000); }))
        << shift;
  }
}

TEST_P(PassAliasTest, ReversedOntoItself) {
  const Tensor x = lab_.tensor({alias_size}, counting());
  const Tensor reversed = view_of(x, x.type, {-1}, alias_size - 1, true);
  PassMaker maker({alias_size}, {s32, s32});
  ASSERT_TRUE(run(maker.done({maker.apply("add", s32, {0, 1})}), {x, reversed}, {same(x)}));
  EXPECT_EQ(values<std::int32_t>(x),
            std::vector<std::int32_t>(static_cast<std::size_t>(alias_size), alias_size - 1));
}

TEST_P(PassAliasTest, AnElementOfTheOutputIsAScalarInput) {
  const Tensor x = lab_.tensor({alias_size}, each(counting(), [](int v) { return v + 7; }));
  const Tensor first = view_of(x, TensorType{s32, {}}, {}, 0, true);
  PassMaker maker({alias_size}, {s32, s32});
  ASSERT_TRUE(run(maker.done({maker.apply("subtract", s32, {0, 1})}), {x, first}, {same(x)}));
  EXPECT_EQ(values<std::int32_t>(x), counting());
}

TEST_P(PassAliasTest, AStridedOutputThatIsItsInput) {
  const Tensor base = lab_.tensor({2 * alias_size}, counting(2 * alias_size));
  const Tensor odd = view_of(base, TensorType{s32, {alias_size}}, {2}, 1, true);
  PassMaker maker({alias_size}, {s32});
  ASSERT_TRUE(run(maker.done({maker.apply("negate", s32, {0})}), {odd}, {same(odd)}));
  const auto got = values<std::int32_t>(base);
  for (std::int32_t i = 0; i < 2 * alias_size; ++i)
    ASSERT_EQ(got[static_cast<std::size_t>(i)], i % 2 == 1 ? -i : i);
}

TEST_P(PassAliasTest, AnotherDtypeOfTheSameWidthInTheSameMemory) {
  const Tensor x = lab_.tensor({alias_size}, counting());
  Tensor out = same(x);
  out.type.dtype = f32;
  PassMaker maker({alias_size}, {s32});
  const auto real = maker.cast(0, f32);
  const auto half = maker.apply("add", f32, {real, real});
  ASSERT_TRUE(run(maker.done({half}), {x}, {out}));
  const auto got = values<float>(out);
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], 2.0F * static_cast<float>(i));
}

INSTANTIATE_TEST_SUITE_P(Threads, PassAliasTest, testing::Values(1, 2, 5));

}  // namespace
}  // namespace outrigger::ops::test
