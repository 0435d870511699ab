#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "files/npy.hpp"
#include "files/support.hpp"

namespace outrigger::files {
namespace {

using testing::contains;
using testing::data_path;
using testing::FileSizeLimit;
using testing::Folder;
using testing::outcome;
using testing::read_bytes;

Tensor filled(Memory& memory, const TensorType& type) {
  Tensor tensor = *allocate_tensor(memory, type);
  const auto bytes = static_cast<std::size_t>(byte_count(type));
  for (std::size_t i = 0; i < bytes; ++i) tensor.data()[i] = static_cast<std::byte>(i * 7);
  return tensor;
}

std::string save_outcome(const Tensor& tensor, const std::string& path) {
  const auto saved = save_npy(tensor, path);
  return saved ? "" : std::string(name_of(saved.error().code)) + ": " + saved.error().text;
}

TEST(SaveNpy, ReadsBackEveryDtypeAndShape) {
  const Folder folder;
  const Dims shapes[] = {{}, {0}, {5}, {2, 3}, {3, 0, 2}, Dims(16, 1), {1000, 333}};
  for (const DType dtype : kernel_dtypes) {
    for (const Dims& shape : shapes) {
      Memory memory;
      const Tensor tensor = filled(memory, {dtype, shape});
      ASSERT_EQ(save_outcome(tensor, folder.path("x.npy")), "");
      const auto loaded = load_npy(memory, folder.path("x.npy"));
      ASSERT_EQ(outcome(loaded), to_string(tensor.type));
      const auto bytes = static_cast<std::size_t>(byte_count(tensor.type));
      EXPECT_EQ(std::memcmp(loaded->data(), tensor.data(), bytes), 0);
    }
  }
  EXPECT_EQ(folder.entries(), 1U);
}

TEST(SaveNpy, LeavesNoFileOfADtypeThatNumpyLacks) {
  const Folder folder;
  Memory memory;
  const auto tensor = allocate_tensor(memory, {DType::bf16, {4}});
  ASSERT_TRUE(tensor);
  const std::string got = save_outcome(*tensor, folder.path("x.npy"));
  EXPECT_TRUE(got.starts_with("bad_dtype: ") && contains(got, "bf16[4]")) << got;
  EXPECT_EQ(folder.entries(), 0U);
}

TEST(SaveNpy, WritesTheVeryBytesOfNumpy) {
  const Folder folder;
  for (const char* name : {"f8_little.npy", "f2_little.npy", "c16_little.npy", "u1_little.npy",
                           "i2_little.npy", "scalar.npy", "empty.npy"}) {
    Memory memory;
    const auto tensor = load_npy(memory, data_path(name));
    ASSERT_TRUE(tensor);
    ASSERT_EQ(save_outcome(*tensor, folder.path(name)), "");
    EXPECT_EQ(read_bytes(folder.path(name)), read_bytes(data_path(name))) << name;
  }
}

TEST(SaveNpy, WritesAWindowOntoATensor) {
  const Folder folder;
  Memory memory;
  const Tensor base = filled(memory, {DType::s32, {4, 5}});
  const Tensor row = view_of(base, {DType::s32, {5}}, {1}, 10, true);
  ASSERT_EQ(save_outcome(row, folder.path("x.npy")), "");
  const auto loaded = load_npy(memory, folder.path("x.npy"));
  ASSERT_EQ(outcome(loaded), "s32[5]");
  EXPECT_EQ(std::memcmp(loaded->data(), base.as<std::int32_t>() + 10, 20), 0);
}

TEST(SaveNpy, ReplacesAFileAndKeepsItsPermissions) {
  const Folder folder;
  Memory memory;
  const auto path = folder.write("x.npy", "old");
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  ASSERT_EQ(save_outcome(filled(memory, {DType::u8, {3}}), path), "");
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0640U);
  EXPECT_EQ(outcome(load_npy(memory, path)), "u8[3]");
}

TEST(SaveNpy, RefusesToReplaceWhatMayNotBeWritten) {
  const Folder folder;
  Memory memory;
  const Tensor tensor = filled(memory, {DType::u8, {3}});
  const auto path = folder.write("x.npy", "old");
  ASSERT_EQ(::symlink("x.npy", folder.path("link.npy").c_str()), 0);
  for (const mode_t mode : {0444U, 0400U, 0555U, 0U}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    for (const auto& to : {path, folder.path("link.npy")}) {
      EXPECT_EQ(save_outcome(tensor, to),
                "bad_file: \"" + to +
                    "\" is there already and is read-only: change its mode, or save elsewhere");
    }
  }
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_EQ(read_bytes(path), "old");
  EXPECT_EQ(folder.entries(), 2U);
  EXPECT_EQ(save_outcome(tensor, path), "");
}

TEST(SaveNpy, WritesThroughALink) {
  const Folder folder;
  Memory memory;
  folder.write("x.npy", "old");
  ASSERT_EQ(::symlink("x.npy", folder.path("link.npy").c_str()), 0);
  ASSERT_EQ(save_outcome(filled(memory, {DType::u8, {3}}), folder.path("link.npy")), "");
  EXPECT_TRUE(std::filesystem::is_symlink(folder.path("link.npy")));
  EXPECT_EQ(outcome(load_npy(memory, folder.path("x.npy"))), "u8[3]");
  EXPECT_EQ(folder.entries(), 2U);
}

TEST(SaveNpy, TakesNamesAsLongAsTheyCanBe) {
  const Folder folder;
  Memory memory;
  EXPECT_EQ(save_outcome(filled(memory, {DType::u8, {3}}), folder.path(std::string(255, 'x'))), "");
}

TEST(SaveNpy, RefusesWhatIsNoFile) {
  const Folder folder;
  Memory memory;
  const Tensor tensor = filled(memory, {DType::u8, {3}});
  ASSERT_EQ(::mkfifo(folder.path("pipe").c_str(), 0600), 0);
  EXPECT_TRUE(
      contains(save_outcome(tensor, folder.path("pipe")), "is there already and is not a file"));
  EXPECT_TRUE(save_outcome(tensor, folder.path("")).starts_with("bad_file: "));
  EXPECT_TRUE(save_outcome(tensor, "/dev/null").starts_with("bad_file: "));
  EXPECT_EQ(save_outcome(tensor, "x.npy"), "bad_file: \"x.npy\" is not an absolute path");
  EXPECT_EQ(folder.entries(), 1U);
}

TEST(SaveNpy, TellsTheSystemsError) {
  const Folder folder;
  Memory memory;
  const std::string path = folder.path("none/x.npy");
  EXPECT_EQ(save_outcome(filled(memory, {DType::u8, {3}}), path),
            "io_error: cannot write \"" + path + "\": No such file or directory");
}

TEST(SaveNpy, AFullDiskLeavesTheOldFileAndNoHalfOne) {
  const Folder folder;
  Memory memory;
  const auto path = folder.write("x.npy", "old");
  const Tensor tensor = filled(memory, {DType::u8, {100000}});
  std::string got;
  {
    const FileSizeLimit full(50000);
    got = save_outcome(tensor, path);
  }
  EXPECT_EQ(got, "io_error: cannot write \"" + path + "\": File too large");
  EXPECT_EQ(read_bytes(path), "old");
  EXPECT_EQ(folder.entries(), 1U);
}

}  // namespace
}  // namespace outrigger::files
