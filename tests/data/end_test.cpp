// The end of the process, of the machine or of the disk's space at any call and at any byte of a
// checkpoint. Afterwards the folder has the checkpoint before, or the whole new one.

#include <unistd.h>

#include <cerrno>
#include <optional>
#include <random>
#include <set>
#include <system_error>

#include "data/support.hpp"
#include "files/file.hpp"

namespace outrigger::data {
namespace {

using testing::Bytes;
using testing::ignore_bytes;
using testing::item;
using testing::names_in;
using testing::reopened;
using testing::Values;

tl::unexpected<Error> ended() { return fail(ErrorCode::io_error, "the process has ended"); }

/// Without the time that a disk takes.
class QuickDisk : public Disk {
 public:
  Result<void> sync(int, const std::string&) override { return {}; }
  Result<void> sync_folder(const std::string&) override { return {}; }
};

/// After so many steps, all further calls do nothing. A byte that is written is a step.
class EndingDisk : public QuickDisk {
 public:
  explicit EndingDisk(std::size_t steps) : left_(steps) {}

  Result<int> create(const std::string& path) override {
    if (!step()) return ended();
    return Disk::create(path);
  }
  Result<void> append(int fd, const std::string& path, std::span<const std::byte> bytes) override {
    const std::size_t written = std::min(left_, bytes.size());
    left_ -= written;
    OUTRIGGER_CHECK(Disk::append(fd, path, bytes.first(written)));
    if (written < bytes.size()) return ended();
    return {};
  }
  Result<void> sync(int fd, const std::string& path) override {
    if (!step()) return ended();
    return QuickDisk::sync(fd, path);
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    if (!step()) return ended();
    return Disk::rename(from, to);
  }
  Result<void> remove(const std::string& path) override {
    if (!step()) return ended();
    return Disk::remove(path);
  }
  Result<void> sync_folder(const std::string& path) override {
    if (!step()) return ended();
    return QuickDisk::sync_folder(path);
  }
  std::size_t left() const { return left_; }

 private:
  bool step() {
    if (left_ == 0) return false;
    --left_;
    return true;
  }
  std::size_t left_;
};

/// A disk whose machine loses its power: the bytes of a file that was not synced are cut, and some
/// of the changes of names that were not synced never happened.
class PowerlessDisk : public QuickDisk {
 public:
  PowerlessDisk(std::size_t calls, unsigned seed) : left_(calls), random_(seed) {}

  Result<int> create(const std::string& path) override {
    if (!call()) return ended();
    changes_.push_back({path, "", contents(path)});
    unsynced_.insert(path);
    return Disk::create(path);
  }
  Result<void> append(int fd, const std::string& path, std::span<const std::byte> bytes) override {
    if (!call()) return ended();
    unsynced_.insert(path);
    return Disk::append(fd, path, bytes);
  }
  Result<void> sync(int fd, const std::string& path) override {
    if (!call()) return ended();
    unsynced_.erase(path);
    return QuickDisk::sync(fd, path);
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    if (!call()) return ended();
    changes_.push_back({to, from, contents(to)});
    if (unsynced_.erase(from) != 0) unsynced_.insert(to);
    return Disk::rename(from, to);
  }
  Result<void> remove(const std::string& path) override {
    if (!call()) return ended();
    changes_.push_back({path, "", contents(path)});
    return Disk::remove(path);
  }
  Result<void> sync_folder(const std::string& path) override {
    if (!call()) return ended();
    changes_.clear();
    return QuickDisk::sync_folder(path);
  }
  bool ended_early() const { return ended_; }

  void lose_power() {
    for (const std::string& path : unsynced_) {
      const std::string text = contents(path).value_or("");
      const std::size_t length =
          std::uniform_int_distribution<std::size_t>(0, text.size())(random_);
      if (::access(path.c_str(), F_OK) == 0) std::ofstream(path) << text.substr(0, length);
    }
    // A folder keeps the order of the changes of one name only.
    std::set<std::string> kept;
    std::bernoulli_distribution happened;
    for (; !changes_.empty(); changes_.pop_back()) {
      const Change& change = changes_.back();
      if (kept.contains(change.path) || kept.contains(change.from) || happened(random_)) {
        kept.insert({change.path, change.from});
        kept.erase("");
        continue;
      }
      if (!change.from.empty()) std::filesystem::rename(change.path, change.from);
      if (change.before)
        std::ofstream(change.path, std::ios::binary) << *change.before;
      else
        std::filesystem::remove(change.path);
    }
  }

 private:
  /// A change of the name `path`; `from` is that of a rename.
  struct Change {
    std::string path;
    std::string from;
    std::optional<std::string> before;
  };
  static std::optional<std::string> contents(const std::string& path) {
    if (::access(path.c_str(), F_OK) != 0) return std::nullopt;
    return files::testing::read_bytes(path);
  }
  bool call() {
    ended_ = ended_ || left_ == 0;
    if (!ended_) --left_;
    return !ended_;
  }

