#include "wire/request.hpp"

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "wire/frames.hpp"

namespace outrigger::wire {
namespace {

using testing::frame_of;
using testing::Packer;
using testing::payload_of;
using testing::request_frame;

tl::expected<Request, Refusal> decode(const std::string& frame, const Limits& limits = {}) {
  return Decoder(limits).decode(payload_of(frame));
}

template <typename T>
T body_of(const std::string& frame) {
  auto request = decode(frame);
  EXPECT_TRUE(request.has_value()) << request.error().error.text;
  return std::get<T>(request->body);
}

TEST(Decoder, NamesAreShortText) {
  const auto code = [](const std::string& name) {
    const auto request = decode(frame_of(test::encode_publish(1, 2, name)));
    return request ? std::string() : std::string(name_of(request.error().error.code));
  };
  EXPECT_EQ(code("w"), "");
  EXPECT_EQ(code("models/größe ✓"), "");
  EXPECT_EQ(code(std::string(255, 'w')), "");
  EXPECT_EQ(code(""), "bad_request");
  EXPECT_EQ(code(std::string(256, 'w')), "bad_request");
  EXPECT_EQ(code("a\nb"), "bad_request");
  EXPECT_EQ(code(std::string("a\0b", 3)), "bad_request");
  EXPECT_EQ(code("\x7f"), "bad_request");
  EXPECT_EQ(code("\xff"), "bad_request");
}

TEST(Decoder, ReadsEveryKind) {
  EXPECT_EQ(decode(testing::simple_frame(7, "ping"))->id, 7U);
  body_of<Ping>(testing::simple_frame(1, "ping"));
  body_of<Bye>(testing::simple_frame(1, "bye"));

  const auto hello = body_of<Hello>(frame_of(test::encode_hello(1)));
  EXPECT_EQ(hello.protocol, 1U);
  EXPECT_EQ(hello.client, "outrigger tests");

  EXPECT_EQ(body_of<Auth>(frame_of(test::encode_auth(1, "secret"))).token, "secret");

  const auto publish = body_of<Publish>(frame_of(test::encode_publish(1, 2, "w", 0, 500)));
  EXPECT_EQ(publish.handle, 2U);
  EXPECT_EQ(publish.name, "w");
  EXPECT_EQ(publish.expect, 0U);
  EXPECT_EQ(publish.ttl_ms, 500U);
  const auto plain = body_of<Publish>(frame_of(test::encode_publish(1, 2, "w")));
  EXPECT_FALSE(plain.expect || plain.ttl_ms);
  const auto open = body_of<Open>(frame_of(test::encode_open(1, 2, "w", true)));
  EXPECT_EQ(open.handle, 2U);
  EXPECT_EQ(open.name, "w");
  EXPECT_FALSE(open.version);
  EXPECT_TRUE(open.live);
  EXPECT_EQ(body_of<Unpublish>(frame_of(test::encode_unpublish(1, "w"))).name, "w");
  const auto names = body_of<ListNames>(frame_of(test::encode_names(1)));
  EXPECT_EQ(names.prefix, "");
  EXPECT_FALSE(names.after);
  EXPECT_EQ(names.limit, 1000U);
  const auto subscribe = body_of<Subscribe>(frame_of(test::encode_subscribe(1, 3, "w/")));
  EXPECT_EQ(subscribe.subscription, 3U);
  EXPECT_EQ(subscribe.pattern, "w/");
  EXPECT_TRUE(subscribe.prefix);
  body_of<Checkpoint>(testing::simple_frame(1, "checkpoint"));
  EXPECT_EQ(body_of<Unsubscribe>(frame_of(test::encode_unsubscribe(1, 3))).subscription, 3U);

  EXPECT_FALSE(body_of<Info>(testing::simple_frame(1, "info")).handle.has_value());
  EXPECT_EQ(body_of<Info>(frame_of(test::encode_info(1, 9))).handle, 9U);
  EXPECT_EQ(body_of<Cancel>(frame_of(test::encode_cancel(1, UINT64_MAX))).request, UINT64_MAX);
  EXPECT_EQ(body_of<Forget>(frame_of(test::encode_forget(1, 3))).program_id, 3U);
  EXPECT_EQ(body_of<Release>(testing::release_frame(1, {4, 5})).handles,
            (std::vector<std::uint64_t>{4, 5}));

  const auto download = body_of<Download>(frame_of(test::encode_download(1, 2, 3, 4)));
  EXPECT_EQ(download.handle, 2U);
  EXPECT_EQ(download.offset, 3U);
  EXPECT_EQ(download.length, 4U);

  EXPECT_FALSE(body_of<Load>(frame_of(test::encode_load(1, 2, "/a.npy"))).member.has_value());
  EXPECT_EQ(body_of<Load>(frame_of(test::encode_load(1, 2, "/a.npz", "w"))).member, "w");

  const auto raw = body_of<LoadRaw>(frame_of(test::encode_load_raw(1, 2, "/a", "f32", {2, 3}, 16)));
  EXPECT_EQ(raw.dtype, "f32");
  EXPECT_EQ(raw.shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(raw.offset, 16U);
  const auto csv = body_of<LoadCsv>(frame_of(test::encode_load_csv(1, 2, "/a", "s8", ";", true)));
  EXPECT_EQ(csv.separator, ";");
  EXPECT_TRUE(csv.header);
  EXPECT_EQ(body_of<Save>(frame_of(test::encode_save(1, 2, "/a.npy"))).path, "/a.npy");
  const testing::Handles both = {2, 3};
  const auto npz =
      body_of<SaveNpz>(frame_of(test::encode_save_npz(1, both, {"a", "b"}, "/a.npz", true)));
  EXPECT_EQ(npz.handles, both);
  EXPECT_EQ(npz.names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(npz.path, "/a.npz");
  EXPECT_TRUE(npz.compress);

  const testing::Handles args = {1, 2};
  const testing::Handles results = {3};
  const auto call =
      body_of<wire::Run>(frame_of(test::encode_call(1, 6, args, results, {true, 250, true, {2}})));
  EXPECT_FALSE(call.program);
  EXPECT_EQ(call.program_id, 6U);
  EXPECT_EQ(call.args, args);
  EXPECT_EQ(call.results, results);
  EXPECT_TRUE(call.atomic);
  EXPECT_EQ(call.deadline_ms, 250U);
  EXPECT_TRUE(call.profile);
  EXPECT_EQ(call.donated, testing::Handles{2});

  const auto kernel = body_of<DefineKernel>(frame_of(test::encode_define_kernel(1, 7, "sieve/50")));
  EXPECT_EQ(kernel.kernel_id, 7U);
  ASSERT_EQ(kernel.unit.kernels.size(), 1U);
  EXPECT_EQ(kernel.unit.kernels[0].name, "Outrigger.KernelExamples.sieve/1");
  EXPECT_EQ(body_of<ForgetKernel>(frame_of(test::encode_forget_kernel(1, 7))).kernel_id, 7U);
}

TEST(Decoder, RefersToUploadedDataInTheFrame) {
  const std::string frame =
      frame_of(test::encode_upload(1, 2, "f32", {2, 1}, 8, testing::bytes_of("12345678")));
  const auto upload = body_of<Upload>(frame);
  EXPECT_EQ(upload.dtype, "f32");
  EXPECT_EQ(upload.shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(upload.offset, 8U);
  EXPECT_EQ(std::string(upload.data.begin(), upload.data.end()), "12345678");
  EXPECT_EQ(upload.data.data() + upload.data.size(), payload_of(frame).data() + frame.size() - 4);
}

struct BadCase {
  std::string frame;
  ErrorCode code;
  std::string text;
};

/// A request with id 5. The entries follow its id and kind.
template <typename... Entries>
std::string bad_frame(std::string_view kind, Entries... entries) {
  return request_frame(5, kind, sizeof...(entries), [&](Packer& packer) {
    (testing::pack_entry(packer, entries.first, entries.second), ...);
  });
}

template <typename T>
std::pair<std::string_view, T> entry(std::string_view key, T value) {
  return {key, value};
}

TEST(Decoder, RefusesBadContentInTheUsersWords) {
  const std::vector<int> ints = {1, 0};
  const BadCase cases[] = {
      {bad_frame("fly"), ErrorCode::bad_request, R"(unknown kind of request "fly")"},
      {bad_frame("ping", entry("pong", 1)), ErrorCode::bad_request, R"(ping: unknown key "pong")"},
      {bad_frame("hello", entry("protocol", 1)), ErrorCode::bad_request,
       R"(hello: key "client" is missing)"},
      {bad_frame("ping", entry("id", 5)), ErrorCode::bad_request,
       R"(ping: key "id" appears twice)"},
      {bad_frame("call", entry("program_id", 1), entry("args", "x"), entry("results", ints)),
       ErrorCode::bad_request, R"(call: key "args" must be an array of handles, got a string)"},
      {bad_frame("release", entry("handles", ints)), ErrorCode::bad_request,
       R"(release: key "handles" must be an array of handles, got the integer 0 at position 1)"},
      {bad_frame("info", entry("handle", 0)), ErrorCode::bad_request,
       R"(info: key "handle" must be an integer from 1 to 9223372036854775807, got the integer 0)"},
      {bad_frame("info", entry("handle", msgpack::type::nil_t())), ErrorCode::bad_request,
       R"(info: key "handle" must be an integer from 1 to 9223372036854775807, got nil)"},
      {bad_frame("save", entry("handle", 1), entry("path", 2.5)), ErrorCode::bad_request,
       R"(save: key "path" must be a string, got a float)"},
      {bad_frame("run", entry("args", ints), entry("results", ints)), ErrorCode::bad_request,
       R"(run: key "args" must be an array of handles, got the integer 0 at position 1)"},
  };
  for (const BadCase& c : cases) {
    const auto refused = decode(c.frame);
    ASSERT_FALSE(refused.has_value()) << c.text;
    EXPECT_EQ(refused.error().id, 5U) << c.text;
    EXPECT_EQ(refused.error().error.code, c.code) << c.text;
    EXPECT_EQ(refused.error().error.text, c.text);
  }
}

TEST(Decoder, EndsTheSessionWithoutAUsableId) {
  const auto payload = [](const auto& fill) {
    msgpack::sbuffer buffer;
    Packer packer(buffer);
    fill(packer);
    return frame_of(std::string_view(buffer.data(), buffer.size()));
  };
  const std::string frames[] = {
      frame_of(""),
      frame_of("\x90"),
      frame_of("\x80"),
      testing::simple_frame(0, "ping"),
      payload([](Packer& p) {
        p.pack(std::map<std::string, int>{{"id", -1}});
      }),
      payload([](Packer& p) {
        p.pack(std::map<std::string, double>{{"id", 1.5}});
      }),
      testing::simple_frame(1, "ping") + "x",
  };
  for (const std::string& frame : frames) {
    const auto refused = decode(frame);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().id, 0U);
    EXPECT_EQ(refused.error().error.code, ErrorCode::bad_frame);
  }
}

TEST(Decoder, EscapesWhatItSendsBack) {
  const auto refused = decode(bad_frame("ping", entry(std::string_view("a\n\"\xff", 4), 1)));
  EXPECT_EQ(refused.error().error.text, R"(ping: unknown key "a\x0a\x22\xff")");
  const std::string long_key(1000, 'k');
  const auto cut = decode(bad_frame("ping", entry(std::string_view(long_key), 1)));
  EXPECT_LT(cut.error().error.text.size(), 120U);
}

TEST(Decoder, SendsNoPartOfATokenBack) {
  const std::string secret(1025, 's');
  const auto number = [](Packer& packer) { testing::pack_entry(packer, "token", 4711); };
  for (const std::string& frame :
       {frame_of(test::encode_auth(1, secret)), request_frame(1, "auth", 1, number)}) {
    const auto refused = decode(frame);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().error.text.find("sss"), std::string::npos);
  }
}

TEST(Decoder, LimitsResults) {
  Limits limits;
  limits.results_max = 2;
  const testing::Handles results = {1, 2, 3};
  const auto refused = decode(frame_of(test::encode_call(5, 1, {}, results)), limits);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().error.code, ErrorCode::limit_exceeded);
}

TEST(Decoder, ReadsHugeMapsInLinearTime) {
  // The frame has 60,000 unknown keys, and is refused at the first one.
  const auto refused = decode(request_frame(5, "ping", 60'000, [](Packer& packer) {
    for (int i = 0; i < 60'000; ++i) testing::pack_entry(packer, "k" + std::to_string(i), 1);
  }));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().error.text, R"(ping: unknown key "k0")");
}

TEST(Decoder, ServesManyFramesInTurn) {
  Decoder decoder{Limits{}};
  const std::string good = testing::release_frame(3, {1, 2, 3});
  const std::string bad = frame_of("\xc1");
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(decoder.decode(payload_of(good)).has_value());
    EXPECT_FALSE(decoder.decode(payload_of(bad)).has_value());
  }
}

