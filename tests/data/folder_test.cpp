// The folder of published tensors: what it keeps, and what it refuses.

#include "data/folder.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include "data/support.hpp"
#include "files/file.hpp"
#include "tensor/file_pages.hpp"

namespace outrigger::data {
namespace {

using testing::Bytes;
using testing::ignore_bytes;
using testing::item;
using testing::load_all;
using testing::names_in;
using testing::reopened;
using testing::Values;
using Names = std::vector<std::string>;

class FolderTest : public ::testing::Test {
 protected:
  std::string path() const { return temporary_.path("data"); }
  std::string file(const std::string& name) const { return path() + "/" + name; }
  std::unique_ptr<Folder> open() const {
    auto folder = Folder::open(path());
    EXPECT_TRUE(folder) << folder.error().text;
    return folder ? *std::move(folder) : nullptr;
  }
  static Saved save(Folder& folder, std::vector<Item> items, std::uint64_t last_change = 0) {
    auto saved = folder.save(items, last_change, 1, ignore_bytes);
    EXPECT_TRUE(saved) << saved.error().text;
    return saved ? *std::move(saved) : Saved{};
  }
  std::string refusal() const {
    auto all = reopened(path());
    EXPECT_FALSE(all);
    return all ? "" : all.error().text;
  }

  const testing::TemporaryFolder temporary_;
  Memory memory_;
};

TEST_F(FolderTest, KeepsTensorsAndTheirDescription) {
  {
    auto folder = open();
    std::vector<Item> items;
    items.push_back(item(memory_, "a/b", 3, {1, 2, 3}));
    items.push_back(item(memory_, "empty", 4, {}));
    items[0].entry.token = "app";
    items[0].entry.lifetime = Lifetime{5000, 400};
    std::size_t released = 0;
    auto saved = folder->save(items, 9, 77, [&](std::size_t bytes) { released += bytes; });
    ASSERT_TRUE(saved);
    EXPECT_EQ(released, 3U);
    EXPECT_EQ(memory_.used(), 0U) << "a buffer goes with its file";
    EXPECT_EQ(saved->manifest.checkpoint, 1U);
    EXPECT_GT(saved->bytes, 3U);
  }
  auto folder = open();
  const Manifest& manifest = folder->manifest();
  EXPECT_EQ(manifest.checkpoint, 1U);
  EXPECT_EQ(manifest.last_change, 9U);
  EXPECT_EQ(manifest.taken_at_ms, 77);
  EXPECT_EQ(manifest.entries.at(0).version, 3U);
  EXPECT_EQ(manifest.entries.at(0).token, "app");
  EXPECT_EQ(manifest.entries.at(0).lifetime->left_ms, 400);
  EXPECT_EQ(*load_all(*folder), (Values{{"a/b", {1, 2, 3}}, {"empty", {}}}));
}

TEST_F(FolderTest, EachDtypeComesBack) {
  auto folder = open();
  std::vector<Item> items;
  for (const DType dtype : all_dtypes) {
    const auto bytes = static_cast<std::int64_t>(6 * size_of(dtype));
    Item next = item(memory_, std::string(name_of(dtype)), items.size() + 1, Bytes(bytes, 1));
    next.entry.type = {dtype, {2, 3}};
    items.push_back(std::move(next));
  }
  ASSERT_TRUE(folder->save(items, 99, 1, ignore_bytes));
  for (const Entry& entry : folder->manifest().entries) {
    const auto tensor = folder->load(memory_, entry);
    ASSERT_TRUE(tensor) << tensor.error().text;
    EXPECT_EQ(name_of(tensor->dtype()), entry.name);
    EXPECT_EQ(tensor->shape(), (Dims{2, 3}));
    const auto bytes = static_cast<std::size_t>(byte_count(tensor->type));
    EXPECT_EQ(Bytes(bytes, 1),
              Bytes(tensor->as<std::uint8_t>(), tensor->as<std::uint8_t>() + bytes));
  }
}

TEST_F(FolderTest, WritesOnlyWhatIsNewAndRemovesWhatIsGone) {
  auto folder = open();
  std::vector<Item> first;
  first.push_back(item(memory_, "stays", 1, {1}));
  first.push_back(item(memory_, "goes", 2, {2}));
  save(*folder, std::move(first));
  EXPECT_EQ(names_in(path()), (Names{"1-1.tensor", "2-1.tensor", "lock", "manifest"}));
  struct stat before {};
  ASSERT_EQ(::stat(file("1-1.tensor").c_str(), &before), 0);
  std::vector<Item> second{testing::kept(*folder, "stays")};
  second.push_back(item(memory_, "new", 3, {3}));
  save(*folder, std::move(second));
  EXPECT_EQ(names_in(path()), (Names{"1-1.tensor", "3-2.tensor", "lock", "manifest"}));
  struct stat after {};
  ASSERT_EQ(::stat(file("1-1.tensor").c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_EQ(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
  folder.reset();
  EXPECT_EQ(*reopened(path()), (Values{{"stays", {1}}, {"new", {3}}}));
}

TEST_F(FolderTest, BelongsToOneServer) {
  auto folder = open();
  const auto second = Folder::open(path());
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().text.find("in use by another server: stop it"), std::string::npos)
      << second.error().text;
  folder.reset();
  EXPECT_TRUE(Folder::open(path()));
}

TEST_F(FolderTest, OnlyItsOwnerReadsIt) {
  auto folder = open();
  save(*folder, [&] {
    std::vector<Item> items;
    items.push_back(item(memory_, "a", 1, {1}));
    return items;
  }());
  for (const std::string& name : names_in(path())) {
    struct stat status {};
    ASSERT_EQ(::stat(file(name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U) << name;
  }
}

TEST_F(FolderTest, RemovesLeftoversAndNothingElse) {
  {
    auto folder = open();
    std::vector<Item> items;
    items.push_back(item(memory_, "a", 1, {1}));
    save(*folder, std::move(items));
  }
  for (const char* name : {"9-9.tensor", "manifest.new", "notes.txt", "x-1.tensor", "1-1.tensors"})
    std::ofstream(file(name)) << "x";
  EXPECT_TRUE(open());
  EXPECT_EQ(names_in(path()),
            (Names{"1-1.tensor", "1-1.tensors", "lock", "manifest", "notes.txt", "x-1.tensor"}));
}

TEST_F(FolderTest, EachChangedByteIsFoundAndItsFileNamed) {
  {
    auto folder = open();
    std::vector<Item> items;
    items.push_back(item(memory_, "a", 1, {1, 2, 3, 4, 5}));
    items.push_back(item(memory_, "b", 2, {}));
    save(*folder, std::move(items));
  }
  std::size_t tried = 0;
  for (const char* name : {"1-1.tensor", "2-1.tensor", "manifest"}) {
    const std::string right = files::testing::read_bytes(file(name));
    const auto refused = [&](const std::string& text, const std::string& what) {
      std::ofstream(file(name), std::ios::binary) << text;
      const std::string said = refusal();
      EXPECT_NE(said.find("/" + std::string(name) + "\""), std::string::npos) << what << said;
      EXPECT_NE(said.find("Restore the folder"), std::string::npos) << what << said;
      ++tried;
    };
    for (std::size_t at = 0; at < right.size(); ++at) {
      const std::string where = std::string(name) + ", byte " + std::to_string(at) + ": ";
      for (const int mask : {0xff, 1 << (at % 8)}) {
        std::string changed = right;
        changed[at] = static_cast<char>(changed[at] ^ mask);
        refused(changed, where);
      }
      refused(right.substr(0, at), where);
    }
    refused(right + " ", "longer ");
    std::ofstream(file(name), std::ios::binary) << right;
  }
  EXPECT_GT(tried, 900U);
  EXPECT_EQ(*reopened(path()), (Values{{"a", {1, 2, 3, 4, 5}}, {"b", {}}}));
}

TEST_F(FolderTest, MissingFilesAreNamed) {
  {
    auto folder = open();
    std::vector<Item> items;
    items.push_back(item(memory_, "a", 1, {1}));
    save(*folder, std::move(items));
  }
  ASSERT_EQ(::rename(file("1-1.tensor").c_str(), file("away").c_str()), 0);
  EXPECT_NE(refusal().find("1-1.tensor"), std::string::npos);
  ASSERT_EQ(::rename(file("away").c_str(), file("1-1.tensor").c_str()), 0);
  ASSERT_EQ(::unlink(file("manifest").c_str()), 0);
  const std::string said = refusal();
  EXPECT_NE(said.find("manifest"), std::string::npos) << said;
  EXPECT_NE(said.find("is missing"), std::string::npos) << said;
  EXPECT_EQ(names_in(path()).front(), "1-1.tensor") << "nothing is removed";
}

TEST_F(FolderTest, TheMemoryLimitHoldsWhileItIsRead) {
  {
    auto folder = open();
    std::vector<Item> items;
    items.push_back(item(memory_, "large", 1, Bytes(100'000, 7)));
    save(*folder, std::move(items));
  }
  auto folder = open();
  Memory small(50'000);
  const auto tensor = folder->load(small, folder->manifest().entries.at(0));
  ASSERT_FALSE(tensor);
  EXPECT_EQ(tensor.error().code, ErrorCode::out_of_memory);
  EXPECT_NE(tensor.error().text.find("\"large\""), std::string::npos) << tensor.error().text;
  EXPECT_NE(tensor.error().text.find("larger memory limit"), std::string::npos);
}

TEST_F(FolderTest, FoldersThatCannotBeUsedAreRefusedWithTheReason) {
  const auto text = [](const std::string& path) {
    const auto folder = Folder::open(path);
    return folder ? std::string() : folder.error().text;
  };
  EXPECT_NE(text(temporary_.path("no/where")).find("No such file"), std::string::npos);
  EXPECT_NE(text(temporary_.write("file", "x")).find("Not a directory"), std::string::npos);
  EXPECT_NE(text("/proc/self"), "");
}

/// The tensor's own file has become shorter: its elements are lost, and only they.
TEST_F(FolderTest, ATensorWithoutItsFileIsLeftOutWithItsReason) {
  const std::size_t bytes = own_pages_bytes * 2;
  const std::string mapped = temporary_.write("mapped", std::string(bytes, 'x'));
  auto folder = open();
  std::vector<Item> items;
  items.push_back(item(memory_, "broken", 1, Bytes(bytes, 0)));
  items.push_back(item(memory_, "whole", 2, {5}));
  auto source = files::File::open(mapped);
  ASSERT_TRUE(source);
  ASSERT_TRUE(
      map_file_pages(items[0].buffer->data(), bytes, source->descriptor(), 0, "\"mapped\""));
  ASSERT_EQ(::truncate(mapped.c_str(), 100), 0);
  const Saved saved = save(*folder, std::move(items));
  ASSERT_EQ(saved.left_out.size(), 1U);
  EXPECT_EQ(saved.left_out[0], "\"broken\": \"mapped\" became shorter while it was in use");
  folder.reset();
  EXPECT_EQ(*reopened(path()), (Values{{"whole", {5}}}));
}

}  // namespace
}  // namespace outrigger::data
