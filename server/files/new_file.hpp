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

/// A file that is written under another name, and then replaces its target. The target has either
/// its old contents or all of the new ones. Without commit(), no file remains.
///
/// If the file system supports it, the file has no name before commit(). Then no file remains
/// either when the process is killed. On other file systems, and between the two steps of a
/// commit() that replaces a file, the file has the name `.outrigger-<16 hexadecimal digits>.save`
/// in the target's folder, and a lock (flock). A file without a lock belongs to a dead process; a
/// process removes it when it first saves into that folder.
class NewFile {
 public:
  enum class Form {
    unnamed,  ///< if the file system can
    named,
  };

  /// Follows a symbolic link, and keeps the permissions of an existing file. After allow_only(), a
  /// symbolic link is refused. `check` is called while the folder is searched. Errors: bad_file
  /// (the path is not absolute, or names something that is not a regular file or that cannot be
  /// written), forbidden (allow_only()), io_error, those of `check`.
  static Result<NewFile> create(const std::string& path, const Check& check = {},
                                Form form = Form::unnamed);

  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  /// Errors: io_error.
  Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes) const;
  /// Errors: io_error; bad_file, as create(), if another file has got the target's name since
  /// create().
  Result<void> commit();

  /// The path in quotes, for error texts.
  const std::string& name() const { return name_; }

 private:
  NewFile(std::string name, std::string target)
      : name_(std::move(name)), target_(std::move(target)) {}

  bool open_unnamed();
  bool open_named();
  std::string new_name() const;
  /// Gives the file without a name the target's name. If a file has that name, gives it a name in
  /// the same folder.
  Result<void> link();

  std::string name_;
  std::string target_;
  int folder_ = -1;        ///< the target's folder, open while its path goes by this descriptor
  std::string temporary_;  ///< the name in the target's folder; empty if the file has none
  int fd_ = -1;
};

}  // namespace outrigger::files
