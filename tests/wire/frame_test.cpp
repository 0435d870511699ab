#include "wire/frame.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "wire/frames.hpp"

namespace outrigger::wire {
namespace {

using testing::bytes_of;
using testing::frame_of;

/// Feeds `stream` in pieces of `piece` bytes. Returns the payloads.
std::vector<std::string> split_in_pieces(std::string_view stream, std::size_t piece) {
  FrameReader reader{Limits{}};
  std::vector<std::string> out;
  for (std::size_t at = 0; at < stream.size(); at += piece) {
    auto bytes = bytes_of(stream.substr(at, piece));
    while (!bytes.empty()) {
      auto frame = reader.take(bytes);
      EXPECT_TRUE(frame.has_value());
      if (*frame) out.emplace_back((*frame)->begin(), (*frame)->end());
    }
  }
  return out;
}

TEST(FrameReader, GivesTheSamePayloadsForEverySplit) {
  const std::vector<std::string> payloads = {"a", "", std::string(300, 'b'), "cd", ""};
  std::string stream;
  for (const auto& payload : payloads) stream += frame_of(payload);
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    EXPECT_EQ(split_in_pieces(stream, piece), payloads) << "pieces of " << piece;
  }
}

TEST(FrameReader, GivesTheSamePayloadsForEveryPairOfParts) {
  const std::string stream = frame_of("first") + frame_of("second, longer");
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    FrameReader reader{Limits{}};
    std::vector<std::string> out;
    for (auto part :
         {std::string_view(stream).substr(0, cut), std::string_view(stream).substr(cut)}) {
      auto bytes = bytes_of(part);
      while (!bytes.empty()) {
        if (auto frame = *reader.take(bytes)) out.emplace_back(frame->begin(), frame->end());
      }
    }
    EXPECT_EQ(out, (std::vector<std::string>{"first", "second, longer"})) << "cut at " << cut;
  }
}

TEST(FrameReader, PutsLargePayloadsTogetherInPlace) {
  std::string payload(1U << 20, 'x');
  for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(i * 7 + i / 251);
  const std::string stream = frame_of(payload);
  FrameReader reader{Limits{}};
  auto bytes = bytes_of(stream).first(100);
  ASSERT_EQ(*reader.take(bytes), nullptr);
  std::size_t at = 100;
  std::shared_ptr<Frame> frame;
  while (!frame) {
    const auto space = reader.space();
    ASSERT_FALSE(space.empty());
    const std::size_t count = std::min<std::size_t>({space.size(), stream.size() - at, 50'000});
    std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(at), count, space.begin());
    at += count;
    frame = reader.filled(count);
  }
  EXPECT_EQ(at, stream.size());
  EXPECT_TRUE(std::equal(frame->begin(), frame->end(), bytes_of(payload).begin()));
  EXPECT_TRUE(reader.space().empty());
}

TEST(FrameReader, RefusesMoreThanTheLimitBeforeTakingMemory) {
  Limits limits;
  limits.frame_bytes_max = 100;
  const std::string exact = frame_of(std::string(100, 'x'));
  auto bytes = bytes_of(exact);
  EXPECT_NE(*FrameReader(limits).take(bytes), nullptr);
  const std::string over = testing::raw({0, 0, 0, 101});
  bytes = bytes_of(over);
  const auto refused = FrameReader(limits).take(bytes);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::bad_frame);
  EXPECT_EQ(refused.error().text, "a frame declares 101 bytes, at most 100 are allowed");
}

TEST(FrameReader, HoldsAtMostFourTimesWhatHasArrived) {
  FrameReader reader{Limits{}};
  const std::string stream = frame_of(std::string(1U << 20, 'x'));
  auto header = bytes_of(stream).first(4);
  ASSERT_EQ(*reader.take(header), nullptr);
  EXPECT_EQ(reader.space().size(), 4096U);
  for (std::size_t at = 4; at + 1000 < stream.size(); at += 1000) {
    auto bytes = bytes_of(stream).subspan(at, 1000);
    ASSERT_EQ(*reader.take(bytes), nullptr);
    const std::size_t filled = at + 1000 - 4;
    ASSERT_LE(reader.space().size() + filled, std::max<std::size_t>(4096, 4 * filled));
  }
}

}  // namespace
}  // namespace outrigger::wire
