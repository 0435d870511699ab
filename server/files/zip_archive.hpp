#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "files/file.hpp"

namespace outrigger::files {

/// Largest zip directory that is read: room for tens of thousands of members. libzip's memory is in
/// proportion to it, and no budget counts that.
inline constexpr std::uint64_t zip_directory_bytes_max = std::uint64_t{4} << 20;

/// A zip archive, open for reading.
class ZipArchive {
 public:
  /// Errors: bad_file, io_error.
  static Result<ZipArchive> open(File file);
  ZipArchive(ZipArchive&&) noexcept;
  ZipArchive& operator=(ZipArchive&&) = delete;
  ~ZipArchive();

  const std::string& name() const;

  /// Members and directories.
  std::uint64_t entry_count() const;

  /// In UTF-8. Nothing for a directory, or an entry that cannot be read.
  std::optional<std::string> member_name(std::uint64_t index) const;

  /// The unpacked bytes of a member; its end is told only if the checksum is right. `name` is what
  /// error texts call it. It must not outlive the archive. Errors: bad_file if the member is
  /// encrypted, neither stored nor deflated, or claims a size that it cannot have.
  Result<std::unique_ptr<Source>> open_member(std::uint64_t index, std::string name) const;

 private:
  struct State;
  explicit ZipArchive(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace outrigger::files
