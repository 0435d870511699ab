#include "files/npz.hpp"

#include <unistd.h>

#include <numeric>

#include "files/support.hpp"
#include "files/zip_archive.hpp"

namespace outrigger::files {
namespace {

using testing::contains;
using testing::data_path;
using testing::Folder;
using testing::outcome;
using testing::read_bytes;
using testing::values;

std::string little_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xFFU);
  return text;
}

/// The position of the (first) member's entry in the directory.
std::size_t directory_at(const std::string& zip) { return zip.find("PK\x01\x02"); }

std::vector<std::int32_t> counting24() {
  std::vector<std::int32_t> numbers(24);
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

TEST(LoadNpz, ReadsMembersStoredAndDeflated) {
  for (const char* file : {"stored.npz", "deflated.npz"}) {
    for (const char* member : {"x", "x.npy", "größe", "größe.npy"}) {
      Memory memory;
      const auto tensor = load_npz(memory, data_path(file), member);
      ASSERT_EQ(outcome(tensor), "s32[2][3][4]") << file << " " << member;
      EXPECT_EQ(values<std::int32_t>(*tensor), counting24()) << file << " " << member;
    }
    Memory memory;
    const auto tensor = load_npz(memory, data_path(file), "y");
    ASSERT_EQ(outcome(tensor), "f64[2]");
    EXPECT_EQ(values<double>(*tensor), (std::vector<double>{1.5, -2.5}));
  }
}

TEST(LoadNpz, TakesTheOnlyMemberUnnamed) {
  Memory memory;
  EXPECT_EQ(outcome(load_npz(memory, data_path("single.npz"), std::nullopt)), "s32[2][3][4]");
}

TEST(LoadNpz, ListsTheMembersWhenOneIsMissing) {
  Memory memory;
  const std::string stored = data_path("stored.npz");
  EXPECT_EQ(outcome(load_npz(memory, stored, std::nullopt)),
            "bad_file: \"" + stored +
                "\" needs a member to be named; it has the arrays \"x\", \"y\", \"größe\"");
  EXPECT_EQ(outcome(load_npz(memory, stored, "z\n")),
            "bad_file: \"" + stored +
                "\" has no member \"z\\x0a\"; it has the arrays \"x\", \"y\", \"größe\"");
  const std::string many = outcome(load_npz(memory, data_path("many.npz"), ""));
  EXPECT_TRUE(contains(many, "\"a8\", \"a9\" and 3 more")) << many;
  EXPECT_FALSE(contains(many, "\"a10\"")) << many;
  EXPECT_EQ(outcome(load_npz(memory, data_path("many.npz"), "a12")), "u8");
}

TEST(LoadNpz, RefusesAnEmptyArchive) {
  const Folder folder;
  Memory memory;
  const auto path = folder.write("x.npz", std::string("PK\x05\x06", 4) + std::string(18, '\0'));
  const std::string got = outcome(load_npz(memory, path, std::nullopt));
  EXPECT_TRUE(contains(got, "has no arrays") || contains(got, "cannot be unpacked")) << got;
}

/// A change of single.npz, and a part of the error's text.
struct Change {
  const char* what;
  std::size_t offset;  ///< in the directory's entry
  std::string bytes;
  const char* part;
};

TEST(LoadNpz, RefusesDirectoriesThatLie) {
  const Change table[] = {
      {"encrypted", 8, little_endian(1, 2), "is encrypted"},
      {"method", 10, little_endian(9, 2), "is packed by zip method 9"},
      {"packed more than the file", 20, little_endian(1 << 20, 4), "which cannot be"},
      {"packed too well", 24, little_endian(1 << 30, 4), "which cannot be"},
      {"too small", 24, little_endian(10, 4), "member \"only\""},
      {"too large", 24, little_endian(300, 4), "has 172 bytes of data, but s32[2][3][4] takes 96"},
      {"offset", 42, little_endian(0x7fffffff, 4), "cannot be unpacked"},
      {"name length", 28, little_endian(60000, 2), "cannot be unpacked"},
      {"magic", 0, "XXXX", "cannot be unpacked"},
  };
  const Folder folder;
  const std::string good = read_bytes(data_path("single.npz"));
  for (const Change& row : table) {
    std::string bytes = good;
    bytes.replace(directory_at(good) + row.offset, row.bytes.size(), row.bytes);
    Memory memory;
    const std::string got = outcome(load_npz(memory, folder.write("x.npz", bytes), std::nullopt));
    EXPECT_TRUE(got.starts_with("bad_file: ")) << row.what << ": " << got;
    EXPECT_TRUE(contains(got, row.part)) << row.what << ": " << got;
    EXPECT_EQ(memory.peak(), 0U) << row.what;
  }
}

TEST(LoadNpz, RefusesOtherMethods) {
  Memory memory;
  EXPECT_TRUE(
      contains(outcome(load_npz(memory, data_path("bzip2.npz"), std::nullopt)),
               "member \"only\" of \"" + data_path("bzip2.npz") + "\" is packed by zip method 12"));
}

TEST(LoadNpz, ComparesTheChecksum) {
  const Folder folder;
  std::string bytes = read_bytes(data_path("stored.npz"));
  const std::size_t at = bytes.find("\x93NUMPY") + 128 + 40;  // the data of x
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  Memory memory;
  const std::string got = outcome(load_npz(memory, folder.write("x.npz", bytes), "x"));
  EXPECT_TRUE(contains(got, "CRC")) << got;
  EXPECT_EQ(memory.used(), 0U);
}

TEST(LoadNpz, EveryTruncationIsRefusedWithoutTakingMemory) {
  const Folder folder;
  for (const char* file : {"single.npz", "stored.npz"}) {
    const std::string bytes = read_bytes(data_path(file));
    Memory memory;
    for (std::size_t n = 0; n < bytes.size(); ++n) {
      const auto tensor = load_npz(memory, folder.write("x.npz", bytes.substr(0, n)), std::nullopt);
      ASSERT_FALSE(tensor) << n;
      EXPECT_EQ(tensor.error().code, ErrorCode::bad_file) << outcome(tensor);
    }
    EXPECT_EQ(memory.peak(), 0U);
  }
}

TEST(LoadNpz, EveryChangedByteIsReadOrRefused) {
  const Folder folder;
  const std::string good = read_bytes(data_path("single.npz"));
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const int mask : {0x01, 0x80, 0xFF}) {
      std::string bytes = good;
      bytes[at] = static_cast<char>(bytes[at] ^ mask);
      Memory memory;
      const auto tensor = load_npz(memory, folder.write("x.npz", bytes), std::nullopt);
      if (tensor) {
        EXPECT_EQ(values<std::int32_t>(*tensor), counting24()) << at;
      } else {
        EXPECT_EQ(tensor.error().code, ErrorCode::bad_file) << outcome(tensor);
      }
      EXPECT_LE(memory.peak(), 128U);
    }
  }
}

