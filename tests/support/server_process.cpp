#include "support/server_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>

extern char** environ;

namespace outrigger::test {
namespace {

constexpr auto step = std::chrono::milliseconds(1);
constexpr auto start_patience = std::chrono::seconds(60);

int spawn(std::vector<std::string>& words, std::vector<std::string>& variables, int log_fd) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, log_fd, STDERR_FILENO);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (std::string& variable : variables) envp.push_back(variable.data());
  for (char** at = environ; *at != nullptr; ++at) envp.push_back(*at);
  envp.push_back(nullptr);
  pid_t pid = -1;
  const int error =
      posix_spawn(&pid, words[0].c_str(), &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), words[0]);
  return pid;
}

}  // namespace

ServerProcess::ServerProcess(std::vector<std::string> words, std::vector<std::string> variables,
                             std::size_t listeners) {
  ::signal(SIGPIPE, SIG_IGN);
  if (listeners == 0)
    listeners = static_cast<std::size_t>(std::count(words.begin(), words.end(), "--listen"));
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    throw std::system_error(errno, std::generic_category(), "pipe");
  words.insert(words.begin(), OUTRIGGERD_PATH);
  pid_ = spawn(words, variables, ends[1]);
  close(ends[1]);
  log_fd_ = ends[0];
  reader_ = std::thread([this] { read_log(); });
  for (std::chrono::milliseconds waited{0}; waited < start_patience; waited += step) {
    std::this_thread::sleep_for(step);
    const std::lock_guard lock(mutex_);
    addresses_ = told_addresses();
    if (log_over_ || (listeners > 0 && addresses_.size() == listeners)) break;
  }
}

ServerProcess::~ServerProcess() {
  if (pid_ > 0 && status_ < 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  reader_.join();
  close(log_fd_);
}

void ServerProcess::read_log() {
  std::array<char, 4096> part{};
  for (;;) {
    const ssize_t count = read(log_fd_, part.data(), part.size());
    if (count < 0 && errno == EINTR) continue;
    const std::lock_guard lock(mutex_);
    if (count <= 0) {
      log_over_ = true;
      return;
    }
    log_.append(part.data(), static_cast<std::size_t>(count));
  }
}

/// With the lock. Only of whole lines.
std::vector<std::string> ServerProcess::told_addresses() const {
  constexpr std::string_view told = "listening on ";
  std::vector<std::string> out;
  std::size_t at = 0;
  while ((at = log_.find(told, at)) != std::string::npos) {
    at += told.size();
    const std::size_t end = log_.find('\n', at);
    if (end == std::string::npos) break;
    out.push_back(log_.substr(at, end - at));
  }
  return out;
}

std::string ServerProcess::log() const {
  const std::lock_guard lock(mutex_);
  return log_;
}

bool ServerProcess::logs(const std::string& text, std::chrono::milliseconds patience) const {
  for (auto waited = step; waited < patience; waited += step) {
    if (log().find(text) != std::string::npos) return true;
    std::this_thread::sleep_for(step);
  }
  return false;
}

void ServerProcess::signal(int number) const { kill(pid_, number); }

int ServerProcess::exit_status(std::chrono::milliseconds patience) {
  for (auto waited = step; status_ < 0 && waited < patience; waited += step) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      break;
    }
    std::this_thread::sleep_for(step);
  }
  return status_;
}

std::string ServerProcess::proc(const std::string& name) const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

TemporaryFolder::TemporaryFolder() {
  std::string name = "/tmp/outrigger-test-XXXXXX";
  if (mkdtemp(name.data()) == nullptr)
    throw std::system_error(errno, std::generic_category(), name);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryFolder::write(const std::string& name, const std::string& text) const {
  const std::string path = file(name);
  std::ofstream(path, std::ios::binary) << text;
  if (chmod(path.c_str(), 0600) != 0) throw std::system_error(errno, std::generic_category(), path);
  return path;
}

}  // namespace outrigger::test
