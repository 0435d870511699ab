// Operators: they see all sessions, end requests and connections, and watch. The real executable,
// over sockets.

#include <array>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "net/caller.hpp"
#include "net/samples.hpp"
#include "net/served.hpp"
#include "support/server_process.hpp"
#include "wire/frames.hpp"

namespace outrigger::net {
namespace {

using test::ServerProcess;
using test::TemporaryFolder;
using testing::Caller;
using testing::counting_up;
using testing::eventually;

const std::string worker_token(32, 'a');
const std::string operator_token(32, 'o');

class Operators : public ::testing::Test {
 protected:
  Operators()
      : server_({"--listen", "tcp://127.0.0.1:0", "--slow-time", "0.02", "--token-file",
                 folder_.write("tokens", "app read,write,files,publish " + worker_token +
                                             "\nops admin " + operator_token + "\n")}) {}

  struct Client {
    std::unique_ptr<Caller> caller;
    std::uint64_t session = 0;

    test::Reply ask(std::string_view kind,
                    const std::vector<std::pair<std::string_view, std::uint64_t>>& entries = {}) {
      return caller->ask(test::encode_numbers(caller->new_id(), kind, entries));
    }
  };

  Client enter(const std::string& token) {
    Client out{std::make_unique<Caller>(server_.addresses().at(0)), 0};
    EXPECT_TRUE(out.caller->auth(token).ok());
    out.session = out.caller->hello().numbers.at("session");
    return out;
  }

  /// Starts a request that only a cancel ends, and waits until it runs.
  std::uint64_t run_endless(Client& app, Client& ops) {
    const std::uint64_t id = app.caller->new_id();
    app.caller->send(test::encode_run(id, counting_up(), {}, std::array<std::uint64_t, 1>{id}));
    const std::string key = "sessions." + std::to_string(app.session) + ".running.request";
    EXPECT_TRUE(eventually([&] { return ops.ask("sessions").numbers.contains(key); }));
    return id;
  }

  TemporaryFolder folder_;
  ServerProcess server_;
};

TEST_F(Operators, TheRightAdminIsNeeded) {
  Client app = enter(worker_token);
  Client ops = enter(operator_token);
  const std::uint64_t busy = run_endless(app, ops);
  Client other = enter(worker_token);
  EXPECT_EQ(other.ask("sessions").code(), "forbidden");
  EXPECT_EQ(other.ask("stats").code(), "forbidden");
  EXPECT_EQ(other.ask("slowlog").code(), "forbidden");
  EXPECT_EQ(other.ask("monitor").code(), "forbidden");
  EXPECT_EQ(other.ask("kick", {{"session", app.session}}).code(), "forbidden");
  EXPECT_EQ(other.ask("cancel", {{"request", busy}, {"session", app.session}}).code(), "forbidden");
  EXPECT_EQ(other.ask("cancel", {{"request", busy}, {"session", other.session}}).code(),
            "forbidden");
  EXPECT_TRUE(other.ask("cancel", {{"request", busy}}).ok()) << "of the own session";
  EXPECT_TRUE(other.caller->ping().ok());
  EXPECT_EQ(ops.ask("stats").numbers.at("kinds.refused.count"), 7U);
  EXPECT_TRUE(app.caller->info().numbers.contains("running"));
}

TEST_F(Operators, CancelAndKick) {
  Client app = enter(worker_token);
  Client ops = enter(operator_token);
  const std::uint64_t busy = run_endless(app, ops);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(
      ops.ask("cancel", {{"request", busy + 7}, {"session", app.session}}).flags.at("found"));
  EXPECT_FALSE(ops.ask("cancel", {{"request", busy}, {"session", 999}}).flags.at("found"));
  EXPECT_TRUE(ops.ask("cancel", {{"request", busy}, {"session", app.session}}).flags.at("found"));
  EXPECT_EQ(app.caller->receive().status, "cancelled");
  const test::Reply log = ops.ask("slowlog");
  EXPECT_EQ(log.strings.at("entries.0.code"), "cancelled");
  EXPECT_EQ(log.strings.at("entries.0.token"), "app");
  EXPECT_EQ(log.numbers.at("entries.0.ops.while"), 1U);

  EXPECT_EQ(ops.ask("kick", {{"session", ops.session}}).code(), "bad_request") << "oneself";
  EXPECT_FALSE(ops.ask("kick", {{"session", 999}}).flags.at("found"));
  run_endless(app, ops);
  EXPECT_TRUE(ops.ask("kick", {{"session", app.session}}).flags.at("found"));
  EXPECT_TRUE(app.caller->ends_with("forbidden"));
  EXPECT_TRUE(eventually([&] { return ops.ask("stats").numbers.at("sessions") == 1; }));
  const std::string left = "sessions." + std::to_string(app.session) + ".queue";
  EXPECT_FALSE(ops.ask("sessions").numbers.contains(left));
  EXPECT_TRUE(server_.logs("closed: an operator has ended this session"));
  EXPECT_TRUE(enter(worker_token).caller->ping().ok()) << "a new connection is welcome";
}

TEST_F(Operators, SessionsTellWhoIsThere) {
  Client app = enter(worker_token);
  Client ops = enter(operator_token);
  ASSERT_TRUE(app.caller
                  ->ask(test::encode_upload(app.caller->new_id(), 1, "u8", {3}, 0,
                                            std::array<std::uint8_t, 3>{1, 2, 3}))
                  .ok());
  const test::Reply seen = ops.ask("sessions");
  const std::string own = "sessions." + std::to_string(app.session) + ".";
  EXPECT_EQ(seen.strings.at(own + "token"), "app");
  EXPECT_EQ(seen.strings.at(own + "transport"), "tcp");
  EXPECT_TRUE(seen.strings.at(own + "peer").starts_with("127.0.0.1:"));
  EXPECT_EQ(seen.numbers.at(own + "bytes"), 3U);
  EXPECT_EQ(seen.numbers.at(own + "tensors"), 1U);
}

/// It holds some MiB, whatever the others do, and the others do not wait for it.
TEST_F(Operators, AMonitorThatReadsNothing) {
  Client slow = enter(operator_token);
  ASSERT_TRUE(slow.ask("monitor").ok());
  Client ops = enter(operator_token);
  Client app = enter(worker_token);
  std::string batch;
  for (int i = 0; i < 200; ++i)
    batch += testing::frame_of(
        test::encode_numbers(app.caller->new_id(), "forget", {{"program_id", 1}}));
  std::uint64_t dropped = 0;
  for (int round = 0; round < 2000 && dropped == 0; ++round) {
    app.caller->write(batch);
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(app.caller->receive().ok());
    if (round % 20 == 19) dropped = ops.ask("stats").numbers.at("monitor_dropped");
  }
  EXPECT_GT(dropped, 0U);
  // The events that were sent come at last, then the number of those that were not.
  std::uint64_t told = 0;
  std::uint64_t events = 0;
  while (told == 0 && events < 1'000'000) {
    if (events % 1000 == 0) {
      ASSERT_TRUE(app.caller->ask(test::encode_forget(app.caller->new_id(), 1)).ok());
    }
    const test::Reply event = slow.caller->receive();
    ASSERT_EQ(event.strings.at("event"), "request");
    told = event.numbers.at("dropped");
    ++events;
  }
  EXPECT_GE(told, dropped);
}

}  // namespace
}  // namespace outrigger::net
