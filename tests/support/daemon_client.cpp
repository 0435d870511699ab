#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <vector>

#include "support/transport.hpp"

extern char** environ;

namespace outrigger::test {
namespace {

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

class SocketTransport final : public Transport {
 public:
  explicit SocketTransport(std::unique_ptr<Link> link) : frames_(std::move(link)) {}
  void send(std::span<const std::uint8_t> payload) override { frames_.send(payload); }
  Payload receive(std::chrono::milliseconds timeout) override { return frames_.receive(timeout); }

 private:
  Framed frames_;
};

}  // namespace

DaemonClient::DaemonClient(const EngineSettings& settings) {
  // The death of a daemon must be an error of write(), and must not end the test program.
  signal(SIGPIPE, SIG_IGN);
  const auto to = make_pipe();
  const auto from = make_pipe();
  pid_ = start(to[0], from[1], settings);
  close(to[0]);
  close(from[1]);
  frames_ = std::make_unique<Framed>(pipe_link(from[0], to[1]));
}

DaemonClient::~DaemonClient() {
  frames_.reset();
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
}

bool DaemonClient::alive() {
  if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
  return pid_ > 0;
}

std::unique_ptr<Transport> open_socket_transport(const std::string& address, const TlsClient& tls) {
  signal(SIGPIPE, SIG_IGN);
  return std::make_unique<SocketTransport>(dial(address, tls));
}

}  // namespace outrigger::test
