#pragma once

#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

#include <gtest/gtest.h>

namespace outrigger::ctl {

struct Ended {
  int status = -1;
  std::string output;
};

/// The text that outriggerctl with these words prints to both of its outputs, and its exit status.
inline Ended ctl(const std::string& words, const std::string& variables = "") {
  const std::string command =
      "exec 2>&1 </dev/null; "
      "env -u OUTRIGGER_ADDRESS -u OUTRIGGER_TOKEN -u OUTRIGGER_TOKEN_FILE " +
      variables + " " OUTRIGGERCTL_PATH " " + words;
  Ended ended;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return ended;
  std::array<char, 4096> part{};
  while (const std::size_t count = std::fread(part.data(), 1, part.size(), pipe))
    ended.output.append(part.data(), count);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) ended.status = WEXITSTATUS(status);
  return ended;
}

/// Status 1, and one line that begins with the program's name and has this text.
inline testing::AssertionResult fails_with(const Ended& ended, const std::string& text) {
  const auto lines = std::count(ended.output.begin(), ended.output.end(), '\n');
  if (ended.status == 1 && lines == 1 && ended.output.starts_with("outriggerctl: ") &&
      ended.output.find(text) != std::string::npos)
    return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << "status " << ended.status << ", without \"" << text << "\": " << ended.output;
}

}  // namespace outrigger::ctl
