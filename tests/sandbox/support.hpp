#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include <gtest/gtest.h>

namespace outrigger::sandbox::testing {

/// Runs a function in a process of its own, and gives its result: 0 to 255. A sandbox ends only
/// with its process.
inline int in_child(const std::function<int()>& work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work());
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  return WEXITSTATUS(status);
}

/// The error of a call that returns -1, or 0.
template <typename T>
int error_of(T result) {
  return result < 0 ? errno : 0;
}

}  // namespace outrigger::sandbox::testing
