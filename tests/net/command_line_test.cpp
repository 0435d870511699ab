// The start of the daemon by a client: PROTOCOL.md section 8, with the real executable.

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "net/serve_stdio.hpp"

namespace outrigger::net {
namespace {

struct Ended {
  int status = -1;
  std::string output;
};

/// The standard output and the exit status of a shell command.
Ended shell(const std::string& command) {
  Ended ended;
  FILE* pipe = ::popen(("D=" OUTRIGGERD_PATH "; " + command).c_str(), "r");
  if (pipe == nullptr) return ended;
  std::array<char, 4096> part{};
  while (const std::size_t count = std::fread(part.data(), 1, part.size(), pipe))
    ended.output.append(part.data(), count);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) ended.status = WEXITSTATUS(status);
  return ended;
}

std::set<std::string> options_in(const std::string& text) {
  const std::regex option("--[a-z][a-z-]+");
  std::set<std::string> found;
  for (auto at = std::sregex_iterator(text.begin(), text.end(), option);
       at != std::sregex_iterator(); ++at)
    found.insert(at->str());
  return found;
}

std::string section_8() {
  std::ifstream file(OUTRIGGER_SOURCE_DIR "/protocol/PROTOCOL.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  return page.substr(page.find("## 8. Starting the daemon"));
}

TEST(CommandLine, TheProtocolNamesEachOptionAndNoOther) {
  const Ended help = shell("$D --help");
  EXPECT_EQ(help.status, 0);
  const auto options = options_in(help.output);
  EXPECT_GT(options.size(), 8U);
  EXPECT_EQ(options_in(section_8()), options);
}

TEST(CommandLine, PrintsAndExits) {
  EXPECT_EQ(shell("$D --version").output.rfind("outriggerd ", 0), 0U);
  EXPECT_EQ(shell("$D --describe-ops").output.rfind("{", 0), 0U);
  EXPECT_EQ(shell("$D --describe-ops").status, 0);
}

TEST(CommandLine, WrongOptionsAndStreamsEndItWithTheStatusForThem) {
  for (const char* options : {"--fly", "--threads x", "--threads 100000", "--memory-limit much",
                              "--compile sometimes", "--log-level loud"}) {
    EXPECT_EQ(shell(std::string(": | $D ") + options + " 2>&1").status, exit_usage) << options;
  }
  const Ended file = shell("$D 2>&1 </dev/null");
  EXPECT_EQ(file.status, exit_usage);
  EXPECT_NE(file.output.find("must be a pipe or a socket"), std::string::npos) << file.output;
  EXPECT_EQ(shell(": | $D --log-file /dev/null/log 2>/dev/null").status, EXIT_FAILURE);
}

TEST(CommandLine, EndsWithItsInputAndAfterWhatIsNoFrame) {
  EXPECT_EQ(shell(": | $D --memory-limit 50% --threads 1").status, 0);
  EXPECT_EQ(shell("printf '\\377\\377\\377\\377' | $D 2>/dev/null").status, exit_malformed);
}

TEST(CommandLine, AnOptionGoesBeforeTheEnvironment) {
  EXPECT_EQ(shell(": | OUTRIGGER_COMPILE=sometimes $D 2>&1").status, exit_usage);
  EXPECT_EQ(shell(": | OUTRIGGER_COMPILE=sometimes $D --compile never").status, 0);
}

}  // namespace
}  // namespace outrigger::net
