#include "net/connection.hpp"

#include <sys/socket.h>

#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "net/served.hpp"
#include "wire/frames.hpp"

namespace outrigger::net {
namespace {

using testing::eventually;
using testing::Served;
using testing::simple_frame;
using ::testing::TestWithParam;
using ::testing::Values;
using testing::Way;

class ConnectionTest : public TestWithParam<Way> {};
INSTANTIATE_TEST_SUITE_P(Ways, ConnectionTest, Values(Way::pipes, Way::sockets),
                         [](const auto& test) {
                           return test.param == Way::pipes ? "pipes" : "sockets";
                         });

TEST_P(ConnectionTest, AnswersInOrder) {
  Served served(GetParam(), false);
  std::string requests;
  for (std::uint64_t id = 1; id <= 5000; ++id) requests += simple_frame(id, "ping");
  std::thread writer([&] { served.peer.write_all(requests); });
  for (std::uint64_t id = 1; id <= 5000; ++id) ASSERT_EQ(served.peer.read_id(), id);
  writer.join();
}

TEST_P(ConnectionTest, AnswersOneAtATime) {
  Served served(GetParam(), false);
  for (std::uint64_t id = 1; id <= 200; ++id) {
    ASSERT_TRUE(served.peer.write_all(simple_frame(id, "ping")));
    ASSERT_EQ(served.peer.read_id(), id);
  }
}

TEST_P(ConnectionTest, PutsHalfFramesTogether) {
  Served served(GetParam(), false);
  for (const char byte : simple_frame(7, "ping") + simple_frame(8, "ping")) {
    ASSERT_TRUE(served.peer.write_all({&byte, 1}));
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  EXPECT_EQ(served.peer.read_id(), 7U);
  EXPECT_EQ(served.peer.read_id(), 8U);
}

TEST_P(ConnectionTest, CarriesLargePayloadsBothWays) {
  Served served(GetParam(), false);
  const std::string data((1U << 20) - 1024, 'u');
  std::thread writer([&] {
    for (std::uint64_t id = 1; id <= 20; ++id) {
      served.peer.write_all(testing::upload_frame(id, data));
      served.peer.write_all(testing::download_frame(100 + id, data.size()));
    }
  });
  for (std::uint64_t id = 1; id <= 20; ++id) {
    ASSERT_EQ(served.peer.read_id(), id);
    const auto payload = served.peer.read_payload();
    ASSERT_TRUE(payload.has_value());
    EXPECT_EQ(payload->substr(payload->size() - data.size()),
              std::string(data.size(), static_cast<char>(100 + id)));
  }
  writer.join();
}

TEST_P(ConnectionTest, SendsRepliesOfOtherThreads) {
  Served served(GetParam(), true);
  std::string requests;
  for (std::uint64_t id = 1; id <= 1000; ++id) requests += testing::download_frame(id, 10);
  ASSERT_TRUE(served.peer.write_all(requests));
  std::thread engine([&] {
    for (std::size_t done = 0; done < 1000;) done += served.session->answer(3);
  });
  for (std::uint64_t id = 1; id <= 1000; ++id) ASSERT_EQ(served.peer.read_id(), id);
  engine.join();
}

TEST_P(ConnectionTest, RefusesBadContentAndGoesOn) {
  Served served(GetParam(), false);
  ASSERT_TRUE(served.peer.write_all(simple_frame(1, "fly") + simple_frame(2, "ping")));
  const auto refused = served.peer.read_payload();
  ASSERT_TRUE(refused.has_value());
  EXPECT_NE(refused->find("bad_request"), std::string::npos);
  EXPECT_EQ(served.peer.read_id(), 2U);
}

TEST_P(ConnectionTest, TellsWhyItClosesAfterAMalformedFrame) {
  for (const std::string& bad : {testing::frame_of("\xc1"), testing::raw({0x7f, 0, 0, 0})}) {
    Served served(GetParam(), false);
    ASSERT_TRUE(served.peer.write_all(simple_frame(1, "ping") + bad + simple_frame(2, "ping")));
    EXPECT_EQ(served.peer.read_id(), 1U);
    const auto last = served.peer.read_payload();
    ASSERT_TRUE(last.has_value());
    EXPECT_NE(last->find("bad_frame"), std::string::npos);
    EXPECT_EQ(served.peer.read_payload(), std::nullopt);
    EXPECT_EQ(served.end(), End::malformed);
    EXPECT_TRUE(served.session->closed());
  }
}

TEST_P(ConnectionTest, AnswersWhatIsPendingBeforeItCloses) {
  Served served(GetParam(), true);
  ASSERT_TRUE(served.peer.write_all(testing::download_frame(1, 10) + simple_frame(2, "bye") +
                                    simple_frame(3, "ping")));
  EXPECT_EQ(served.peer.read_id(), 2U);
  EXPECT_EQ(served.session->answer(1), 1U);
  EXPECT_EQ(served.peer.read_id(), 1U);
  EXPECT_EQ(served.peer.read_id(), std::nullopt);
  EXPECT_EQ(served.end(), End::bye);
}

TEST_P(ConnectionTest, ClosesASecondAfterByeAtTheLatest) {
  Served served(GetParam(), true);
  ASSERT_TRUE(served.peer.write_all(testing::download_frame(1, 10) + simple_frame(2, "bye")));
  EXPECT_EQ(served.peer.read_id(), 2U);
  EXPECT_EQ(served.end(std::chrono::milliseconds(500)), std::nullopt);
  EXPECT_EQ(served.end(std::chrono::milliseconds(1500)), End::bye);
}

TEST_P(ConnectionTest, EndsAtTheEndOfFile) {
  Served served(GetParam(), false);
  ASSERT_TRUE(served.peer.write_all(simple_frame(1, "ping").substr(0, 6)));
  served.peer.to_daemon.close();
  served.peer.from_daemon.close();
  EXPECT_EQ(served.end(), End::peer_closed);
  EXPECT_TRUE(served.session->closed());
}

TEST_P(ConnectionTest, EndsInTheMiddleOfWork) {
  Served served(GetParam(), true);
  ASSERT_TRUE(served.peer.write_all(testing::download_frame(1, 10)));
  ASSERT_TRUE(eventually([&] { return served.session->submitted() == 1; }));
  served.peer.to_daemon.close();
  served.peer.from_daemon.close();
  EXPECT_EQ(served.end(std::chrono::milliseconds(200)), End::peer_closed);
  EXPECT_EQ(served.session->answer(1), 1U);  // the engine may still send; this has no effect
}

TEST(Connection, EndsWhenNobodyReadsRepliesAnyMore) {
  Served served(Way::pipes, true);
  served.peer.from_daemon.close();
  EXPECT_EQ(served.end(std::chrono::milliseconds(200)), End::peer_closed);
}

}  // namespace
}  // namespace outrigger::net
