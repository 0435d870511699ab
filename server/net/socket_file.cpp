#include "net/socket_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace outrigger::net {

namespace {

constexpr int attempts = 100;

tl::unexpected<Error> failed(const std::string& path, const std::string& why) {
  return fail(ErrorCode::io_error, "unix:" + path + ": " + why);
}
tl::unexpected<Error> failed(const std::string& path, int error) {
  return failed(path, std::strerror(error));
}

sockaddr_un name_of_socket(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.c_str(), path.size() + 1);
  return name;
}

bool is_named(int fd, const std::string& path) {
  struct stat open {};
  struct stat named {};
  return ::fstat(fd, &open) == 0 && ::stat(path.c_str(), &named) == 0 &&
         open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

/// The lock, or -1 with errno; EWOULDBLOCK if another process has it.
int lock_file(const std::string& path) {
  for (int i = 0; i < attempts; ++i) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return -1;
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      const int error = errno;
      ::close(fd);
      errno = error;
      return -1;
    }
    // Its last holder may have removed it before we had the lock: then it protects nothing.
    if (is_named(fd, path)) return fd;
    ::close(fd);
  }
  errno = EAGAIN;
  return -1;
}

/// 0 if a server answers under the name, otherwise the error: ECONNREFUSED of a dead one.
int try_to_connect(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return errno;
  const sockaddr_un name = name_of_socket(path);
  const int done = ::connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name);
  // Its queue may be full; then it lives, too.
  const int error = done == 0 || errno == EAGAIN ? 0 : errno;
  ::close(fd);
  return error;
}

Result<void> remove_dead(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return failed(path, errno);
  }
  if (!S_ISSOCK(status.st_mode)) return failed(path, "this file is no socket; it stays");
  const int error = try_to_connect(path);
  if (error == 0) return failed(path, "another server listens there");
  if (error != ECONNREFUSED) return failed(path, error);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed(path, errno);
  return {};
}

}  // namespace

Result<std::unique_ptr<SocketFile>> SocketFile::claim(const std::string& path) {
  const int lock = lock_file(path + ".lock");
  if (lock < 0) {
    if (errno == EWOULDBLOCK) return failed(path, "another server listens there");
    return failed(path, std::string("the lock ") + path + ".lock: " + std::strerror(errno));
  }
  std::unique_ptr<SocketFile> file(new SocketFile(path, lock));
  OUTRIGGER_CHECK(remove_dead(path));
  return file;
}

Result<void> SocketFile::bind(int socket) {
  const sockaddr_un name = name_of_socket(path_);
  const mode_t before = ::umask(0177);
  const int done = ::bind(socket, reinterpret_cast<const sockaddr*>(&name), sizeof name);
  const int error = errno;
  ::umask(before);
  if (done != 0) return failed(path_, error);
  struct stat status {};
  if (::lstat(path_.c_str(), &status) != 0) return failed(path_, errno);
  device_ = status.st_dev;
  inode_ = status.st_ino;
  bound_ = true;
  return {};
}

SocketFile::~SocketFile() {
  struct stat status {};
  // Not a file that has been put in its place meanwhile.
  if (bound_ && ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
      status.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
  ::unlink(lock_path().c_str());
  ::close(lock_);
}

}  // namespace outrigger::net
