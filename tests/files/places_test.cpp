#include "files/places.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "files/file.hpp"
#include "files/new_file.hpp"
#include "files/support.hpp"

namespace outrigger::files {
namespace {

using testing::contains;
using testing::Folder;
using testing::read_bytes;

/// A folder that is allowed, beside a folder with a secret.
class PlacesTest : public ::testing::Test {
 protected:
  PlacesTest() {
    std::filesystem::create_directories(inside("below"));
    std::filesystem::create_directory(folder_.path("out"));
    folder_.write("in/x", "allowed");
    folder_.write("in/below/y", "below");
    folder_.write("out/secret", "secret");
    folder_.write("input", "begins as the folder does");
    EXPECT_TRUE(allow_only({folder_.path("in")}));
  }
  ~PlacesTest() override { allow_all(); }

  std::string inside(const std::string& name) const { return folder_.path("in/" + name); }
  std::string secret() const { return folder_.path("out/secret"); }

  /// The code of a refusal, after a check that neither open() nor create() accepts the path.
  static ErrorCode refusal(const std::string& path) {
    const auto read = File::open(path);
    EXPECT_FALSE(read) << path;
    EXPECT_FALSE(NewFile::create(path)) << path;
    return read ? ErrorCode::internal : read.error().code;
  }

  static Result<void> save(const std::string& path, std::string_view text) {
    OUTRIGGER_TRY(NewFile file, NewFile::create(path));
    OUTRIGGER_CHECK(file.write(0, std::as_bytes(std::span(text.data(), text.size()))));
    return file.commit();
  }

  Folder folder_;
};

TEST_F(PlacesTest, FilesOfTheFolderAreReadAndWritten) {
  EXPECT_TRUE(File::open(inside("x")));
  EXPECT_TRUE(File::open(inside("below/y")));
  EXPECT_TRUE(File::open(inside("below/../x"))) << "it stays in the folder";
  ASSERT_TRUE(save(inside("new"), "first"));
  ASSERT_TRUE(save(inside("new"), "second"));
  ASSERT_TRUE(save(inside("below/new"), "third"));
  EXPECT_EQ(read_bytes(inside("new")), "second");
  EXPECT_EQ(read_bytes(inside("below/new")), "third");
}

TEST_F(PlacesTest, NoPathLeadsOut) {
  for (const std::string& path :
       {secret(), inside("../out/secret"), inside("below/../../out/secret"), folder_.path("input"),
        folder_.path("in"), inside("../input"), std::string("/etc/passwd"),
        std::string("/proc/self/root") + secret(), folder_.path("./in/x"),
        folder_.path("out/../in/x")}) {
    EXPECT_EQ(refusal(path), ErrorCode::forbidden) << path;
  }
  const auto refused = File::open(secret());
  EXPECT_TRUE(contains(refused.error().text, "--files")) << refused.error().text;
  EXPECT_TRUE(contains(refused.error().text, folder_.path("in/"))) << refused.error().text;
}

TEST_F(PlacesTest, NoLinkLeadsOut) {
  std::filesystem::create_symlink(secret(), inside("absolute"));
  std::filesystem::create_symlink("../out/secret", inside("relative"));
  std::filesystem::create_directory_symlink("../out", inside("folder"));
  std::filesystem::create_directory_symlink("/proc/self/root", inside("magic"));
  for (const char* name : {"absolute", "relative", "folder/secret", "magic/etc/passwd"}) {
    EXPECT_EQ(File::open(inside(name)).error().code, ErrorCode::forbidden) << name;
    EXPECT_FALSE(NewFile::create(inside(name))) << name;
  }
  EXPECT_EQ(read_bytes(secret()), "secret");
}

TEST_F(PlacesTest, ALinkWithinTheFolderIsReadAndNotWritten) {
  std::filesystem::create_symlink("below/y", inside("link"));
  EXPECT_TRUE(File::open(inside("link")));
  const auto refused = NewFile::create(inside("link"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::bad_file);
  EXPECT_TRUE(contains(refused.error().text, inside("link"))) << refused.error().text;
  EXPECT_TRUE(contains(refused.error().text, "symbolic link")) << refused.error().text;
}

TEST_F(PlacesTest, AFolderThatBecomesALinkIsNotFollowed) {
  auto file = NewFile::create(inside("below/new"));
  ASSERT_TRUE(file);
  std::filesystem::rename(inside("below"), inside("moved"));
  std::filesystem::create_directory_symlink(folder_.path("out"), inside("below"));
  ASSERT_TRUE(file->commit());
  EXPECT_TRUE(std::filesystem::exists(inside("moved/new")));
  EXPECT_FALSE(std::filesystem::exists(folder_.path("out/new")));
}

// A check of the path's text before it is opened would lose this race.
TEST_F(PlacesTest, NoRaceLeadsOut) {
  std::filesystem::create_symlink(secret(), inside("link"));
  folder_.write("in/file", "allowed");
  std::atomic<bool> stop{false};
  std::thread swaps([&] {
    while (!stop) {
      ::renameat2(AT_FDCWD, inside("link").c_str(), AT_FDCWD, inside("file").c_str(),
                  RENAME_EXCHANGE);
    }
  });
  int opened = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto file = File::open(inside("file"));
    if (!file) continue;
    ++opened;
    EXPECT_EQ(*file->first_bytes(), "allowed");
  }
  stop = true;
  swaps.join();
  EXPECT_GT(opened, 0);
}

TEST_F(PlacesTest, SeveralFoldersAndNone) {
  ASSERT_TRUE(allow_only({inside("below"), folder_.path("out") + "//"}));
  EXPECT_TRUE(File::open(inside("below/y")));
  EXPECT_TRUE(File::open(secret()));
  EXPECT_EQ(File::open(inside("x")).error().code, ErrorCode::forbidden);
  ASSERT_TRUE(allow_only({}));
  EXPECT_EQ(refusal(inside("x")), ErrorCode::forbidden);
  EXPECT_TRUE(contains(File::open(secret()).error().text, "allows no files"));
  ASSERT_TRUE(allow_only({"/"}));
  EXPECT_TRUE(File::open(secret()));
  ASSERT_TRUE(save(folder_.path("out/new"), "text"));
  EXPECT_FALSE(allow_only({folder_.path("nowhere")}));
  EXPECT_FALSE(allow_only({"relative"}));
}

TEST_F(PlacesTest, TheServersOwnFilesAreBesideThem) { EXPECT_TRUE(File::open_own(secret())); }

}  // namespace
}  // namespace outrigger::files
