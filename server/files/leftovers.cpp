#include "files/leftovers.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <mutex>
#include <set>
#include <string_view>
#include <tuple>

namespace outrigger::files {
namespace {

constexpr std::string_view prefix = ".outrigger-";
constexpr std::string_view suffix = ".save";
constexpr std::size_t digits = 16;

/// The number of folders that are remembered. When there are more, all folders are searched again.
constexpr std::size_t folders_max = 1024;
/// The number of entries between two calls of the check.
constexpr int entries_per_check = 256;

bool is_leftover_name(std::string_view name) {
  if (name.size() != prefix.size() + digits + suffix.size() || !name.starts_with(prefix) ||
      !name.ends_with(suffix))
    return false;
  const std::string_view middle = name.substr(prefix.size(), digits);
  return middle.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// The lock is held until the name is gone. A process that has just made the file then finds out
/// that it has lost the file.
void remove_unless_locked(int folder, const char* name) {
  // The file is opened for writing, because NFS gives an exclusive lock only to such a descriptor.
  const int fd = ::openat(folder, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return;
  struct stat status {};
  if (::fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && ::flock(fd, LOCK_EX | LOCK_NB) == 0)
    ::unlinkat(folder, name, 0);
  ::close(fd);
}

}  // namespace

std::string leftover_name(std::uint64_t random) {
  std::array<char, digits + 1> middle{};
  std::snprintf(middle.data(), middle.size(), "%016llx", static_cast<unsigned long long>(random));
  return std::string(prefix) + middle.data() + std::string(suffix);
}

Result<void> remove_leftovers(const std::string& folder, const Check& check) {
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(folder.c_str()), ::closedir);
  if (!entries) return {};
  int seen = 0;
  while (const dirent* entry = ::readdir(entries.get())) {
    if (++seen % entries_per_check == 0) OUTRIGGER_CHECK(ask(check));
    if (is_leftover_name(entry->d_name))
      remove_unless_locked(::dirfd(entries.get()), entry->d_name);
  }
  return {};
}

Result<void> remove_leftovers_once(const std::string& folder, const Check& check) {
  static std::mutex mutex;
  static std::set<std::tuple<std::string, dev_t, ino_t>> done;
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0) return {};
  // A new folder may have the number of a folder that was removed.
  const std::tuple key(folder, status.st_dev, status.st_ino);
  {
    const std::lock_guard lock(mutex);
    if (done.contains(key)) return {};
  }
  OUTRIGGER_CHECK(remove_leftovers(folder, check));
  const std::lock_guard lock(mutex);
  if (done.size() >= folders_max) done.clear();
  done.insert(key);
  return {};
}

}  // namespace outrigger::files
