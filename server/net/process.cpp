#include "net/process.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace outrigger::net {

void wait_passively(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) {
    // A second start by this path is named "exe" by the kernel.
    ::prctl(PR_SET_NAME, "outriggerd");
    return;
  }
  if (::setenv("OMP_WAIT_POLICY", "passive", 1) != 0) return;
  ::execv("/proc/self/exe", argv);
  // Without /proc the daemon works too; only its idle threads spin for a while.
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
