// Programs that are too long for one frame: the client uploads them as the data of a tensor, and
// prepares them from it.

#include "engine/session_support.hpp"
#include "support/encode.hpp"

namespace outrigger::engine::test {
namespace {

using Ints = std::vector<std::int32_t>;
using Octets = std::vector<std::uint8_t>;

constexpr std::uint64_t program_handle = 1'000'000'000;

class ProgramUploadTest : public SessionTestBase {
 protected:
  explicit ProgramUploadTest(std::uint64_t limit = 0) : SessionTestBase(limit) {}

  /// Uploads the bytes in parts of that size.
  void upload_bytes(const Octets& bytes, std::size_t part) {
    const List shape{static_cast<std::int64_t>(bytes.size())};
    for (std::size_t at = 0; at < bytes.size(); at += part) {
      const std::size_t size = std::min(part, bytes.size() - at);
      caller_.upload_later(program_handle, "u8", shape,
                           Octets(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                                  bytes.begin() + static_cast<std::ptrdiff_t>(at + size)),
                           at);
    }
  }
  Reply prepare(std::uint64_t id, const Program& program, std::size_t part = 1U << 18) {
    upload_bytes(outrigger::test::encode_program(program), part);
    const Reply reply = caller_.ask(wire::Prepare{id, {}, program_handle});
    EXPECT_EQ(caller_.ask(wire::Release{{program_handle}}).numbers.at("released"), 1U);
    return reply;
  }
  Reply call(std::uint64_t id, Handles args, Handles results) {
    return caller_.ask(wire::Run{{}, id, std::move(args), std::move(results), false, {}});
  }