std::string call_frame(const std::function<void(Packer&)>& args) {
  return request_frame(8, "call", 3, [&](Packer& packer) {
    testing::pack_entry(packer, "program_id", 1);
    packer.pack("args");
    args(packer);
    testing::pack_entry(packer, "results", std::vector<int>{9});
  });
}

TEST(Decoder, ReadsArgumentsThatAreLiterals) {
  const auto run = body_of<wire::Run>(call_frame([](Packer& packer) {
    packer.pack_array(4);
    packer.pack_map(1);
    testing::pack_entry(packer, "number", 1.5);
    packer.pack(7);
    packer.pack_map(1);
    testing::pack_entry(packer, "number", -3);
    packer.pack_map(1);
    testing::pack_entry(packer, "number", "nan");
  }));
  EXPECT_EQ(run.args, (std::vector<std::uint64_t>{0, 7, 0, 0}));
  ASSERT_EQ(run.numbers.size(), 3U);
  EXPECT_EQ(run.numbers[0], (std::pair<std::uint32_t, Number>{0, 1.5}));
  EXPECT_EQ(run.numbers[1], (std::pair<std::uint32_t, Number>{2, std::int64_t{-3}}));
  EXPECT_EQ(run.numbers[2].first, 3U);
  for (const char* key : {"numbers", "re"}) {
    const auto refused = decode(call_frame([&](Packer& packer) {
      packer.pack_array(1);
      packer.pack_map(1);
      testing::pack_entry(packer, key, 1);
    }));
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().id, 8U);
    EXPECT_EQ(refused.error().error.code, ErrorCode::bad_request);
  }
  const auto mixed = decode(call_frame([](Packer& packer) {
    packer.pack_array(2);
    packer.pack_map(1);
    testing::pack_entry(packer, "number", 1);
    packer.pack(0);
  }));
  ASSERT_FALSE(mixed.has_value()) << "0 is no handle";
}

TEST(Decoder, FindsTheIdOfAFrameThatItHasNoMemoryFor) {
  const auto id = [](const std::string& frame) { return Decoder::find_id(payload_of(frame)); };
  EXPECT_EQ(id(testing::release_frame(77, {1, 2, 3})), 77U);
  EXPECT_EQ(id(testing::simple_frame(UINT64_MAX, "ping")), UINT64_MAX);
  // The id need not be first, and an id inside of another value does not count.
  msgpack::sbuffer buffer;
  Packer packer(buffer);
  packer.pack_map(3);
  packer.pack("attrs");
  packer.pack_map(1);
  testing::pack_entry(packer, "id", 5);
  testing::pack_entry(packer, "do", "id");
  testing::pack_entry(packer, "id", 6);
  EXPECT_EQ(id(frame_of(std::string(buffer.data(), buffer.size()))), 6U);
  EXPECT_EQ(id(frame_of("\xc1")), 0U);
  EXPECT_EQ(id(frame_of(std::string(100'000, '\x91'))), 0U);
}

}  // namespace
}  // namespace outrigger::wire