TEST(LoadNpz, ZipBombsTakeNoMoreThanTheTensorAndTheBudget) {
  Memory memory;
  const std::string header = outcome(load_npz(memory, data_path("bomb_header.npz"), "x"));
  EXPECT_TRUE(contains(header, "has 4194304 bytes of data, but u8[3] takes 3")) << header;
  EXPECT_EQ(memory.peak(), 0U);
  const std::string directory = outcome(load_npz(memory, data_path("bomb_directory.npz"), "x"));
  EXPECT_TRUE(directory.starts_with("bad_file: ")) << directory;
  EXPECT_LE(memory.peak(), 64U);
  Memory small(1 << 20);
  const std::string honest = outcome(load_npz(small, data_path("bomb_honest.npz"), "x"));
  EXPECT_TRUE(honest.starts_with("out_of_memory: ")) << honest;
  EXPECT_EQ(small.peak(), 0U);
  EXPECT_EQ(outcome(load_npz(memory, data_path("bomb_honest.npz"), "x")), "u8[4194304]");
}

/// The end of an archive whose directory has `entries` entries and `bytes` bytes and begins at 0.
/// The file has `file_bytes` before this end.
std::string zip64_end(std::uint64_t entries, std::uint64_t bytes, std::uint64_t file_bytes) {
  std::string end("PK\x06\x06");
  end += little_endian(44, 8) + little_endian(45, 2) + little_endian(45, 2) + little_endian(0, 8);
  end += little_endian(entries, 8) + little_endian(entries, 8);
  end += little_endian(bytes, 8) + little_endian(0, 8);
  end += "PK\x06\x07" + little_endian(0, 4) + little_endian(file_bytes, 8) + little_endian(1, 4);
  end += "PK\x05\x06" + little_endian(0, 4) + little_endian(0xffff, 2) + little_endian(0xffff, 2);
  return end + little_endian(0xffffffff, 4) + little_endian(0xffffffff, 4) + little_endian(0, 2);
}

TEST(LoadNpz, ASparseFileCannotClaimBillionsOfMembers) {
  const Folder folder;
  constexpr std::uint64_t bytes = std::uint64_t{1} << 40;
  const auto path = folder.write("x.npz", "");
  if (::truncate(path.c_str(), static_cast<off_t>(bytes)) != 0) GTEST_SKIP() << "no sparse files";
  std::ofstream(path, std::ios::binary | std::ios::app) << zip64_end(bytes / 46, bytes, bytes);
  Memory memory;
  const std::string got = outcome(load_npz(memory, path, std::nullopt));
  EXPECT_TRUE(contains(got, "has too many members")) << got;
}

TEST(LoadNpz, ALargeDirectoryIsNotReadWhole) {
  const Folder folder;
  const std::string good = read_bytes(data_path("single.npz"));
  const std::size_t at = directory_at(good);
  std::string entry = good.substr(at, good.find("PK\x05\x06") - at);
  // One member many times, with a comment that makes each entry long.
  entry.replace(32, 2, little_endian(60000, 2));
  entry += std::string(60000, 'c');
  constexpr std::uint64_t entries = 80;
  static_assert(entries * 60000 > zip_directory_bytes_max + (4 << 16) + 1000);
  std::string bytes = good.substr(0, at);
  for (std::uint64_t i = 0; i < entries; ++i) bytes += entry;
  bytes +=
      "PK\x05\x06" + little_endian(0, 4) + little_endian(entries, 2) + little_endian(entries, 2);
  bytes += little_endian(entries * entry.size(), 4) + little_endian(at, 4) + little_endian(0, 2);
  Memory memory;
  const std::string got = outcome(load_npz(memory, folder.write("x.npz", bytes), "only"));
  EXPECT_TRUE(contains(got, "has too many members")) << got;
}

TEST(LoadNpz, RefusesANpy) {
  Memory memory;
  const std::string got = outcome(load_npz(memory, data_path("scalar.npy"), std::nullopt));
  EXPECT_TRUE(got.starts_with("bad_file: ")) << got;
}

}  // namespace
}  // namespace outrigger::files
