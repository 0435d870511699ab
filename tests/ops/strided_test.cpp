#include "ops/support/strided.hpp"

#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "support/random.hpp"

namespace outrigger::ops {
namespace {

/// The element offsets of positions [start, start + n), one by one.
std::vector<std::int64_t> offsets(const Dims& dims, const Dims& strides, std::int64_t start,
                                  std::int64_t n) {
  std::vector<std::int64_t> all;
  for (std::int64_t position = start; position < start + n; ++position) {
    std::int64_t rest = position;
    std::int64_t offset = 0;
    for (std::size_t axis = dims.size(); axis-- > 0;) {
      offset += rest % dims[axis] * strides[axis];
      rest /= dims[axis];
    }
    all.push_back(offset);
  }
  return all;
}

std::vector<std::int64_t> walked(const Dims& dims, const Dims& strides, std::int64_t start,
                                 std::int64_t n) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(n), -999);
  for_each_run(
      dims, strides, start, n,
      [&](std::int64_t position, std::int64_t offset, std::int64_t stride, std::int64_t length) {
        for (std::int64_t i = 0; i < length; ++i)
          all.at(static_cast<std::size_t>(position + i)) = offset + i * stride;
      });
  return all;
}

TEST(StridedTest, WalksFromAnyStart) {
  const Dims dims{3, 1, 4, 5};
  const Dims strides{100, 7, -20, 3};
  for (std::int64_t start = 0; start <= 60; ++start) {
    for (std::int64_t n = 0; start + n <= 60; ++n) {
      ASSERT_EQ(walked(dims, strides, start, n), offsets(dims, strides, start, n))
          << start << " + " << n;
    }
  }
}

TEST(StridedTest, AScalarIsOneRun) {
  EXPECT_EQ(walked({}, {}, 0, 1), std::vector<std::int64_t>{0});
  EXPECT_EQ(walked({5}, {0}, 1, 3), (std::vector<std::int64_t>{0, 0, 0}));
}

TEST(StridedTest, GatherAndScatterAreInverse) {
  const Dims dims{4, 3, 5};
  const Dims strides{1, 20, -4};
  std::vector<std::int32_t> memory(60);
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<std::int32_t>(i);
  const std::vector<std::int32_t> before = memory;
  std::vector<std::int32_t> tile(37);
  gather_tile(tile.data(), memory.data() + 16, dims, strides, 11, 37);
  const auto expected = offsets(dims, strides, 11, 37);
  for (std::size_t i = 0; i < tile.size(); ++i) ASSERT_EQ(tile[i], 16 + expected[i]);
  for (std::int32_t& x : tile) x += 1000;
  scatter_tile(tile.data(), memory.data() + 16, dims, strides, 11, 37);
  int changed = 0;
  for (std::size_t i = 0; i < memory.size(); ++i) changed += memory[i] != before[i] ? 1 : 0;
  EXPECT_EQ(changed, 37);
  for (const std::int64_t at : expected)
    EXPECT_EQ(memory[static_cast<std::size_t>(16 + at)], 1016 + at);
}

TEST(CollapseTest, MergesWhatIsWalkedAsOneAxis) {
  Dims dims{2, 3, 4};
  std::array strides{Dims{12, 4, 1}};
  collapse(dims, strides);
  EXPECT_EQ(dims, Dims{24});
  EXPECT_EQ(strides[0], Dims{1});
}

TEST(CollapseTest, KeepsWhatOneOperandWalksOtherwise) {
  Dims dims{2, 3, 4};
  std::array strides{Dims{12, 4, 1}, Dims{0, 4, 1}};
  collapse(dims, strides);
  EXPECT_EQ(dims, (Dims{2, 12}));
  EXPECT_EQ(strides[0], (Dims{12, 1}));
  EXPECT_EQ(strides[1], (Dims{0, 1}));
}

TEST(CollapseTest, DropsAxesOfOneAndBroadcastsTogether) {
  Dims dims{1, 5, 1, 6};
  std::array strides{Dims{77, 0, 3, 0}};
  collapse(dims, strides);
  EXPECT_EQ(dims, Dims{30});
  EXPECT_EQ(strides[0], Dims{0});
  Dims ones{1, 1};
  std::array none{Dims{4, 4}};
  collapse(ones, none);
  EXPECT_TRUE(ones.empty());
}

TEST(CollapseTest, NeverChangesTheWalk) {
  const unsigned seed = outrigger::test::new_seed();
  SCOPED_TRACE(testing::Message() << "OUTRIGGER_SEED=" << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    const std::size_t rank = random() % 6;
    Dims dims(rank);
    std::array strides{Dims(rank), Dims(rank)};
    std::array<std::int64_t, 2> next{1, 1};
    for (std::size_t axis = rank; axis-- > 0;) {
      dims[axis] = 1 + static_cast<std::int64_t>(random() % 4);
      for (std::size_t k = 0; k < 2; ++k) {
        const auto choice = random() % 4;
        strides.at(k)[axis] = choice == 0 ? 0 : choice == 1 ? -7 : next.at(k);
        next.at(k) = strides.at(k)[axis] * dims[axis];
      }
    }
    const std::int64_t n = element_count(dims);
    Dims merged = dims;
    std::array after = strides;
    collapse(merged, after);
    ASSERT_EQ(element_count(merged), n);
    for (std::size_t k = 0; k < 2; ++k) {
      ASSERT_EQ(walked(merged, after.at(k), 0, n), offsets(dims, strides.at(k), 0, n))
          << to_string(dims) << " " << to_string(strides.at(k));
    }
  }
}

}  // namespace
}  // namespace outrigger::ops
