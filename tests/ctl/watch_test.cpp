// The commands of outriggerctl that watch sessions and end their work, with the real daemon.

#include <array>
#include <cstdint>
#include <future>
#include <regex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ctl/run_ctl.hpp"
#include "net/samples.hpp"
#include "support/client.hpp"
#include "support/server_process.hpp"

namespace outrigger::ctl {
namespace {

using test::ServerProcess;
using test::TemporaryFolder;
using testing::counting_up;

/// The first group of the expression in the text; empty if it is not there.
std::string found(const std::string& text, const std::string& expression) {
  std::smatch match;
  return std::regex_search(text, match, std::regex(expression)) ? match[1].str() : "";
}

/// The output of a Python expression about `told`, the JSON that the command prints.
std::string by_python(const std::string& words, const std::string& expression) {
  return ctl(words + " | python3 -c 'import json, sys; told = json.load(sys.stdin); print(" +
             expression + ")'")
      .output;
}

class CtlWatch : public ::testing::Test {
 protected:
  CtlWatch()
      : server_({"--listen", "unix:" + folder_.file("s"), "--threads", "1", "--slow-time", "0.02"}),
        client_(test::open_socket_transport("unix:" + folder_.file("s"))) {}

  std::string to() const { return " --connect " + server_.addresses().at(0); }
  Ended run(const std::string& words) { return ctl(words + to()); }
  /// Starts a request that only a cancel or the end of its session ends.
  std::future<test::Reply> run_endless() {
    const std::uint64_t id = client_.new_id();
    auto reply = std::async(std::launch::async, [this, id] {
      return client_.request(
          id, test::encode_run(id, counting_up(), {}, std::array<std::uint64_t, 1>{77}));
    });
    for (int i = 0; i < 1000 && row().find(" for ") == std::string::npos; ++i) {
    }
    return reply;
  }
  /// The line of the client's session.
  std::string row() { return found(run("top --count 1").output, "\n(\\d+ .*pid .*)\n"); }

  const TemporaryFolder folder_;
  const ServerProcess server_;
  test::Client client_;
};

TEST_F(CtlWatch, TopShowsSessionsRatesAndTimes) {
  const std::uint64_t handle = client_.upload({"u8", {3}, {1, 2, 3}});
  EXPECT_NE(handle, 0U);
  const Ended once = run("top --count 1");
  EXPECT_EQ(once.status, 0) << once.output;
  EXPECT_TRUE(std::regex_search(
      once.output, std::regex("SESSION +TOKEN +PEER +REQUESTS +/S +QUEUE +TENSORS +SIZE")))
      << once.output;
  EXPECT_TRUE(std::regex_search(once.output, std::regex("\n1 .* 1 +3 B\n"))) << once.output;
  EXPECT_TRUE(std::regex_search(once.output, std::regex("requests +[0-9.]+/s, 0.0 errors/s")))
      << once.output;
  EXPECT_TRUE(std::regex_search(once.output, std::regex("answered +50 % within [0-9]+ µs")))
      << once.output;
  const Ended twice = run("top --count 2 --interval 0.1");
  EXPECT_EQ(twice.status, 0);
  EXPECT_EQ(twice.output.find("\x1b["), std::string::npos) << "no terminal";
  EXPECT_NE(twice.output.find("SESSION", twice.output.find("SESSION") + 1), std::string::npos);
  EXPECT_EQ(by_python("top --count 1 --json" + to(),
                      "told[\"sessions\"][0][\"bytes\"], told[\"stats\"][\"sessions\"], "
                      "told[\"info\"][\"memory\"][\"used\"] > 0"),
            "3 2 True\n");
}

TEST_F(CtlWatch, CancelEndsARequestAndTheSlowLogHasIt) {
  EXPECT_EQ(run("slowlog").output, "no request has run for 20.0 ms or longer\n");
  auto reply = run_endless();
  const std::string line = row();
  const std::string session = found(line, "^(\\d+)");
  const std::string request = found(line, "run (\\d+) for [0-9.]+ (?:m|µ)?s");
  ASSERT_FALSE(request.empty()) << line;
  EXPECT_TRUE(fails_with(run("cancel " + session + " 999"), "has no pending request 999"));
  EXPECT_TRUE(fails_with(run("cancel 999 " + request), "session 999 has no pending request"));
  const Ended done = run("cancel " + session + " " + request);
  EXPECT_EQ(done.status, 0);
  EXPECT_EQ(done.output, "request " + request + " of session " + session + " is cancelled\n");
  EXPECT_EQ(reply.get().status, "cancelled");
  const Ended log = run("slowlog");
  EXPECT_TRUE(std::regex_search(
      log.output, std::regex("\n20[0-9-]+ [0-9:]+ UTC +1 +" + request +
                             " +run +[0-9.]+ (?:m|µ)?s +[0-9.]+ m?s +cancelled +.*while 1")))
      << log.output;
  EXPECT_EQ(by_python("slowlog --limit 1 --json" + to(),
                      "told[0][\"code\"], told[0][\"ops\"][\"while\"], told[0][\"number\"]"),
            "cancelled 1 1\n");
}

TEST_F(CtlWatch, KickEndsASession) {
  const std::string session = found(row(), "^(\\d+)");
  EXPECT_TRUE(fails_with(run("kick 999"), "there is no session 999"));
  const Ended done = run("kick " + session);
  EXPECT_EQ(done.status, 0);
  EXPECT_EQ(done.output, "session " + session + " is ended\n");
  EXPECT_TRUE(server_.logs("closed: an operator has ended this session"));
  EXPECT_EQ(row().find("\n" + session + " "), std::string::npos);
}

TEST_F(CtlWatch, MonitorShowsRequests) {
  auto table = std::async(std::launch::async, [&] { return run("monitor --count 2"); });
  auto json = std::async(std::launch::async, [&] {
    return by_python("monitor --count 1 --json" + to(), "told[\"kind\"], told[\"dropped\"]");
  });
  const auto monitors = [&] {
    const std::uint64_t id = client_.new_id();
    return client_.request(id, test::encode_simple(id, "stats")).numbers.at("monitors");
  };
  while (monitors() < 2) {
  }
  for (int i = 0; i < 2; ++i) {
    const std::uint64_t id = client_.new_id();
    client_.request(id, test::encode_forget(id, 9));
  }
  const Ended shown = table.get();
  EXPECT_EQ(shown.status, 0) << shown.output;
  EXPECT_TRUE(std::regex_match(
      shown.output, std::regex("(20[0-9-]+ [0-9:]+ UTC  session 1  forget \\d+  waited \\d+ µs, "
                               "ran \\d+ µs\n){2}")))
      << shown.output;
  EXPECT_EQ(json.get(), "forget 0\n");
}

TEST(CtlWatchRights, AnOperatorNeedsTheRightAdmin) {
  const TemporaryFolder folder;
  const std::string list =
      folder.write("tokens", "app read,write 0123456789abcdef0123456789abcdef\n");
  const ServerProcess server(
      {"--listen", "unix:" + folder.file("s"), "--threads", "1", "--token-file", list});
  for (const char* words : {"top --count 1", "slowlog", "monitor", "cancel 1 1", "kick 1"}) {
    EXPECT_TRUE(fails_with(
        ctl(std::string(words) + " --token-file " + list + " --connect unix:" + folder.file("s")),
        "forbidden: the token app has not the right admin"))
        << words;
  }
}

}  // namespace
}  // namespace outrigger::ctl
