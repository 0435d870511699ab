#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "files/file.hpp"

namespace outrigger::files {

/// The largest zip directory that is read: it has space for tens of thousands of members. The
/// memory of libzip is proportional to it, and no budget counts that memory.
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

  /// The number of members and directories.
  std::uint64_t entry_count() const;

  /// The name in UTF-8. Empty for a directory, or for an entry that cannot be read.
  std::optional<std::string> member_name(std::uint64_t index) const;

  /// The unpacked bytes of a member. The source reports its end only if the checksum is right.
  /// `name` is the name in error texts. The source must not outlive the archive. Errors: bad_file
  /// if the member is encrypted, neither stored nor deflated, or declares a size that is
  /// impossible.
  Result<std::unique_ptr<Source>> open_member(std::uint64_t index, std::string name) const;

 private:
  struct State;
  explicit ZipArchive(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace outrigger::files
