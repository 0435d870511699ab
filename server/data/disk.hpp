#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/error.hpp"

namespace outrigger::data {

/// The calls of the system that change the files of a data folder. Tests replace them: by ones that
/// fail, and by ones after which the process or the machine ends. Errors: io_error.
class Disk {
 public:
  virtual ~Disk() = default;
  Disk() = default;
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  /// An empty file, open for writing: its descriptor. A file of that path becomes empty.
  virtual Result<int> create(const std::string& path);
  /// `path` is for the error's text, here and in sync().
  virtual Result<void> append(int fd, const std::string& path, std::span<const std::byte> bytes);
  /// The bytes survive a loss of power.
  virtual Result<void> sync(int fd, const std::string& path);
  virtual void close(int fd);
  virtual Result<void> rename(const std::string& from, const std::string& to);
  virtual Result<void> remove(const std::string& path);
  /// The folder's names survive a loss of power: those that are new, and those that are gone.
  virtual Result<void> sync_folder(const std::string& path);
};

/// Closes a descriptor of a disk.
class OpenFile {
 public:
  OpenFile(Disk& disk, int fd) : disk_(disk), fd_(fd) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() { disk_.close(fd_); }

 private:
  Disk& disk_;
  int fd_;
};

}  // namespace outrigger::data
