#include "net/serve_stdio.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include <spdlog/spdlog.h>
#include <boost/asio/signal_set.hpp>

#include "net/descriptor.hpp"

namespace outrigger::net {

namespace {

int exit_code(End end) {
  switch (end) {
    case End::bye:
    case End::peer_closed:
      return EXIT_SUCCESS;
    case End::refused:
    case End::malformed:
      return exit_malformed;
  }
  return EXIT_FAILURE;
}

bool is_stream(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}

}  // namespace

const char* stdio_problem(int in_fd, int out_fd) {
  if (::isatty(in_fd) != 0 || ::isatty(out_fd) != 0) {
    return "it speaks binary frames with a program, not with a terminal";
  }
  if (!is_stream(in_fd)) return "its standard input must be a pipe or a socket";
  return nullptr;
}

void serve_stdio(const Limits& limits, int in_fd, int out_fd, const SessionFactory& open) {
  widen_pipe(in_fd);
  widen_pipe(out_fd);
  boost::asio::io_context io(1);
  boost::asio::signal_set signals(io, SIGTERM, SIGINT);
  signals.async_wait([](const boost::system::error_code& error, int signal) {
    if (!error) ::_exit(128 + signal);
  });
  ReadBuffers buffers(limits);
  // Without logging: the standard error output may be as dead as the peer, and block us.
  const auto on_end = [](End end) { ::_exit(exit_code(end)); };
  // The loop keeps the connection alive.
  Connection::start(io, buffers, std::make_shared<DescriptorStream>(io, in_fd, out_fd), open,
                    on_end);
  io.run();
  spdlog::critical("the I/O loop ended by itself");
  std::abort();
}

}  // namespace outrigger::net
