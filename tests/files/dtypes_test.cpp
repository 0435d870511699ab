// Each dtype that both NumPy and the daemon have, compared with the bytes that NumPy wrote:
// tests/files/data/dtypes.npz.

#include "files/npy.hpp"
#include "files/npz.hpp"
#include "files/support.hpp"
#include "files/zip_archive.hpp"

namespace outrigger::files {
namespace {

using testing::data_path;
using testing::Folder;
using testing::outcome;
using testing::read_bytes;

struct Pair {
  const char* numpy;
  const char* ours;
};
constexpr Pair pairs[] = {{"u1", "u8"},   {"u2", "u16"}, {"u4", "u32"}, {"u8", "u64"},
                          {"i1", "s8"},   {"i2", "s16"}, {"i4", "s32"}, {"i8", "s64"},
                          {"f2", "f16"},  {"f4", "f32"}, {"f8", "f64"}, {"c8", "c64"},
                          {"c16", "c128"}};

const std::string archive_path = data_path("dtypes.npz");

/// A member of the archive, as NumPy wrote it.
std::string member_bytes(const std::string& wanted) {
  auto file = File::open(archive_path);
  const auto archive = ZipArchive::open(std::move(*file));
  for (std::uint64_t i = 0; i < archive->entry_count(); ++i) {
    if (archive->member_name(i) != wanted + ".npy") continue;
    const auto source = archive->open_member(i, wanted);
    std::string bytes((*source)->size(), '\0');
    EXPECT_TRUE(read_fully(**source, bytes.data(), bytes.size()));
    return bytes;
  }
  ADD_FAILURE() << "no member " << wanted;
  return {};
}

/// Reads a member and writes it. The result must be the file that NumPy writes of the same array in
/// our byte order.
void expect_saved_as(const std::string& member, const std::string& type,
                     const std::string& saved_as) {
  const Folder folder;
  Memory memory;
  const auto tensor = load_npz(memory, archive_path, member);
  ASSERT_EQ(outcome(tensor), type + "[2][3]") << member;
  ASSERT_TRUE(save_npy(*tensor, folder.path("x.npy")));
  EXPECT_EQ(read_bytes(folder.path("x.npy")), member_bytes(saved_as)) << member;
}

TEST(NumpyDtypes, EachInBothByteOrdersAndBothLayouts) {
  for (const auto& [numpy, ours] : pairs) {
    const std::string little = std::string(numpy) + "_little";
    for (const char* variant : {"_little", "_little_fortran", "_big", "_big_fortran"})
      expect_saved_as(std::string(numpy) + variant, ours, little);
  }
  expect_saved_as("bool", "u8", "bool_as_u1");
  expect_saved_as("bool_fortran", "u8", "bool_as_u1");
}

TEST(NumpyDtypes, EachIntoOneArchiveAndBack) {
  const Folder folder;
  for (const bool compress : {false, true}) {
    Memory memory;
    std::vector<NamedTensor> all;
    for (const auto& [numpy, ours] : pairs)
      all.push_back({ours, *load_npz(memory, archive_path, std::string(numpy) + "_big")});
    const std::string path = folder.path("all.npz");
    ASSERT_TRUE(save_npz(all, path, compress));
    for (const auto& [numpy, ours] : pairs) {
      const auto tensor = load_npz(memory, path, ours);
      ASSERT_EQ(outcome(tensor), std::string(ours) + "[2][3]");
      ASSERT_TRUE(save_npy(*tensor, folder.path("x.npy")));
      EXPECT_EQ(read_bytes(folder.path("x.npy")), member_bytes(std::string(numpy) + "_little"));
    }
  }
}

}  // namespace
}  // namespace outrigger::files
