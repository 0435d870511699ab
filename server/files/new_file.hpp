#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "files/check.hpp"

namespace outrigger::files {

/// A file that is written out of sight and then takes its target's place: the target has either its
/// old contents or all of the new ones. Without commit() nothing stays behind.
///
/// Where the file system can, the file has no name until commit(), so that nothing stays behind if
/// the process is killed either. Elsewhere, and between the two steps of a commit() that replaces a
/// file, it is `.outrigger-<16 hexadecimal digits>.save` in the target's folder, and locked
/// (flock): what is not locked is a dead process's, and goes when a process first saves into that
/// folder.
class NewFile {
 public:
  enum class Form {
    unnamed,  ///< if the file system can
    named,
  };

  /// Follows a symbolic link, and keeps the permissions of a file that is there. `check` is asked
  /// while the folder is looked through.
  /// Errors: bad_file (not an absolute path, or something is there that is no regular file or that
  /// may not be written), io_error, those of `check`.
  static Result<NewFile> create(const std::string& path, const Check& check = {},
                                Form form = Form::unnamed);

  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  /// Errors: io_error.
  Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes) const;
  /// Errors: io_error; bad_file, as create(), of a file that has come to be there meanwhile.
  Result<void> commit();

  /// The path in quotes, for error texts.
  const std::string& name() const { return name_; }

 private:
  NewFile(std::string name, std::string target)
      : name_(std::move(name)), target_(std::move(target)) {}

  bool open_unnamed();
  bool open_named();
  std::string new_name() const;
  /// Gives the file without a name the target's, if there is none, or one beside it.
  Result<void> link();

  std::string name_;
  std::string target_;
  std::string temporary_;  ///< the name that it has beside the target; empty: none
  int fd_ = -1;
};

}  // namespace outrigger::files
