#include "tensor/cast_element.hpp"

#include <limits>
#include <random>

#include <gtest/gtest.h>

namespace outrigger {
namespace {

__extension__ using Signed = __int128;
__extension__ using Wide = unsigned __int128;

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TEST(CastTest, FloatsTruncateTowardsZero) {
  EXPECT_EQ(cast_element<std::int32_t>(2.9), 2);
  EXPECT_EQ(cast_element<std::int32_t>(-2.9), -2);
  EXPECT_EQ(cast_element<std::uint8_t>(-0.9F), 0);
  EXPECT_EQ(cast_element<std::int64_t>(-0.0), 0);
}

TEST(CastTest, FloatsWrapModuloTheWidth) {
  EXPECT_EQ(cast_element<std::uint8_t>(256.0), 0);
  EXPECT_EQ(cast_element<std::uint8_t>(-1.0), 255);
  EXPECT_EQ(cast_element<std::int8_t>(128.0F), -128);
  EXPECT_EQ(cast_element<std::int8_t>(-129.5), 127);
  EXPECT_EQ(cast_element<std::uint32_t>(4294967297.0), 1U);
  EXPECT_EQ(cast_element<std::uint64_t>(-1.0), ~std::uint64_t{0});
}

TEST(CastTest, NonFiniteFloats) {
  EXPECT_EQ(cast_element<std::int32_t>(nan), 0);
  EXPECT_EQ(cast_element<std::uint64_t>(-nan), 0U);
  EXPECT_EQ(cast_element<std::int8_t>(inf), 127);
  EXPECT_EQ(cast_element<std::int8_t>(-inf), -128);
  EXPECT_EQ(cast_element<std::uint16_t>(-inf), 0);
  EXPECT_EQ(cast_element<std::uint64_t>(static_cast<float>(inf)), ~std::uint64_t{0});
  EXPECT_EQ(cast_element<float>(1e300), std::numeric_limits<float>::infinity());
}

TEST(CastTest, AroundTheEdgesOf63And64Bits) {
  const double two63 = std::ldexp(1.0, 63);
  const double below = std::nextafter(two63, 0.0);
  EXPECT_EQ(cast_element<std::int64_t>(below), std::int64_t{9223372036854774784});
  EXPECT_EQ(cast_element<std::int64_t>(two63), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(cast_element<std::int64_t>(-two63), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(cast_element<std::uint64_t>(two63), std::uint64_t{1} << 63);
  EXPECT_EQ(cast_element<std::uint64_t>(2 * two63), 0U);
  EXPECT_EQ(cast_element<std::uint64_t>(2 * two63 + 4096), 4096U);
  EXPECT_EQ(cast_element<std::int64_t>(-(2 * two63 + 4096)), -4096);
  EXPECT_EQ(cast_element<std::uint64_t>(std::ldexp(1.0F, 127)), 0U);
  EXPECT_EQ(cast_element<std::uint8_t>(std::numeric_limits<double>::max()), 0);
}

TEST(CastTest, IntegersWrap) {
  EXPECT_EQ(cast_element<std::uint8_t>(std::int32_t{-1}), 255);
  EXPECT_EQ(cast_element<std::int8_t>(std::uint64_t{200}), -56);
  EXPECT_EQ(cast_element<std::int64_t>(~std::uint64_t{0}), -1);
}

/// Compares with arithmetic in 128 bits, which represents the integer exactly.
TEST(CastTest, RandomFloatsAgreeWithWideIntegers) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 100000; ++i) {
    const double mantissa = std::uniform_real_distribution<double>(-1, 1)(random);
    const double x = std::ldexp(mantissa, static_cast<int>(random() % 120));
    const auto exact = static_cast<Wide>(static_cast<Signed>(x));
    ASSERT_EQ(cast_element<std::uint64_t>(x), static_cast<std::uint64_t>(exact)) << x;
    ASSERT_EQ(cast_element<std::int16_t>(x),
              static_cast<std::int16_t>(static_cast<std::uint16_t>(exact)))
        << x;
  }
}

}  // namespace
}  // namespace outrigger
