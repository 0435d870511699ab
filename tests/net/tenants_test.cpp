// A server with greedy and broken clients: the others are served. The real executable, over
// sockets.

#include <array>
#include <fstream>
#include <memory>
#include <string>
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
using testing::add;
using testing::Caller;
using testing::eventually;
using testing::instruction;

const std::string greedy_token(32, 'g');
const std::string modest_token(32, 'm');
const std::string ops_token(32, 'o');

/// `count` bytes.
Program bytes(std::int64_t count) {
  Instruction iota = instruction("iota", {}, 0);
  iota.attrs = {{"type", std::string("u8")}, {"shape", std::vector<std::int64_t>{count}}};
  return {{}, {iota}, {0}};
}

/// Computes on many elements for longer than any test waits.
Program endless_passes() {
  Instruction start = instruction("iota", {}, 0);
  start.attrs = {{"type", std::string("f32")}, {"shape", std::vector<std::int64_t>{1 << 20}}};
  Instruction zero = instruction("sum", {ValueId{0}}, 1);
  Instruction loop = instruction("while", {ValueId{1}, ValueId{0}}, 8);
  loop.out = {8, 9};
  loop.regions = {{{2, 3}, {instruction("less", {ValueId{2}, Number(1e300)}, 4)}, {4}},
                  {{5, 6},
                   {instruction("negate", {ValueId{5}}, 7), instruction("sin", {ValueId{6}}, 10)},
                   {7, 10}}};
  return {{}, {start, zero, loop}, {9}};
}

/// A server whose token "greedy" has these quotas.
class Tenants : public ::testing::Test {
 protected:
  void serve(const std::string& quotas, std::vector<std::string> options = {}) {
    const std::string list =
        folder_.write("tokens", "greedy all " + greedy_token + " " + quotas + "\nmodest all " +
                                    modest_token + "\nops all " + ops_token + " priority=100\n");
    options.insert(options.end(), {"--listen", "tcp://127.0.0.1:0", "--token-file", list});
    server_ = std::make_unique<ServerProcess>(std::move(options));
    ASSERT_EQ(server_->addresses().size(), 1U) << server_->log();
  }

  std::unique_ptr<Caller> enter(const std::string& token) {
    auto caller = std::make_unique<Caller>(server_->addresses().at(0));
    EXPECT_TRUE(caller->auth(token).ok());
    EXPECT_TRUE(caller->hello().ok());
    return caller;
  }
  static test::Reply run(Caller& caller, const Program& program, std::vector<std::uint64_t> args,
                         std::vector<std::uint64_t> results) {
    return caller.ask(test::encode_run(caller.new_id(), program, args, results));
  }
  static test::Reply upload(Caller& caller, std::uint64_t handle, std::uint8_t value) {
    return caller.ask(
        test::encode_upload(caller.new_id(), handle, "u8", {1}, 0, std::array{value}));
  }
  static std::uint64_t figure(Caller& caller, const std::string& key) {
    return caller.info().numbers.at("tenants." + key);
  }

  /// A client with the other token can do what it likes.
  void expect_served() {
    const auto caller = enter(modest_token);
    for (std::uint8_t i = 0; i < 20; ++i) {
      const std::uint64_t handle = 1 + 2ULL * i;
      EXPECT_TRUE(upload(*caller, handle, i).ok());
      EXPECT_TRUE(run(*caller, add(1), {handle}, {handle + 1}).ok());
      const auto sum = caller->ask(test::encode_download(caller->new_id(), handle + 1, 0, 1));
      EXPECT_EQ(sum.data, (std::vector<std::uint8_t>{static_cast<std::uint8_t>(i + 1)}));
      EXPECT_TRUE(caller->ask(test::encode_prepare(caller->new_id(), 1 + i, add(i))).ok());
    }
    const auto large = run(*caller, bytes(20 << 20), {}, {1000});
    EXPECT_TRUE(large.ok()) << large.text();
  }

  TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(Tenants, AGreedyClientByBytes) {
  serve("bytes=8MiB");
  const auto first = enter(greedy_token);
  const auto second = enter(greedy_token);
  std::uint64_t handle = 0;
  test::Reply reply;
  for (int i = 0; i < 100; ++i) {
    reply = run(i % 2 == 0 ? *first : *second, bytes(1 << 20), {}, {++handle});
    if (!reply.ok()) break;
  }
  EXPECT_EQ(reply.code(), "out_of_memory");
  EXPECT_NE(reply.text().find("8.0 MiB, the quota `bytes` of the token greedy"), std::string::npos)
      << reply.text();
  EXPECT_EQ(run(*second, bytes(100 << 20), {}, {++handle}).code(), "out_of_memory");
  const auto ops = enter(ops_token);
  EXPECT_LE(figure(*ops, "greedy.bytes"), 8U << 20);
  EXPECT_GE(figure(*ops, "greedy.bytes"), 6U << 20);
  EXPECT_EQ(figure(*ops, "greedy.sessions"), 2U);
  expect_served();
}

TEST_F(Tenants, AGreedyClientByHandlesAndPrograms) {
  serve("handles=50 programs=10");
  const auto first = enter(greedy_token);
  const auto second = enter(greedy_token);
  std::uint64_t made = 0;
  test::Reply reply;
  for (std::uint64_t i = 1; i <= 100; ++i) {
    reply = upload(i % 2 == 0 ? *first : *second, i, 1);
    made += reply.ok() ? 1 : 0;
  }
  EXPECT_EQ(made, 50U);
  EXPECT_EQ(reply.code(), "quota_exceeded");
  for (std::uint64_t id = 1; id <= 8; ++id)
    EXPECT_TRUE(first->ask(test::encode_prepare(first->new_id(), id, add(1))).ok());
  for (std::uint64_t id = 1; id <= 2; ++id)
    EXPECT_TRUE(second->ask(test::encode_prepare(second->new_id(), id, add(1))).ok());
  EXPECT_EQ(second->ask(test::encode_prepare(second->new_id(), 3, add(1))).code(),
            "quota_exceeded");
  expect_served();
}

TEST_F(Tenants, AGreedyClientBySessions) {
  serve("sessions=3", {"--max-clients", "10"});
  std::vector<std::unique_ptr<Caller>> all;
  for (int i = 0; i < 3; ++i) all.push_back(enter(greedy_token));
  for (int i = 0; i < 20; ++i) {
    Caller more(server_->addresses().at(0));
    const auto reply = more.auth(greedy_token);
    EXPECT_EQ(reply.code(), "quota_exceeded");
    EXPECT_NE(reply.text().find("`sessions`"), std::string::npos) << reply.text();
    EXPECT_TRUE(more.ends());
  }
  EXPECT_TRUE(server_->logs("quota_exceeded: the token greedy has 3 sessions"));
  expect_served();
  all.pop_back();
  const auto ops = enter(ops_token);
  EXPECT_TRUE(eventually([&] { return figure(*ops, "greedy.sessions") == 2; }));
  EXPECT_TRUE(enter(greedy_token)->ping().ok());
}

TEST_F(Tenants, AGreedyClientByTime) {
  serve("seconds=0.5");
  const auto greedy = enter(greedy_token);
  const std::uint64_t id = greedy->new_id();
  greedy->send(test::encode_run(id, endless_passes(), {}, std::array<std::uint64_t, 1>{1},
                                {.deadline_ms = 1500}));
  expect_served();
  EXPECT_EQ(greedy->receive(std::chrono::seconds(60)).status, "deadline_exceeded");
  // The time beyond its quota counts for the next requests.
  const auto refused = run(*greedy, bytes(10), {}, {2});
  EXPECT_EQ(refused.code(), "quota_exceeded");
  EXPECT_NE(refused.text().find("quota `seconds` is 0.5 s in a minute: try again in "),
            std::string::npos)
      << refused.text();
  EXPECT_TRUE(greedy->ping().ok());
  expect_served();
}

/// Requests without end, in the middle of which all others come in.
TEST_F(Tenants, AGreedyClientAtFullLoad) {
  serve("priority=1000");
  const auto greedy = enter(greedy_token);
  for (std::uint64_t i = 1; i <= 50; ++i) {
    greedy->send(test::encode_run(greedy->new_id(), endless_passes(), {}, std::array{i}));
  }
  const auto other = enter(greedy_token);
  ASSERT_TRUE(eventually([&] { return greedy->info().numbers.contains("running"); }));
  for (std::uint64_t i = 1; i <= 200; ++i) {
    ASSERT_TRUE(upload(*other, i, 1).ok());
    ASSERT_TRUE(run(*other, add(1), {i}, {1000 + i}).ok());
  }
  EXPECT_TRUE(greedy->info().numbers.contains("running"));
}

TEST_F(Tenants, AClientThatTakesNoReplies) {
  serve("", {"--send-timeout", "1"});
  const auto greedy = enter(greedy_token);
  ASSERT_TRUE(run(*greedy, bytes(1'000'000), {}, {1}).ok());
  std::string requests;
  for (int i = 0; i < 500; ++i)
    requests += testing::frame_of(test::encode_download(greedy->new_id(), 1, 0, 1'000'000));
  try {
    greedy->frames().link().write(testing::bytes_of(requests));
  } catch (const std::exception&) {
    // the server may have ended the connection
  }
  expect_served();
  EXPECT_TRUE(server_->logs("closed, as the client took less than 65536 bytes of its replies"));
  const auto ops = enter(ops_token);
  EXPECT_TRUE(eventually([&] { return figure(*ops, "greedy.sessions") == 0; }));
  EXPECT_TRUE(eventually([&] { return figure(*ops, "greedy.bytes") == 0; }));
}

TEST_F(Tenants, ABadQuotaStopsTheStartWithoutTheToken) {
  const std::string list = folder_.write("tokens", "greedy all " + greedy_token + " sesions=3\n");
  ServerProcess server({"--listen", "tcp://127.0.0.1:0", "--token-file", list});
  EXPECT_EQ(server.exit_status(), 1);
  EXPECT_TRUE(server.logs("line 1: after the token come quotas"));
  EXPECT_EQ(server.log().find(greedy_token), std::string::npos);
}

}  // namespace
}  // namespace outrigger::net
