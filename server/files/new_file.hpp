#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/error.hpp"

namespace outrigger::files {

/// A file that is written beside its target and then takes its place: the target has either its old
/// contents or all of the new ones. Without commit() nothing stays behind.
class NewFile {
 public:
  /// Follows a symbolic link, and keeps the permissions of a file that is there.
  /// Errors: bad_file (not an absolute path, or something other than a regular file is there),
  /// io_error.
  static Result<NewFile> create(const std::string& path);

  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  /// Errors: io_error.
  Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes) const;
  /// Errors: io_error.
  Result<void> commit();

  /// The path in quotes, for error texts.
  const std::string& name() const { return name_; }

 private:
  NewFile(std::string name, std::string target);

  std::string name_;
  std::string target_;
  std::string temporary_;
  int fd_ = -1;
  bool exists_ = false;
};

}  // namespace outrigger::files
