#include "wire/reply.hpp"

#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include <msgpack.hpp>

namespace outrigger::wire {
namespace {

/// The reply as JSON-like text, after its length was checked.
std::string text_of(const Frame& frame) {
  std::size_t length = 0;
  for (std::size_t i = 0; i < 4; ++i) length = length << 8 | frame.at(i);
  EXPECT_EQ(length, frame.size() - 4);
  const auto handle = msgpack::unpack(reinterpret_cast<const char*>(frame.data()) + 4, length);
  std::ostringstream out;
  out << handle.get();
  return out.str();
}

TEST(Replies, HaveTheKeysOfTheProtocol) {
  EXPECT_EQ(text_of(encode_ok(1)), R"({"id":1,"status":"ok"})");
  EXPECT_EQ(text_of(encode_released(UINT64_MAX, 2)),
            R"({"id":18446744073709551615,"status":"ok","released":2})");
  EXPECT_EQ(text_of(encode_found(3, true)), R"({"id":3,"status":"ok","found":true})");
  const ResultType results[] = {{7, "f32", {2, 3}}, {8, "u8", {}}};
  EXPECT_EQ(text_of(encode_results(4, results)),
            R"({"id":4,"status":"ok","results":[{"handle":7,"dtype":"f32","shape":[2,3]},)"
            R"({"handle":8,"dtype":"u8","shape":[]}]})");
  EXPECT_EQ(text_of(encode_tensor_info(5, {"s64", {4}, 32, true, false})),
            R"({"id":5,"status":"ok","dtype":"s64","shape":[4],"bytes":32,"contiguous":true,)"
            R"("shared":false})");
}

TEST(Replies, DescribeTheDaemon) {
  HelloReply hello;
  hello.server = "outriggerd 0.1.0";
  hello.epoch = 9;
  hello.catalogue = "ab";
  hello.os_pid = 11;
  hello.threads = 2;
  hello.isa = "x86-64-v3";
  hello.kernels = "interpreted";
  EXPECT_EQ(text_of(encode_hello(1, hello)),
            R"({"id":1,"status":"ok","protocol":1,"server":"outriggerd 0.1.0","epoch":9,)"
            R"("session":1,"catalogue":"ab","os_pid":11,"threads":2,"isa":"x86-64-v3",)"
            R"("memory_limit":0,"kept_limit":0,)"
            R"("limits":{"frame_bytes_max":1048576,"requests_window":4096,)"
            R"("bytes_window":16777216,"handles_max":1048576,"programs_max":1024,)"
            R"("instructions_max":262144,"depth_max":)" +
                std::to_string(Limits{}.depth_max) +
                R"(,"nesting_max":128,"program_bytes_max":16777216,"results_max":131072,)"
                R"("reply_bytes_max":33554432},"lanes":["inline"],"kernels":"interpreted"})");
  InfoReply info;
  info.memory_limit = 1;
  info.memory_used = 2;
  info.memory_peak = 3;
  info.memory_pooled = 4;
  info.memory_kept = 6;
  info.memory_kept_limit = 7;
  info.running = 5;
  info.kernels = 8;
  info.kernel_code = "interpreted";
  EXPECT_EQ(text_of(encode_info(2, info)),
            R"({"id":2,"status":"ok","memory":{"limit":1,"used":2,"peak":3,"pooled":4,)"
            R"("kept":6,"kept_limit":7},)"
            R"("tensors":0,"programs":0,"queue":0,"running":5,"uptime_ms":0,"requests":0,)"
            R"("compiler":"none","code_bytes":0,"kernels":8,"kernel_code":"interpreted"})");
  info.running.reset();
  EXPECT_NE(text_of(encode_info(2, info)).find(R"("running":null)"), std::string::npos);
}

TEST(Replies, TellErrors) {
  EXPECT_EQ(
      text_of(encode_error(1, {ErrorCode::bad_handle, "no 7"})),
      R"({"id":1,"status":"error","error":{"code":"bad_handle","text":"no 7","written":[]}})");
  EXPECT_EQ(text_of(encode_error(1, {ErrorCode::bad_shape, "x", "add", {3, 0, 2}, {5, 6}})),
            R"({"id":1,"status":"error","error":{"code":"bad_shape","text":"x","op":"add",)"
            R"("index":[3,0,2],"written":[5,6]}})");
  Error failed{ErrorCode::failed_operand, "y"};
  const auto cause = std::make_shared<const Error>(Error{ErrorCode::bad_axis, "x", "sum"});
  failed.detail = std::make_shared<const ErrorDetail>(ErrorDetail{.cause = cause});
  EXPECT_EQ(text_of(encode_error(1, failed)),
            R"({"id":1,"status":"error","error":{"code":"failed_operand","text":"y","written":[],)"
            R"("cause":{"code":"bad_axis","text":"x","op":"sum","written":[]}}})");
  EXPECT_NE(text_of(encode_error(1, {ErrorCode::cancelled, ""})).find(R"("status":"cancelled")"),
            std::string::npos);
  EXPECT_NE(text_of(encode_error(1, {ErrorCode::deadline_exceeded, ""}))
                .find(R"("status":"deadline_exceeded")"),
            std::string::npos);
}

TEST(Replies, CutLongTextsBetweenCharacters) {
  std::string text = "x";
  for (int i = 0; i < 4000; ++i) text += "é";
  const Frame frame = encode_error(1, {ErrorCode::internal, text});
  EXPECT_LT(frame.size(), 4300U);
  EXPECT_EQ(text_of(frame).find("\xc3\""), std::string::npos);
}

TEST(Replies, LeaveRoomForData) {
  for (const std::size_t length : {0U, 1U, 255U, 256U, 65536U, 1U << 20}) {
    DataFrame reply = encode_data(9, length);
    EXPECT_EQ(reply.data_offset + length, reply.frame.size());
    std::fill(reply.frame.begin() + static_cast<std::ptrdiff_t>(reply.data_offset),
              reply.frame.end(), std::uint8_t{'d'});
    const std::string bytes(reply.frame.begin() + 4, reply.frame.end());
    const auto handle = msgpack::unpack(bytes.data(), bytes.size());
    const auto& data = handle.get().via.map.ptr[2];
    EXPECT_EQ(data.key.as<std::string>(), "data");
    EXPECT_EQ(data.val.type, msgpack::type::BIN);
    EXPECT_EQ(data.val.via.bin.size, length);
  }
}

}  // namespace
}  // namespace outrigger::wire
