#include "net/byte_size.hpp"

#include <string_view>

#include <gtest/gtest.h>

namespace outrigger::net {
namespace {

TEST(ByteSize, ReadsWhatPeopleWrite) {
  struct Case {
    std::string_view text;
    std::uint64_t bytes;
  };
  const Case cases[] = {
      {"0", 0},
      {"1000", 1000},
      {"7B", 7},
      {"2GiB", 2ULL << 30},
      {"2 GiB", 2ULL << 30},
      {"500MB", 500'000'000},
      {"1.5KiB", 1536},
      {"64kb", 64'000},
      {"1TiB", 1ULL << 40},
      {"80%", 800},
      {"100%", 1000},
      {"0.5%", 5},
  };
  for (const Case& c : cases) {
    const auto bytes = parse_byte_size(c.text, 1000);
    ASSERT_TRUE(bytes.has_value()) << c.text;
    EXPECT_EQ(*bytes, c.bytes) << c.text;
  }
}

TEST(ByteSize, RefusesTheRest) {
  for (const std::string_view text :
       {"", "GiB", "-1", "2XB", "2GiBs", "nan", "inf", "1e30", "9999999TiB", "%"}) {
    EXPECT_FALSE(parse_byte_size(text, 1000).has_value()) << text;
  }
}

TEST(ByteSize, KnowsTheMachine) {
  EXPECT_GT(available_memory_bytes(), 1ULL << 20);
  EXPECT_LT(available_memory_bytes(), 1ULL << 50);
}

}  // namespace
}  // namespace outrigger::net
