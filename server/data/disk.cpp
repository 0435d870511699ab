#include "data/disk.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "files/file.hpp"

namespace outrigger::data {
namespace {

/// The largest number of bytes that the system accepts in one call.
constexpr std::size_t write_bytes_max = std::size_t{1} << 30;

tl::unexpected<Error> failed(std::string_view verb, const std::string& path) {
  return files::io_failure(verb, files::in_quotes(path), errno);
}

Result<void> sync_descriptor(int fd, const std::string& path) {
  int done = 0;
  do {
    done = ::fsync(fd);
  } while (done != 0 && errno == EINTR);
  if (done != 0) return failed("write", path);
  return {};
}

}  // namespace

Result<int> Disk::create(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return failed("write", path);
  return fd;
}

Result<void> Disk::append(int fd, const std::string& path, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), std::min(bytes.size(), write_bytes_max));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed("write", path);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

Result<void> Disk::sync(int fd, const std::string& path) { return sync_descriptor(fd, path); }

void Disk::close(int fd) { ::close(fd); }

Result<void> Disk::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return failed("replace", to);
  return {};
}

Result<void> Disk::remove(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed("remove", path);
  return {};
}

Result<void> Disk::sync_folder(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return failed("open", path);
  auto done = sync_descriptor(fd, path);
  ::close(fd);
  return done;
}

}  // namespace outrigger::data