  std::size_t left_;
  bool ended_ = false;
  std::mt19937 random_;
  std::vector<Change> changes_;
  std::set<std::string> unsynced_;
};

/// One call fails.
class FailingDisk : public QuickDisk {
 public:
  FailingDisk(std::size_t calls, int error) : left_(calls), error_(error) {}

  Result<int> create(const std::string& path) override {
    OUTRIGGER_CHECK(call());
    return Disk::create(path);
  }
  Result<void> append(int fd, const std::string& path, std::span<const std::byte> bytes) override {
    // A part of the bytes is written.
    if (left_ == 0) static_cast<void>(Disk::append(fd, path, bytes.first(bytes.size() / 2)));
    OUTRIGGER_CHECK(call());
    return Disk::append(fd, path, bytes);
  }
  Result<void> sync(int fd, const std::string& path) override {
    OUTRIGGER_CHECK(call());
    return QuickDisk::sync(fd, path);
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    OUTRIGGER_CHECK(call());
    return Disk::rename(from, to);
  }
  Result<void> remove(const std::string& path) override {
    OUTRIGGER_CHECK(call());
    return Disk::remove(path);
  }
  Result<void> sync_folder(const std::string& path) override {
    OUTRIGGER_CHECK(call());
    return QuickDisk::sync_folder(path);
  }
  bool failed() const { return failed_; }

 private:
  Result<void> call() {
    if (failed_ || left_-- > 0) return {};
    failed_ = true;
    return files::io_failure("use", "the disk", error_);
  }
  std::size_t left_;
  int error_;
  bool failed_ = false;
};

const Values old_values{{"gone", {1, 2}}, {"live", {3}}, {"stays", {4, 4, 4}}};
const Values new_values{{"live", {9}}, {"new", {5, 6, 7, 8}}, {"stays", {4, 4, 4}}};

/// A folder with the old values in its last checkpoint.
class EndTest : public ::testing::Test {
 protected:
  std::string prepare() {
    const std::string path = temporary_.path("data");
    std::filesystem::remove_all(path);
    auto folder = Folder::open(path, std::make_unique<QuickDisk>());
    EXPECT_TRUE(folder);
    std::vector<Item> items;
    std::uint64_t version = 0;
    for (const auto& [name, values] : old_values)
      items.push_back(item(memory_, name, ++version, values));
    EXPECT_TRUE((*folder)->save(items, version, 1, ignore_bytes));
    return path;
  }
  /// The items of the new values: one tensor was written in place, one is new, one is gone.
  std::vector<Item> changed(const Folder& folder) {
    std::vector<Item> items{testing::kept(folder, "stays")};
    items.push_back(item(memory_, "live", 2, new_values.at("live")));
    items.push_back(item(memory_, "new", 10, new_values.at("new")));
    return items;
  }
  Result<Saved> save(Folder& folder) {
    auto items = changed(folder);
    return folder.save(items, 10, 2, ignore_bytes);
  }
  /// After the fault, the next checkpoint of the next server works, and leaves no file behind.
  void expect_that_it_goes_on(const std::string& path) {
    auto folder = Folder::open(path, std::make_unique<QuickDisk>());
    ASSERT_TRUE(folder) << folder.error().text;
    std::vector<Item> items;
    items.push_back(item(memory_, "after", 20, {1}));
    ASSERT_TRUE((*folder)->save(items, 20, 3, ignore_bytes));
    EXPECT_EQ(names_in(path).size(), 3U) << "one tensor, the manifest, the lock";
  }

