#include <numeric>

#include "files/npz.hpp"
#include "files/support.hpp"

namespace outrigger::files {
namespace {

using testing::contains;
using testing::FileSizeLimit;
using testing::Folder;
using testing::outcome;
using testing::read_bytes;
using testing::values;

class SaveNpz : public ::testing::Test {
 protected:
  Tensor counting(std::int64_t n, std::int32_t first = 0) {
    Tensor tensor = *allocate_tensor(memory_, {DType::s32, {n}});
    std::iota(tensor.as<std::int32_t>(), tensor.as<std::int32_t>() + n, first);
    return tensor;
  }
  std::string save(const std::vector<NamedTensor>& tensors, const Check& check = {}) const {
    const auto saved = save_npz(tensors, path_, false, check);
    return saved ? "" : std::string(name_of(saved.error().code)) + ": " + saved.error().text;
  }

  Memory memory_;
  Folder folder_;
  std::string path_ = folder_.path("x.npz");
};

TEST_F(SaveNpz, ReadsBackEveryMember) {
  const Tensor scalar = *allocate_tensor(memory_, {DType::f64, {}});
  *scalar.as<double>() = 2.5;
  const Tensor none = *allocate_tensor(memory_, {DType::u8, {0, 3}});
  ASSERT_EQ(save({{"a", counting(3)}, {"größe/b", counting(100'000)}, {"s", scalar}, {"0", none}}),
            "");
  EXPECT_EQ(values<std::int32_t>(*load_npz(memory_, path_, "a")),
            (std::vector<std::int32_t>{0, 1, 2}));
  EXPECT_EQ(values<std::int32_t>(*load_npz(memory_, path_, "größe/b")),
            values<std::int32_t>(counting(100'000)));
  EXPECT_EQ(values<double>(*load_npz(memory_, path_, "s")), std::vector<double>{2.5});
  EXPECT_EQ(outcome(load_npz(memory_, path_, "0")), "u8[0][3]");
  EXPECT_EQ(folder_.entries(), 1U);
}

TEST_F(SaveNpz, EqualTensorsGiveEqualBytes) {
  ASSERT_EQ(save({{"a", counting(3)}}), "");
  const std::string first = read_bytes(path_);
  ASSERT_EQ(save({{"a", counting(3)}}), "");
  EXPECT_EQ(read_bytes(path_), first);
}

TEST_F(SaveNpz, CompressionMakesItSmaller) {
  const Tensor zeros = *allocate_tensor(memory_, {DType::u8, {100'000}});
  std::fill_n(zeros.data(), 100'000, std::byte{0});
  const std::vector<NamedTensor> all{{"zeros", zeros}};
  ASSERT_TRUE(save_npz(all, path_, false));
  EXPECT_GT(read_bytes(path_).size(), 100'000U);
  ASSERT_TRUE(save_npz(all, path_, true));
  EXPECT_LT(read_bytes(path_).size(), 2'000U);
  EXPECT_EQ(values<std::uint8_t>(*load_npz(memory_, path_, "zeros")),
            std::vector<std::uint8_t>(100'000, 0));
}

TEST_F(SaveNpz, RefusesImpossibleMembers) {
  folder_.write("x.npz", "old");
  const Tensor t = counting(1);
  const Tensor brain = *allocate_tensor(memory_, {DType::bf16, {4}});
  const std::vector<std::pair<std::vector<NamedTensor>, const char*>> table{
      {{}, "bad_request: a .npz file needs at least one tensor"},
      {{{"", t}}, "bad_request: \"\" cannot be a member's name"},
      {{{std::string("a\0b", 3), t}}, "bad_request: \"a\\x00b\" cannot be a member's name"},
      {{{"\xff", t}}, "bad_request: \"\\xff\" cannot be a member's name"},
      {{{std::string(65532, 'x'), t}}, "cannot be a member's name"},
      {{{"a", t}, {"b", t}, {"a", t}}, "bad_request: two members are named \"a\""},
      {{{"a", t}, {"b", brain}}, "bad_dtype: a .npy file cannot hold bf16[4]"}};
  for (const auto& [tensors, text] : table) {
    const std::string got = save(tensors);
    EXPECT_TRUE(contains(got, text)) << got;
    EXPECT_EQ(read_bytes(path_), "old");
  }
  EXPECT_EQ(save({{std::string(65531, 'x'), t}}), "");
  EXPECT_EQ(folder_.entries(), 1U);
}

TEST_F(SaveNpz, ACancelLeavesTheOldFile) {
  folder_.write("x.npz", "old");
  int asked = 0;
  const auto stop = [&]() -> Result<void> {
    if (++asked < 5) return {};
    return fail(ErrorCode::cancelled, "enough");
  };
  EXPECT_EQ(save({{"a", counting(1 << 20)}}, stop), "cancelled: enough");
  EXPECT_EQ(read_bytes(path_), "old");
  EXPECT_EQ(folder_.entries(), 1U);
}

TEST_F(SaveNpz, AFullDiskLeavesTheOldFileAndNoHalfOne) {
  folder_.write("x.npz", "old");
  std::string got;
  {
    const FileSizeLimit full(50000);
    got = save({{"a", counting(1 << 16)}});
  }
  EXPECT_EQ(got, "io_error: cannot write \"" + path_ + "\": File too large");
  EXPECT_EQ(read_bytes(path_), "old");
  EXPECT_EQ(folder_.entries(), 1U);
}

}  // namespace
}  // namespace outrigger::files
