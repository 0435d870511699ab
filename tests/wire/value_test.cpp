#include "wire/value.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "wire/bytes.hpp"

namespace outrigger::wire {
namespace {

using testing::bytes_of;
using testing::raw;

std::string problem_of(const std::string& frame, const Limits& limits = {}) {
  ValueParser parser(limits);
  const auto value = parser.parse(bytes_of(frame));
  return value ? "" : value.error();
}

TEST(ValueParser, KeepsContainersNavigable) {
  // {"a": [1, [], -2], "b": {"c": nil}, "d": 1.5}
  const std::string frame = raw({0x83, 0xa1, 'a',  0x93, 1,   0x90, 0xfe, 0xa1, 'b', 0x81,
                                 0xa1, 'c',  0xc0, 0xa1, 'd', 0xca, 0x3f, 0xc0, 0,   0});
  ValueParser parser{Limits{}};
  const auto map = parser.parse(bytes_of(frame));
  ASSERT_TRUE(map.has_value()) << map.error();
  std::vector<std::string> keys;
  std::vector<Kind> kinds;
  for (const auto [key, value] : map->entries()) {
    keys.emplace_back(key);
    kinds.push_back(value.kind());
    if (key != "a") continue;
    std::vector<Kind> items;
    for (const Value item : value.items()) items.push_back(item.kind());
    EXPECT_EQ(items, (std::vector{Kind::unsigned_integer, Kind::array, Kind::negative_integer}));
  }
  EXPECT_EQ(keys, (std::vector<std::string>{"a", "b", "d"}));
  EXPECT_EQ(kinds, (std::vector{Kind::array, Kind::map, Kind::real}));
}

TEST(ValueParser, ReadsSignedFormatsOfNaturalNumbers) {
  const std::string frame = raw({0xd0, 5});
  ValueParser parser{Limits{}};
  const auto value = parser.parse(bytes_of(frame));
  ASSERT_TRUE(value.has_value());
  EXPECT_EQ(value->kind(), Kind::unsigned_integer);
  EXPECT_EQ(value->natural(), 5U);
}

TEST(ValueParser, RefusesWhatIsMalformed) {
  struct Case {
    std::string frame;
    std::string problem;
  };
  const std::vector<Case> cases = {
      {"", "ends inside of a value"},
      {raw({0x92, 1}), "declares more values than it has bytes"},
      {raw({0xcd, 1}), "ends inside of a value"},
      {raw({0xc1}), "is not msgpack"},
      {raw({1, 2}), "has 1 bytes after its value"},
      {raw({0xd4, 1, 1}), "has an extension type"},
      {raw({0xc9, 0xff, 0xff, 0xff, 0xff, 1}), "ends inside of a value"},
      {raw({0x81, 1, 1}), "has a map key that is no string"},
      {raw({0x81, 0x90, 1}), "has a map key that is no string"},
      {raw({0xdb, 0xff, 0xff, 0xff, 0xff}), "ends inside of a value"},
      {raw({0xdd, 0xff, 0xff, 0xff, 0xff}), "declares more values than it has bytes"},
      {raw({0xdf, 0xff, 0xff, 0xff, 0xff}), "declares more values than it has bytes"},
      {raw({0x92, 0xdc, 0, 9, 1}), "declares more values than it has bytes"},
  };
  for (const Case& c : cases) EXPECT_EQ(problem_of(c.frame), c.problem) << c.problem;
}

TEST(ValueParser, RefusesEveryCutOfAGoodFrame) {
  const std::string frame = raw({0x82, 0xa1, 'a', 0x92, 1, 0xcd, 1, 2, 0xa1, 'b', 0xc4, 2, 9, 9});
  EXPECT_EQ(problem_of(frame), "");
  for (std::size_t size = 0; size < frame.size(); ++size) {
    EXPECT_NE(problem_of(frame.substr(0, size)), "") << size;
  }
}

TEST(ValueParser, BoundsDepth) {
  const auto nested = [](std::size_t depth) { return std::string(depth - 1, '\x91') + '\x90'; };
  Limits limits;
  limits.depth_max = 16;
  EXPECT_EQ(problem_of(nested(16), limits), "");
  EXPECT_EQ(problem_of(nested(17), limits), "nests too deeply");
  EXPECT_EQ(problem_of(nested(100'000), limits), "nests too deeply");
}

/// An array of `count` values of one byte each.
std::string array_of(std::uint32_t count) {
  const auto byte = [count](int shift) { return static_cast<int>(count >> shift & 0xff); };
  return raw({0xdd, byte(24), byte(16), byte(8), byte(0)}) + std::string(count, '\1');
}

TEST(ValueParser, TakesAFrameOfTheShortestValues) {
  for (const std::uint32_t count : {0U, 1U, 10'000U, 1'000'000U}) {
    ValueParser parser{Limits{}};
    const std::string frame = array_of(count);
    const auto array = parser.parse(bytes_of(frame));
    ASSERT_TRUE(array.has_value()) << array.error();
    std::size_t items = 0;
    for (const Value item : array->items()) items += item.natural();
    EXPECT_EQ(items, count);
  }
}

TEST(ValueParser, TakesMemoryByTheFramesValuesNotByItsClaims) {
  const std::string claims = raw({0xdd, 0xff, 0xff, 0xff, 0xff});
  ValueParser small{Limits{}};
  EXPECT_FALSE(small.parse(bytes_of(claims)));
  EXPECT_LE(small.memory_bytes(), sizeof(Node) * claims.size());

  const std::string full = array_of(1U << 20);
  ValueParser large{Limits{}};
  EXPECT_TRUE(large.parse(bytes_of(full)));
  EXPECT_LE(large.memory_bytes(), sizeof(Node) * full.size());
  large.trim();
  EXPECT_LE(large.memory_bytes(), 256U << 10);

  // A long frame with long values: an upload.
  const std::string upload = raw({0x91, 0xc6, 0, 0x10, 0, 0}) + std::string(1U << 20, '\1');
  EXPECT_TRUE(small.parse(bytes_of(upload)));
  EXPECT_LE(small.memory_bytes(), 256U << 10);
}

TEST(CountValues, IsWhatReadValueNeeds) {
  const std::string bytes = raw({0x82, 0xa1, 'a', 0x92, 1, 0xcd, 1, 2, 0xa1, 'b', 0xc4, 2, 9, 9});
  const auto count = count_values(bytes_of(bytes), 16);
  ASSERT_TRUE(count.has_value()) << count.error();
  ASSERT_EQ(*count, 7U);
  std::vector<Node> nodes(*count);
  const auto value = read_value(bytes_of(bytes), nodes, 16);
  ASSERT_TRUE(value.has_value()) << value.error();
  EXPECT_EQ(value->size(), 2U);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(count_values(bytes_of(bytes.substr(0, size)), 16)) << size;
  EXPECT_FALSE(count_values(bytes_of(bytes), 1)) << "nests too deeply";
  nodes.pop_back();
  EXPECT_FALSE(read_value(bytes_of(bytes), nodes, 16)) << "a file may change meanwhile";
}

}  // namespace
}  // namespace outrigger::wire
