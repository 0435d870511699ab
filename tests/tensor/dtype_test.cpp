#include "tensor/dtype.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <ostream>

#include <gtest/gtest.h>

namespace outrigger {

static void PrintTo(DType dtype, std::ostream* out) { *out << name_of(dtype); }

namespace {

using enum DType;

constexpr std::int64_t int64_min = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t int64_max = std::numeric_limits<std::int64_t>::max();

TEST(DTypeTest, NamesGoThereAndBack) {
  for (const DType dtype : all_dtypes) {
    EXPECT_EQ(parse_dtype(name_of(dtype)), dtype);
    EXPECT_NE(dtype_names().find(name_of(dtype)), std::string_view::npos);
  }
  for (const auto* wrong : {"", "f", "F32", "f128", "f32 ", "u128", "bf8", "u1", "f8_e5m2", "c32"})
    EXPECT_FALSE(parse_dtype(wrong)) << wrong;
}

TEST(DTypeTest, SizesAgreeWithTheTypes) {
  for (const DType dtype : kernel_dtypes) {
    with_type(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      EXPECT_EQ(size_of(dtype), sizeof(T));
      EXPECT_EQ(is_float(dtype), std::is_floating_point_v<T>);
      EXPECT_EQ(is_unsigned(dtype), std::is_unsigned_v<T>);
    });
  }
}

/// Nx.Type.merge/2, row by row in the order of all_dtypes. Between f8_e4m3fn and another float, the
/// left one wins.
constexpr std::array<std::array<DType, dtype_count>, dtype_count> merged{{
    /* u2 */ {u2,  u4,  u8, u16,       u32, u64,  s4,  s4,  s8,  s16,
              s32, s64, f8, f8_e4m3fn, f16, bf16, f32, f64, c64, c128},
    /* u4 */ {u4,  u4,  u8, u16,       u32, u64,  s8,  s8,  s8,  s16,
              s32, s64, f8, f8_e4m3fn, f16, bf16, f32, f64, c64, c128},
    /* u8 */ {u8,  u8,  u8, u16,       u32, u64,  s16, s16, s16, s16,
              s32, s64, f8, f8_e4m3fn, f16, bf16, f32, f64, c64, c128},
    /* u16 */ {u16, u16, u16, u16,       u32, u64,  s32, s32, s32, s32,
               s32, s64, f8,  f8_e4m3fn, f16, bf16, f32, f64, c64, c128},
    /* u32 */ {u32, u32, u32, u32,       u32, u64,  s64, s64, s64, s64,
               s64, s64, f8,  f8_e4m3fn, f16, bf16, f32, f64, c64, c128},
    /* u64 */ {u64, u64, u64, u64,       u64, u64,  s64, s64, s64, s64,
               s64, s64, f8,  f8_e4m3fn, f16, bf16, f32, f64, c64, c128},
    /* s2 */ {s4,  s8,  s16, s32,       s64, s64,  s2,  s4,  s8,  s16,
              s32, s64, f8,  f8_e4m3fn, f16, bf16, f32, f64, c64, c128},
    /* s4 */ {s4,  s8,  s16, s32,       s64, s64,  s4,  s4,  s8,  s16,
              s32, s64, f8,  f8_e4m3fn, f16, bf16, f32, f64, c64, c128},
    /* s8 */ {s8,  s8,  s16, s32,       s64, s64,  s8,  s8,  s8,  s16,
              s32, s64, f8,  f8_e4m3fn, f16, bf16, f32, f64, c64, c128},
    /* s16 */ {s16, s16, s16, s32,       s64, s64,  s16, s16, s16, s16,
               s32, s64, f8,  f8_e4m3fn, f16, bf16, f32, f64, c64, c128},
    /* s32 */ {s32, s32, s32, s32,       s64, s64,  s32, s32, s32, s32,
               s32, s64, f8,  f8_e4m3fn, f16, bf16, f32, f64, c64, c128},
    /* s64 */ {s64, s64, s64, s64,       s64, s64,  s64, s64, s64, s64,
               s64, s64, f8,  f8_e4m3fn, f16, bf16, f32, f64, c64, c128},
    /* f8 */ {f8, f8, f8, f8, f8, f8, f8, f8, f8, f8, f8, f8, f8, f8, f16, f8, f32, f64, c64, c128},
    /* f8_e4m3fn */ {f8_e4m3fn, f8_e4m3fn, f8_e4m3fn, f8_e4m3fn, f8_e4m3fn, f8_e4m3fn, f8_e4m3fn,
                     f8_e4m3fn, f8_e4m3fn, f8_e4m3fn, f8_e4m3fn, f8_e4m3fn, f8_e4m3fn, f8_e4m3fn,
                     f8_e4m3fn, f8_e4m3fn, f8_e4m3fn, f8_e4m3fn, c64,       c128},
    /* f16 */ {f16, f16, f16, f16, f16, f16, f16, f16, f16, f16,
               f16, f16, f16, f16, f16, f16, f32, f64, c64, c128},
    /* bf16 */ {bf16, bf16, bf16, bf16,      bf16, bf16, bf16, bf16, bf16, bf16,
                bf16, bf16, f8,   f8_e4m3fn, f16,  bf16, f32,  f64,  c64,  c128},
    /* f32 */ {f32, f32, f32, f32, f32, f32, f32, f32, f32, f32,
               f32, f32, f32, f32, f32, f32, f32, f64, c64, c128},
    /* f64 */ {f64, f64, f64, f64, f64, f64, f64, f64, f64,  f64,
               f64, f64, f64, f64, f64, f64, f64, f64, c128, c128},
    /* c64 */ {c64, c64, c64, c64, c64, c64, c64, c64,  c64, c64,
               c64, c64, c64, c64, c64, c64, c64, c128, c64, c128},
    /* c128 */ {c128, c128, c128, c128, c128, c128, c128, c128, c128, c128,
                c128, c128, c128, c128, c128, c128, c128, c128, c128, c128},
}};

TEST(DTypeTest, MergeIsNxTable) {
  for (const DType a : all_dtypes) {
    for (const DType b : all_dtypes) {
      EXPECT_EQ(merge(a, b), merged.at(index_of(a)).at(index_of(b)))
          << name_of(a) << " with " << name_of(b);
    }
  }
}

struct LiteralCase {
  DType beside;
  Number number;
  DType expected;
};

TEST(DTypeTest, LiteralsKeepOrWidenTheTensorsDtype) {
  const std::array cases{
      LiteralCase{u8, std::int64_t{255}, u8},
      LiteralCase{u8, std::int64_t{256}, u16},
      LiteralCase{u8, std::int64_t{65536}, u32},
      LiteralCase{u8, std::int64_t{1} << 32, u64},
      LiteralCase{u8, std::int64_t{-1}, s16},
      LiteralCase{u8, std::int64_t{-32769}, s32},
      LiteralCase{u16, std::int64_t{-1}, s32},
      LiteralCase{u32, std::int64_t{-1}, s64},
      LiteralCase{u64, std::int64_t{-1}, s64},
      LiteralCase{u64, std::int64_t{0}, u64},
      LiteralCase{s8, std::int64_t{127}, s8},
      LiteralCase{s8, std::int64_t{128}, s16},
      LiteralCase{s8, std::int64_t{-128}, s8},
      LiteralCase{s8, std::int64_t{-129}, s16},
      LiteralCase{s16, std::int64_t{40000}, s32},
      LiteralCase{s32, std::int64_t{1} << 31, s64},
      LiteralCase{s32, int64_min, s64},
      LiteralCase{s64, int64_max, s64},
      LiteralCase{f32, std::int64_t{1} << 40, f32},
      LiteralCase{f64, std::int64_t{3}, f64},
      LiteralCase{f32, 0.1, f32},
      LiteralCase{f64, 0.1, f64},
      LiteralCase{s64, 0.5, f32},
      LiteralCase{u8, std::nan(""), f32},
      LiteralCase{u64, ~std::uint64_t{0}, u64},
      LiteralCase{f32, ~std::uint64_t{0}, f32},
      LiteralCase{u8, std::uint64_t{7}, u8},
      LiteralCase{u2, std::int64_t{1}, u2},
      LiteralCase{u2, std::int64_t{2}, u8},
      LiteralCase{u4, std::int64_t{-1}, s8},
      LiteralCase{u2, std::int64_t{-2}, s4},
      LiteralCase{u2, std::int64_t{-3}, s8},
      LiteralCase{s2, std::int64_t{-2}, s2},
      LiteralCase{s4, std::int64_t{2}, s8},
      LiteralCase{s4, std::int64_t{300}, s16},
      LiteralCase{u4, 0.5, f32},
      LiteralCase{f8, 0.5, f8},
      LiteralCase{f8_e4m3fn, 0.5, f32},
      LiteralCase{f16, std::int64_t{1} << 40, f16},
      LiteralCase{bf16, 0.1, bf16},
      LiteralCase{c64, 0.1, c64},
      LiteralCase{s8, std::complex<double>{0, 1}, c64},
      LiteralCase{bf16, std::complex<double>{0, 1}, c64},
      LiteralCase{f64, std::complex<double>{0, 1}, c128},
  };
  for (const LiteralCase& c : cases) {
    EXPECT_EQ(merge(c.beside, c.number), c.expected)
        << name_of(c.beside) << " in case " << &c - cases.data();
  }
}

TEST(DTypeTest, ALiteralAloneIsS32OrWhatItNeeds) {
  EXPECT_EQ(infer_dtype(Number{std::int64_t{1}}), s32);
  EXPECT_EQ(infer_dtype(Number{std::int64_t{INT32_MIN}}), s32);
  EXPECT_EQ(infer_dtype(Number{std::int64_t{INT32_MAX} + 1}), s64);
  EXPECT_EQ(infer_dtype(Number{int64_min}), s64);
  EXPECT_EQ(infer_dtype(Number{~std::uint64_t{0}}), u64);
  EXPECT_EQ(infer_dtype(Number{1e300}), f32);
}

TEST(DTypeTest, FloatingAndAggregate) {
  for (const DType dtype : all_dtypes)
    EXPECT_EQ(to_floating(dtype), is_integer(dtype) ? f32 : dtype) << name_of(dtype);
  constexpr std::array aggregate{u32, u32, u32, u32,       u32, s64,  s32, s32, s32, s32,
                                 s32, s64, f8,  f8_e4m3fn, f16, bf16, f32, f64, c64, c128};
  for (const DType dtype : all_dtypes)
    EXPECT_EQ(to_aggregate(dtype), aggregate.at(index_of(dtype))) << name_of(dtype);
}

TEST(DTypeTest, ComplexAndReal) {
  for (const DType dtype : all_dtypes) {
    EXPECT_EQ(to_complex(dtype), dtype == f64 || dtype == c128 ? c128 : c64) << name_of(dtype);
    const DType real = is_integer(dtype) || dtype == c64 ? f32 : dtype == c128 ? f64 : dtype;
    EXPECT_EQ(to_real(dtype), real) << name_of(dtype);
  }
}

TEST(DTypeTest, NumbersAreStoredAsNxCasts) {
  std::uint8_t byte = 0;
  store_number(Number{std::int64_t{-1}}, u8, &byte);
  EXPECT_EQ(byte, 255);
  store_number(Number{257.9}, u8, &byte);
  EXPECT_EQ(byte, 1);
  std::int64_t wide = 0;
  store_number(Number{std::numeric_limits<double>::infinity()}, s64, &wide);
  EXPECT_EQ(wide, int64_max);
  store_number(Number{~std::uint64_t{0}}, s64, &wide);
  EXPECT_EQ(wide, -1);
  float real = 0;
  store_number(Number{std::nan("")}, f32, &real);
  EXPECT_TRUE(std::isnan(real));
  store_number(Number{(std::int64_t{1} << 53) + 1}, f32, &real);
  EXPECT_EQ(real, 9007199254740992.0F);
}

}  // namespace
}  // namespace outrigger
