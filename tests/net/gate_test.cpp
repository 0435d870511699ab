// Tokens and rights, over sockets with a fake engine.

#include "net/gate.hpp"

#include <array>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "net/caller.hpp"
#include "net/served.hpp"
#include "net/served_sockets.hpp"
#include "wire/frames.hpp"

namespace outrigger::net {
namespace {

using testing::Caller;
using testing::eventually;
using testing::ServedSockets;

const std::string reader(32, 'r');
const std::string writer(32, 'w');
const std::string filer(32, 'f');
const std::string publisher(32, 'p');
const std::string admin(32, 'd');
const std::string all(32, 'a');

ServerOptions with_tokens() {
  auto options = testing::serving({"tcp://127.0.0.1:0"});
  EXPECT_TRUE(options.tokens.add("list", "reader read " + reader + "\nwriter write " + writer +
                                             "\nfiler files " + filer + "\npublisher publish " +
                                             publisher + "\nadmin admin " + admin + "\nall all " +
                                             all));
  return options;
}

TEST(Gate, LetsInEachTokenWithItsNameAndRights) {
  ServedSockets served(with_tokens());
  const std::map<std::string, std::array<std::string, 2>> expected{
      {reader, {"reader", "read"}},
      {writer, {"writer", "write"}},
      {all, {"all", "read,write,files,publish,admin"}}};
  for (const auto& [token, what] : expected) {
    Caller caller(served.address());
    const auto reply = caller.auth(token);
    ASSERT_TRUE(reply.ok()) << reply.text();
    EXPECT_EQ(reply.strings.at("name"), what[0]);
    EXPECT_EQ(reply.strings.at("rights"), what[1]);
    EXPECT_TRUE(caller.hello().ok());
    EXPECT_EQ(caller.auth(token).code(), "bad_request");
    EXPECT_TRUE(caller.ping().ok());
  }
}

TEST(Gate, AuthAndHelloMayTravelTogether) {
  ServedSockets served(with_tokens());
  Caller caller(served.address());
  caller.write(testing::frame_of(test::encode_auth(1, all)) +
               testing::frame_of(test::encode_hello(2)) + testing::upload_frame(3, "abc"));
  for (std::uint64_t id = 1; id <= 3; ++id) EXPECT_EQ(caller.receive().id, id);
}

TEST(Gate, AnswersNothingBeforeTheToken) {
  ServedSockets served(with_tokens());
  const test::Payload token_without_auth = test::encode_hello(9);
  const std::vector<test::Payload> first{test::encode_auth(9, all + "x"),
                                         test::encode_auth(9, "x"),
                                         test::encode_auth(9, all.substr(1)),
                                         token_without_auth,
                                         test::encode_simple(9, "ping"),
                                         test::encode_simple(9, "info"),
                                         test::encode_simple(9, "bye"),
                                         test::encode_simple(9, "fly"),
                                         test::encode_auth(9, "")};
  std::vector<std::unique_ptr<Caller>> callers;
  for (const test::Payload& payload : first) {
    callers.push_back(std::make_unique<Caller>(served.address()));
    callers.back()->write(testing::frame_of(payload) + testing::simple_frame(10, "ping") +
                          testing::frame_of(test::encode_auth(11, all)));
  }
  for (std::size_t i = 0; i < callers.size(); ++i) {
    const auto reply = callers[i]->receive();
    EXPECT_EQ(reply.id, 9U) << i;
    EXPECT_EQ(reply.code(), "unauthorized") << i;
    EXPECT_EQ(reply.text().find(all), std::string::npos);
    EXPECT_TRUE(callers[i]->ends()) << i;
  }
  EXPECT_EQ(served.session(0), nullptr) << "an engine's session was opened";
}

TEST(Gate, AClientThatLeavesDuringTheDelayLeavesNothing) {
  ServedSockets served(with_tokens());
  {
    Caller caller(served.address());
    caller.send(test::encode_auth(1, "x"));
    ASSERT_TRUE(eventually([&] { return served.clients() == 1; }));
  }
  EXPECT_TRUE(eventually([&] { return served.clients() == 0; }));
}

TEST(Gate, HoldsRequestsToTheirRights) {
  ServedSockets served(with_tokens());
  const std::array<std::uint64_t, 1> one{1};
  const Program program;
  const std::vector<std::pair<test::Payload, std::string>> requests{
      {test::encode_simple(7, "ping"), ""},
      {test::encode_simple(7, "info"), ""},
      {test::encode_info(7, 1), ""},
      {test::encode_cancel(7, 3), ""},
      {test::encode_download(7, 1, 0, 4), reader},
      {test::encode_upload(7, 1, "u8", {1}, 0, std::array<std::uint8_t, 1>{1}), writer},
      {test::encode_run(7, program, {}, {}), writer},
      {test::encode_call(7, 1, {}, {}), writer},
      {test::encode_prepare(7, 1, program), writer},
      {test::encode_forget(7, 1), writer},
      {test::encode_release(7, one), ""},
      {test::encode_open(7, 1, "w"), reader},
      {test::encode_names(7), reader},
      {test::encode_subscribe(7, 1, "w"), reader},
      {test::encode_unsubscribe(7, 1), reader},
      {test::encode_publish(7, 1, "w"), publisher},
      {test::encode_unpublish(7, "w"), publisher},
      {test::encode_simple(7, "checkpoint"), admin},
      {test::encode_simple(7, "sessions"), admin},
      {test::encode_simple(7, "stats"), admin},
      {test::encode_simple(7, "slowlog"), admin},
      {test::encode_simple(7, "monitor"), admin},
      {test::encode_numbers(7, "kick", {{"session", 9}}), admin},
      {test::encode_numbers(7, "cancel", {{"request", 1}, {"session", 9}}), admin},
      {test::encode_load(7, 1, "/a"), filer},
      {test::encode_load_raw(7, 1, "/a", "u8", {1}, 0), filer},
      {test::encode_load_csv(7, 1, "/a", "u8", ",", false), filer},
      {test::encode_save(7, 1, "/a"), filer},
      {test::encode_save_npz(7, one, {"a"}, "/a", false), filer},
  };
  std::size_t session = 0;
  for (const std::string& token : {reader, writer, filer, publisher, admin, all}) {
    Caller caller(served.address());
    ASSERT_TRUE(caller.auth(token).ok());
    ASSERT_TRUE(caller.hello().ok());
    std::uint64_t passed = 1;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const auto& [payload, needed] = requests[i];
      const bool allowed = needed.empty() || token == all || token == needed;
      const auto reply = caller.ask(payload);
      EXPECT_EQ(reply.code(), allowed ? "" : "forbidden")
          << "request " << i << ": " << reply.text();
      passed += allowed ? 1 : 0;
      EXPECT_EQ(served.session(session)->submitted(), passed);
    }
    ++session;
  }
}

TEST(Gate, IsOpenWhereThereAreNoTokens) {
  ServedSockets served(testing::serving({"tcp://127.0.0.1:0"}));
  Caller caller(served.address());
  EXPECT_TRUE(caller.hello().ok());
  EXPECT_TRUE(caller.ask(test::encode_save(7, 1, "/a")).ok());
}

}  // namespace
}  // namespace outrigger::net
