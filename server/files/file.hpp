#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"

namespace outrigger::files {

/// A sequence of bytes: a file, or the unpacked contents of a zip member.
class Source {
 public:
  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual ~Source() = default;

  /// Reads at most `bytes` more. Returns 0 only at the end. Errors: io_error, bad_file.
  virtual Result<std::size_t> read_some(void* out, std::size_t bytes) = 0;

  /// The number of bytes that the source declares.
  virtual std::uint64_t size() const = 0;

  /// The name in error texts, e.g. `"/data/x.npy"`.
  virtual const std::string& name() const = 0;
};

/// Reads until `bytes` have been read or the source ends. Returns the number of bytes that were
/// read.
Result<std::size_t> read_fully(Source& source, void* out, std::size_t bytes);

/// A regular file, open for reading.
class File final : public Source {
 public:
  /// A file that a request names. Errors: bad_file if the path is not absolute or is not that of a
  /// regular file; forbidden (allow_only()); io_error.
  static Result<File> open(const std::string& path);

  /// A file of the server itself, wherever it is. Errors: as open(), without forbidden.
  static Result<File> open_own(const std::string& path);

  File(File&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), size_(other.size_), name_(std::move(other.name_)) {}
  File& operator=(File&&) = delete;
  ~File() override;

  Result<std::size_t> read_some(void* out, std::size_t bytes) override;
  std::uint64_t size() const override { return size_; }
  const std::string& name() const override { return name_; }

  /// Reads at most `bytes` from an offset. Does not move the position of read_some(). Returns 0 at
  /// the end.
  Result<std::size_t> read_at(std::uint64_t offset, void* out, std::size_t bytes) const;

  /// The descriptor, for mmap().
  int descriptor() const { return fd_; }

  /// The first bytes, at most 16, which identify the format.
  Result<std::string> first_bytes() const;

 private:
  File(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  static Result<File> examine(File file);

  int fd_;
  std::uint64_t size_ = 0;
  std::string name_;
};

/// Errors: bad_file if the path is not absolute, or contains a NUL.
Result<void> check_path(const std::string& path);

/// The text in double quotes, cut if it is long. Each byte that is not a part of printable UTF-8
/// becomes \xNN.
std::string in_quotes(std::string_view text);

/// The text `it begins with "…"` or `it is empty`, for a file that has not the expected format.
std::string describe_start(std::string_view first_bytes);

/// An error of the system (errno): `cannot <verb> <name>: No such file or directory`.
tl::unexpected<Error> io_failure(std::string_view verb, const std::string& name, int error);

/// An error in the contents of a file: `<name> <text>`.
tl::unexpected<Error> bad_file(const std::string& name, std::string_view text);

}  // namespace outrigger::files