  const testing::TemporaryFolder temporary_;
  Memory memory_;
};

TEST_F(EndTest, KilledAtAnyByte) {
  std::size_t old_ones = 0;
  std::size_t new_ones = 0;
  for (std::size_t steps = 0;; ++steps) {
    const std::string path = prepare();
    auto disk = std::make_unique<EndingDisk>(steps);
    const EndingDisk& watched = *disk;
    bool complete = false;
    {
      // To open it again removes no file, but tries to remove `manifest.new`.
      auto folder = Folder::open(path, std::move(disk));
      ASSERT_TRUE(folder);
      complete = save(**folder).has_value() && watched.left() > 0;
    }
    const auto values = reopened(path);
    ASSERT_TRUE(values) << "after " << steps << " steps: " << values.error().text;
    const bool is_new = *values == new_values;
    ASSERT_TRUE(is_new || *values == old_values) << "after " << steps << " steps";
    ASSERT_TRUE(is_new || new_ones == 0) << "an old one after a new one";
    (is_new ? new_ones : old_ones) += 1;
    if (steps % 50 == 0) expect_that_it_goes_on(path);
    if (complete) break;
    ASSERT_LT(steps, 100'000U);
  }
  EXPECT_GT(old_ones, 300U);
  EXPECT_GE(new_ones, 3U) << "the files of the old one are removed in steps of their own";
}

TEST_F(EndTest, WithoutPowerAtAnyCall) {
  std::size_t old_ones = 0;
  std::size_t new_ones = 0;
  for (std::size_t calls = 0;; ++calls) {
    bool complete = false;
    for (unsigned seed = 0; seed < 30; ++seed) {
      const std::string path = prepare();
      auto disk = std::make_unique<PowerlessDisk>(calls, seed);
      PowerlessDisk& watched = *disk;
      bool was_saved = false;
      {
        auto folder = Folder::open(path, std::move(disk));
        ASSERT_TRUE(folder);
        const bool saved = save(**folder).has_value();
        complete = saved && !watched.ended_early();
        watched.lose_power();
        was_saved = saved;
      }
      const auto values = reopened(path);
      ASSERT_TRUE(values) << calls << " calls, seed " << seed << ": " << values.error().text;
      ASSERT_TRUE(*values == new_values || *values == old_values) << calls << ", seed " << seed;
      ASSERT_TRUE(!was_saved || *values == new_values) << "it was said to be durable";
      (*values == new_values ? new_ones : old_ones) += 1;
      if (seed == 0) expect_that_it_goes_on(path);
    }
    if (complete) break;
    ASSERT_LT(calls, 1000U);
  }
  EXPECT_GT(old_ones, 100U);
  EXPECT_GT(new_ones, 60U);
}

TEST_F(EndTest, AnyCallMayFail) {
  for (const int error : {ENOSPC, EROFS, EIO}) {
    for (std::size_t calls = 0;; ++calls) {
      SCOPED_TRACE("error " + std::to_string(error) + " of call " + std::to_string(calls));
      const std::string path = prepare();
      auto disk = std::make_unique<FailingDisk>(calls, error);
      const FailingDisk& watched = *disk;
      auto folder = Folder::open(path, std::move(disk));
      ASSERT_TRUE(folder);
      const auto first = save(**folder);
      if (!watched.failed()) {
        ASSERT_TRUE(first);
        break;
      }
      if (!first) {
        EXPECT_EQ(first.error().code, ErrorCode::io_error);
        EXPECT_NE(first.error().text.find(std::system_category().message(error)),
                  std::string::npos);
      }
      // The old checkpoint, or after the last calls the new one; both are whole.
      folder->reset();
      const auto values = reopened(path);
      ASSERT_TRUE(values) << values.error().text;
      ASSERT_TRUE(*values == old_values || *values == new_values);
      EXPECT_TRUE(!first || *values == new_values);
      expect_that_it_goes_on(path);
      ASSERT_LT(calls, 1000U);
    }
  }
}

/// The same server tries again.
TEST_F(EndTest, TheNextCheckpointAfterAFailureIsWhole) {
  for (std::size_t calls = 1;; ++calls) {
    SCOPED_TRACE("call " + std::to_string(calls));
    const std::string path = prepare();
    auto disk = std::make_unique<FailingDisk>(calls, ENOSPC);
    const FailingDisk& watched = *disk;
    auto folder = Folder::open(path, std::move(disk));
    ASSERT_TRUE(folder);
    const auto first = save(**folder);
    if (!watched.failed()) break;
    std::vector<Item> items{testing::kept(**folder, "stays")};
    items.push_back(item(memory_, "live", 2, new_values.at("live")));
    items.push_back(item(memory_, "new", 10, new_values.at("new")));
    ASSERT_TRUE((*folder)->save(items, 10, 2, ignore_bytes));
    EXPECT_EQ(names_in(path).size(), 5U) << "three tensors, the manifest, the lock";
    folder->reset();
    EXPECT_EQ(*reopened(path), new_values);
  }
}

/// A full disk has to get back what a checkpoint has begun.
TEST_F(EndTest, AFailedCheckpointLeavesNoFile) {
  const std::string path = prepare();
  auto folder = Folder::open(path, std::make_unique<FailingDisk>(6, ENOSPC));
  ASSERT_TRUE(folder);
  ASSERT_FALSE(save(**folder));
  EXPECT_EQ(names_in(path), (std::vector<std::string>{"1-1.tensor", "2-1.tensor", "3-1.tensor",
                                                      "lock", "manifest"}));
}

/// The first start of a server may end at any step, too.
TEST_F(EndTest, ANewFolderMayEndAtAnyByte) {
  for (std::size_t steps = 0;; ++steps) {
    const std::string path = temporary_.path("new");
    std::filesystem::remove_all(path);
    bool complete = false;
    {
      auto folder = Folder::open(path, std::make_unique<EndingDisk>(steps));
      complete = folder.has_value();
    }
    const auto values = reopened(path);
    ASSERT_TRUE(values) << values.error().text;
    EXPECT_TRUE(values->empty());
    if (complete) break;
  }
}

}  // namespace
}  // namespace outrigger::data
