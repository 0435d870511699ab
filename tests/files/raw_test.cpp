#include "files/raw.hpp"

#include <unistd.h>

#include <filesystem>

#include "files/array_file.hpp"
#include "files/npy.hpp"
#include "files/support.hpp"

namespace outrigger::files::testing {
namespace {

class RawTest : public ::testing::Test {
 protected:
  Result<Tensor> load(const TensorType& type, std::uint64_t offset = 0) {
    return load_raw(memory_, folder_.path("t"), type, offset);
  }

  Folder folder_;
  Memory memory_;
};

TEST_F(RawTest, MapsBytesFromAnOffset) {
  constexpr std::int64_t n = 100'000;
  std::string bytes(5000, 'x');
  for (std::int32_t i = 0; i < n; ++i) bytes.append(reinterpret_cast<const char*>(&i), sizeof i);
  folder_.write("t", bytes);
  const auto tensor = load({DType::s32, {n}}, 5000);
  ASSERT_EQ(outcome(tensor), "s32[100000]");
  EXPECT_EQ(values<std::int32_t>(*tensor)[n - 1], n - 1);
  EXPECT_GE(memory_.used(), 4U * n) << "it may come to be written";
  // Writes do not change the file.
  std::fill_n(tensor->as<std::int32_t>(), n, -1);
  EXPECT_EQ(read_bytes(folder_.path("t")), bytes);
  EXPECT_TRUE(check_intact(*tensor));
}

TEST_F(RawTest, MemoryThatAFileWasMappedOverIsUsedAgain) {
  folder_.write("t", std::string(1 << 20, 'a'));
  const std::byte* first = nullptr;
  {
    const auto mapped = load({DType::u8, {1 << 20}});
    ASSERT_TRUE(mapped);
    first = mapped->data();
  }
  const auto other = allocate_tensor(memory_, {DType::u8, {1 << 20}});
  ASSERT_TRUE(other);
  EXPECT_EQ(other->data(), first) << "from the pool";
  ASSERT_EQ(::truncate(folder_.path("t").c_str(), 0), 0);
  EXPECT_TRUE(check_intact(*other));
  std::fill_n(other->as<std::uint8_t>(), 1 << 20, std::uint8_t{7});
  EXPECT_TRUE(check_intact(*other));
}

TEST_F(RawTest, ReadsWhatCannotBeMapped) {
  folder_.write("t", std::string("\x7F\1\0\0\0\x12\x30", 7));
  const auto crooked = load({DType::s32, {}}, 1);
  ASSERT_EQ(outcome(crooked), "s32");
  EXPECT_EQ(values<std::int32_t>(*crooked), (std::vector<std::int32_t>{1}));
  const auto packed = load({DType::u4, {3}}, 5);
  ASSERT_EQ(outcome(packed), "u4[3]");
  EXPECT_EQ(values<std::uint8_t>(*packed), (std::vector<std::uint8_t>{1, 2, 3}));
  EXPECT_EQ(outcome(load({DType::f64, {2, 0}}, 7)), "f64[2][0]");
}

TEST_F(RawTest, AFileThatIsTooShort) {
  folder_.write("t", "12345678");
  const std::string name = "bad_file: \"" + folder_.path("t") + "\" ";
  EXPECT_EQ(outcome(load({DType::u8, {9}})),
            name + "has 8 bytes, but u8[9] from byte 0 on takes 9");
  EXPECT_EQ(outcome(load({DType::u8, {1}}, 8)),
            name + "has 8 bytes, but u8[1] from byte 8 on takes 1");
  EXPECT_EQ(outcome(load({DType::u8, {1}}, ~std::uint64_t{0})),
            name + "has 8 bytes, but u8[1] from byte 18446744073709551615 on takes 1");
  EXPECT_TRUE(
      contains(outcome(load_raw(memory_, folder_.path("none"), {DType::u8, {1}}, 0)), "io_error"));
}

TEST_F(RawTest, ACutFileIsNoticedAndKillsNobody) {
  folder_.write("t", std::string(1 << 20, 'a'));
  const auto whole = load({DType::u8, {1 << 20}});
  const auto head = load({DType::u8, {300'000}});
  ASSERT_TRUE(whole && head);
  ASSERT_EQ(::truncate(folder_.path("t").c_str(), 301'000), 0);
  // Without the handler, the bytes behind the end would cause a SIGBUS.
  std::uint64_t sum = 0;
  for (const std::uint8_t byte : values<std::uint8_t>(*whole)) sum += byte;
  EXPECT_EQ(sum, 301'000U * 'a');
  const auto checked = check_intact(*whole);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, ErrorCode::io_error);
  EXPECT_TRUE(contains(checked.error().text, "became shorter"));
  EXPECT_TRUE(check_intact(*head));
  // The file has its old length again, but not its old contents.
  ASSERT_EQ(::truncate(folder_.path("t").c_str(), 1 << 20), 0);
  EXPECT_FALSE(check_intact(*whole));
  // A cut within a page causes no signal.
  ASSERT_EQ(::truncate(folder_.path("t").c_str(), 299'999), 0);
  EXPECT_FALSE(check_intact(*head));
}

TEST_F(RawTest, FilesEndWithTheirTensors) {
  folder_.write("t", std::string(1 << 20, 'a'));
  for (int i = 0; i < 5'000; ++i) ASSERT_TRUE(load({DType::u8, {1 << 20}})) << i;
}

TEST_F(RawTest, TheCheckEndsLongReadsAndWrites) {
  folder_.write("t", std::string(64, '\1'));
  int asked = 0;
  const Check stop = [&]() -> Result<void> {
    ++asked;
    return fail(ErrorCode::cancelled, "no");
  };
  EXPECT_EQ(outcome(load_raw(memory_, folder_.path("t"), {DType::u4, {8}}, 0, stop)),
            "cancelled: no");
  const auto tensor = load({DType::u8, {64}});
  ASSERT_TRUE(tensor);
  ASSERT_TRUE(save_npy(*tensor, folder_.path("a.npy")));
  const std::string before = read_bytes(folder_.path("a.npy"));
  const auto saved = save_npy(*tensor, folder_.path("a.npy"), stop);
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code, ErrorCode::cancelled);
  EXPECT_EQ(read_bytes(folder_.path("a.npy")), before);
  EXPECT_EQ(folder_.entries(), 2U) << "nothing is left over";
  EXPECT_EQ(outcome(load_array(memory_, folder_.path("a.npy"), std::nullopt, stop)),
            "cancelled: no");
  EXPECT_EQ(asked, 3);
}

}  // namespace
}  // namespace outrigger::files::testing
