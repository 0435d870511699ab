#include "net/reply_writer.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "net/peer.hpp"

namespace outrigger::net {
namespace {

using testing::Fd;
using testing::Peer;

class ReplyWriterTest : public ::testing::Test {
 protected:
  ReplyWriterTest() {
    int unused[2];
    int ends[2];
    if (::pipe(unused) != 0 || ::pipe(ends) != 0) throw std::runtime_error("no pipe");
    to_daemon_ = Fd(unused[1]);
    peer_.from_daemon = Fd(ends[0]);
    stream_ = std::make_shared<DescriptorStream>(io_, unused[0], ends[1]);
    writer_ = std::make_shared<ReplyWriter>(io_, stream_, 1U << 20, [this] { ++flushes_; });
  }
  ~ReplyWriterTest() override {
    writer_->close();
    stream_->close(false);
    io_.run();
  }

  bool poll_in() const {
    pollfd state{peer_.from_daemon.get(), POLLIN, 0};
    return ::poll(&state, 1, 0) > 0;
  }

  boost::asio::io_context io_{1};
  Peer peer_;
  Fd to_daemon_;
  std::shared_ptr<Stream> stream_;
  std::shared_ptr<ReplyWriter> writer_;
  int flushes_ = 0;
};

TEST_F(ReplyWriterTest, WritesNothingUntilTheFlush) {
  writer_->hold();
  writer_->send(wire::encode_ok(1));
  writer_->send(wire::encode_ok(2));
  io_.poll();
  EXPECT_FALSE(poll_in());
  EXPECT_GT(writer_->unsent_bytes(), 0U);
  writer_->flush();
  EXPECT_EQ(writer_->unsent_bytes(), 0U);
  EXPECT_EQ(peer_.read_id(), 1U);
  EXPECT_EQ(peer_.read_id(), 2U);
  EXPECT_EQ(flushes_, 0);
}

TEST_F(ReplyWriterTest, WakesTheLoopOncePerFlush) {
  for (std::uint64_t id = 1; id <= 100; ++id) writer_->send(wire::encode_ok(id));
  EXPECT_EQ(io_.poll(), 1U);
  EXPECT_EQ(flushes_, 1);
  for (std::uint64_t id = 1; id <= 100; ++id) EXPECT_EQ(peer_.read_id(), id);
}

TEST_F(ReplyWriterTest, WritesTheRestWhenThereIsRoom) {
  std::thread reader([this] {
    for (std::uint64_t id = 1; id <= 50; ++id) EXPECT_EQ(peer_.read_id(), id);
  });
  for (std::uint64_t id = 1; id <= 50; ++id) {
    writer_->send(wire::encode_data(id, 123'457).frame);
  }
  while (writer_->unsent_bytes() > 0) io_.run_one();
  reader.join();
}

TEST_F(ReplyWriterTest, TakesRepliesFromManyThreads) {
  constexpr int per_thread = 2000;
  std::vector<std::thread> senders;
  for (int t = 0; t < 4; ++t) {
    senders.emplace_back([this] {
      for (int i = 0; i < per_thread; ++i) writer_->send(wire::encode_ok(1));
    });
  }
  int seen = 0;
  std::thread reader([&] {
    while (seen < 4 * per_thread && peer_.read_id()) ++seen;
  });
  auto work = boost::asio::make_work_guard(io_);
  std::thread loop([this] { io_.run(); });
  for (auto& sender : senders) sender.join();
  reader.join();
  work.reset();
  loop.join();
  EXPECT_EQ(seen, 4 * per_thread);
  io_.restart();
}

TEST_F(ReplyWriterTest, NoticesThatNobodyReads) {
  peer_.from_daemon.close();
  writer_->send(wire::encode_ok(1));
  io_.poll();
  EXPECT_TRUE(writer_->broken());
  EXPECT_EQ(writer_->unsent_bytes(), 0U);
  writer_->send(wire::encode_ok(2));
  EXPECT_EQ(writer_->unsent_bytes(), 0U);
}

}  // namespace
}  // namespace outrigger::net
