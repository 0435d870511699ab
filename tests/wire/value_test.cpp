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

TEST(ValueParser, BoundsValues) {
  Limits limits;
  limits.nodes_base = 10;
  limits.nodes_bytes = 4;
  const auto array = [](int count) {
    return raw({0xdc, 0, count}) + std::string(static_cast<std::size_t>(count), '\1');
  };
  EXPECT_EQ(problem_of(array(13), limits), "");  // 14 values in 16 bytes: 10 + 16 / 4
  EXPECT_EQ(problem_of(array(14), limits), "has too many values for its length");
}

TEST(ValueParser, TakesMemoryByTheFrameNotByItsClaims) {
  const std::string claims = raw({0xdd, 0xff, 0xff, 0xff, 0xff});
  ValueParser small{Limits{}};
  EXPECT_FALSE(small.parse(bytes_of(claims)));
  EXPECT_LE(small.memory_bytes(), 16 * claims.size());

  const std::string full = raw({0xdd, 0, 0x10, 0, 0}) + std::string(1U << 20, '\1');
  ValueParser large{Limits{}};
  EXPECT_FALSE(large.parse(bytes_of(full)));
  EXPECT_LE(large.memory_bytes(), 8 * full.size() + (64U << 10));
  large.trim();
  EXPECT_LE(large.memory_bytes(), 256U << 10);
}

}  // namespace
}  // namespace outrigger::wire
