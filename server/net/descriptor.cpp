#include "net/descriptor.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace outrigger::net {

namespace {
void open_if_closed(int fd, int flags) {
  if (::fcntl(fd, F_GETFD) >= 0) return;
  const int null = ::open("/dev/null", flags);
  if (null < 0 || null == fd) return;
  ::dup2(null, fd);
  ::close(null);
}
}  // namespace

bool hung_up(int fd) {
  pollfd state{.fd = fd, .events = 0, .revents = 0};
  return ::poll(&state, 1, 0) > 0;
}

void widen_pipe(int fd) {
  constexpr int bytes = 1 << 20;
  // Refused for sockets and files, and to users with many large pipes: slower, but no fault.
  static_cast<void>(::fcntl(fd, F_SETPIPE_SZ, bytes));
}

int take_standard_output() {
  constexpr int first_private_fd = 3;
  open_if_closed(STDIN_FILENO, O_RDONLY);
  open_if_closed(STDERR_FILENO, O_WRONLY);
  const int out = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, first_private_fd);
  if (out < 0 || ::dup2(STDERR_FILENO, STDOUT_FILENO) < 0) return -1;
  return out;
}

}  // namespace outrigger::net
