// The life of the daemon's process, with a fake session instead of an engine.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "net/serve_stdio.hpp"
#include "net/served.hpp"
#include "wire/frames.hpp"

namespace outrigger::net {
namespace {

using testing::eventually;
using testing::Fd;
using testing::Peer;
using testing::simple_frame;

struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    read_end = Fd(ends[0]);
    write_end = Fd(ends[1]);
  }
  Fd read_end;
  Fd write_end;
};

class Daemon {
 public:
  /// `before` runs in the child just before it becomes the daemon.
  explicit Daemon(
      bool hold = false, const std::function<void()>& before = [] {}) {
    Pipe in;
    Pipe out;
    Pipe err;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in.read_end.get(), 0);
      ::dup2(out.write_end.get(), 1);
      ::dup2(err.write_end.get(), 2);
      before();
      ::execl(OUTRIGGER_FAKE_DAEMON, "fake_daemon", hold ? "hold" : nullptr, nullptr);
      ::_exit(127);
    }
    peer.to_daemon = std::move(in.write_end);
    peer.from_daemon = std::move(out.read_end);
    errors = std::move(err.read_end);
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  pid_t pid() const { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }

  /// The exit code as the BEAM reports it: the code, or 128 + the signal; -1 if the daemon has not
  /// ended in time.
  int exit_status(int patience_ms = 5000) {
    int status = 0;
    for (int waited = 0; waited < patience_ms; ++waited) {
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return -1;
  }

  /// A file of /proc/<pid>/.
  std::string proc(const std::string& name) const {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  /// True when the daemon answers.
  bool ready() const { return peer.write_all(simple_frame(1, "ping")) && peer.read_id() == 1U; }

  Peer peer;
  Fd errors;

 private:
  pid_t pid_ = -1;
};

TEST(Process, KeepsStrayOutputAwayFromFrames) {
  Daemon daemon;
  ASSERT_TRUE(daemon.ready());
  std::string stray(100, '\0');
  stray.resize(static_cast<std::size_t>(::read(daemon.errors.get(), stray.data(), stray.size())));
  EXPECT_EQ(stray, "a stray line\n");
}

TEST(Process, EndsWithTheRightCode) {
  Daemon closed;
  ASSERT_TRUE(closed.ready());
  closed.peer.to_daemon.close();
  EXPECT_EQ(closed.exit_status(500), 0);

  Daemon bye;
  ASSERT_TRUE(bye.peer.write_all(simple_frame(1, "bye")));
  EXPECT_EQ(bye.peer.read_id(), 1U);
  EXPECT_EQ(bye.exit_status(500), 0);

  Daemon malformed;
  ASSERT_TRUE(malformed.peer.write_all(testing::frame_of("\xc1")));
  EXPECT_EQ(malformed.peer.read_id(), 0U);
  EXPECT_EQ(malformed.exit_status(500), exit_malformed);

  Daemon terminated;
  ASSERT_TRUE(terminated.ready());
  terminated.signal(SIGTERM);
  EXPECT_EQ(terminated.exit_status(500), 143);

  Daemon interrupted;
  ASSERT_TRUE(interrupted.ready());
  interrupted.signal(SIGINT);
  EXPECT_EQ(interrupted.exit_status(500), 130);
}

TEST(Process, EndsInTheMiddleOfWork) {
  Daemon daemon(true);
  ASSERT_TRUE(daemon.peer.write_all(testing::download_frame(2, 10)));
  ASSERT_TRUE(daemon.ready());
  daemon.peer.to_daemon.close();
  EXPECT_EQ(daemon.exit_status(500), 0);
}

TEST(Process, EndsWhilePausedWithFullPipes) {
  Daemon daemon(true);
  ASSERT_TRUE(daemon.ready());
  std::string requests;
  for (std::uint64_t id = 1; id <= 100'000; ++id) requests += testing::download_frame(id, 10);
  ::fcntl(daemon.peer.to_daemon.get(), F_SETFL, O_NONBLOCK);
  daemon.peer.write_all(requests);  // writes as much as fits
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  daemon.peer.to_daemon.close();
  EXPECT_EQ(daemon.exit_status(500), 0);
}

TEST(Process, SettlesItsOwnAffairs) {
  Daemon daemon(false, [] {
    ::unsetenv("OMP_WAIT_POLICY");
    ::unsetenv("GOMP_SPINCOUNT");
  });
  ASSERT_TRUE(daemon.ready());
  EXPECT_EQ(daemon.proc("comm"), "outriggerd\n");
  EXPECT_EQ(daemon.proc("oom_score_adj"), "1000\n");
  EXPECT_NE(daemon.proc("environ").find("GOMP_SPINCOUNT="), std::string::npos);
  EXPECT_EQ(::fcntl(daemon.peer.from_daemon.get(), F_GETPIPE_SZ), 1 << 20);
}

TEST(Process, KeepsAWaitPolicyThatIsSet) {
  Daemon daemon(false, [] {
    ::setenv("OMP_WAIT_POLICY", "active", 1);
    ::unsetenv("GOMP_SPINCOUNT");
  });
  ASSERT_TRUE(daemon.ready());
  EXPECT_EQ(daemon.proc("environ").find("GOMP_SPINCOUNT="), std::string::npos);
}

TEST(Process, SetsInheritedSignalsRight) {
  Daemon daemon(false, [] {
    std::signal(SIGTERM, SIG_IGN);
    std::signal(SIGFPE, SIG_IGN);
    sigset_t all;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, nullptr);
  });
  ASSERT_TRUE(daemon.ready());
  daemon.signal(SIGFPE);
  EXPECT_EQ(daemon.exit_status(500), 128 + SIGFPE);
}

TEST(Process, DiesWithItsParent) {
  Pipe in;
  Pipe out;
  const pid_t parent = ::fork();
  if (parent == 0) {
    // A parent that starts the daemon. Its death closes neither pipe.
    if (::fork() == 0) {
      ::dup2(in.read_end.get(), 0);
      ::dup2(out.write_end.get(), 1);
      ::execl(OUTRIGGER_FAKE_DAEMON, "fake_daemon", nullptr);
    }
    ::pause();
    ::_exit(0);
  }
  in.read_end.close();
  out.write_end.close();
  const Peer peer{std::move(in.write_end), std::move(out.read_end)};
  ASSERT_TRUE(peer.write_all(simple_frame(1, "ping")));
  ASSERT_EQ(peer.read_id(), 1U);
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  EXPECT_TRUE(eventually([&] { return !peer.read_exactly(1, 1000); })) << "end of file";
  EXPECT_TRUE(eventually([&] { return !peer.write_all(simple_frame(2, "ping")); }));
}

TEST(Process, TakesOnlyStreams) {
  Pipe pipe;
  EXPECT_EQ(stdio_problem(pipe.read_end.get(), pipe.write_end.get()), nullptr);
  const Fd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_NE(stdio_problem(file.get(), pipe.write_end.get()), nullptr);
}

}  // namespace
}  // namespace outrigger::net
