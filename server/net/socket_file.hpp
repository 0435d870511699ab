#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "base/error.hpp"

namespace outrigger::net {

/// The file of a Unix socket that this process listens on. A second process cannot claim the same
/// path meanwhile: the lock of `<path>.lock` tells living daemons from dead ones, however they
/// ended. Both files go with this object.
class SocketFile {
 public:
  /// Removes the file that a dead server left. Fails if another one listens there, or if something
  /// else has the name.
  static Result<std::unique_ptr<SocketFile>> claim(const std::string& path);
  ~SocketFile();
  SocketFile(const SocketFile&) = delete;
  SocketFile& operator=(const SocketFile&) = delete;

  /// Gives the socket its name, with the mode 0600.
  Result<void> bind(int socket);

 private:
  SocketFile(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::string lock_path() const { return path_ + ".lock"; }

  std::string path_;
  int lock_;
  bool bound_ = false;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace outrigger::net
