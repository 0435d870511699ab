// A server with a fake engine: what clients may do to it, and how connections end.

#include "net/server.hpp"

#include <array>
#include <future>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "net/caller.hpp"
#include "net/samples.hpp"
#include "net/served.hpp"
#include "net/served_sockets.hpp"
#include "support/server_process.hpp"
#include "wire/frames.hpp"

namespace outrigger::net {
namespace {

using std::chrono::milliseconds;
using testing::any_port;
using testing::Caller;
using testing::eventually;
using testing::ServedSockets;
using testing::serving;
using namespace std::string_view_literals;  // NOLINT(google-build-using-namespace)

test::Payload download(std::uint64_t id, std::uint64_t length) {
  return test::encode_download(id, 1, 0, length);
}

TEST(Server, ServesEachKindOfAddressAtOnce) {
  const test::TemporaryFolder folder;
  ServedSockets served(serving({"unix:" + folder.file("s"), any_port, "tcp://[::1]:0"}));
  for (std::size_t i = 0; i < 3; ++i) {
    Caller caller(served.address(i));
    EXPECT_TRUE(caller.hello().ok());
    EXPECT_EQ(caller.ping().id, 2U);
    EXPECT_TRUE(caller.ask(test::encode_simple(3, "bye")).ok());
    EXPECT_TRUE(caller.ends()) << served.address(i);
  }
  EXPECT_TRUE(eventually([&] { return served.clients() == 0; }));
}

TEST(Server, SeveralClientsGetTheirOwnReplies) {
  ServedSockets served(serving({any_port}));
  std::vector<std::unique_ptr<Caller>> callers;
  for (int i = 0; i < 20; ++i) {
    callers.push_back(std::make_unique<Caller>(served.address()));
    ASSERT_TRUE(callers.back()->hello().ok());
  }
  EXPECT_EQ(served.clients(), 20U);
  for (std::uint64_t round = 0; round < 5; ++round) {
    for (std::uint64_t i = 0; i < 20; ++i) callers[i]->send(download(2 + 20 * round + i, 70'000));
    for (std::uint64_t i = 0; i < 20; ++i) {
      const std::uint64_t id = 2 + 20 * round + i;
      const auto reply = callers[i]->receive();
      EXPECT_EQ(reply.id, id);
      EXPECT_EQ(reply.data, std::vector<std::uint8_t>(70'000, static_cast<std::uint8_t>(id)));
    }
  }
}

TEST(Server, TheEndOfAConnectionIsTheEndOfItsSession) {
  ServedSockets served(serving({any_port}), true);
  auto gone = std::make_unique<Caller>(served.address());
  ASSERT_TRUE(gone->frames().link().in_fd() >= 0);
  gone->send(download(7, 10));
  ASSERT_TRUE(eventually([&] { return served.session(0) && served.session(0)->submitted() == 1; }));
  gone.reset();
  EXPECT_TRUE(eventually([&] { return served.session(0)->closed(); }));
  EXPECT_TRUE(eventually([&] { return served.clients() == 0; }));
}

TEST(Server, TellsThatThereAreTooManyClients) {
  auto options = serving({any_port});
  options.clients_max = 2;
  ServedSockets served(std::move(options));
  Caller first(served.address());
  auto second = std::make_unique<Caller>(served.address());
  ASSERT_TRUE(first.hello().ok());
  ASSERT_TRUE(second->hello().ok());
  Caller third(served.address());
  third.write(testing::simple_frame(1, "ping"));
  EXPECT_TRUE(third.ends_with("too_many_clients"));
  EXPECT_EQ(served.clients(), 2U);
  second.reset();
  ASSERT_TRUE(eventually([&] { return served.clients() == 1; }));
  Caller fourth(served.address());
  EXPECT_TRUE(fourth.hello().ok());
  EXPECT_TRUE(first.ping().ok());
}

/// The server tells few connections at a time that they are refused. It closes the others at once.
TEST(Server, RefusesAnyNumberOfClients) {
  auto options = serving({any_port});
  options.clients_max = 1;
  ServedSockets served(std::move(options));
  Caller client(served.address());
  ASSERT_TRUE(client.hello().ok());
  std::vector<std::unique_ptr<Caller>> refused;
  for (int i = 0; i < 200; ++i) refused.push_back(std::make_unique<Caller>(served.address()));
  int told = 0;
  for (const auto& caller : refused) {
    try {
      told += caller->ends_with("too_many_clients") ? 1 : 0;
    } catch (const std::exception&) {
      EXPECT_TRUE(caller->ends());
    }
  }
  EXPECT_GE(told, 16);
  EXPECT_EQ(served.clients(), 1U);
  EXPECT_TRUE(client.ping().ok());
}

TEST(Server, EndsHandshakesThatAreNotFinished) {
  auto options = serving({any_port});
  options.handshake_timeout = milliseconds(300);
  ServedSockets served(std::move(options));
  Caller greeted(served.address());
  ASSERT_TRUE(greeted.hello().ok());
  Caller silent(served.address());
  Caller half(served.address());
  half.write("\0\0\0"sv);
  Caller pings(served.address());
  pings.send(test::encode_simple(1, "ping"));
  EXPECT_EQ(pings.receive().id, 1U);  // of the fake session, which does not ask for a hello
  EXPECT_TRUE(silent.ends_with("timeout"));
  EXPECT_TRUE(half.ends_with("timeout"));
  EXPECT_TRUE(pings.ends_with("timeout"));
  EXPECT_TRUE(greeted.ping().ok());
  EXPECT_TRUE(eventually([&] { return served.clients() == 1; }));
}

TEST(Server, SingleBytesDoNotPutTheHandshakeTimeoutOff) {
  auto options = serving({any_port});
  options.handshake_timeout = milliseconds(300);
  ServedSockets served(std::move(options));
  Caller slow(served.address());
  const std::string hello = testing::frame_of(test::encode_hello(1));
  std::size_t sent = 0;
  try {
    for (; sent < hello.size(); ++sent) {
      slow.write(std::string_view(hello).substr(sent, 1));
      std::this_thread::sleep_for(milliseconds(50));
    }
  } catch (const std::exception&) {
    // the server has closed
  }
  EXPECT_LT(sent, hello.size());
  EXPECT_TRUE(slow.ends_with("timeout"));
}

TEST(Server, EndsIdleSessionsButNoneThatWaitForTheirResults) {
  auto options = serving({any_port});
  options.idle_timeout = milliseconds(200);
  ServedSockets served(std::move(options), true);
  Caller busy(served.address());
  busy.send(test::encode_hello(1));
  ASSERT_TRUE(eventually([&] { return served.session(0) && served.session(0)->answer(1) == 1; }));
  ASSERT_TRUE(busy.receive().ok());
  busy.send(download(2, 10));
  // Another connection with the same timeout ends meanwhile, twice.
  for (std::size_t i = 1; i <= 2; ++i) {
    Caller idle(served.address());
    idle.send(test::encode_hello(1));
    ASSERT_TRUE(eventually([&] { return served.session(i) && served.session(i)->answer(1) == 1; }));
    ASSERT_TRUE(idle.receive().ok());
    EXPECT_TRUE(idle.ends_with("timeout"));
  }
  ASSERT_EQ(served.session(0)->answer(1), 1U);
  EXPECT_EQ(busy.receive().id, 2U);
  EXPECT_TRUE(busy.ends_with("timeout"));
}

TEST(Server, EndsConnectionsOfGarbage) {
  ServedSockets served(serving({any_port}));
  Caller good(served.address());
  ASSERT_TRUE(good.hello().ok());
  for (const std::string& garbage :
       {std::string("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        std::string("\x16\x03\x01\x02\x00\x01", 6), std::string(4, '\xff'),
        testing::frame_of("\xc1"), testing::frame_of(""),
        testing::frame_of(std::string(5000, '\x90'))}) {
    Caller bad(served.address());
    bad.write(garbage);
    EXPECT_TRUE(bad.ends_with("bad_frame"));
  }
  EXPECT_TRUE(good.ping().ok());
}

/// The last frame must not be lost with a connection that is reset because of unread bytes.
TEST(Server, TheLastFrameArrivesAlsoIfTheClientGoesOnWriting) {
  ServedSockets served(serving({any_port}));
  for (int i = 0; i < 20; ++i) {
    Caller bad(served.address());
    std::string bytes(4, '\xff');
    bytes.append(200'000, 'x');
    try {
      bad.write(bytes);
    } catch (const std::exception&) {
      // it may have closed
    }
    EXPECT_TRUE(bad.ends_with("bad_frame"));
  }
}

TEST(Server, FramesAreShortUntilHello) {
  ServedSockets served(serving({any_port}));
  const auto upload = [](std::uint64_t id, std::size_t bytes) {
    return testing::upload_frame(id, std::string(bytes, 'x'));
  };
  Caller early(served.address());
  early.write(upload(1, 5000));
  EXPECT_TRUE(early.ends_with("bad_frame"));
  Caller late(served.address());
  late.write(testing::frame_of(test::encode_hello(1)) + upload(2, 500'000));
  EXPECT_EQ(late.receive().id, 1U);
  EXPECT_EQ(late.receive().id, 2U);
}

TEST(Server, EndsClientsThatTakeNoReplies) {
  auto options = serving({any_port});
  options.send_timeout = milliseconds(300);
  Limits limits;
  limits.replies_bytes_max = 1U << 20;
  ServedSockets served(std::move(options), false, limits);
  Caller good(served.address());
  ASSERT_TRUE(good.hello().ok());
  Caller stalled(served.address());
  ASSERT_TRUE(stalled.hello().ok());
  std::string requests;
  for (std::uint64_t id = 2; id < 2000; ++id) requests += testing::download_frame(id, 100'000);
  stalled.write(requests);
  EXPECT_TRUE(eventually([&] { return served.session(1)->closed(); }));
  // 100 kB for each: the limit of replies, and what the sockets' buffers take.
  EXPECT_LT(served.session(1)->submitted(), 500U);
  EXPECT_TRUE(eventually([&] { return served.clients() == 1; }));
  EXPECT_TRUE(good.ping().ok());
}

/// It takes something again and again, but so little that its replies would be held for hours.
TEST(Server, EndsClientsThatTakeNextToNothing) {
  auto options = serving({any_port});
  options.send_timeout = milliseconds(500);
  ServedSockets served(std::move(options));
  Caller trickle(served.address());
  ASSERT_TRUE(trickle.hello().ok());
  std::string requests;
  for (std::uint64_t id = 2; id < 200; ++id) requests += testing::download_frame(id, 100'000);
  trickle.write(requests);
  bool closed = false;
  std::array<std::uint8_t, 16> little;
  for (int i = 0; i < 1000 && !closed; ++i) {
    static_cast<void>(trickle.frames().link().read(little));
    std::this_thread::sleep_for(milliseconds(10));
    closed = served.session(0)->closed();
  }
  EXPECT_TRUE(closed);
  Caller good(served.address());
  EXPECT_TRUE(good.hello().ok());
}

TEST(Server, AHalfOpenConnectionGivesItsPlaceAway) {
  auto options = serving({any_port});
  options.clients_max = 3;
  ServedSockets served(std::move(options));
  Caller greeted(served.address());
  ASSERT_TRUE(greeted.hello().ok());
  Caller oldest(served.address());
  oldest.write("\0\0"sv);
  Caller younger(served.address());
  ASSERT_TRUE(eventually([&] { return served.clients() == 3; }));
  EXPECT_TRUE(Caller(served.address()).ends_with("too_many_clients")) << "they have a second";
  std::this_thread::sleep_for(milliseconds(1100));
  Caller late(served.address());
  EXPECT_TRUE(late.hello().ok());
  EXPECT_TRUE(oldest.ends_with("too_many_clients"));
  EXPECT_TRUE(younger.hello().ok());
  EXPECT_TRUE(greeted.ping().ok());
  EXPECT_TRUE(Caller(served.address()).ends_with("too_many_clients")) << "all have said hello";
}

TEST(Server, AClientThatReadsSlowlyIsServed) {
  auto options = serving({any_port});
  options.send_timeout = milliseconds(1000);
  ServedSockets served(std::move(options));
  Caller slow(served.address());
  ASSERT_TRUE(slow.hello().ok());
  constexpr std::uint64_t count = 150;
  for (std::uint64_t id = 2; id < 2 + count; ++id) slow.send(download(id, 100'000));
  for (std::uint64_t id = 2; id < 2 + count; ++id) {
    EXPECT_EQ(slow.receive().id, id);
    if (id % 10 == 0) std::this_thread::sleep_for(milliseconds(100));
  }
}

TEST(Server, StopsWhenWhatItHasReadIsCarriedOut) {
  ServedSockets served(serving({any_port}), true);
  Caller busy(served.address());
  Caller idle(served.address());
  busy.send(download(5, 10));
  idle.send(test::encode_simple(1, "ping"));
  EXPECT_EQ(idle.receive().id, 1U);
  ASSERT_TRUE(eventually([&] { return served.session(0) && served.session(0)->submitted() == 1; }));
  auto stopped = served.stop();
  EXPECT_TRUE(idle.ends_with("shutting_down"));
  EXPECT_THROW(Caller(served.address()), std::exception);
  EXPECT_EQ(busy.ask(download(6, 10)).code(), "shutting_down");
  EXPECT_TRUE(busy.ping().ok());
  EXPECT_NE(stopped.wait_for(milliseconds(0)), std::future_status::ready);
  ASSERT_EQ(served.session(0)->answer(1), 1U);
  EXPECT_EQ(busy.receive().data.size(), 10U);
  EXPECT_TRUE(busy.ends_with("shutting_down"));
  EXPECT_EQ(stopped.wait_for(std::chrono::seconds(10)), std::future_status::ready);
}

TEST(Server, CancelsWhatIsLeftAfterTheGraceTime) {
  for (const bool twice : {false, true}) {
    auto options = serving({any_port});
    options.grace = twice ? std::chrono::minutes(5) : milliseconds(100);
    ServedSockets served(std::move(options), true);
    Caller busy(served.address());
    busy.send(download(5, 10));
    const auto submitted = [&] { return served.session(0) && served.session(0)->submitted() == 1; };
    ASSERT_TRUE(eventually(submitted));
    auto stopped = served.stop();
    if (twice) served.stop();
    EXPECT_EQ(busy.receive().id, 5U);
    EXPECT_TRUE(busy.ends_with("shutting_down"));
    EXPECT_EQ(stopped.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  }
}

TEST(Server, ListensNowhereIfOneAddressCannotBeBound) {
  ServedSockets other(serving({any_port}));
  const test::TemporaryFolder folder;
  const std::string path = folder.file("s");
  boost::asio::io_context io(1);
  Server server(io, {}, serving({"unix:" + path, other.address()}), nullptr);
  const auto done = server.listen();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().text, other.address() + ": Address already in use");
  EXPECT_THROW(test::dial("unix:" + path), std::exception);
}

}  // namespace
}  // namespace outrigger::net
