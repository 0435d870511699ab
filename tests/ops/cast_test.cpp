#include "ops/cast/cast.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "ops/pass/pass.hpp"
#include "tensor/small_float.hpp"

namespace outrigger::ops {
namespace {

using enum DType;
using Elements = std::vector<std::byte>;

Elements cast(Elements elements, DType from, DType to, std::int64_t n) {
  for (const CastStep& step : cast_steps(from, to)) {
    Elements out(static_cast<std::size_t>(n) * size_of(step.to));
    const void* in = elements.data();
    step.run(out.data(), &in, n);
    elements = std::move(out);
  }
  return elements;
}

template <typename F>
void expect_kernels_agree(DType dtype) {
  using Bits = typename F::Bits;
  // The number is not a multiple of a vector, so that the rest uses another path.
  const std::int64_t n = (std::int64_t{1} << sizeof(Bits) * 8) - 3;
  Elements patterns(static_cast<std::size_t>(n) * sizeof(Bits));
  auto* bits = reinterpret_cast<Bits*>(patterns.data());
  std::iota(bits, bits + n, Bits{3});
  const Elements wide = cast(patterns, dtype, f32, n);
  const auto* floats = reinterpret_cast<const float*>(wide.data());
  for (std::int64_t i = 0; i < n; ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(floats[i]),
              std::bit_cast<std::uint32_t>(widen<F>(bits[i])))
        << name_of(dtype) << " " << +bits[i];
  }
  // Each number, and the numbers next to it.
  for (const std::uint32_t aside : {0U, 1U, 0x1000U, 0x80000U, 0x7fffU}) {
    Elements moved = wide;
    auto* x = reinterpret_cast<std::uint32_t*>(moved.data());
    for (std::int64_t i = 0; i < n; ++i) x[i] += aside;
    const Elements narrowed = cast(moved, f32, dtype, n);
    const auto* got = reinterpret_cast<const Bits*>(narrowed.data());
    for (std::int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(got[i], narrow<F>(std::bit_cast<float>(x[i]))) << name_of(dtype) << " " << x[i];
    }
  }
}

TEST(CastTest, VectorKernelsGiveTheBitsOfTheScalarFunctions) {
  expect_kernels_agree<F8>(f8);
  expect_kernels_agree<F8E4M3FN>(f8_e4m3fn);
  expect_kernels_agree<F16>(f16);
  expect_kernels_agree<BF16>(bf16);
}

TEST(CastTest, EveryPairEndsInItsDtype) {
  for (const DType from : all_dtypes) {
    for (const DType to : all_dtypes) {
      const CastSteps steps = cast_steps(from, to);
      DType at = from;
      for (const CastStep& step : steps) {
        ASSERT_NE(step.run, nullptr);
        at = step.to;
      }
      // The byte of a small dtype may already have the requested value.
      EXPECT_TRUE(at == to || (steps.empty() && compute_dtype(from) == to))
          << name_of(from) << " to " << name_of(to);
    }
    ASSERT_FALSE(boolean_steps(from).empty());
    EXPECT_EQ(boolean_steps(from).back().to, u8);
  }
}

/// Every dtype represents 0 and 1, whatever the steps of a cast.
TEST(CastTest, ZeroAndOneSurviveEveryPair) {
  for (const DType from : all_dtypes) {
    for (const DType to : all_dtypes) {
      Elements elements(size_of(from) * 3);
      for (std::int64_t i = 0; i < 3; ++i)
        store_number(Number{i % 2}, from, elements.data() + size_of(from) * i);
      const Elements got = cast(elements, from, to, 3);
      Elements expected(size_of(to) * 3);
      for (std::int64_t i = 0; i < 3; ++i)
        store_number(Number{i % 2}, to, expected.data() + size_of(to) * i);
      EXPECT_EQ(got, expected) << name_of(from) << " to " << name_of(to);
    }
  }
}

TEST(CastTest, NumbersAreStoredAsTheKernelsCast) {
  const std::vector<double> numbers{0,         -0.0,           1,     -1,   2.5,   -3.75, 7.9,
                                    100.5,     -129,           448,   480,  57344, 61440, 65519,
                                    65520,     1e10,           -1e20, 1e-8, NAN,   1e39,  INFINITY,
                                    -INFINITY, 3.0517578125e-5};
  const auto n = static_cast<std::int64_t>(numbers.size());
  Elements elements(numbers.size() * sizeof(double));
  std::memcpy(elements.data(), numbers.data(), elements.size());
  for (const DType to : all_dtypes) {
    const Elements got = cast(elements, f64, to, n);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      Elements one(size_of(to));
      store_number(Number{numbers[i]}, to, one.data());
      if (!std::isnan(numbers[i]) || is_integer(to)) {
        EXPECT_EQ(std::memcmp(one.data(), got.data() + i * one.size(), one.size()), 0)
            << numbers[i] << " as " << name_of(to);
      }
      EXPECT_EQ(is_zero(to, one.data()), is_zero(to, got.data() + i * one.size()));
    }
  }
}

}  // namespace
}  // namespace outrigger::ops
