#include "files/file.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "files/support.hpp"

namespace outrigger::files {
namespace {

using testing::contains;
using testing::Folder;

std::string open_outcome(const std::string& path) {
  const auto file = File::open(path);
  return file ? "" : std::string(name_of(file.error().code)) + ": " + file.error().text;
}

TEST(File, RefusesWhatIsNoRegularFile) {
  const Folder folder;
  ASSERT_EQ(::mkfifo(folder.path("pipe").c_str(), 0600), 0);
  EXPECT_TRUE(contains(open_outcome(folder.path("pipe")), "is a named pipe, not a file"));
  EXPECT_TRUE(contains(open_outcome(folder.path("")), "is a directory, not a file"));
  EXPECT_EQ(open_outcome("/dev/zero"), "bad_file: \"/dev/zero\" is a device, not a file");
  EXPECT_EQ(open_outcome("/dev/null"), "bad_file: \"/dev/null\" is a device, not a file");
}

TEST(File, RefusesPathsThatAreNotAbsolute) {
  EXPECT_EQ(open_outcome(""), "bad_file: \"\" is not an absolute path");
  EXPECT_EQ(open_outcome("x.npy"), "bad_file: \"x.npy\" is not an absolute path");
  EXPECT_EQ(open_outcome("../x.npy"), "bad_file: \"../x.npy\" is not an absolute path");
  EXPECT_EQ(open_outcome(std::string("/etc/passwd\0x", 13)),
            "bad_file: \"/etc/passwd\\x00x\" is not a path");
}

TEST(File, TellsTheSystemsErrors) {
  const Folder folder;
  const std::string path = folder.path("no such.npy");
  EXPECT_EQ(open_outcome(path),
            "io_error: cannot open \"" + path + "\": No such file or directory");
  EXPECT_TRUE(contains(open_outcome("/" + std::string(5000, 'x')), "File name too long"));
}

TEST(File, FollowsLinksAndClosesOnExec) {
  const Folder folder;
  folder.write("x", "abc");
  ASSERT_EQ(::symlink("x", folder.path("link").c_str()), 0);
  auto file = File::open(folder.path("link"));
  ASSERT_TRUE(file);
  EXPECT_EQ(file->size(), 3U);
  EXPECT_EQ(*file->first_bytes(), "abc");
  std::string bytes(8, '\0');
  EXPECT_EQ(*read_fully(*file, bytes.data(), bytes.size()), 3U);
}

TEST(InQuotes, ShowsOnlyPrintableUtf8) {
  EXPECT_EQ(in_quotes("größe ∑ 🛶"), "\"größe ∑ 🛶\"");
  EXPECT_EQ(in_quotes({"a\0\n\x7f", 4}), "\"a\\x00\\x0a\\x7f\"");
  EXPECT_EQ(in_quotes("\xff\xc3"), "\"\\xff\\xc3\"");
  EXPECT_EQ(in_quotes("\xc0\x80\xed\xa0\x80"), "\"\\xc0\\x80\\xed\\xa0\\x80\"");
  EXPECT_EQ(in_quotes("\xe2\x88"), "\"\\xe2\\x88\"");
  EXPECT_EQ(in_quotes("\xf4\x90\x80\x80"), "\"\\xf4\\x90\\x80\\x80\"");
  EXPECT_EQ(in_quotes(std::string(1000, 'x')), "\"" + std::string(300, 'x') + "…\"");
}

}  // namespace
}  // namespace outrigger::files
