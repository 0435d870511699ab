#include "ctl/deadline.hpp"

#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace outrigger::ctl {

namespace {

std::array<char, 512> last_words{};
std::atomic<const char*> doing{"starting"};

void write_all(const char* text) {
  // The process ends, whether the line can be written or not.
  static_cast<void>(!::write(STDERR_FILENO, text, std::strlen(text)));
}

void end_process(int) {
  write_all(last_words.data());
  write_all(doing.load());
  write_all("\n");
  ::_exit(EXIT_FAILURE);
}

}  // namespace

void now_doing(const char* text) { doing = text; }

void set_deadline(std::chrono::milliseconds time, std::string_view about) {
  std::snprintf(last_words.data(), last_words.size(), "%s: timeout: no answer within %g s while ",
                std::string(about).c_str(), static_cast<double>(time.count()) / 1000);
  struct sigaction action {};
  action.sa_handler = end_process;
  ::sigaction(SIGALRM, &action, nullptr);
  // A parent may have blocked it.
  sigset_t alarm;
  ::sigemptyset(&alarm);
  ::sigaddset(&alarm, SIGALRM);
  ::sigprocmask(SIG_UNBLOCK, &alarm, nullptr);
  itimerval timer{};
  timer.it_value.tv_sec = time.count() / 1000;
  timer.it_value.tv_usec = time.count() % 1000 * 1000;
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

void end_deadline() {
  const itimerval none{};
  ::setitimer(ITIMER_REAL, &none, nullptr);
}

}  // namespace outrigger::ctl
