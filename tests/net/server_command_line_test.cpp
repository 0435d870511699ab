// How a server is started: PROTOCOL.md sections 8 and 9, with the real executable.

#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/sanitizer.hpp"
#include "net/caller.hpp"
#include "net/samples.hpp"
#include "net/serve_stdio.hpp"
#include "support/certificates.hpp"
#include "support/server_process.hpp"

namespace outrigger::net {
namespace {

using test::ServerProcess;
using test::TemporaryFolder;
using testing::any_port;
using testing::Caller;
using testing::token_secret;

TEST(ServerCommandLine, ReplacesTheSocketFileOfAKilledServerOnly) {
  const TemporaryFolder folder;
  const std::string address = "unix:" + folder.file("s");
  {
    ServerProcess killed({"--listen", address});
    ASSERT_TRUE(Caller(address).hello().ok());
    killed.signal(SIGKILL);
    EXPECT_EQ(killed.exit_status(), 128 + SIGKILL);
  }
  ASSERT_TRUE(std::filesystem::exists(folder.file("s")));
  ServerProcess server({"--listen", address});
  EXPECT_TRUE(Caller(address).hello().ok()) << server.log();
  ServerProcess second({"--listen", address});
  EXPECT_EQ(second.exit_status(), EXIT_FAILURE);
  EXPECT_EQ(second.log(), "outriggerd: " + address + ": another server listens there\n");
  EXPECT_TRUE(Caller(address).hello().ok());
}

TEST(ServerCommandLine, AnAddressThatCannotBeBoundIsOneLineAndAStatus) {
  ServerProcess server({"--listen", any_port});
  for (const std::string& address : {server.addresses().at(0), std::string("tcp://192.0.2.1:1")}) {
    ServerProcess failing({"--listen", address, "--insecure", "--log-level", "off"});
    EXPECT_EQ(failing.exit_status(), EXIT_FAILURE);
    EXPECT_TRUE(std::regex_match(failing.log(), std::regex("outriggerd: [^\n]+\n")))
        << failing.log();
    EXPECT_NE(failing.log().find(address), std::string::npos);
  }
}

TEST(ServerCommandLine, OptionsThatDoNotFitEndItWithTheStatusForThem) {
  const TemporaryFolder folder;
  const auto authority = test::make_certificate(folder.path(), {.name = "authority"});
  const std::string tokens = folder.write("tokens", "app read " + token_secret);
  const std::vector<std::vector<std::string>> wrong{
      {"--listen", "tcp://0.0.0.0:0"},
      {"--listen", "tcp://0.0.0.0:0", "--token-file", tokens},
      {"--listen", "tls://[::]:0", "--tls-cert", authority.certificate_file, "--tls-key",
       authority.key_file},
      {"--listen", "tls://127.0.0.1:0"},
      {"--listen", any_port, "--tls-cert", authority.certificate_file, "--tls-key",
       authority.key_file},
      {"--listen", any_port, "--tls-cert", authority.certificate_file},
      {"--listen", any_port, "--tls-client-ca", authority.certificate_file},
      {"--listen", "tcp://localhost:0"},
      {"--listen", any_port, "--stdio"},
      {"--listen", any_port, "--max-clients", "0"},
      {"--listen", any_port, "--grace", "-1"},
      {"--listen", any_port, "--handshake-timeout", "0"},
      {"--listen"},
      {"--token-file", tokens},
      {"--insecure"},
      {"--grace", "5"}};
  for (const auto& words : wrong) {
    std::string line;
    for (const std::string& word : words) line += word + " ";
    ServerProcess failing(words);
    EXPECT_EQ(failing.exit_status(), exit_usage) << line << failing.log();
  }
  for (const std::string& list : {std::string("/nowhere"), folder.write("none", "# none\n"),
                                  folder.write("bad", "app " + token_secret)}) {
    ServerProcess failing({"--listen", any_port, "--token-file", list});
    EXPECT_EQ(failing.exit_status(), EXIT_FAILURE) << failing.log();
    EXPECT_EQ(failing.log().find(token_secret), std::string::npos);
  }
}

TEST(ServerCommandLine, OptionsComeFromAFileToo) {
  const TemporaryFolder folder;
  const std::string path = folder.file("s");
  const std::string file = folder.write("outrigger.toml", "# a server\nlisten = [\"unix:" + path +
                                                              "\", \"tcp://127.0.0.1:0\"]\n"
                                                              "max-clients = 1\ngrace = 0.5\n"
                                                              "memory-limit = \"5MB\"\n");
  ServerProcess server({"--config", file, "--memory-limit", "6MB"}, {}, 2);
  ASSERT_EQ(server.addresses().size(), 2U) << server.log();
  Caller caller("unix:" + path);
  EXPECT_EQ(caller.hello().numbers.at("memory_limit"), 6'000'000U) << "the command line is first";
  EXPECT_TRUE(Caller("unix:" + path).ends_with("too_many_clients"));

  for (const char* wrong :
       {"lisen = [\"unix:/a\"]", "max-clients = 3", "listen = 3", "listen = [\"tcp://0.0.0.0:0\"]",
        "threads = \"many\"", "describe-ops = true"}) {
    const std::string bad = folder.write("bad.toml", wrong);
    ServerProcess failing({"--config", bad});
    EXPECT_EQ(failing.exit_status(), exit_usage) << wrong << ": " << failing.log();
  }
  EXPECT_EQ(ServerProcess({"--config", folder.file("none")}).exit_status(), exit_usage);
}

TEST(ServerCommandLine, RequestsReachTheFilesOfTheFoldersThatAreAllowed) {
  const TemporaryFolder folder;
  const TemporaryFolder other;
  const std::string inside = folder.file("x.npy");
  const std::string outside = other.file("x.npy");
  const std::array<std::uint8_t, 1> byte{7};
  const auto codes = [&](const std::vector<std::string>& options) {
    std::vector<std::string> words{"--listen", any_port};
    words.insert(words.end(), options.begin(), options.end());
    ServerProcess server(words);
    Caller caller(server.addresses().at(0));
    EXPECT_TRUE(caller.hello().ok());
    EXPECT_TRUE(caller.ask(test::encode_upload(caller.new_id(), 1, "u8", {1}, 0, byte)).ok());
    std::vector<std::string> seen;
    for (const std::string& path : {inside, outside}) {
      seen.push_back(caller.ask(test::encode_save(caller.new_id(), 1, path)).code());
      seen.push_back(caller.ask(test::encode_load(caller.new_id(), 2, path)).code());
      caller.ask(test::encode_release(caller.new_id(), std::array<std::uint64_t, 1>{2}));
    }
    return seen;
  };
  using Codes = std::vector<std::string>;
  const Codes none(4, "forbidden");
  EXPECT_EQ(codes({}), none);
  EXPECT_EQ(codes({"--files", folder.path()}), (Codes{"", "", "forbidden", "forbidden"}));
  EXPECT_EQ(codes({"--files", folder.path(), "--files", other.path()}), (Codes{"", "", "", ""}));
  ServerProcess nowhere({"--listen", any_port, "--files", folder.file("nowhere")});
  EXPECT_EQ(nowhere.exit_status(), EXIT_FAILURE) << nowhere.log();
}

TEST(ServerCommandLine, AServerKeepsNoRightsThatItDoesNotNeed) {
  if (has_sanitizer) GTEST_SKIP() << "a build with a sanitizer has no sandbox";
  const auto restricted = [](pid_t process) {
    std::ifstream status("/proc/" + std::to_string(process) + "/status");
    const std::string text{std::istreambuf_iterator<char>(status), {}};
    return std::pair(text.find("NoNewPrivs:\t1") != std::string::npos,
                     text.find("Seccomp:\t2") != std::string::npos);
  };
  const ServerProcess server({"--listen", any_port});
  EXPECT_EQ(restricted(server.pid()), std::pair(true, true));
  ServerProcess free({"--listen", any_port, "--no-sandbox"});
  // A container may have taken rights from this process already.
  EXPECT_EQ(restricted(free.pid()), restricted(::getpid()));
  EXPECT_TRUE(free.logs("keeps all rights"));
}

TEST(ServerCommandLine, WarnsOfALoopbackAddressWithoutTokens) {
  const TemporaryFolder folder;
  const std::string tokens = folder.write("tokens", "app read " + token_secret);
  const std::string warning = "every user of this machine can use";
  EXPECT_TRUE(ServerProcess({"--listen", any_port}).logs(warning));
  const ServerProcess with({"--listen", any_port, "--token-file", tokens});
  const ServerProcess local({"--listen", "unix:" + folder.file("s")});
  EXPECT_EQ(with.log().find(warning), std::string::npos);
  EXPECT_EQ(local.log().find(warning), std::string::npos);
}

TEST(ServerCommandLine, InsecureAllowsAnAddressWithAWarning) {
  ServerProcess server({"--listen", "tcp://0.0.0.0:0", "--insecure"});
  ASSERT_EQ(server.addresses().size(), 1U) << server.log();
  EXPECT_NE(server.log().find("warning"), std::string::npos);
  EXPECT_NE(server.log().find("--insecure: other machines can reach tcp://0.0.0.0:0"),
            std::string::npos);
}

/// The addresses are told whatever the log level is, and wherever logs go.
TEST(ServerCommandLine, TellsItsAddressesOnStandardErrorAlways) {
  const TemporaryFolder folder;
  ServerProcess server(
      {"--listen", any_port, "--log-level", "off", "--log-file", folder.file("log")});
  ASSERT_EQ(server.addresses().size(), 1U);
  EXPECT_TRUE(
      std::regex_match(server.log(), std::regex(".* listening on tcp://127.0.0.1:[1-9][0-9]*\n")));
  EXPECT_TRUE(Caller(server.addresses()[0]).hello().ok());
}

}  // namespace
}  // namespace outrigger::net
