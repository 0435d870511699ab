// Flow control: the memory that a peer can make the daemon use is limited.

#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "net/served.hpp"
#include "wire/frames.hpp"

namespace outrigger::net {
namespace {

using testing::download_frame;
using testing::eventually;
using testing::Served;
using testing::Way;

class FlowTest : public ::testing::TestWithParam<Way> {};
INSTANTIATE_TEST_SUITE_P(Ways, FlowTest, ::testing::Values(Way::pipes, Way::sockets),
                         [](const auto& test) {
                           return test.param == Way::pipes ? "pipes" : "sockets";
                         });

Limits small_windows() {
  Limits limits;
  limits.requests_window = 100;
  limits.bytes_window = 1U << 20;
  limits.replies_bytes_max = 2U << 20;
  return limits;
}

TEST_P(FlowTest, StopsReadingAtTheRequestsWindow) {
  Served served(GetParam(), true, small_windows());
  std::string requests;
  for (std::uint64_t id = 1; id <= 1000; ++id) requests += download_frame(id, 1);
  std::thread writer([&] { served.peer.write_all(requests); });
  ASSERT_TRUE(eventually([&] { return served.paused(); }));
  EXPECT_EQ(served.session->submitted(), 101U);
  for (std::uint64_t id = 1; id <= 1000; ++id) {
    ASSERT_TRUE(eventually([&] { return served.session->answer(1) == 1; })) << id;
    ASSERT_EQ(served.peer.read_id(), id);
    ASSERT_LE(served.session->pending_requests(), 101U);
  }
  writer.join();
}

TEST_P(FlowTest, StopsReadingAtTheBytesWindow) {
  Served served(GetParam(), true, small_windows());
  const std::string data(200U << 10, 'x');
  std::thread writer([&] {
    for (std::uint64_t id = 1; id <= 50; ++id) {
      served.peer.write_all(testing::upload_frame(id, data));
    }
  });
  ASSERT_TRUE(eventually([&] { return served.paused(); }));
  EXPECT_EQ(served.session->submitted(), 6U);
  for (std::uint64_t id = 1; id <= 50; ++id) {
    ASSERT_TRUE(eventually([&] { return served.session->answer(1) == 1; })) << id;
    ASSERT_EQ(served.peer.read_id(), id);
    ASSERT_LE(served.session->pending_bytes(), (1U << 20) + data.size());
  }
  writer.join();
}

/// The session answers at once here: only the unwritten replies can stop the reading.
TEST_P(FlowTest, StopsReadingForASlowReader) {
  const Limits limits = small_windows();
  Served served(GetParam(), false, limits);
  constexpr std::uint64_t count = 200;
  constexpr std::uint64_t length = 100'000;
  std::string requests;
  for (std::uint64_t id = 1; id <= count; ++id) requests += download_frame(id, length);
  std::thread writer([&] { served.peer.write_all(requests); });
  ASSERT_TRUE(eventually([&] { return served.paused(); }));
  // Unsent replies up to one beyond the limit, and the contents of the pipe.
  EXPECT_LE(served.session->submitted() * length, limits.replies_bytes_max + length + (1U << 20));
  for (std::uint64_t id = 1; id <= count; ++id) ASSERT_EQ(served.peer.read_id(), id);
  writer.join();
  EXPECT_EQ(served.session->submitted(), count);
  EXPECT_TRUE(eventually([&] { return !served.paused(); }));
}

TEST_P(FlowTest, SeesTheHangUpWhilePaused) {
  Served served(GetParam(), true, small_windows());
  std::string requests;
  for (std::uint64_t id = 1; id <= 1000; ++id) requests += download_frame(id, 1);
  ASSERT_TRUE(served.peer.write_all(requests));
  ASSERT_TRUE(eventually([&] { return served.paused(); }));
  served.peer.to_daemon.close();
  if (GetParam() == Way::sockets) served.peer.from_daemon.close();
  EXPECT_EQ(served.end(std::chrono::milliseconds(200)), End::peer_closed);
}

TEST_P(FlowTest, EndsWithAFullPipe) {
  Served served(GetParam(), false, small_windows());
  std::string requests;
  for (std::uint64_t id = 1; id <= 200; ++id) requests += download_frame(id, 100'000);
  std::thread writer([&] { served.peer.write_all(requests); });
  ASSERT_TRUE(eventually([&] { return served.paused(); }));
  served.peer.to_daemon.close();
  writer.join();
  if (GetParam() == Way::sockets) served.peer.from_daemon.close();
  EXPECT_EQ(served.end(std::chrono::milliseconds(200)), End::peer_closed);
}

}  // namespace
}  // namespace outrigger::net
