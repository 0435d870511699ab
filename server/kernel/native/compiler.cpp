#include "kernel/native/compiler.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <system_error>
#include <utility>

#include "kernel/native/channel.hpp"
#include "kernel/native/child.hpp"
#include "kernel/native/object.hpp"

namespace outrigger::kernel {
namespace {

using CompilerClock = std::chrono::steady_clock;

/// The thread looks so often whether it is to end.
constexpr std::chrono::milliseconds compiler_slice{50};
/// The texts that wait for the compiler: kernels beyond it are interpreted.
constexpr std::uint64_t queued_bytes_max = std::uint64_t{64} << 20;
constexpr std::size_t reason_length_max = 300;

/// A reason from another process, as one line.
std::string one_line(std::string text) {
  if (text.size() > reason_length_max) text.resize(reason_length_max);
  for (char& c : text)
    if (c < ' ' || c > '~') c = ' ';
  return text;
}

struct SpawnActions {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  SpawnActions() {
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawnattr_init(&attributes);
  }
  ~SpawnActions() {
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
};

void close_both(const std::array<int, 2>& ends) {
  for (const int end : ends)
    if (end >= 0) ::close(end);
}

}  // namespace

CompilerJob::State CompilerJob::wait(const ops::Interrupt& interrupt,
                                     std::chrono::milliseconds time) {
  const auto until = CompilerClock::now() + time;
  std::unique_lock lock(mutex_);
  while (state_ == State::waiting && CompilerClock::now() < until) {
    ended_.wait_for(lock, std::chrono::milliseconds(1));
    if (state_ != State::waiting) break;
    // A look may carry out short requests of others.
    lock.unlock();
    const bool ends = interrupt.raised();
    lock.lock();
    if (ends) break;
  }
  return state_;
}

std::vector<std::uint8_t> CompilerJob::take_object() {
  const std::lock_guard lock(mutex_);
  return std::exchange(object_, {});
}

void CompilerJob::finish(State state, std::vector<std::uint8_t> object) {
  const std::lock_guard lock(mutex_);
  state_ = state;
  object_ = std::move(object);
  text_ = {};
  ended_.notify_all();
}

/// The process that compiles.
class Compiler::Child {
 public:
  explicit Child(const Compiler& compiler) : compiler_(compiler), options_(compiler.options_) {}
  ~Child() { end(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  bool runs() const { return pid_ > 0; }
  bool was_late() const { return late_; }

  /// Starts the process. Returns a problem, or nothing.
  std::string start() {
    std::array<int, 2> down{-1, -1};
    std::array<int, 2> up{-1, -1};
    if (::pipe2(down.data(), O_CLOEXEC) != 0 || ::pipe2(up.data(), O_CLOEXEC) != 0) {
      const std::string problem = std::strerror(errno);
      close_both(down);
      return "no pipe: " + problem;
    }
    const int failed = spawn(down[0], up[1]);
    ::close(down[0]);
    ::close(up[1]);
    in_ = up[0];
    out_ = down[1];
    if (failed != 0) {
      pid_ = 0;
      end();
      return "cannot start " + options_.program + ": " + std::strerror(failed);
    }
    for (const int end : {in_, out_}) ::fcntl(end, F_SETFL, O_NONBLOCK);
    return {};
  }

  /// Sends a message if there is a text, and receives one. False: it has ended, or takes too long,
  /// and is killed; `problem` has the reason.
  bool exchange(const std::string* text, Message& message, std::string& problem) {
    const auto limit = CompilerClock::now() + options_.time;
    late_ = false;
    Channel channel(in_, out_, [&](int fd, short events) {
      while (!compiler_.stops()) {
        if (CompilerClock::now() >= limit) {
          late_ = true;
          return false;
        }
        pollfd one{fd, events, 0};
        const int ready = ::poll(&one, 1, static_cast<int>(compiler_slice.count()));
        if (ready > 0) return true;
        if (ready < 0 && errno != EINTR) return false;
      }
      return false;
    });
    const bool done = (text == nullptr || channel.send(MessageKind::text, *text)) &&
                      channel.receive(message, object_bytes_max);
    if (done) return true;
    if (late_)
      problem = "the compiler took longer than " + std::to_string(options_.time.count()) + " ms";
    const std::string how = end();
    if (problem.empty()) problem = "the compiler ended early: " + how;
    return false;
  }

  /// Ends the process. Returns how it ended.
  std::string end() {
    if (out_ >= 0) ::close(std::exchange(out_, -1));
    if (in_ >= 0) ::close(std::exchange(in_, -1));
    if (pid_ <= 0) return {};
    int status = 0;
    // After a fault it needs a moment to end by itself, and its status tells more.
    for (int look = 0; look < 20; ++look) {
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = 0;
        break;
      }
      if (compiler_.stops()) break;
      ::usleep(5000);
    }
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
      }
      pid_ = 0;
    }
    if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
    return "status " + std::to_string(WEXITSTATUS(status));
  }

