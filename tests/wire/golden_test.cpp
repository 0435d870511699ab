#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "wire/bytes.hpp"
#include "wire/frame.hpp"
#include "wire/golden_frames.hpp"
#include "wire/reply.hpp"
#include "wire/request.hpp"

namespace outrigger::wire {
namespace {

using testing::bytes_of;
using testing::golden_frames;
using testing::GoldenFrame;

/// Decodes a frame's bytes as the daemon's input does.
tl::expected<Request, Refusal> receive(const GoldenFrame& golden) {
  FrameReader reader{Limits{}};
  auto bytes = bytes_of(golden.bytes);
  auto payload = reader.take(bytes);
  if (!payload) return tl::make_unexpected(Refusal{0, payload.error()});
  if (*payload == nullptr || !bytes.empty()) throw std::runtime_error(golden.name + ": length");
  // The request does not refer to the frame, except for an upload's data, which is not read.
  return Decoder(Limits{}).decode(**payload);
}

TEST(GoldenFrames, GoodRequestsAreUnderstood) {
  std::set<std::string> seen;
  for (const GoldenFrame& golden : golden_frames("good")) {
    const std::string& kind = golden.notes.at("kind");
    if (kind == "reply" || kind == "event" || kind == "monitored") continue;
    const auto request = receive(golden);
    ASSERT_TRUE(request.has_value()) << golden.name << ": " << request.error().error.text;
    EXPECT_EQ(kind_names.at(kind_of(request->body)), kind) << golden.name;
    seen.insert(kind);
  }
  EXPECT_EQ(seen.size(), kind_names.size()) << "every kind";
}

TEST(GoldenFrames, BadRequestsAreRefusedWithTheirCode) {
  for (const GoldenFrame& golden : golden_frames("bad")) {
    const auto refused = receive(golden);
    ASSERT_FALSE(refused.has_value()) << golden.name;
    const std::string& code = golden.notes.at("code");
    EXPECT_EQ(name_of(refused.error().error.code), code) << golden.name;
    EXPECT_EQ(refused.error().id, code == "bad_frame" ? 0U : 5U) << golden.name;
  }
}

HelloReply hello_reply() {
  HelloReply hello{.server = "outriggerd 0.1.0",
                   .epoch = UINT64_MAX,
                   .session = 7,
                   .catalogue = "0123456789abcdef",
                   .os_pid = 4321,
                   .threads = 8,
                   .isa = "x86-64-v3",
                   .memory_limit = 1ULL << 33,
                   .kept_limit = 1ULL << 28,
                   .limits = {},
                   .kernels = "interpreted"};
  hello.limits.depth_max = 16;
  return hello;
}

Frame data_reply() {
  DataFrame reply = encode_data(8, 8);
  const std::array<std::uint8_t, 8> data = {0xfe, 0xff, 0xff, 0xff, 3, 0, 0, 0};
  std::copy(data.begin(), data.end(),
            reply.frame.begin() + static_cast<std::ptrdiff_t>(reply.data_offset));
  return reply.frame;
}

Frame info_reply() {
  return encode_info(3, {.memory_limit = 0,
                         .memory_used = 48,
                         .memory_peak = 64,
                         .memory_pooled = 16,
                         .memory_kept = 4096,
                         .memory_kept_limit = 1 << 28,
                         .tensors = 3,
                         .programs = 1,
                         .queue = 2,
                         .running = 13,
                         .uptime_ms = 60000,
                         .requests = 12,
                         .compiler = "avx2",
                         .code_bytes = 8192,
                         .kernels = 2,
                         .kernel_code = "interpreted: this daemon has no compiler of kernels"});
}

InfoReply idle() {
  InfoReply reply;
  reply.requests = 1;
  return reply;
}

Rights read_and_write() {
  Rights rights;
  rights.grant(Right::read);
  rights.grant(Right::write);
  return rights;
}

InfoReply over_a_socket() {
  InfoReply reply = idle();
  reply.connection = ConnectionInfo{7, 2, "tls", "[::1]:40312", "app", read_and_write()};
  const Quotas quotas{.bytes = 1ULL << 31,
                      .handles = 100,
                      .programs = 10,
                      .sessions = 4,
                      .seconds = 30,
                      .priority = 20};
  reply.tenants = {{"app", quotas, 2, 4096, 3, 1, 1500, 90000}, {.token = "ops", .quotas = {}}};
  return reply;
}

InfoReply with_a_data_folder() {
  InfoReply reply = idle();
  reply.checkpoint.emplace();
  reply.checkpoint->changed = true;
  reply.checkpoint->error = "No space left on device";
  return reply;
}

Frame sessions_reply() {
  const std::vector<SessionInfo> sessions{
      {7, "app", "tls", "[::1]:40312", 60000, 12, 2, 3, 4096, 1, RunningInfo{13, "call", 1500}},
      {.session = 9, .token = "", .transport = "unix", .peer = "pid 4711 uid 1000", .requests = 1}};
  return encode_sessions(43, sessions, true);
}

Frame stats_reply() {
  StatsReply stats;
  stats.uptime_ms = 60000;
  stats.engine_us = 2500000;
  stats.sessions = 2;
  stats.sessions_opened = 9;
  stats.kicked = 1;
  stats.queue = 2;
  stats.slow = 3;
  stats.slow_us = 1000000;
  stats.monitors = 1;
  stats.monitor_dropped = 300;
  stats.kinds = {{"run", 5, 1, 70, {0, 0, 1, 3, 0, 0, 1}}};
  stats.ops = {{"add", 7}, {"sum", 1}};
  return encode_stats(45, stats);
}

Frame slowlog_reply() {
  const std::vector<SlowEntry> entries{{3,
                                        1796000000000,
                                        7,
                                        "app",
                                        13,
                                        "run",
                                        12,
                                        1500000,
                                        ErrorCode::cancelled,
                                        {{"add", 7}, {"sum", 1}}}};
  return encode_slowlog(46, 1000000, entries);
}

Frame results_reply() {
  const ResultType results[] = {{12, "f32", {2, 300}}, {13, "u8", {}}};
  return encode_results(12, results);
}

Frame profile_reply() {
  const ResultType result{18, "f32", {}};
  constexpr std::array<std::uint32_t, 3> inner{2, 1, 0};
  constexpr std::array<std::uint32_t, 1> outer{3};
  constexpr std::array<std::string_view, 2> pass{"multiply", "add"};
  constexpr std::array<std::string_view, 1> sum{"sum"};
  const std::vector<StepProfile> steps{{inner, pass, 3, 1500, 96}, {outer, sum, 1, 400, 36}};
  return encode_results(24, std::span(&result, 1), steps);
}

/// The golden replies, encoded by the daemon's encoder.
const std::map<std::string, std::function<Frame()>> replies = {
    {"reply_ok", [] { return encode_ok(2); }},
    {"reply_hello", [] { return encode_hello(1, hello_reply()); }},
    {"reply_auth", [] { return encode_auth(1, "app", read_and_write()); }},
    {"reply_info", info_reply},
    {"reply_info_idle", [] { return encode_info(3, idle()); }},
    {"reply_info_socket", [] { return encode_info(3, over_a_socket()); }},
    {"reply_info_data", [] { return encode_info(3, with_a_data_folder()); }},
    {"reply_info_handle",
     [] {
       return encode_tensor_info(4, {"s32", {2, 2}, 16, true, false});
     }},
    {"reply_results", results_reply},
    {"reply_profile", profile_reply},
    {"reply_results_none", [] { return encode_results(6, {}); }},
    {"reply_data", data_reply},
    {"reply_version", [] { return encode_version(25, 12); }},
    {"reply_opened",
     [] {
       return encode_opened(27, {60, "s32", {2, 2}}, 12);
     }},
    {"reply_names",
     [] {
       const std::vector<ListedName> names{{"layer/1", 12, "s32", {2, 2}, 16, {}, "app"},
                                           {"layer/2", 9, "u4", {3}, 2, 60000, ""}};
       return encode_names(30, names, true);
     }},
    {"event_published", [] { return encode_event("published", 2, "größe/1", 13); }},
    {"event_unpublished", [] { return encode_event("unpublished", 2, "größe/1", 13); }},
    {"reply_checkpoint",
     [] {
       return encode_checkpoint(37, {7, 1796000000000, 2, 2048, 5, false, {}});
     }},
    {"reply_sessions", sessions_reply},
    {"reply_stats", stats_reply},
    {"reply_slowlog", slowlog_reply},
    {"monitored",
     [] {
       return encode_monitored({1796000000000, 7, "app", 13, "run", 12, 1500}, 0);
     }},
    {"monitored_late",
     [] {
       return encode_monitored({1796000000001, 7, "", 14, "call", 0, 3, ErrorCode::bad_shape}, 300);
     }},
    {"reply_released", [] { return encode_released(19, 2); }},
    {"reply_found", [] { return encode_found(20, true); }},
    {"reply_error",
     [] {
       return encode_error(12, {ErrorCode::bad_shape,
                                "add: shapes {2, 3} and {4} do not fit",
                                "add",
                                {3, 0, 2},
                                {7, 8}});
     }},
    {"reply_error_kernel",
     [] {
       Error error{ErrorCode::bad_index, "A.at/2: index 3 of a is outside of 0..2", "A.at/2", {1}};
       put_place(error, {"lib/a.ex", 4});
       return encode_error(12, error);
     }},
    {"reply_error_short",
     [] {
       return encode_error(4, {ErrorCode::bad_handle, "no tensor has the handle 7"});
     }},
    {"reply_bad_frame",
     [] {
       return encode_error(0, {ErrorCode::bad_frame, "the frame is not msgpack"});
     }},
    {"reply_unauthorized",
     [] {
       return encode_error(1, {ErrorCode::unauthorized, "no such token"});
     }},
    {"reply_quota_exceeded",
     [] {
       return encode_error(12, {ErrorCode::quota_exceeded,
                                "the token app has 100 handles, and its quota `handles` is 100"});
     }},
    {"reply_shutting_down",
     [] {
       return encode_error(0, {ErrorCode::shutting_down, "the server stops"});
     }},
    {"reply_cancelled",
     [] {
       return encode_error(13, {ErrorCode::cancelled, "cancelled"});
     }},
    {"reply_deadline_exceeded",
     [] {
       return encode_error(13, {ErrorCode::deadline_exceeded, "the deadline has passed"});
     }},
};

TEST(GoldenFrames, GoodRepliesAreWhatWeSend) {
  std::size_t seen = 0;
  for (const GoldenFrame& golden : golden_frames("good")) {
    const std::string& kind = golden.notes.at("kind");
    if (kind != "reply" && kind != "event" && kind != "monitored") continue;
    const auto ours = replies.find(golden.name);
    ASSERT_NE(ours, replies.end()) << golden.name;
    const Frame frame = ours->second();
    EXPECT_EQ(std::string(frame.begin(), frame.end()), golden.bytes) << golden.name;
    ++seen;
  }
  EXPECT_EQ(seen, replies.size());
}

}  // namespace
}  // namespace outrigger::wire
