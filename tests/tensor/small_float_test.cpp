#include "tensor/small_float.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "tensor/cast_element.hpp"

namespace outrigger {
namespace {

/// A format by its numbers of bits, read from its definition.
template <typename F, int exponent_bits, int mantissa_bits, bool finite>
struct Format {
  using Float = F;
  using Bits = typename F::Bits;
  static constexpr int width = 1 + exponent_bits + mantissa_bits;
  static constexpr int patterns = 1 << width;
  static constexpr int sign_bit = 1 << (width - 1);

  /// The number of a pattern, computed from sign, exponent and mantissa in floating point.
  static double value(int pattern) {
    constexpr int bias = (1 << (exponent_bits - 1)) - 1;
    constexpr int top = (1 << exponent_bits) - 1;
    constexpr int ones = (1 << mantissa_bits) - 1;
    const int mantissa = pattern & ones;
    const int exponent = pattern >> mantissa_bits & top;
    const double sign = (pattern & sign_bit) != 0 ? -1 : 1;
    if (finite && exponent == top && mantissa == ones) return std::nan("");
    if (!finite && exponent == top) return mantissa == 0 ? sign * INFINITY : std::nan("");
    const int implicit = exponent == 0 ? 0 : 1 << mantissa_bits;
    return sign * std::ldexp(implicit + mantissa, std::max(exponent, 1) - bias - mantissa_bits);
  }
  /// The pattern of the largest finite number.
  static int largest() {
    int pattern = 0;
    while (std::isfinite(value(pattern + 1))) ++pattern;
    return pattern;
  }
};

template <typename T>
class SmallFloatTest : public ::testing::Test {};
using Formats = ::testing::Types<Format<F8, 5, 2, false>, Format<F8E4M3FN, 4, 3, true>,
                                 Format<F16, 5, 10, false>, Format<BF16, 8, 7, false>>;
TYPED_TEST_SUITE(SmallFloatTest, Formats);

TYPED_TEST(SmallFloatTest, EveryPatternWidensToItsNumber) {
  using F = typename TypeParam::Float;
  for (int pattern = 0; pattern < TypeParam::patterns; ++pattern) {
    const auto bits = static_cast<typename TypeParam::Bits>(pattern);
    const double expected = TypeParam::value(pattern);
    const float got = widen<F>(bits);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(got)) << pattern;
      EXPECT_TRUE(std::isnan(widen<F>(narrow<F>(got)))) << pattern;
      continue;
    }
    ASSERT_EQ(static_cast<double>(got), expected) << pattern;
    ASSERT_EQ(std::signbit(got), std::signbit(expected)) << pattern;
    ASSERT_EQ(narrow<F>(got), bits) << pattern;
    ASSERT_EQ(narrow<F>(static_cast<double>(got)), bits) << pattern;
  }
}

/// Numbers near the middle of each two neighbours, in each width that is narrowed.
template <typename TypeParam, typename Wide>
void expect_nearest() {
  using F = typename TypeParam::Float;
  const auto rounds_to = [](double x, int pattern) {
    const auto wide = static_cast<Wide>(x);
    ASSERT_EQ(static_cast<double>(wide), x);
    EXPECT_EQ(narrow<F>(wide), pattern) << x;
    EXPECT_EQ(narrow<F>(-wide), pattern | TypeParam::sign_bit) << -x;
  };
  const int largest = TypeParam::largest();
  for (int low = 0; low < largest; ++low) {
    const double middle = (TypeParam::value(low) + TypeParam::value(low + 1)) / 2;
    const int even = low % 2 == 0 ? low : low + 1;
    const auto tie = static_cast<Wide>(middle);
    rounds_to(middle, even);
    rounds_to(std::nextafter(tie, Wide{0}), low);
    rounds_to(std::nextafter(tie, std::numeric_limits<Wide>::infinity()), low + 1);
  }
  // A number half a step above the largest one.
  const double top = TypeParam::value(largest);
  const double over = top + (top - TypeParam::value(largest - 1)) / 2;
  const int beyond = F::fn ? largest : largest + 1;
  rounds_to(over, beyond);
  rounds_to(std::nextafter(static_cast<Wide>(over), Wide{0}), largest);
  rounds_to(static_cast<double>(std::numeric_limits<Wide>::max()), beyond);
  rounds_to(INFINITY, beyond);
}

TYPED_TEST(SmallFloatTest, F32RoundsToNearestTiesToEven) { expect_nearest<TypeParam, float>(); }
TYPED_TEST(SmallFloatTest, F64RoundsToNearestTiesToEven) { expect_nearest<TypeParam, double>(); }

TYPED_TEST(SmallFloatTest, F64IsRoundedOnce) {
  using F = typename TypeParam::Float;
  // The nearest f32 of these numbers is the tie, whose rounding would be wrong.
  const double one = 1;
  const double step = TypeParam::value(narrow<F>(1.0F) + 1) - one;
  const double tiny = std::ldexp(step, -40);
  EXPECT_EQ(narrow<F>(one + step / 2 + tiny), narrow<F>(1.0F) + 1);
  EXPECT_EQ(narrow<F>(one + step * 1.5 - tiny), narrow<F>(1.0F) + 1);
}

TYPED_TEST(SmallFloatTest, WhatVanishesKeepsItsSign) {
  using F = typename TypeParam::Float;
  EXPECT_EQ(narrow<F>(-1e-300), TypeParam::sign_bit);
  EXPECT_EQ(narrow<F>(1e-300), 0);
  EXPECT_EQ(narrow<F>(-0.0F), TypeParam::sign_bit);
}

template <typename I>
void expect_wraps(int bits) {
  const int count = 1 << bits;
  for (int x = -300; x <= 300; ++x) {
    int expected = ((x % count) + count) % count;
    if (I::is_signed && expected >= count / 2) expected -= count;
    EXPECT_EQ(cast_small<I>(x), expected) << x;
    EXPECT_EQ(cast_small<I>(static_cast<double>(x)), expected) << x;
    EXPECT_EQ(cast_small<I>(static_cast<float>(x) + (x < 0 ? -0.75F : 0.75F)), expected) << x;
  }
  EXPECT_EQ(cast_small<I>(INFINITY), I::is_signed ? count / 2 - 1 : count - 1);
  EXPECT_EQ(cast_small<I>(-INFINITY), I::is_signed ? -count / 2 : 0);
  EXPECT_EQ(cast_small<I>(std::nan("")), 0);
}

TEST(SmallIntegerTest, CastsWrapAndSaturateOnlyInfinities) {
  expect_wraps<U2>(2);
  expect_wraps<U4>(4);
  expect_wraps<S2>(2);
  expect_wraps<S4>(4);
}

}  // namespace
}  // namespace outrigger
