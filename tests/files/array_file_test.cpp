#include "files/array_file.hpp"

#include "files/support.hpp"

namespace outrigger::files {
namespace {

using testing::contains;
using testing::data_path;
using testing::Folder;
using testing::outcome;

TEST(LoadArray, GoesByTheContents) {
  const Folder folder;
  const auto npy = folder.write("really_npy.npz", testing::read_bytes(data_path("version2.npy")));
  const auto npz = folder.write("really_npz.npy", testing::read_bytes(data_path("single.npz")));
  Memory memory;
  EXPECT_EQ(outcome(load_array(memory, npy, std::nullopt)), "s32[2][3][4]");
  EXPECT_EQ(outcome(load_array(memory, npz, std::nullopt)), "s32[2][3][4]");
  EXPECT_EQ(outcome(load_array(memory, npz, "only")), "s32[2][3][4]");
}

TEST(LoadArray, SaysWhatElseItFound) {
  const Folder folder;
  const auto path = folder.write("x.npy", "\x1f\x8b\x08gzip");
  Memory memory;
  EXPECT_EQ(outcome(load_array(memory, path, std::nullopt)),
            "bad_file: \"" + path +
                "\" is neither a .npy nor a .npz file: it begins with \"\\x1f\\x8b\\x08gzip\"");
  folder.write("x.npy", "");
  EXPECT_TRUE(contains(outcome(load_array(memory, path, std::nullopt)), "it is empty"));
}

TEST(LoadArray, RefusesAMemberOfANpy) {
  Memory memory;
  EXPECT_TRUE(contains(outcome(load_array(memory, data_path("scalar.npy"), "x")),
                       "is a single .npy array, it has no member \"x\""));
}

TEST(LoadArray, RefusesRelativePathsAndDirectories) {
  Memory memory;
  EXPECT_TRUE(contains(outcome(load_array(memory, "x.npy", {})), "is not an absolute path"));
  EXPECT_TRUE(contains(outcome(load_array(memory, "/tmp", {})), "is a directory"));
  EXPECT_TRUE(outcome(load_array(memory, "/nowhere/x.npy", {})).starts_with("io_error: "));
}

}  // namespace
}  // namespace outrigger::files
