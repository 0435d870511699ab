#include "files/new_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <functional>
#include <optional>
#include <tuple>

#include "files/leftovers.hpp"
#include "files/support.hpp"

namespace outrigger::files {
namespace {

using testing::contains;
using testing::Folder;
using testing::read_bytes;

constexpr NewFile::Form forms[] = {NewFile::Form::unnamed, NewFile::Form::named};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// True if the file system of temporary files supports files without a name.
bool unnamed_files() {
  const Folder folder;
  const int fd = ::open(folder.path("").c_str(), O_TMPFILE | O_WRONLY, 0600);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

/// The number of visible files while one is written.
std::size_t visible(NewFile::Form form) {
  return form == NewFile::Form::named || !unnamed_files() ? 1 : 0;
}

/// Another process, which lives until it is killed. It runs `begin`, for which the constructor
/// waits, and then `go_on` again and again.
class Process {
 public:
  explicit Process(
      const std::function<bool()>& begin, const std::function<void()>& go_on = [] { ::pause(); }) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe(ends.data()), 0);
    id_ = ::fork();
    if (id_ == 0) {
      const char well = begin() ? 'y' : 'n';
      if (::write(ends[1], &well, 1) != 1) ::_exit(1);
      while (true) go_on();
    }
    char well = 'n';
    EXPECT_EQ(::read(ends[0], &well, 1), 1);
    EXPECT_EQ(well, 'y');
    ::close(ends[0]);
    ::close(ends[1]);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() { kill(); }

  void kill() {
    if (id_ <= 0) return;
    ::kill(id_, SIGKILL);
    ::waitpid(id_, nullptr, 0);
    id_ = -1;
  }

 private:
  pid_t id_ = -1;
};

TEST(NewFile, ShowsWhenItIsWholeAndNotBefore) {
  for (const auto form : forms) {
    for (const bool replaces : {false, true}) {
      const Folder folder;
      const auto path = replaces ? folder.write("x", "old") : folder.path("x");
      auto file = NewFile::create(path, {}, form);
      ASSERT_TRUE(file);
      ASSERT_TRUE(file->write(0, bytes_of("new")));
      EXPECT_EQ(folder.entries(), visible(form) + (replaces ? 1 : 0));
      EXPECT_EQ(read_bytes(path), replaces ? "old" : "");
      ASSERT_TRUE(file->commit());
      EXPECT_EQ(read_bytes(path), "new");
      EXPECT_EQ(folder.entries(), 1U);
    }
  }
}

TEST(NewFile, ThatIsNotCommittedLeavesNothing) {
  for (const auto form : forms) {
    const Folder folder;
    {
      const auto file = NewFile::create(folder.path("x"), {}, form);
      ASSERT_TRUE(file);
      ASSERT_TRUE(file->write(0, bytes_of("new")));
    }
    EXPECT_EQ(folder.entries(), 0U);
  }
}

TEST(NewFile, LooksAgainAtWhatItReplaces) {
  for (const auto form : forms) {
    const Folder folder;
    auto file = NewFile::create(folder.path("x"), {}, form);
    ASSERT_TRUE(file);
    ASSERT_EQ(::chmod(folder.write("x", "theirs").c_str(), 0444), 0);
    const auto done = file->commit();
    ASSERT_FALSE(done);
    EXPECT_TRUE(contains(done.error().text, "is read-only")) << done.error().text;
    EXPECT_EQ(read_bytes(folder.path("x")), "theirs");
  }
}

TEST(NewFile, OfAKilledProcessGoes) {
  for (const auto form : forms) {
    const Folder folder;
    Process other([&] {
      static std::optional<Result<NewFile>> file;
      file.emplace(NewFile::create(folder.path("theirs"), {}, form));
      return *file && (*file)->write(0, bytes_of(std::string(1 << 20, 'x')));
    });
    EXPECT_EQ(folder.entries(), visible(form));
    other.kill();
    EXPECT_EQ(folder.entries(), visible(form));
    // This process saves into this folder for the first time.
    auto file = NewFile::create(folder.path("ours"));
    ASSERT_TRUE(file && file->commit());
    EXPECT_EQ(folder.entries(), 1U);
    EXPECT_TRUE(std::filesystem::exists(folder.path("ours")));
  }
}

TEST(NewFile, OfALivingProcessStays) {
  const Folder folder;
  Process other([&] {
    static std::optional<Result<NewFile>> file;
    file.emplace(NewFile::create(folder.path("theirs"), {}, NewFile::Form::named));
    return file->has_value();
  });
  auto ours = NewFile::create(folder.path("ours"), {}, NewFile::Form::named);
  ASSERT_TRUE(ours && remove_leftovers(folder.path(""), {}));
  EXPECT_EQ(folder.entries(), 2U);
  other.kill();
  ASSERT_TRUE(remove_leftovers(folder.path(""), {}));
  EXPECT_EQ(folder.entries(), 1U);
  ASSERT_TRUE(ours->commit());
  EXPECT_TRUE(std::filesystem::exists(folder.path("ours")));
}

TEST(NewFile, LeftoversAreOnlyWhatBearsTheirName) {
  const Folder folder;
  for (const char* name : {".outrigger-0123456789abcde.save", ".outrigger-0123456789abcdef.tmp",
                           ".outrigger-0123456789ABCDEF.save", "outrigger-0123456789abcdef.save",
                           ".outrigger-0123456789abcdef.save.npy", "x.npy"}) {
    folder.write(name, "theirs");
  }
  std::filesystem::create_directory(folder.path(leftover_name(1)));
  ASSERT_EQ(::symlink("x.npy", folder.path(leftover_name(2)).c_str()), 0);
  ASSERT_EQ(::mkfifo(folder.path(leftover_name(3)).c_str(), 0600), 0);
  folder.write(leftover_name(4), "ours");
  ASSERT_TRUE(remove_leftovers(folder.path(""), {}));
  EXPECT_EQ(folder.entries(), 9U);
  EXPECT_FALSE(std::filesystem::exists(folder.path(leftover_name(4))));
}

TEST(NewFile, ALongFolderIsLookedThroughUntilItIsCancelled) {
  const Folder folder;
  for (int i = 0; i < 1000; ++i) folder.write(std::to_string(i), "");
  int asked = 0;
  const Check cancel = [&]() -> Result<void> {
    return ++asked == 2 ? fail(ErrorCode::cancelled, "no more") : Result<void>{};
  };
  const auto file = NewFile::create(folder.path("x"), cancel);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::cancelled);
  EXPECT_EQ(asked, 2);
}

// Another process may remove the file before it is locked.
TEST(NewFile, SurvivesOthersThatLookForLeftovers) {
  const Folder folder;
  const Process other([] { return true; },
                      [&] { std::ignore = remove_leftovers(folder.path(""), {}); });
  for (int i = 0; i < 300; ++i) {
    auto file = NewFile::create(folder.path("x"), {}, NewFile::Form::named);
    ASSERT_TRUE(file && file->write(0, bytes_of("new")));
    const auto done = file->commit();
    ASSERT_TRUE(done) << done.error().text;
  }
  EXPECT_EQ(folder.entries(), 1U);
}

}  // namespace
}  // namespace outrigger::files
