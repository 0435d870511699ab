#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"

namespace outrigger::files {

/// Bytes in a row: a file, or the unpacked contents of a zip member.
class Source {
 public:
  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual ~Source() = default;

  /// Up to `bytes` more; 0 only at the end. Errors: io_error, bad_file.
  virtual Result<std::size_t> read_some(void* out, std::size_t bytes) = 0;

  /// Bytes that it claims to have in all.
  virtual std::uint64_t size() const = 0;

  /// How error texts call it, e.g. `"/data/x.npy"`.
  virtual const std::string& name() const = 0;
};

/// Reads until `bytes` are there or the source ends; tells how many came.
Result<std::size_t> read_fully(Source& source, void* out, std::size_t bytes);

/// A regular file, open for reading.
class File final : public Source {
 public:
  /// Errors: bad_file if the path is not absolute or leads to no regular file; io_error.
  static Result<File> open(const std::string& path);

  File(File&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), size_(other.size_), name_(std::move(other.name_)) {}
  File& operator=(File&&) = delete;
  ~File() override;

  Result<std::size_t> read_some(void* out, std::size_t bytes) override;
  std::uint64_t size() const override { return size_; }
  const std::string& name() const override { return name_; }

  /// Up to `bytes` from an offset, without moving what read_some() reads next; 0 at the end.
  Result<std::size_t> read_at(std::uint64_t offset, void* out, std::size_t bytes) const;

  /// For mmap().
  int descriptor() const { return fd_; }

  /// The first bytes, at most 16, to tell what the file is.
  Result<std::string> first_bytes() const;

 private:
  File(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}

  int fd_;
  std::uint64_t size_ = 0;
  std::string name_;
};

/// Errors: bad_file unless the path is absolute and has no NUL in it.
Result<void> check_path(const std::string& path);

/// In double quotes, cut if long; what is not printable UTF-8 is shown as \xNN.
std::string in_quotes(std::string_view text);

/// "it begins with "…"" or "it is empty", for files that are not what was expected.
std::string describe_start(std::string_view first_bytes);

/// An error of the system (an errno): `cannot <verb> <name>: No such file or directory`.
tl::unexpected<Error> io_failure(std::string_view verb, const std::string& name, int error);

/// An error in the contents of a file: `<name> <text>`.
tl::unexpected<Error> bad_file(const std::string& name, std::string_view text);

}  // namespace outrigger::files
