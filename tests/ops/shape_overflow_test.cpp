// Inference must never give a type whose number of bytes overflows, because the allocated memory
// would be too small.

#include <limits>

#include "ops/support.hpp"

namespace outrigger::ops::test {
namespace {

using enum DType;

constexpr std::int64_t huge = std::int64_t{1} << 61;

/// True if inference refuses the operands.
bool refuses(std::string_view op, const std::vector<TensorType>& types, const Attrs& attrs = {}) {
  std::vector<InferOperand> operands;
  for (const TensorType& type : types) operands.push_back(InferOperand{type});
  const auto inferred = infer(*find_op(op), InferCall{operands, AttrView(attrs)});
  if (!inferred) return true;
  for (const TensorType& result : inferred->results) {
    if (!check_shape(result.shape, size_of(result.dtype))) return false;
  }
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (!check_shape(types[i].shape, size_of(inferred->operands[i]))) return false;
  }
  return true;
}

std::vector<std::int64_t> list(std::initializer_list<std::int64_t> items) { return items; }

TEST(ShapeOverflowTest, TwoLongAxesBroadcastTogether) {
  const std::int64_t half = std::int64_t{1} << 40;
  EXPECT_TRUE(refuses("add", {{u8, {half, 1}}, {u8, {1, half}}})) << "2^80 elements";
  EXPECT_TRUE(refuses("equal", {{u8, {half, 1}}, {u8, {1, half}}}));
  EXPECT_TRUE(refuses("logical_and", {{u8, {half, 1}}, {u8, {1, half}}}));
  EXPECT_TRUE(refuses("atan2", {{u8, {half, 1}}, {u8, {1, half}}}));
  EXPECT_TRUE(refuses("select", {{u8, {}}, {u8, {half, 1}}, {u8, {1, half}}}));
}

TEST(ShapeOverflowTest, AWiderDtype) {
  EXPECT_TRUE(refuses("as_type", {{u8, {huge}}}, {{"type", std::string("f64")}})) << "2^64 bytes";
  EXPECT_TRUE(refuses("exp", {{u8, {huge}}}));
  EXPECT_TRUE(refuses("add", {{u8, {huge}}, {f64, {}}}));
}

TEST(ShapeOverflowTest, ManyLongPartsInARow) {
  EXPECT_TRUE(refuses("concatenate", std::vector<TensorType>(8, TensorType{u8, {huge}}),
                      {{"axis", Number{std::int64_t{0}}}}))
      << "8 · 2^61 is 0 modulo 2^64";
}

TEST(ShapeOverflowTest, AnOperandThatIsCastFirst) {
  EXPECT_TRUE(
      refuses("concatenate", {{u8, {huge}}, {f64, {1}}}, {{"axis", Number{std::int64_t{0}}}}));
  EXPECT_TRUE(refuses("dot", {{u8, {huge}}, {f64, {huge / 8}}}));
  EXPECT_TRUE(refuses("gather", {{u8, {8}}, {u8, {huge, 1}}})) << "the indices become s64";
  EXPECT_TRUE(refuses("take", {{u8, {8}}, {u8, {huge}}}));
  EXPECT_TRUE(refuses("put_slice", {{u8, {huge}}, {f64, {1}}, {s64, {}}}));
  EXPECT_TRUE(refuses("indexed_put", {{u8, {huge}}, {s64, {1, 1}}, {f64, {1}}}));
}

TEST(ShapeOverflowTest, ResultsThatAreWiderThanTheirOperand) {
  EXPECT_TRUE(refuses("argsort", {{u8, {huge}}}));
  EXPECT_TRUE(refuses("sum", {{u8, {huge}}}, {{"axes", list({})}}));
}

TEST(ShapeOverflowTest, AStrideOfASliceNearTheLargestInteger) {
  constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();
  EXPECT_TRUE(refuses("slice", {{f32, {5}}, {s64, {}}},
                      {{"lengths", list({2})}, {"strides", list({largest})}}));
  EXPECT_TRUE(refuses("slice", {{f32, {5}}, {s64, {}}},
                      {{"lengths", list({5})}, {"strides", list({largest - 3})}}));
}

TEST(ShapeOverflowTest, ShapesOfMoreThanSixteenAxes) {
  const Dims most(16, 1);
  EXPECT_TRUE(refuses("gather", {{f32, most}, {s64, most}}));
  EXPECT_TRUE(refuses("take", {{f32, most}, {s64, most}}));
  EXPECT_TRUE(refuses("dot", {{f32, most}, {f32, most}}));
}

}  // namespace
}  // namespace outrigger::ops::test
