#include "files/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "base/text.hpp"
#include "files/places.hpp"

namespace outrigger::files {
namespace {

constexpr std::size_t quoted_bytes_max = 300;

/// Without O_NONBLOCK, the opening of a named pipe waits for its writer.
constexpr int read_flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;

/// The largest number of bytes that the system accepts in one call.
constexpr std::size_t read_bytes_max = std::size_t{1} << 30;

std::string_view kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a named pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

Result<std::size_t> read_fully(Source& source, void* out, std::size_t bytes) {
  std::size_t done = 0;
  while (done < bytes) {
    OUTRIGGER_TRY(const std::size_t count,
                  source.read_some(static_cast<std::byte*>(out) + done, bytes - done));
    if (count == 0) break;
    done += count;
  }
  return done;
}

Result<File> File::open(const std::string& path) {
  OUTRIGGER_CHECK(check_path(path));
  OUTRIGGER_TRY(const int fd, open_in_place(path, read_flags, "open"));
  return examine(File(fd, in_quotes(path)));
}

Result<File> File::open_own(const std::string& path) {
  OUTRIGGER_CHECK(check_path(path));
  const int fd = ::open(path.c_str(), read_flags);
  if (fd < 0) return io_failure("open", in_quotes(path), errno);
  return examine(File(fd, in_quotes(path)));
}

Result<File> File::examine(File file) {
  const int fd = file.fd_;
  struct stat status {};
  if (::fstat(fd, &status) != 0) return io_failure("open", file.name_, errno);
  if (!S_ISREG(status.st_mode)) {
    return bad_file(file.name_, "is " + std::string(kind_of(status.st_mode)) + ", not a file");
  }
  file.size_ = static_cast<std::uint64_t>(status.st_size);
  return file;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::size_t> File::read_some(void* out, std::size_t bytes) {
  ssize_t count = 0;
  do {
    count = ::read(fd_, out, std::min(bytes, read_bytes_max));
  } while (count < 0 && errno == EINTR);
  if (count < 0) return io_failure("read", name_, errno);
  return static_cast<std::size_t>(count);
}

Result<std::size_t> File::read_at(std::uint64_t offset, void* out, std::size_t bytes) const {
  ssize_t count = 0;
  do {
    count = ::pread(fd_, out, std::min(bytes, read_bytes_max), static_cast<off_t>(offset));
  } while (count < 0 && errno == EINTR);
  if (count < 0) return io_failure("read", name_, errno);
  return static_cast<std::size_t>(count);
}

Result<std::string> File::first_bytes() const {
  std::string bytes(16, '\0');
  OUTRIGGER_TRY(const std::size_t count, read_at(0, bytes.data(), bytes.size()));
  bytes.resize(count);
  return bytes;
}

Result<void> check_path(const std::string& path) {
  if (path.empty() || path.front() != '/') {
    return bad_file(in_quotes(path), "is not an absolute path");
  }
  if (path.find('\0') != std::string::npos) return bad_file(in_quotes(path), "is not a path");
  return {};
}

std::string in_quotes(std::string_view text) {
  const std::string_view shown = cut(text, quoted_bytes_max);
  return "\"" + as_text(shown) + (shown.size() < text.size() ? "…\"" : "\"");
}

std::string describe_start(std::string_view first_bytes) {
  return first_bytes.empty() ? "it is empty" : "it begins with " + in_quotes(first_bytes);
}

tl::unexpected<Error> io_failure(std::string_view verb, const std::string& name, int error) {
  return fail(ErrorCode::io_error, "cannot " + std::string(verb) + " " + name + ": " +
                                       std::system_category().message(error));
}

tl::unexpected<Error> bad_file(const std::string& name, std::string_view text) {
  return fail(ErrorCode::bad_file, name + " " + std::string(text));
}

}  // namespace outrigger::files
