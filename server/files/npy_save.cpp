#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <span>
#include <tuple>
#include <utility>

#include "files/npy.hpp"
#include "files/npy_header.hpp"

namespace outrigger::files {
namespace {

/// Written at a time; between them the check is asked.
constexpr std::size_t chunk_bytes = std::size_t{1} << 24;

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

/// A new file that is gone again unless commit() succeeds.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& target) : target_(target) {
    std::uint64_t random = 0;
    if (::getentropy(&random, sizeof random) != 0) random = static_cast<std::uint64_t>(::getpid());
    std::array<char, 48> name{};
    std::snprintf(name.data(), name.size(), ".outrigger-%016llx.tmp",
                  static_cast<unsigned long long>(random));
    // Not derived from the target's name, which may be as long as names can be.
    path_ = target.substr(0, target.rfind('/') + 1) + name.data();
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    exists_ = fd_ >= 0;
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (fd_ >= 0) ::close(fd_);
    if (exists_) ::unlink(path_.c_str());
  }

  /// False, with errno, if it could not be made.
  bool is_open() const { return fd_ >= 0; }

  /// Not every file system has permissions: without them the file is still a good one.
  void set_permissions(mode_t permissions) const { std::ignore = ::fchmod(fd_, permissions); }

  /// False, with errno, if not all could be written.
  bool write(std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return true;
  }

  /// Puts the file in the target's place. False, with errno, if that failed.
  bool commit() {
    // Some file systems tell only now that the disk or a quota is full.
    if (::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) return false;
    if (::rename(path_.c_str(), target_.c_str()) != 0) return false;
    exists_ = false;
    return true;
  }

 private:
  std::string target_;
  std::string path_;
  int fd_ = -1;
  bool exists_ = false;
};

}  // namespace

Result<void> save_npy(const Tensor& tensor, const std::string& path, const Check& check) {
  assert(tensor.contiguous());
  OUTRIGGER_CHECK(check_path(path));
  OUTRIGGER_TRY(const Target target, find_target(path));
  OUTRIGGER_TRY(const std::string preamble, npy_preamble(tensor.type));
  const std::span data(tensor.data(), static_cast<std::size_t>(byte_count(tensor.type)));

  TemporaryFile file(target.path);
  if (!file.is_open()) return io_failure("write", in_quotes(path), errno);
  if (target.permissions) file.set_permissions(*target.permissions);
  const auto failed = [&] { return io_failure("write", in_quotes(path), errno); };
  if (!file.write(std::as_bytes(std::span(preamble)))) return failed();
  for (std::size_t done = 0; done < data.size(); done += chunk_bytes) {
    OUTRIGGER_CHECK(ask(check));
    if (!file.write(data.subspan(done, std::min(chunk_bytes, data.size() - done)))) return failed();
  }
  if (!file.commit()) return failed();
  return {};
}

}  // namespace outrigger::files