 private:
  /// Returns the error, or 0.
  int spawn(int in, int out) {
    SpawnActions actions;
    constexpr int first_closed = 3;
    ::posix_spawn_file_actions_adddup2(&actions.files, in, STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions.files, out, STDOUT_FILENO);
    ::posix_spawn_file_actions_addopen(&actions.files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_addclosefrom_np(&actions.files, first_closed);
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&actions.attributes, &none);
    ::posix_spawnattr_setsigdefault(&actions.attributes, &all);
    ::posix_spawnattr_setflags(&actions.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(options_.time).count();
    std::array<std::string, 5> words{options_.program, std::string(compiler_option),
                                     options_.library, std::to_string(options_.memory),
                                     std::to_string(seconds)};
    std::array<char*, 6> argv{};
    for (std::size_t i = 0; i < words.size(); ++i) argv.at(i) = words.at(i).data();
    return ::posix_spawn(&pid_, options_.program.c_str(), &actions.files, &actions.attributes,
                         argv.data(), environ);
  }

  const Compiler& compiler_;
  const CompilerOptions& options_;
  bool late_ = false;  ///< it was killed because it took too long
  pid_t pid_ = 0;
  int in_ = -1;
  int out_ = -1;
};

Compiler::Compiler(CompilerOptions options) : options_(std::move(options)) {
  if (options_.library.empty())
    unavailable_ =
        options_.reason.empty() ? "there is no LLVM 19 (Debian: libllvm19)" : options_.reason;
}

Compiler::~Compiler() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Compiler::stops() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

bool Compiler::available() const {
  const std::lock_guard lock(mutex_);
  return unavailable_.empty();
}

std::shared_ptr<CompilerJob> Compiler::submit(std::string text) {
  auto job = std::make_shared<CompilerJob>(std::move(text));
  const std::lock_guard lock(mutex_);
  if (unavailable_.empty() && !thread_.joinable()) {
    try {
      thread_ = std::thread([this] { work(); });
    } catch (const std::system_error& error) {
      unavailable_ = std::string("no thread: ") + error.what();
    }
  }
  if (!unavailable_.empty()) {
    job->finish(CompilerJob::State::failed, {});
    return job;
  }
  const std::uint64_t bytes = job->text_.size();
  if (bytes > queued_bytes_max - queued_bytes_) {
    job->finish(CompilerJob::State::failed, {});
    ++failed_;
    last_failure_ = "too many kernels wait for the compiler";
    return job;
  }
  queued_bytes_ += bytes;
  queue_.push_back(job);
  wake_.notify_all();
  return job;
}

void Compiler::count_code() {
  const std::lock_guard lock(mutex_);
  ++compiled_;
}

void Compiler::count_failure(const std::string& reason) {
  {
    const std::lock_guard lock(mutex_);
    ++failed_;
    last_failure_ = reason;
  }
  options_.log("a kernel is interpreted: " + reason);
}

void Compiler::give_up(const std::string& reason) {
  {
    const std::lock_guard lock(mutex_);
    unavailable_ = reason;
  }
  options_.log("kernels are interpreted: " + reason);
}

void Compiler::work() {
  // A process that has ended makes a write fail; the signal of it stays blocked in this thread.
  sigset_t broken_pipe;
  ::sigemptyset(&broken_pipe);
  ::sigaddset(&broken_pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
  Child child(*this);
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (queue_.empty()) {
      const auto wanted = [this] { return stopping_ || !queue_.empty(); };
      if (!child.runs()) {
        wake_.wait(lock, wanted);
      } else if (!wake_.wait_for(lock, options_.idle, wanted)) {
        lock.unlock();
        child.end();
        lock.lock();
      }
      continue;
    }
    const std::shared_ptr<CompilerJob> job = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= job->text_.size();
    // The kernel is gone: no call waits for its code.
    if (job.use_count() == 1) continue;
    lock.unlock();
    try {
      run(child, *job);
    } catch (const std::bad_alloc&) {
      child.end();
      job->finish(CompilerJob::State::failed, {});
    }
    lock.lock();
  }
  for (const auto& job : queue_) job->finish(CompilerJob::State::failed, {});
  queue_.clear();
}

void Compiler::run(Child& child, CompilerJob& job) {
  std::string problem;
  Message message;
  bool done = available() && compile_in(child, job, message, problem);
  const bool known = done && message.kind == MessageKind::object;
  if (known) return job.finish(CompilerJob::State::done, std::move(message.bytes));
  if (done) problem = "the compiler says: " + one_line(message.as_text());
  if (!problem.empty()) count_failure(problem);
  job.finish(CompilerJob::State::failed, {});
}

/// False: there is no answer, for a problem of this job, or because there is no compiler at all.
bool Compiler::compile_in(Child& child, CompilerJob& job, Message& message, std::string& problem) {
  // A process that is found dead may have died while it waited: that is no fault of this module.
  for (const bool again : {true, false}) {
    const bool old = child.runs();
    if (!old) {
      problem = child.start();
      if (!problem.empty() || !child.exchange(nullptr, message, problem)) return false;
      if (message.kind != MessageKind::version) {
        child.end();
        give_up(one_line(message.as_text()));
        return false;
      }
      const std::lock_guard lock(mutex_);
      version_ = one_line(message.as_text());
    }
    if (child.exchange(&job.text_, message, problem)) return true;
    if (!old || !again || child.was_late()) return false;
    problem.clear();
  }
  return false;
}

std::string Compiler::name() const {
  const std::lock_guard lock(mutex_);
  if (!unavailable_.empty()) return "interpreted";
  return "llvm " + (version_.empty() ? "19" : version_);
}

std::string Compiler::describe() const {
  std::string text = name();
  const std::lock_guard lock(mutex_);
  if (!unavailable_.empty()) return text + ": " + unavailable_;
  text += ": " + std::to_string(compiled_) + " compiled";
  if (failed_ > 0)
    text += ", " + std::to_string(failed_) + " interpreted (the last one: " + last_failure_ + ")";
  return text;
}

}  // namespace outrigger::kernel
