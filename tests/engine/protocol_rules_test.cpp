// Sentences of PROTOCOL.md about handles, uploads, ids and deadlines on which a client may rely.

#include "engine/session_support.hpp"

namespace outrigger::engine::test {
namespace {

using Ints = std::vector<std::int32_t>;
using Octets = std::vector<std::uint8_t>;

class ProtocolRulesTest : public SessionTestBase {
 protected:
  Caller caller_{engine_};
};

TEST_F(ProtocolRulesTest, AnyDeadlineOf64BitsIsTaken) {
  ASSERT_TRUE(caller_.upload(1, "s32", {1}, Ints{1}).ok());
  std::uint64_t handle = 1;
  for (const std::uint64_t ms :
       {std::uint64_t{1} << 32, std::uint64_t{1} << 63, std::uint64_t{UINT64_MAX}}) {
    const Reply reply =
        caller_.ask(wire::Run{increment, {}, {1}, {++handle}, false, std::optional(ms)});
    EXPECT_TRUE(reply.ok()) << ms << ": " << reply.text();
  }
}

TEST_F(ProtocolRulesTest, AnEmptyTensorTakesOneEmptyChunkAtOffsetZero) {
  const Reply reply = caller_.upload(1, "f64", {3, 0}, Octets{});
  ASSERT_TRUE(reply.ok()) << reply.text();
  EXPECT_EQ(reply.results.size(), 1U);
  EXPECT_EQ(caller_.upload(2, "f64", {3, 0}, Octets{}, 8).code(), "bad_handle");
}

TEST_F(ProtocolRulesTest, AnUploadMayBeginAgainWithAnyType) {
  ASSERT_TRUE(caller_.upload(1, "u8", {8}, Octets(4)).ok());
  const std::uint64_t before = used();
  ASSERT_TRUE(caller_.upload(1, "s32", {2}, Octets{1, 0, 0, 0}).ok());
  EXPECT_EQ(used(), before) << "what had arrived is discarded";
  EXPECT_EQ(caller_.upload(1, "s32", {2}, Octets{2, 0, 0, 0}, 4).results.size(), 1U);
  EXPECT_EQ(caller_.download<std::int32_t>(1, 2), (Ints{1, 2}));
  EXPECT_EQ(caller_.upload(1, "s32", {2}, Octets{1, 0, 0, 0}).code(), "handle_in_use")
      << "once it is complete, it is a tensor";
}

TEST_F(ProtocolRulesTest, AFailedUploadBeginsAgainWhenItsHandleIsReleased) {
  ASSERT_TRUE(caller_.upload(1, "u8", {4}, Octets(2)).ok());
  EXPECT_EQ(caller_.upload(1, "u8", {4}, Octets(2), 3).code(), "bad_index");
  const Reply again = caller_.upload(1, "u8", {4}, Octets(4));
  EXPECT_EQ(again.code(), "handle_in_use");
  EXPECT_NE(again.error->text.find("release"), std::string::npos) << again.error->text;
  EXPECT_EQ(caller_.upload(1, "u8", {4}, Octets(2), 2).code(), "bad_index") << "the first error";
  EXPECT_EQ(caller_.ask(wire::Release{{1}}).numbers.at("released"), 1U);
  EXPECT_EQ(caller_.upload(1, "u8", {4}, Octets(4)).results.size(), 1U);
}

TEST_F(ProtocolRulesTest, AReleasedHandleIsFreeAndATakenOneIsNot) {
  ASSERT_TRUE(caller_.upload(1, "s32", {1}, Ints{1}).ok());
  ASSERT_TRUE(caller_.upload(2, "u8", {2}, Octets(1)).ok()) << "goes on";
  EXPECT_EQ(caller_.run(increment, {99}, {3}).code(), "bad_handle");
  for (const std::uint64_t taken : {1U, 2U, 3U})
    EXPECT_EQ(caller_.run(increment, {1}, {taken}).code(), "handle_in_use") << taken;
  wire::Run donates{increment, {}, {1}, {1}, false, {}};
  donates.donated = {1};
  EXPECT_EQ(caller_.ask(donates).code(), "handle_in_use") << "a donated one is taken, too";
  ASSERT_TRUE(caller_.run(increment, {1}, {4}).ok());
  ASSERT_TRUE(caller_.ask(wire::Release{{1, 2, 3}}).ok());
  for (const std::uint64_t free : {1U, 2U, 3U})
    EXPECT_TRUE(caller_.run(increment, {4}, {free}).ok()) << free;
  EXPECT_EQ(caller_.download<std::int32_t>(3, 1), Ints{3});
}

/// The first parameter is written in place, the second is read afterwards.
const Program writes{
    {0, 1}, {in_place(op("add", {v(0), number(10)}, 2)), op("add", {v(1), number(0)}, 3)}, {3}};

TEST_F(ProtocolRulesTest, OneHandleForSeveralParametersIsOneTensor) {
  for (const bool atomic : {false, true}) {
    ASSERT_TRUE(caller_.upload(1, "s32", {2}, Ints{1, 2}).ok());
    ASSERT_TRUE(caller_.run(writes, {1, 1}, {2}, atomic).ok());
    EXPECT_EQ(caller_.download<std::int32_t>(1, 2), (Ints{11, 12}));
    EXPECT_EQ(caller_.download<std::int32_t>(2, 2), (Ints{11, 12}))
        << "what is written in place of one shows in the other";
    EXPECT_EQ(caller_.ask(wire::Release{{1, 2, 1}}).numbers.at("released"), 2U)
        << "and is released once";
  }
}

TEST_F(ProtocolRulesTest, AnIdOfAPendingRequestIsRefusedUnderThatId) {
  const std::uint64_t busy = caller_.run_later(endless(), {}, {50});
  caller_.session->submit(wire::Request{busy, wire::Release{{1}}}, nullptr);
  EXPECT_EQ(caller_.outbox->wait(busy).code(), "bad_request") << "the first reply";
  caller_.ask(wire::Cancel{busy});
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::vector<std::string> codes;
  while (codes.size() < 2 && std::chrono::steady_clock::now() < until) {
    codes.clear();
    for (const Reply& reply : caller_.outbox->all()) {
      if (reply.id == busy) codes.push_back(reply.code());
    }
  }
  EXPECT_EQ(codes, (std::vector<std::string>{"bad_request", "cancelled"}));
  EXPECT_TRUE(caller_.upload(1, "s32", {1}, Ints{1}).ok()) << "the session goes on";
}

TEST_F(ProtocolRulesTest, WhatAReplyWillTellCountsAgainstTheWindow) {
  const std::uint64_t busy = caller_.run_later(endless(), {}, {50});
  const std::uint64_t before = caller_.session->pending_bytes();
  Handles results;
  for (std::uint64_t i = 0; i < 1000; ++i) results.push_back(100 + i);
  const std::uint64_t waits = caller_.run_later(increment, {1}, results);
  constexpr std::uint64_t frame = 64;
  EXPECT_EQ(caller_.session->pending_bytes() - before, frame + 1000 * 192);
  caller_.ask(wire::Cancel{busy});
  EXPECT_FALSE(caller_.outbox->wait(waits).ok());
  EXPECT_EQ(caller_.session->pending_bytes(), 0U);
}

TEST_F(ProtocolRulesTest, BytesOfARequestThatAreNoTextAreShownAsHexadecimal) {
  const auto error_of = [&](std::string name, Attrs attrs) {
    const Program program{{}, {op(std::move(name), {}, 1, std::move(attrs))}, {1}};
    return caller_.run(program, {}, {1}).error.value();
  };
  const auto unknown = error_of("\xff\n", {});
  EXPECT_EQ(unknown.op, "\\xff\\x0a");
  EXPECT_EQ(unknown.text, "\\xff\\x0a: there is no such op");
  EXPECT_EQ(error_of("größe", {}).op, "größe");
  const auto attribute = error_of("iota", {{"\x80", true}}).text;
  EXPECT_NE(attribute.find("\\x80"), std::string::npos) << attribute;

  // Where it is cut, no character and no error is lost.
  EXPECT_EQ(error_of(std::string(100, '\x80'), {}).op.size(), 64U);
  EXPECT_EQ(error_of(std::string(63, 'x') + "ß", {}).op, std::string(63, 'x'));
}

TEST_F(ProtocolRulesTest, TheOtherDimensionsCountWhereOneIsZero) {
  const std::int64_t half = std::int64_t{1} << 62;
  EXPECT_EQ(caller_.upload(1, "u8", {0, half, half}, Octets{}).code(), "bad_shape");
  EXPECT_EQ(caller_.upload(2, "u8", {half}, Octets{}).code(), "bad_shape");
  EXPECT_EQ(caller_.upload(3, "f64", {0, half / 8}, Octets{}).code(), "bad_shape");
  EXPECT_TRUE(caller_.upload(4, "u8", {0, half - 1}, Octets{}).ok());
}

TEST_F(ProtocolRulesTest, ThereIsNoAxisToKeepIfNoneIsNamed) {
  ASSERT_TRUE(caller_.upload(1, "s32", {2, 3}, Ints{1, 2, 3, 4, 5, 6}).ok());
  const auto argmax = [](Attrs attrs) {
    return Program{{0}, {op("argmax", {v(0)}, 1, std::move(attrs))}, {1}};
  };
  EXPECT_EQ(caller_.run(argmax({{"keep_axis", true}}), {1}, {2}).results.at(0).shape, List{});
  EXPECT_EQ(caller_.run(argmax({{"keep_axis", true}, {"axis", Number{std::int64_t{1}}}}), {1}, {3})
                .results.at(0)
                .shape,
            (List{2, 1}));
}

}  // namespace
}  // namespace outrigger::engine::test
