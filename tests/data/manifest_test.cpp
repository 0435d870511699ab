// The text of a checkpoint's contents.

#include "data/manifest.hpp"

#include <limits>

#include <gtest/gtest.h>

#include "data/checksum.hpp"

namespace outrigger::data {
namespace {

Manifest example() {
  Manifest out;
  out.checkpoint = 7;
  out.last_change = 1ULL << 40;
  out.taken_at_ms = 1796000000000;
  out.entries.push_back(
      {"größe/ä b", 12, {DType::f32, {2, 3}}, {}, "app", {"12-7.tensor", "0123456789abcdef"}});
  out.entries.push_back(
      {"%\t\n\x7f", 13, {DType::u4, {}}, Lifetime{1796000060000, 60000}, "", {"13-7.tensor", "0"}});
  out.entries.push_back({"empty", 1, {DType::c128, {0, 4}}, {}, "a%b", {"1-2.tensor", "f"}});
  return out;
}

TEST(Manifest, ComesBackFromItsText) {
  for (const Manifest& manifest : {example(), Manifest{}}) {
    const auto read = Manifest::parse(manifest.text());
    ASSERT_TRUE(read) << read.error().text;
    EXPECT_EQ(read->checkpoint, manifest.checkpoint);
    EXPECT_EQ(read->last_change, manifest.last_change);
    EXPECT_EQ(read->taken_at_ms, manifest.taken_at_ms);
    ASSERT_EQ(read->entries.size(), manifest.entries.size());
    for (std::size_t i = 0; i < manifest.entries.size(); ++i) {
      const Entry& got = read->entries[i];
      const Entry& want = manifest.entries[i];
      EXPECT_EQ(got.name, want.name);
      EXPECT_EQ(got.version, want.version);
      EXPECT_EQ(got.type, want.type);
      EXPECT_EQ(got.token, want.token);
      EXPECT_EQ(got.file.name, want.file.name);
      EXPECT_EQ(got.file.checksum, want.file.checksum);
      ASSERT_EQ(got.lifetime.has_value(), want.lifetime.has_value());
      if (!want.lifetime) continue;
      EXPECT_EQ(got.lifetime->ends_at_ms, want.lifetime->ends_at_ms);
      EXPECT_EQ(got.lifetime->left_ms, want.lifetime->left_ms);
    }
  }
}

TEST(Manifest, HasALineForEachName) {
  const std::string text = example().text();
  EXPECT_NE(text.find("\n12\tf32\t2,3\t\t\tapp\t12-7.tensor\t0123456789abcdef\tgröße/ä b\n"),
            std::string::npos)
      << text;
}

TEST(Manifest, NoByteChangesUnnoticed) {
  const std::string text = example().text();
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = text;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      EXPECT_FALSE(Manifest::parse(changed)) << "byte " << at << ", bit " << bit;
    }
    EXPECT_FALSE(Manifest::parse(text.substr(0, at))) << at << " bytes";
    EXPECT_FALSE(Manifest::parse(text.substr(at + 1))) << "from " << at + 1;
  }
  EXPECT_FALSE(Manifest::parse(text + "\n"));
  EXPECT_FALSE(Manifest::parse(text + text));
}

/// A text with a right checksum that another version of Outrigger has written.
TEST(Manifest, AnotherFormIsNoDamage) {
  const auto sealed = [](const std::string& before) {
    Checksum checksum;
    checksum.add(before);
    return before + "end 0 " + checksum.text() + "\n";
  };
  const auto later = Manifest::parse(sealed("outrigger manifest 2\n"));
  ASSERT_FALSE(later);
  EXPECT_NE(later.error().text.find("this version of Outrigger"), std::string::npos);
  const auto line = Manifest::parse(sealed("outrigger manifest 1\nsomething else\n"));
  ASSERT_FALSE(line);
  EXPECT_NE(line.error().text.find("a line"), std::string::npos);
}

TEST(Lifetime, TheClockMayHaveJumpedBetweenTwoLives) {
  const Lifetime lifetime{1'000'000, 60'000};  // taken at 940,000
  EXPECT_EQ(lifetime.left_at(940'000), 60'000);
  EXPECT_EQ(lifetime.left_at(970'000), 30'000);
  EXPECT_EQ(lifetime.left_at(1'000'000), 0);
  EXPECT_EQ(lifetime.left_at(5'000'000), 0);
  EXPECT_EQ(lifetime.left_at(0), 60'000) << "a clock that was set back lengthens nothing";
  EXPECT_EQ(lifetime.left_at(std::numeric_limits<std::int64_t>::min()), 60'000);
  EXPECT_EQ(lifetime.left_at(std::numeric_limits<std::int64_t>::max()), 0);
}

TEST(Checksum, IsThatOfTheStandard) {
  // From the test vectors of xxHash: XXH3_64bits of nothing, with the seed 0.
  EXPECT_EQ(Checksum().text(), "2d06800538d394c2");
  Checksum parts;
  parts.add(std::string_view("outrig"));
  parts.add(std::string_view("ger"));
  Checksum whole;
  whole.add(std::string_view("outrigger"));
  EXPECT_EQ(parts.text(), whole.text());
}

}  // namespace
}  // namespace outrigger::data
