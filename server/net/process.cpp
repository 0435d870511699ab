#include "net/process.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>

namespace outrigger::net {

namespace {

/// Turns of libgomp's waiting loop, whose body is this, that take so long on this processor: a
/// pause takes 10 ns on one and 60 on another.
std::int64_t waiting_turns(std::chrono::nanoseconds time) {
  constexpr std::int64_t tried = 200;
  auto shortest = std::chrono::nanoseconds::max();
  for (int attempt = 0; attempt < 5; ++attempt) {
    const auto start = std::chrono::steady_clock::now();
    for (std::int64_t turn = 0; turn < tried; ++turn) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#else
      std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
    }
    const auto taken = std::chrono::steady_clock::now() - start;
    shortest = std::min(shortest, std::chrono::duration_cast<std::chrono::nanoseconds>(taken));
  }
  return tried * time.count() / std::max<std::int64_t>(shortest.count(), 1);
}

}  // namespace

void wait_briefly(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) {
    // A second start by this path is named "exe" by the kernel.
    ::prctl(PR_SET_NAME, "outriggerd");
    return;
  }
  const std::int64_t turns = waiting_turns(std::chrono::microseconds(100));
  if (::setenv("GOMP_SPINCOUNT", std::to_string(turns).c_str(), 1) != 0) return;
  ::execv("/proc/self/exe", argv);
  // Without /proc the daemon works too; only its idle threads stay awake for longer.
}

void die_with_parent() {
  const pid_t parent = ::getppid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(EXIT_SUCCESS);
}

void set_signal_dispositions() {
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV,
                           SIGTERM, SIGCHLD, SIGUSR1, SIGUSR2, SIGXFSZ}) {
    std::signal(signal, SIG_DFL);
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file over the user's limit is an error of `save` only
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

bool volunteer_for_oom_killer() {
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  constexpr char most_likely[] = "1000";
  const bool done = ::write(fd, most_likely, std::strlen(most_likely)) > 0;
  ::close(fd);
  return done;
}

void restrict_umask() {
  const mode_t inherited = ::umask(S_IWGRP | S_IWOTH);
  ::umask(inherited | S_IWGRP | S_IWOTH);
}

}  // namespace outrigger::net
