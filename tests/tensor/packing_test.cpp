#include "tensor/packing.hpp"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace outrigger {
namespace {

using enum DType;
using Bytes = std::vector<std::uint8_t>;

Bytes packed(DType dtype, const Bytes& elements) {
  const TensorType type{dtype, {static_cast<std::int64_t>(elements.size())}};
  Bytes bytes(static_cast<std::size_t>(packed_byte_count(type)), 0xee);
  pack(dtype, elements.data(), static_cast<std::int64_t>(elements.size()), bytes.data());
  return bytes;
}

Bytes unpacked(DType dtype, const Bytes& bytes, std::size_t n) {
  Bytes elements(n);
  unpack(dtype, bytes.data(), static_cast<std::int64_t>(n), elements.data());
  return elements;
}

TEST(PackingTest, TheFirstElementStandsInTheHighestBits) {
  EXPECT_EQ(packed(u4, {1, 2, 3}), (Bytes{0x12, 0x30}));
  EXPECT_EQ(packed(u2, {0, 1, 2, 3, 3}), (Bytes{0b00011011, 0b11000000}));
  // -1, 7, -8
  EXPECT_EQ(packed(s4, {0xff, 7, 0xf8}), (Bytes{0xf7, 0x80}));
  // -2, -1, 0, 1
  EXPECT_EQ(packed(s2, {0xfe, 0xff, 0, 1}), (Bytes{0b10110001}));
}

TEST(PackingTest, EveryByteThereAndBack) {
  for (const DType dtype : {u2, u4, s2, s4}) {
    for (int byte = 0; byte < 256; ++byte) {
      const Bytes one{static_cast<std::uint8_t>(byte)};
      EXPECT_EQ(packed(dtype, unpacked(dtype, one, 8 / bits_of(dtype))), one) << name_of(dtype);
    }
  }
}

TEST(PackingTest, SignsAreExtended) {
  EXPECT_EQ(unpacked(s4, {0x8f}, 2), (Bytes{0xf8, 0xff}));
  EXPECT_EQ(unpacked(s2, {0b10010000}, 3), (Bytes{0xfe, 1, 0}));
}

TEST(PackingTest, PaddingIsNotRead) {
  EXPECT_EQ(unpacked(u4, {0x12, 0x3f}, 3), (Bytes{1, 2, 3}));
  EXPECT_EQ(unpacked(u2, {}, 0), Bytes{});
}

TEST(PackingTest, BytesOfAType) {
  EXPECT_EQ(packed_byte_count({u2, {}}), 1);
  EXPECT_EQ(packed_byte_count({u2, {4}}), 1);
  EXPECT_EQ(packed_byte_count({u2, {5}}), 2);
  EXPECT_EQ(packed_byte_count({s4, {3, 3}}), 5);
  EXPECT_EQ(packed_byte_count({u4, {0, 7}}), 0);
  EXPECT_EQ(packed_byte_count({c128, {3}}), 48);
  // The number of bits would overflow.
  EXPECT_EQ(packed_byte_count({u4, {std::int64_t{1} << 61}}), std::int64_t{1} << 60);
}

}  // namespace
}  // namespace outrigger
