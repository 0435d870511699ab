// The daemon as a server: the real executable, reached over sockets.

#include <sys/resource.h>

#include <array>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "net/caller.hpp"
#include "net/samples.hpp"
#include "net/serve_stdio.hpp"
#include "net/served.hpp"
#include "support/certificates.hpp"
#include "support/client.hpp"
#include "support/server_process.hpp"

namespace outrigger::net {
namespace {

using std::chrono::milliseconds;
using test::Client;
using test::open_socket_transport;
using test::ServerProcess;
using test::TemporaryFolder;
using testing::add;
using testing::any_port;
using testing::Caller;
using testing::eventually;
using testing::instruction;
using testing::token_secret;

/// Counts up for longer than any test waits.
Program endless() {
  Instruction loop = instruction("while", {ValueId{0}}, 1);
  loop.regions = {{{2}, {instruction("less", {ValueId{2}, Number(std::int64_t{1} << 60)}, 3)}, {3}},
                  {{4}, {instruction("add", {ValueId{4}, Number(std::int64_t{1})}, 5)}, {5}}};
  return {{0}, {loop}, {1}};
}

test::Data scalar(std::uint8_t value) { return {"s64", {}, {value, 0, 0, 0, 0, 0, 0, 0}}; }

TEST(DaemonSockets, SessionsShareTheEpochAndNoHandles) {
  const TemporaryFolder folder;
  ServerProcess server({"--listen", "unix:" + folder.file("s"), "--listen", any_port});
  ASSERT_EQ(server.addresses().size(), 2U) << server.log();
  auto first = std::make_unique<Client>(open_socket_transport(server.addresses()[0]));
  Client second(open_socket_transport(server.addresses()[1]));
  EXPECT_EQ(first->hello().numbers.at("epoch"), second.hello().numbers.at("epoch"));
  EXPECT_EQ(first->hello().numbers.at("session"), 1U);
  EXPECT_EQ(second.hello().numbers.at("session"), 2U);

  const std::uint64_t handle = first->upload(scalar(5));
  EXPECT_EQ(second.info(handle).code(), "bad_handle");
  EXPECT_EQ(second.release(std::array{handle}).numbers.at("released"), 0U);
  ASSERT_EQ(second.upload(scalar(7)), handle);
  EXPECT_EQ(first->download(handle).bytes[0], 5);
  EXPECT_EQ(second.download(handle).bytes[0], 7);
  EXPECT_EQ(first->info().numbers.at("tensors"), 1U);
  EXPECT_EQ(second.info().numbers.at("connection.sessions"), 2U);

  // Memory is one for all, and that of a session goes with it.
  const std::uint64_t used = second.info().numbers.at("memory.used");
  first->upload({"u8", {1 << 20}, std::vector<std::uint8_t>(1U << 20)});
  EXPECT_GE(second.info().numbers.at("memory.used"), used + (1U << 20));
  first.reset();
  EXPECT_TRUE(eventually([&] { return second.info().numbers.at("memory.used") < used; }));
  EXPECT_EQ(second.info().numbers.at("connection.sessions"), 1U);
  EXPECT_EQ(second.download(handle).bytes[0], 7);

  Client again(open_socket_transport(server.addresses()[0]));
  EXPECT_EQ(again.hello().numbers.at("session"), 3U);
  EXPECT_EQ(again.info(handle).code(), "bad_handle");
}

TEST(DaemonSockets, PublishedTensorsOutliveTheirSession) {
  const TemporaryFolder folder;
  ServerProcess server({"--listen", "unix:" + folder.file("s"), "--listen", any_port});
  Caller second(server.addresses().at(1));
  ASSERT_TRUE(second.hello().ok());
  ASSERT_TRUE(second.ask(test::encode_subscribe(10, 4, "")).ok());
  {
    Caller first(server.addresses().at(0));
    ASSERT_TRUE(first.hello().ok());
    const std::array<std::uint8_t, 3> bytes{1, 2, 3};
    ASSERT_TRUE(first.ask(test::encode_upload(2, 1, "u8", {3}, 0, bytes)).ok());
    ASSERT_TRUE(first.ask(test::encode_publish(3, 1, "w")).ok());
  }
  const auto event = second.receive();
  EXPECT_EQ(event.id, 0U);
  EXPECT_EQ(event.strings.at("event"), "published");
  EXPECT_EQ(event.strings.at("name"), "w");
  EXPECT_EQ(event.numbers.at("subscription"), 4U);
  EXPECT_EQ(second.ask(test::encode_open(11, 8, "w")).numbers.at("version"),
            event.numbers.at("version"));
  EXPECT_EQ(second.ask(test::encode_download(12, 8, 0, 3)).data,
            (std::vector<std::uint8_t>{1, 2, 3}));
  EXPECT_EQ(second.ask(test::encode_names(13)).names.at(0).name, "w");
}

TEST(DaemonSockets, TheMemoryLimitIsShared) {
  ServerProcess server({"--listen", any_port, "--memory-limit", "3MB"});
  Client first(open_socket_transport(server.addresses().at(0)));
  Client second(open_socket_transport(server.addresses().at(0)));
  const Program big{
      {},
      {[] {
        Instruction iota = instruction("iota", {}, 0);
        iota.attrs = {{"type", std::string("u8")}, {"shape", std::vector<std::int64_t>{2'000'000}}};
        return iota;
      }()},
      {0}};
  EXPECT_TRUE(first.run(big, {}, std::array{first.new_handle()}).ok());
  const std::uint64_t handle = second.new_handle();
  EXPECT_EQ(second.run(big, {}, std::array{handle}).code(), "out_of_memory");
  second.release(std::array{handle});
  first.release(std::array<std::uint64_t, 1>{1});
  EXPECT_TRUE(second.run(big, {}, std::array{handle}).ok());
}

TEST(DaemonSockets, InfoTellsOfTheConnection) {
  const TemporaryFolder folder;
  const std::string list = folder.write("tokens", "app read,write " + token_secret + "\n");
  ServerProcess server(
      {"--listen", "unix:" + folder.file("s"), "--listen", "tcp://[::1]:0", "--token-file", list});
  ASSERT_EQ(server.addresses().size(), 2U) << server.log();
  for (std::size_t i = 0; i < 2; ++i) {
    Caller caller(server.addresses()[i]);
    ASSERT_TRUE(caller.auth(token_secret).ok());
    ASSERT_TRUE(caller.hello().ok());
    const auto info = caller.info();
    EXPECT_EQ(info.strings.at("connection.transport"), i == 0 ? "unix" : "tcp");
    EXPECT_EQ(info.strings.at("connection.token"), "app");
    EXPECT_EQ(info.strings.at("connection.rights"), "read,write");
    EXPECT_EQ(info.numbers.at("connection.session"), i + 1);
    EXPECT_EQ(info.numbers.at("connection.sessions"), 1U);
    const std::regex peer(i == 0 ? "pid [0-9]+ uid [0-9]+" : "\\[::1\\]:[0-9]+");
    EXPECT_TRUE(std::regex_match(info.strings.at("connection.peer"), peer));
    EXPECT_TRUE(caller.ask(test::encode_simple(9, "bye")).ok());
    EXPECT_TRUE(caller.ends());
  }
}

TEST(DaemonSockets, AuthIsTakenWhereNoTokenIsWanted) {
  ServerProcess server({"--listen", any_port});
  Caller caller(server.addresses().at(0));
  const auto reply = caller.auth("anything");
  EXPECT_EQ(reply.strings.at("name"), "");
  EXPECT_EQ(reply.strings.at("rights"), "read,write,files,publish,admin");
  EXPECT_EQ(caller.auth("again").code(), "bad_request");
  EXPECT_TRUE(caller.hello().ok());
  EXPECT_EQ(caller.auth("late").code(), "bad_request");
  EXPECT_TRUE(caller.ping().ok());

  Caller wrong(server.addresses().at(0));
  EXPECT_EQ(wrong.ping().code(), "bad_request");
  EXPECT_TRUE(wrong.ends());
}

TEST(DaemonSockets, TokensComeFromAFileAndFromTheEnvironment) {
  const TemporaryFolder folder;
  const std::string list = folder.write("tokens", "file read " + token_secret + "\n");
  const std::string other(32, 'o');
  ServerProcess server({"--listen", any_port, "--token-file", list},
                       {"OUTRIGGER_TOKENS=variable all " + other});
  for (const std::string& token : {token_secret, other}) {
    Caller caller(server.addresses().at(0));
    EXPECT_EQ(caller.auth(token).strings["name"], token == token_secret ? "file" : "variable");
    EXPECT_TRUE(caller.hello().ok());
  }
  Caller wrong(server.addresses().at(0));
  EXPECT_EQ(wrong.auth("guessed-guessed-guessed").code(), "unauthorized");
  EXPECT_TRUE(wrong.ends());
  EXPECT_TRUE(server.logs("unauthorized: this server has no such token"));
  EXPECT_TRUE(std::regex_search(server.log(), std::regex("127.0.0.1:[0-9]+: unauthorized")));
  for (const std::string& hidden : {token_secret, other, std::string("guessed")})
    EXPECT_EQ(server.log().find(hidden), std::string::npos);
}

TEST(DaemonSockets, ManyClientsWithPipelinedCalls) {
  ServerProcess server({"--listen", any_port});
  constexpr std::uint64_t clients = 64;
  constexpr std::uint64_t calls = 200;
  std::vector<std::future<std::uint64_t>> wrong;
  for (std::uint64_t i = 0; i < clients; ++i) {
    wrong.push_back(std::async(std::launch::async, [&, i] {
      Client client(open_socket_transport(server.addresses().at(0)));
      const auto handle = client.upload(scalar(static_cast<std::uint8_t>(i)));
      client.wait(client.prepare_later(1, add(100)));
      std::vector<std::uint64_t> ids;
      std::vector<std::uint64_t> results;
      for (std::uint64_t call = 0; call < calls; ++call) {
        results.push_back(client.new_handle());
        const std::uint64_t id = client.new_id();
        ids.push_back(client.send(
            id, test::encode_call(id, 1, std::array{handle}, std::array{results.back()})));
      }
      std::uint64_t bad = 0;
      for (const std::uint64_t id : ids) bad += client.wait(id).ok() ? 0 : 1;
      for (const std::uint64_t result : results)
        bad += client.download(result, "s64", {}).bytes[0] == i + 100 ? 0 : 1;
      return bad;
    }));
  }
  for (auto& one : wrong) EXPECT_EQ(one.get(), 0U);
}

TEST(DaemonSockets, ALongProgramOfOneSessionDoesNotHoldUpWhatIsAnsweredAtOnce) {
  ServerProcess server({"--listen", any_port});
  auto busy = std::make_unique<Client>(open_socket_transport(server.addresses().at(0)));
  Client other(open_socket_transport(server.addresses().at(0)));
  const auto handle = busy->upload(scalar(0));
  busy->run_later(endless(), std::array{handle}, std::array{busy->new_handle()});
  EXPECT_TRUE(other.ping().ok());
  EXPECT_EQ(other.info().numbers.at("queue"), 0U);
  // The engine works for one at a time: with the end of that session it goes on.
  const std::uint64_t mine = other.new_handle();
  const std::uint64_t upload = other.upload_later(mine, scalar(3));
  busy.reset();
  EXPECT_TRUE(other.wait(upload).ok());
}

/// Calls until the server ends the connection; gives what is wrong with the replies.
std::string call_until_the_end(const std::string& address, std::atomic<int>& ready) {
  Caller caller(address);
  if (!caller.hello().ok()) return "no hello";
  const auto argument = scalar(1);
  caller.ask(test::encode_upload(caller.new_id(), 1, "s64", {}, 0, argument.bytes));
  caller.ask(test::encode_prepare(caller.new_id(), 1, add(1)));
  ++ready;
  std::set<std::uint64_t> pending;
  bool writing = true;
  for (std::uint64_t result = 2;; ++result) {
    try {
      for (int i = 0; writing && i < 2; ++i) {
        const std::uint64_t id = caller.new_id();
        // Also such that cannot be carried out: the handle is taken.
        caller.send(test::encode_call(id, 1, std::array<std::uint64_t, 1>{1}, std::array{result}));
        pending.insert(id);
      }
    } catch (const std::exception&) {
      writing = false;
    }
    const auto reply = caller.receive();
    if (reply.id == 0) return reply.code() == "shutting_down" && caller.ends() ? "" : reply.text();
    if (pending.erase(reply.id) != 1) return "a reply to no request";
    if (!reply.ok() && reply.code() != "handle_in_use" && reply.code() != "shutting_down")
      return reply.text();
  }
}

TEST(DaemonSockets, EndsWhenToldToUnderLoad) {
  const TemporaryFolder folder;
  const std::string path = folder.file("s");
  ServerProcess server({"--listen", "unix:" + path});
  ASSERT_EQ(server.addresses().size(), 1U) << server.log();
  std::atomic<int> ready = 0;
  std::vector<std::future<std::string>> problems;
  for (int i = 0; i < 16; ++i) {
    problems.push_back(std::async(
        std::launch::async, [&] { return call_until_the_end(server.addresses()[0], ready); }));
  }
  ASSERT_TRUE(eventually([&] { return ready == 16; }));
  server.signal(SIGTERM);
  for (auto& problem : problems) EXPECT_EQ(problem.get(), "");
  EXPECT_EQ(server.exit_status(), 0) << server.log();
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(DaemonSockets, CancelsLongProgramsAfterTheGraceTime) {
  ServerProcess server({"--listen", any_port, "--grace", "0.2"});
  Client client(open_socket_transport(server.addresses().at(0)));
  const auto handle = client.upload(scalar(0));
  const auto run = client.run_later(endless(), std::array{handle}, std::array{client.new_handle()});
  EXPECT_TRUE(client.ping().ok());
  server.signal(SIGTERM);
  EXPECT_EQ(client.wait(run).code(), "cancelled");
  EXPECT_EQ(client.wait(0).code(), "shutting_down");
  EXPECT_EQ(server.exit_status(), 0) << server.log();
}

TEST(DaemonSockets, SigintAndSigtermEndItWithoutClients) {
  for (const int number : {SIGTERM, SIGINT}) {
    ServerProcess server({"--listen", any_port});
    ASSERT_EQ(server.addresses().size(), 1U) << server.log();
    server.signal(number);
    EXPECT_EQ(server.exit_status(), 0);
  }
}

TEST(DaemonSockets, SighupDoesNothing) {
  ServerProcess server({"--listen", any_port});
  server.signal(SIGHUP);
  EXPECT_TRUE(server.logs("SIGHUP does nothing"));
  EXPECT_TRUE(Caller(server.addresses().at(0)).hello().ok());
}

TEST(DaemonSockets, LivesOnWithoutTheThreadThatStartedIt) {
  std::unique_ptr<ServerProcess> server;
  // The kernel's signal at the parent's death comes with the end of this thread.
  std::thread([&] {
    server = std::make_unique<ServerProcess>(std::vector<std::string>{"--listen", any_port});
  }).join();
  EXPECT_EQ(server->exit_status(milliseconds(200)), -1);
  EXPECT_TRUE(Caller(server->addresses().at(0)).hello().ok());
  EXPECT_NE(server->proc("oom_score_adj"), "1000\n");
}

TEST(DaemonSockets, ServesOtherMachinesWithTokensAndTls) {
  const TemporaryFolder folder;
  const auto authority = test::make_certificate(folder.path(), {.name = "authority"});
  const auto own = test::make_certificate(folder.path(), {.name = "server", .issuer = &authority});
  const std::string tokens = folder.write("tokens", "app read " + token_secret);
  ServerProcess server({"--listen", "tls://0.0.0.0:0", "--token-file", tokens, "--tls-cert",
                        own.certificate_file, "--tls-key", own.key_file});
  ASSERT_EQ(server.addresses().size(), 1U) << server.log();
  std::string address = server.addresses()[0];
  address.replace(address.find("0.0.0.0"), 7, "127.0.0.1");
  Caller caller(address, {.ca = authority.certificate_file});
  EXPECT_TRUE(caller.auth(token_secret).ok());
  EXPECT_TRUE(caller.hello().ok());
  EXPECT_EQ(caller.info().strings.at("connection.transport"), "tls");
}

std::size_t open_descriptors(const ServerProcess& server) {
  const std::filesystem::directory_iterator folder("/proc/" + std::to_string(server.pid()) + "/fd");
  return static_cast<std::size_t>(std::distance(begin(folder), end(folder)));
}

TEST(DaemonSockets, WaitsForAFreeDescriptor) {
#if defined(__clang__)
#if __has_feature(undefined_behavior_sanitizer)
  GTEST_SKIP() << "the sanitizer's check of virtual tables needs descriptors of its own: a pipe";
#endif
#endif
  ServerProcess server({"--listen", any_port});
  auto first = std::make_unique<Caller>(server.addresses().at(0));
  ASSERT_TRUE(first->hello().ok());
  const auto descriptors = static_cast<rlim_t>(open_descriptors(server));
  // A descriptor's number is below the limit: there are at most two more.
  const rlimit few{descriptors + 2, descriptors + 2};
  ASSERT_EQ(::prlimit(server.pid(), RLIMIT_NOFILE, &few, nullptr), 0);
  std::vector<std::unique_ptr<Caller>> waiting;
  for (int i = 0; i < 6; ++i) {
    waiting.push_back(std::make_unique<Caller>(server.addresses()[0]));
    waiting.back()->send(test::encode_hello(waiting.back()->new_id()));
  }
  ASSERT_TRUE(server.logs("accepts nothing for now: Too many open files"));
  EXPECT_TRUE(first->ping().ok());
  // Each one that leaves lets the next one in.
  first.reset();
  for (auto& caller : waiting) {
    EXPECT_TRUE(caller->receive().ok()) << server.log();
    caller.reset();
  }
}

}  // namespace
}  // namespace outrigger::net
