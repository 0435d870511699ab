#include "net/byte_size.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace outrigger::net {
namespace {

TEST(ByteSize, ReadsWhatPeopleWrite) {
  struct Case {
    std::string_view text;
    std::uint64_t bytes;
  };
  const Case cases[] = {
      {"0", 0},
      {"1000", 1000},
      {"7B", 7},
      {"2GiB", 2ULL << 30},
      {"2 GiB", 2ULL << 30},
      {"500MB", 500'000'000},
      {"1.5KiB", 1536},
      {"64kb", 64'000},
      {"1TiB", 1ULL << 40},
      {"80%", 800},
      {"100%", 1000},
      {"0.5%", 5},
  };
  for (const Case& c : cases) {
    const auto bytes = parse_byte_size(c.text, 1000);
    ASSERT_TRUE(bytes.has_value()) << c.text;
    EXPECT_EQ(*bytes, c.bytes) << c.text;
  }
}

TEST(ByteSize, RefusesTheRest) {
  for (const std::string_view text :
       {"", "GiB", "-1", "2XB", "2GiBs", "nan", "inf", "1e30", "9999999TiB", "%"}) {
    EXPECT_FALSE(parse_byte_size(text, 1000).has_value()) << text;
  }
}

TEST(ByteSize, KnowsTheMachine) {
  EXPECT_GT(available_memory_bytes(), 1ULL << 20);
  EXPECT_LT(available_memory_bytes(), 1ULL << 50);
}

/// A folder with the files of /proc and /sys that control groups are read from.
class ControlGroups : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(root_); }

  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = root_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text << '\n';
  }
  std::uint64_t available() const { return available_memory_bytes(root_.string()); }

  static constexpr std::uint64_t mib = 1ULL << 20;
  const std::filesystem::path root_ = make_root();

 private:
  static std::filesystem::path make_root() {
    std::string name = (std::filesystem::temp_directory_path() / "groups-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    return name;
  }
};

TEST_F(ControlGroups, WithoutThemTheMachinesMemoryCounts) {
  const std::uint64_t machine = available();
  EXPECT_GT(machine, 64 * mib);
  write("proc/self/cgroup", "0::/");
  EXPECT_EQ(available(), machine);
  write("sys/fs/cgroup/memory.max", "max");
  EXPECT_EQ(available(), machine);
}

TEST_F(ControlGroups, SecondVersionInAContainer) {
  write("proc/self/cgroup", "0::/");
  write("sys/fs/cgroup/memory.max", "67108864");
  EXPECT_EQ(available(), 64 * mib);
}

TEST_F(ControlGroups, SecondVersionTakesTheLeastOfTheGroupsAbove) {
  write("proc/self/cgroup", "0::/system.slice/outrigger.service");
  write("sys/fs/cgroup/system.slice/memory.max", "33554432");
  write("sys/fs/cgroup/system.slice/outrigger.service/memory.max", "67108864");
  EXPECT_EQ(available(), 32 * mib);
  write("sys/fs/cgroup/system.slice/outrigger.service/memory.max", "max");
  EXPECT_EQ(available(), 32 * mib);
  write("sys/fs/cgroup/system.slice/outrigger.service/memory.max", "16777216");
  EXPECT_EQ(available(), 16 * mib);
}

TEST_F(ControlGroups, FirstVersionInAContainerWhosePathIsThatOutside) {
  write("proc/self/cgroup",
        "9:name=systemd:/docker/1\n4:memory:/docker/1\n1:cpu:/docker/1\n0::/docker/1");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864");
  EXPECT_EQ(available(), 64 * mib);
}

TEST_F(ControlGroups, FirstVersionOutsideOfAContainer) {
  const std::uint64_t machine = available();
  write("proc/self/cgroup", "5:cpu,memory:/a/b:c\n0::/");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
  EXPECT_EQ(available(), machine);
  write("sys/fs/cgroup/memory/a/b:c/memory.limit_in_bytes", "33554432");
  EXPECT_EQ(available(), 32 * mib);
  // Another controller's path is not the memory's.
  write("proc/self/cgroup", "5:memory_other:/a/b:c");
  EXPECT_EQ(available(), machine);
}

}  // namespace
}  // namespace outrigger::net
