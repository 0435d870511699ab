#include "files/new_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <tuple>
#include <utility>

#include "files/file.hpp"
#include "files/leftovers.hpp"
#include "files/places.hpp"

namespace outrigger::files {
namespace {

/// The target of a file, after links are followed.
struct Target {
  std::string path;
  std::optional<mode_t> permissions;  ///< the mode of the existing file
};

/// `name` is the path in error texts.
Result<Target> find_target(const std::string& path, const std::string& name) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return Target{path, std::nullopt};
    return io_failure("write", name, errno);
  }
  std::array<char, PATH_MAX> resolved{};
  if (is_confined() && S_ISLNK(status.st_mode)) {
    return bad_file(name,
                    "is a symbolic link, which this server does not follow: save to the "
                    "file that it names");
  }
  if (::realpath(path.c_str(), resolved.data()) == nullptr ||
      ::stat(resolved.data(), &status) != 0) {
    return io_failure("write", name, errno);
  }
  // rename() would replace a device by a file.
  if (!S_ISREG(status.st_mode)) return bad_file(name, "is there already and is not a file");
  // rename() needs only the permissions of the folder, and root may write everything. The mode of
  // the file therefore decides.
  const bool denied = ::faccessat(AT_FDCWD, resolved.data(), W_OK, AT_EACCESS) != 0;
  if (denied && errno != EACCES && errno != EPERM) return io_failure("write", name, errno);
  if (denied || (status.st_mode & 0222U) == 0) {
    return bad_file(name, "is there already and is read-only: change its mode, or save elsewhere");
  }
  return Target{is_confined() ? path : resolved.data(), status.st_mode & 0777U};
}

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/') + 1); }

/// The path by which the system finds an open file or folder.
std::string open_file_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

}  // namespace

NewFile::NewFile(NewFile&& other) noexcept
    : name_(std::move(other.name_)),
      target_(std::move(other.target_)),
      folder_(std::exchange(other.folder_, -1)),
      temporary_(std::exchange(other.temporary_, {})),
      fd_(std::exchange(other.fd_, -1)) {}

NewFile::~NewFile() {
  // The name is removed before the descriptor, which holds the lock, is closed.
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  if (fd_ >= 0) ::close(fd_);
  if (folder_ >= 0) ::close(folder_);
}

// The name does not contain the target's name, which may have the maximum length already.
std::string NewFile::new_name() const {
  std::uint64_t random = 0;
  if (::getentropy(&random, sizeof random) != 0) random = static_cast<std::uint64_t>(::getpid());
  return folder_of(target_) + leftover_name(random);
}

/// Returns false, and sets errno, if no file could be made.
bool NewFile::open_unnamed() {
  // Without /proc, the file could never get a name.
  if (::access("/proc/self/fd", F_OK) != 0) return false;
  fd_ = ::open(folder_of(target_).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (fd_ >= 0) std::ignore = ::flock(fd_, LOCK_EX | LOCK_NB);
  return fd_ >= 0;
}

/// Returns false, and sets errno, if no file could be made.
bool NewFile::open_named() {
  while (true) {
    std::string name = new_name();
    fd_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && errno == EEXIST) continue;
    if (fd_ < 0) return false;
    temporary_ = std::move(name);
    // Between open() and the lock, another process may have removed the file as the file of a dead
    // process. A file system without locks has no such process.
    struct stat status {};
    int locked = 0;
    do {
      locked = ::flock(fd_, LOCK_EX);
    } while (locked != 0 && errno == EINTR);
    if (locked != 0 || (::fstat(fd_, &status) == 0 && status.st_nlink > 0)) return true;
    ::close(std::exchange(fd_, -1));
    temporary_.clear();
  }
}

Result<NewFile> NewFile::create(const std::string& path, const Check& check, Form form) {
  OUTRIGGER_CHECK(check_path(path));
  NewFile file(in_quotes(path), path);
  if (is_confined()) {
    OUTRIGGER_TRY(file.folder_,
                  open_in_place(folder_of(path), O_PATH | O_DIRECTORY | O_CLOEXEC, "write into"));
    file.target_ = open_file_path(file.folder_) + "/" + path.substr(path.rfind('/') + 1);
  }
  OUTRIGGER_TRY(const Target target, find_target(file.target_, file.name_));
  file.target_ = target.path;
  OUTRIGGER_CHECK(remove_leftovers_once(folder_of(target.path), check));
  // File systems that cannot make a file without a name report it with different errors.
  const bool unnamed = form == Form::unnamed && file.open_unnamed();
  if (!unnamed && !file.open_named()) return io_failure("write", file.name_, errno);
  // Some file systems have no permissions. The file is valid without them.
  if (target.permissions) std::ignore = ::fchmod(file.fd_, *target.permissions);
  return file;
}

Result<void> NewFile::write(std::uint64_t offset, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return io_failure("write", name_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<void> NewFile::link() {
  const std::string from = open_file_path(fd_);
  const auto link_to = [&](const std::string& path) {
    return ::linkat(AT_FDCWD, from.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0;
  };
  if (link_to(target_)) return {};
  // linkat() does not replace a file, but rename() does.
  while (errno == EEXIST) {
    std::string name = new_name();
    if (!link_to(name)) continue;
    temporary_ = std::move(name);
    return {};
  }
  return io_failure("write", name_, errno);
}

Result<void> NewFile::commit() {
  // Some file systems report a full disk or quota only when a descriptor is closed. The own
  // descriptor stays open, because it holds the lock.
  const int copy = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (copy < 0 || (::close(copy) != 0 && errno != EINTR)) return io_failure("write", name_, errno);
  if (temporary_.empty()) OUTRIGGER_CHECK(link());
  if (!temporary_.empty()) {
    OUTRIGGER_CHECK(find_target(target_, name_));
    if (::rename(temporary_.c_str(), target_.c_str()) != 0)
      return io_failure("write", name_, errno);
    temporary_.clear();
  }
  ::close(std::exchange(fd_, -1));
  return {};
}

}  // namespace outrigger::files
