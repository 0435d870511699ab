#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "support/transport.hpp"

extern char** environ;

namespace outrigger::test {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void throw_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

std::array<int, 2> make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("pipe");
  return ends;
}

int start(int in, int out, const EngineSettings& settings) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  std::vector<std::string> words{OUTRIGGERD_PATH, "--threads", std::to_string(settings.threads)};
  if (settings.memory_limit > 0) {
    words.insert(words.end(), {"--memory-limit", std::to_string(settings.memory_limit)});
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, words[0].c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), words[0]);
  return pid;
}

}  // namespace

DaemonClient::DaemonClient(const EngineSettings& settings) {
  // The death of a daemon must be an error of write(), and must not end the test program.
  signal(SIGPIPE, SIG_IGN);
  const auto to = make_pipe();
  const auto from = make_pipe();
  pid_ = start(to[0], from[1], settings);
  close(to[0]);
  close(from[1]);
  to_daemon_ = to[1];
  from_daemon_ = from[0];
  if (fcntl(to_daemon_, F_SETFL, O_NONBLOCK) != 0) throw_errno("fcntl");
  if (fcntl(from_daemon_, F_SETFL, O_NONBLOCK) != 0) throw_errno("fcntl");
}

DaemonClient::~DaemonClient() {
  close(to_daemon_);
  close(from_daemon_);
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
}

bool DaemonClient::alive() {
  if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
  return pid_ > 0;
}

void DaemonClient::send(std::span<const std::uint8_t> payload) {
  const auto size = static_cast<std::uint32_t>(payload.size());
  std::vector<std::uint8_t> frame{
      static_cast<std::uint8_t>(size >> 24), static_cast<std::uint8_t>(size >> 16),
      static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)};
  frame.insert(frame.end(), payload.begin(), payload.end());
  write_all(frame);
}

/// Reads replies while it cannot write. A daemon may wait until its replies are read, while this
/// program waits for the daemon.
void DaemonClient::write_all(std::span<const std::uint8_t> bytes) {
  const auto until = Clock::now() + std::chrono::seconds(60);
  while (!bytes.empty()) {
    const ssize_t count = write(to_daemon_, bytes.data(), bytes.size());
    if (count > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      std::array<pollfd, 2> ready{pollfd{to_daemon_, POLLOUT, 0}, pollfd{from_daemon_, POLLIN, 0}};
      if (poll(ready.data(), ready.size(), 60000) == 0) {
        throw std::runtime_error("the daemon reads nothing");
      }
      if ((ready[1].revents & POLLIN) != 0) read_some(until);
    } else if (errno != EINTR) {
      throw_errno("write to the daemon");
    }
  }
}

void DaemonClient::read_some(Clock::time_point until) {
  pollfd ready{from_daemon_, POLLIN, 0};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
  if (left <= 0 || poll(&ready, 1, static_cast<int>(left)) == 0) {
    throw std::runtime_error("no reply from the daemon in time");
  }
  std::array<std::uint8_t, 65536> buffer{};
  const ssize_t count = read(from_daemon_, buffer.data(), buffer.size());
  if (count == 0) throw std::runtime_error("the daemon closed its output");
  if (count < 0 && errno != EINTR && errno != EAGAIN) throw_errno("read from the daemon");
  if (count > 0) received_.insert(received_.end(), buffer.data(), buffer.data() + count);
}

Payload DaemonClient::receive(std::chrono::milliseconds timeout) {
  const auto until = Clock::now() + timeout;
  const auto need = [&](std::size_t bytes) {
    while (received_.size() - consumed_ < bytes) read_some(until);
  };
  need(4);
  const std::uint8_t* header = received_.data() + consumed_;
  const std::size_t size = (std::size_t{header[0]} << 24) | (std::size_t{header[1]} << 16) |
                           (std::size_t{header[2]} << 8) | std::size_t{header[3]};
  need(4 + size);
  const auto begin = received_.begin() + static_cast<std::ptrdiff_t>(consumed_) + 4;
  Payload payload(begin, begin + static_cast<std::ptrdiff_t>(size));
  consumed_ += 4 + size;
  if (consumed_ == received_.size()) {
    received_.clear();
    consumed_ = 0;
  }
  return payload;
}

}  // namespace outrigger::test