  Caller caller_{engine_};
};

TEST_F(ProgramUploadTest, PartsOfAnySizeGiveTheProgram) {
  ASSERT_TRUE(caller_.upload(1, "s32", {1}, Ints{1}).ok());
  std::uint64_t handle = 1;
  for (const std::size_t part : {1, 7, 1000}) {
    const std::uint64_t before = used();
    const Reply reply = prepare(7, increment, part);
    ASSERT_TRUE(reply.ok()) << reply.text();
    EXPECT_LE(used(), before) << "nothing of the upload stays";
    ASSERT_TRUE(call(7, {handle}, {handle + 1}).ok()) << "also when the tensor is released";
    ++handle;
  }
  EXPECT_EQ(caller_.download<std::int32_t>(handle, 1), Ints{4});
}

TEST_F(ProgramUploadTest, AnyLayoutOfTheBytes) {
  Octets bytes = outrigger::test::encode_program(increment);
  std::reverse(bytes.begin(), bytes.end());
  upload_bytes(bytes, bytes.size());
  ASSERT_TRUE(
      caller_.run({{0}, {op("reverse", {v(0)}, 1)}, {1}}, {program_handle}, {program_handle + 1})
          .ok());
  ASSERT_TRUE(caller_.ask(wire::Prepare{7, {}, program_handle + 1}).ok());
}

TEST_F(ProgramUploadTest, WhatIsNoProgramIsRefusedAndTheCallsSayWhy) {
  ASSERT_TRUE(caller_.upload(1, "f32", {1}, std::vector<float>{1}).ok());
  ASSERT_TRUE(caller_.upload(2, "u8", {1, 1}, Octets{0x80}).ok());
  ASSERT_TRUE(caller_.upload(3, "u8", {1}, Octets{0xc1}).ok());
  ASSERT_TRUE(caller_.upload(4, "u8", {0}, Octets{}).ok());
  EXPECT_EQ(caller_.upload(5, "u8", {1}, Octets{1, 2}).code(), "bad_index");
  ASSERT_TRUE(caller_.upload(6, "u8", {2}, Octets{0x80}).ok());
  ASSERT_TRUE(caller_.upload(7, "u8", {1}, Octets{0x90}).ok());
  const std::vector<std::pair<std::uint64_t, std::string>> mistakes{
      {1, "bad_dtype"}, {2, "bad_shape"},  {3, "bad_request"}, {4, "bad_request"},
      {5, "bad_index"}, {6, "bad_handle"}, {7, "bad_request"}, {99, "bad_handle"}};
  for (const auto& [handle, code] : mistakes) {
    const std::uint64_t id = 100 + handle;
    EXPECT_EQ(caller_.ask(wire::Prepare{id, {}, handle}).code(), code) << handle;
    EXPECT_EQ(call(id, {}, {}).code(), code) << handle;
  }
  // The present program stays: a refused program does not replace it.
  ASSERT_TRUE(prepare(50, increment).ok());
  EXPECT_EQ(caller_.ask(wire::Prepare{50, {}, 3}).code(), "bad_request");
  ASSERT_TRUE(caller_.upload(60, "s32", {1}, Ints{1}).ok());
  EXPECT_TRUE(call(50, {60}, {61}).ok());
}

TEST_F(ProgramUploadTest, TheEndOfTheSessionFreesWhatHasCome) {
  const Octets bytes = outrigger::test::encode_program(increment);
  caller_.upload_later(program_handle, "u8", {1 << 20}, bytes);
  EXPECT_EQ(caller_.ask(wire::Prepare{7, {}, program_handle}).code(), "bad_handle");
  EXPECT_GE(used(), 1U << 20);
  caller_.close();
  EXPECT_TRUE(becomes_unused());
}

/// x + 1 + 1 …
Program chain(ValueId length) {
  Program program{{0}, {}, {length}};
  for (ValueId i = 0; i < length; ++i) program.body.push_back(op("add", {v(i), number(1)}, i + 1));
  return program;
}

TEST_F(ProgramUploadTest, AHundredThousandInstructions) {
  const Reply prepared = prepare(7, chain(100'000));
  ASSERT_TRUE(prepared.ok()) << prepared.text();
  ASSERT_TRUE(caller_.upload(1, "s32", {3}, Ints{1, 2, 3}).ok());
  const Reply reply = call(7, {1}, {2});
  ASSERT_TRUE(reply.ok()) << reply.text();
  EXPECT_EQ(caller_.download<std::int32_t>(2, 3), (Ints{100'001, 100'002, 100'003}));
}

/// concatenate of `operands`.
Program joined(std::vector<Operand> operands, Ids params, ValueId out) {
  return {std::move(params), {op("concatenate", std::move(operands), out)}, {out}};
}

TEST_F(ProgramUploadTest, AHundredThousandOperands) {
  constexpr ValueId count = 100'000;
  std::vector<Operand> operands;
  Ids params;
  Handles handles;
  for (ValueId i = 0; i < count; ++i) {
    params.push_back(i);
    operands.push_back(v(i));
    handles.push_back(i + 1);
    caller_.upload_later(i + 1, "s32", {1}, Ints{static_cast<std::int32_t>(i)});
  }
  ASSERT_TRUE(prepare(7, joined(std::move(operands), std::move(params), count)).ok());
  const Reply reply = call(7, handles, {count + 1});
  ASSERT_TRUE(reply.ok()) << reply.text();
  const Ints all = caller_.download<std::int32_t>(count + 1, count);
  for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(all[i], static_cast<std::int32_t>(i));
}

TEST_F(ProgramUploadTest, OneOperandManyTimes) {
  for (const std::size_t times : {8'300U, 100'000U}) {
    const std::uint64_t handle = times;
    ASSERT_TRUE(caller_.upload(1, "s32", {1}, Ints{5}).ok());
    ASSERT_TRUE(prepare(7, joined(std::vector<Operand>(times, v(0)), {0}, 1)).ok());
    const Reply reply = call(7, {1}, {handle});
    ASSERT_TRUE(reply.ok()) << reply.text();
    EXPECT_EQ(caller_.download<std::int32_t>(handle, times), Ints(times, 5));
    ASSERT_TRUE(caller_.ask(wire::Release{{1}}).ok());
  }
}

TEST_F(ProgramUploadTest, AHundredThousandResults) {
  constexpr ValueId count = 100'000;
  Program program{{0}, {}, {}};
  Handles results;
  for (ValueId i = 1; i <= count; ++i) {
    program.body.push_back(op("add", {v(0), number(i)}, i));
    program.outputs.push_back(i);
    results.push_back(i + 1);
  }
  ASSERT_TRUE(prepare(7, program).ok());
  ASSERT_TRUE(caller_.upload(1, "s32", {}, Ints{0}).ok());
  const Reply reply = call(7, {1}, results);
  ASSERT_TRUE(reply.ok()) << reply.text();
  ASSERT_EQ(reply.results.size(), count);
  EXPECT_EQ(reply.results.back().handle, count + 1);
  EXPECT_EQ(caller_.download<std::int32_t>(count + 1, 1), Ints{count});
}

/// x, incremented within `depth` conditions.
Program conditions(std::size_t depth) {
  ValueId id = 1;
  Region region{{}, {op("add", {v(0), number(1)}, id)}, {id}};
  for (std::size_t i = 0; i < depth; ++i) {
    const ValueId out = ++id;
    Region outer{{}, {branch(v(0), {out}, std::move(region), Region{{}, {}, {0}})}, {out}};
    region = std::move(outer);
  }
  region.params = {0};
  return region;
}

TEST_F(ProgramUploadTest, RegionsInsideEachOther) {
  ASSERT_TRUE(caller_.upload(1, "s32", {}, Ints{1}).ok());
  std::uint64_t handle = 1;
  for (const std::size_t depth : {std::size_t{63}, std::size_t{Limits::nesting_max}}) {
    ASSERT_TRUE(prepare(7, conditions(depth)).ok());
    const Reply reply = call(7, {1}, {++handle});
    ASSERT_TRUE(reply.ok()) << reply.text();
    EXPECT_EQ(caller_.download<std::int32_t>(handle, 1), Ints{2});
    EXPECT_TRUE(caller_.run(conditions(depth), {1}, {++handle}).ok());
  }
  const Reply refused = prepare(7, conditions(Limits::nesting_max + 1));
  EXPECT_EQ(refused.code(), "limit_exceeded");
  EXPECT_NE(refused.error->text.find("regions inside each other"), std::string::npos);
}

class ProgramUploadBudgetTest : public ProgramUploadTest {
 protected:
  ProgramUploadBudgetTest() : ProgramUploadTest(std::uint64_t{16} << 20) {}
};

TEST_F(ProgramUploadBudgetTest, WhatAProgramIsReadWithIsWithinTheLimit) {
  // The program has 3 MB, and 20 MB of msgpack values.
  const Reply refused = prepare(7, chain(100'000));
  EXPECT_EQ(refused.code(), "out_of_memory");
  EXPECT_EQ(call(7, {}, {}).code(), "out_of_memory");
  EXPECT_EQ(used(), 0U);
  EXPECT_TRUE(prepare(8, chain(100)).ok());
}

}  // namespace
}  // namespace outrigger::engine::test
