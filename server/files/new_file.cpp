#include "files/new_file.hpp"

#include <fcntl.h>
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

namespace outrigger::files {
namespace {

/// Where a file is to be written, once links are followed.
struct Target {
  std::string path;
  std::optional<mode_t> permissions;  ///< of the file that is there
};

Result<Target> find_target(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return Target{path, std::nullopt};
    return io_failure("write", in_quotes(path), errno);
  }
  std::array<char, PATH_MAX> resolved{};
  if (::realpath(path.c_str(), resolved.data()) == nullptr ||
      ::stat(resolved.data(), &status) != 0) {
    return io_failure("write", in_quotes(path), errno);
  }
  // rename() would put a file in the place of a device.
  if (!S_ISREG(status.st_mode)) {
    return bad_file(in_quotes(path), "is there already and is not a file");
  }
  return Target{resolved.data(), status.st_mode & 0777U};
}

}  // namespace

NewFile::NewFile(std::string name, std::string target)
    : name_(std::move(name)), target_(std::move(target)) {
  std::uint64_t random = 0;
  if (::getentropy(&random, sizeof random) != 0) random = static_cast<std::uint64_t>(::getpid());
  std::array<char, 48> base{};
  std::snprintf(base.data(), base.size(), ".outrigger-%016llx.tmp",
                static_cast<unsigned long long>(random));
  // Not derived from the target's name, which may be as long as names can be.
  temporary_ = target_.substr(0, target_.rfind('/') + 1) + base.data();
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  exists_ = fd_ >= 0;
}

NewFile::NewFile(NewFile&& other) noexcept
    : name_(std::move(other.name_)),
      target_(std::move(other.target_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      exists_(std::exchange(other.exists_, false)) {}

NewFile::~NewFile() {
  if (fd_ >= 0) ::close(fd_);
  if (exists_) ::unlink(temporary_.c_str());
}

Result<NewFile> NewFile::create(const std::string& path) {
  OUTRIGGER_CHECK(check_path(path));
  OUTRIGGER_TRY(const Target target, find_target(path));
  NewFile file(in_quotes(path), target.path);
  if (file.fd_ < 0) return io_failure("write", file.name_, errno);
  // Not every file system has permissions: without them the file is still a good one.
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

Result<void> NewFile::commit() {
  // Some file systems tell only now that the disk or a quota is full.
  const bool closed = ::close(std::exchange(fd_, -1)) == 0 || errno == EINTR;
  if (!closed || ::rename(temporary_.c_str(), target_.c_str()) != 0)
    return io_failure("write", name_, errno);
  exists_ = false;
  return {};
}

}  // namespace outrigger::files
