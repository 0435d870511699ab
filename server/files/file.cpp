#include "files/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>

namespace outrigger::files {
namespace {

constexpr std::size_t quoted_bytes_max = 300;

/// The largest number of bytes that the system accepts in one call.
constexpr std::size_t read_bytes_max = std::size_t{1} << 30;

std::string_view kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a named pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

/// The bytes of the UTF-8 character at the beginning of `text`; 0 if there is no valid character,
/// or if it is not printable.
std::size_t character_bytes(std::string_view text) {
  const auto at = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto continues = [&](std::size_t i) { return (at(i) & 0xC0U) == 0x80U; };
  const unsigned first = at(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7F ? 1 : 0;
  if (!continues(1) || first < 0xC2 || first > 0xF4) return 0;
  // The conditions refuse C1 control characters, then overlong forms, surrogates, and values above
  // U+10FFFF.
  if (first < 0xE0) return first == 0xC2 && at(1) < 0xA0 ? 0 : 2;
  if (!continues(2) || (first == 0xE0 && at(1) < 0xA0) || (first == 0xED && at(1) >= 0xA0))
    return 0;
  if (first < 0xF0) return 3;
  if (!continues(3) || (first == 0xF0 && at(1) < 0x90) || (first == 0xF4 && at(1) >= 0x90))
    return 0;
  return 4;
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
  // Without O_NONBLOCK, the opening of a named pipe waits for its writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  const int open_error = errno;
  File file(fd, in_quotes(path));
  if (fd < 0) return io_failure("open", file.name_, open_error);
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
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size();) {
    if (i >= quoted_bytes_max) {
      out += "…";
      break;
    }
    const std::size_t bytes = character_bytes(text.substr(i));
    if (bytes > 0) {
      out += text.substr(i, bytes);
      i += bytes;
    } else {
      std::array<char, 8> hex{};
      std::snprintf(hex.data(), hex.size(), "\\x%02x", static_cast<unsigned char>(text[i]));
      out += hex.data();
      ++i;
    }
  }
  return out + "\"";
}

bool is_text(std::string_view text) {
  while (!text.empty()) {
    const std::size_t bytes = character_bytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
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
