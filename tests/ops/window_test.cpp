// Windows whose size or padding is much larger than the operand, threads, and interrupts.

#include <limits>
#include <numeric>
#include <random>
#include <thread>

#include "ops/support.hpp"

namespace outrigger::ops::test {
namespace {

using Sizes = std::vector<std::int64_t>;

Attrs windows(const Sizes& window, const Sizes& low = {}, const Sizes& high = {},
              const Sizes& strides = {}) {
  Attrs attrs{{"window", AttrValue{window}}};
  if (!low.empty()) attrs.emplace_back("padding_low", AttrValue{low});
  if (!high.empty()) attrs.emplace_back("padding_high", AttrValue{high});
  if (!strides.empty()) attrs.emplace_back("strides", AttrValue{strides});
  return attrs;
}

std::vector<float> noise(std::int64_t n) {
  std::mt19937 random(7);
  std::vector<float> all(static_cast<std::size_t>(n));
  for (float& x : all) x = std::normal_distribution<float>()(random);
  return all;
}

TEST(Window, FarLargerThanTheOperand) {
  Lab lab;
  const Tensor x = lab.tensor<std::int32_t>({3}, {4, 9, 2});
  constexpr std::int64_t far = std::int64_t{1} << 40;
  const Attrs attrs = windows({far}, {far}, {far}, {far / 2});
  const auto sum = lab.run("window_sum", {x}, attrs);
  ASSERT_TRUE(sum);
  EXPECT_EQ(values<std::int32_t>(*sum), (std::vector<std::int32_t>{0, 15, 15}));
  const auto largest = lab.run("window_max", {x}, attrs);
  ASSERT_TRUE(largest);
  EXPECT_EQ(values<std::int32_t>(*largest),
            (std::vector<std::int32_t>{std::numeric_limits<std::int32_t>::min(), 9, 9}));
}

TEST(Window, ScatterOverHugePaddingCanBeCancelled) {
  Lab lab;
  constexpr std::int64_t far = std::int64_t{1} << 45;
  const Tensor x = lab.tensor<float>({1}, {1});
  const Tensor source = lab.tensor<float>({1}, {1});
  const Tensor init = lab.tensor<float>({}, {0});
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    lab.interrupt.cancel();
  });
  const auto done = lab.run("window_scatter_max", {x, source, init}, windows({far}, {far - 1}));
  canceller.join();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::cancelled);
}

TEST(Window, SameBitsForAnyNumberOfThreads) {
  Lab lab;
  const Tensor x = lab.tensor<float>({300, 700}, noise(300 * 700));
  const Tensor image = lab.tensor<float>({2, 3, 100, 120}, noise(2 * 3 * 100 * 120));
  const Tensor kernel = lab.tensor<float>({7, 3, 3, 3}, noise(7 * 3 * 3 * 3));
  const Tensor source = lab.tensor<float>({291, 691}, noise(291 * 691));
  const Tensor zero = lab.tensor<float>({}, {0});
  struct Case {
    std::string_view op;
    std::vector<Tensor> in;
    Attrs attrs;
  };
  const std::vector<Case> cases{{"window_sum", {x}, windows({10, 10})},
                                {"window_product", {x}, windows({3, 2})},
                                {"window_max", {x}, windows({50, 1}, {25, 0}, {24, 0})},
                                {"window_scatter_max", {x, source, zero}, windows({10, 10})},
                                {"conv", {image, kernel}, {}}};
  for (const Case& one : cases) {
    SCOPED_TRACE(one.op);
    const auto expected = lab.run(one.op, one.in, one.attrs, 1);
    ASSERT_TRUE(expected);
    for (const int threads : {2, 5}) {
      const auto actual = lab.run(one.op, one.in, one.attrs, threads);
      ASSERT_TRUE(actual);
      EXPECT_EQ(bytes(*actual), bytes(*expected)) << threads << " threads";
    }
  }
}

}  // namespace
}  // namespace outrigger::ops::test
