#include "base/program.hpp"

#include <cmath>
#include <limits>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "wire/frames.hpp"
#include "wire/program.hpp"
#include "wire/request.hpp"

namespace outrigger::wire {
namespace {

using testing::payload_of;

Instruction instruction(std::string op, std::vector<Operand> in, std::vector<ValueId> out,
                        std::vector<Region> regions = {}) {
  return {std::move(op), std::move(in), std::move(out), {}, std::move(regions), false};
}

/// A `while` over a `cond`, with every type of operand and attribute.
Program sample() {
  const auto add = instruction("add", {ValueId{0}, Number{std::int64_t{-3}}}, {7});
  const auto conditional =
      instruction("cond", {ValueId{1}}, {8}, {Region{{}, {add}, {7}}, Region{{}, {}, {0}}});
  const auto loop = instruction("while", {ValueId{0}}, {9},
                                {Region{{1}, {}, {1}}, Region{{2}, {conditional}, {8}}});
  Instruction pad = instruction("pad", {ValueId{9}, Number{2.5}}, {10});
  pad.in_place = true;
  pad.attrs = {{"low", std::vector<std::int64_t>{-1, 0}},
               {"mode", std::string("edge")},
               {"flag", true},
               {"big", Number{std::uint64_t{1} << 63}},
               {"small", Number{std::int64_t{-5}}},
               {"scale", Number{0.5}},
               {"none", std::vector<std::int64_t>{}},
               {"bytes", Bytes{1, 2, 3}}};
  return Program{{0}, {loop, pad}, {10}};
}

bool same(const Region& a, const Region& b);

bool same(const Instruction& a, const Instruction& b) {
  if (a.regions.size() != b.regions.size()) return false;
  for (std::size_t i = 0; i < a.regions.size(); ++i) {
    if (!same(a.regions[i], b.regions[i])) return false;
  }
  return a.op == b.op && a.in == b.in && a.out == b.out && a.attrs == b.attrs &&
         a.in_place == b.in_place;
}

bool same(const Region& a, const Region& b) {
  if (a.body.size() != b.body.size()) return false;
  for (std::size_t i = 0; i < a.body.size(); ++i) {
    if (!same(a.body[i], b.body[i])) return false;
  }
  return a.params == b.params && a.outputs == b.outputs;
}

tl::expected<Request, Refusal> decode(const Program& program, const Limits& limits = {}) {
  const std::string frame = testing::frame_of(test::encode_prepare(5, 1, program));
  return Decoder(limits).decode(payload_of(frame));
}

Error error_of(const Program& program, const Limits& limits = {}) {
  auto refused = decode(program, limits);
  EXPECT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().id, 5U);
  return refused.error().error;
}

TEST(ProgramReader, GivesBackWhatWasEncoded) {
  const auto request = decode(sample());
  ASSERT_TRUE(request.has_value()) << request.error().error.text;
  EXPECT_TRUE(same(*std::get<Prepare>(request->body).program, sample()));
}

TEST(ProgramReader, CountsInstructionsOfAllRegions) {
  Limits limits;
  limits.instructions_max = 4;
  EXPECT_TRUE(decode(sample(), limits).has_value());
  limits.instructions_max = 3;
  EXPECT_EQ(error_of(sample(), limits).code, ErrorCode::limit_exceeded);
}

/// `depth` nested regions.
Program nested(std::size_t depth) {
  Program inner{{}, {instruction("iota", {}, {})}, {}};
  for (std::size_t i = 0; i < depth; ++i) {
    Instruction outer = instruction("cond", {}, {});
    outer.regions.push_back(std::move(inner));
    inner = Program{{}, {std::move(outer)}, {}};
  }
  return inner;
}

TEST(ProgramReader, LimitsNesting) {
  EXPECT_TRUE(decode(nested(Limits::nesting_max)).has_value());
  const Error error = error_of(nested(Limits::nesting_max + 1));
  EXPECT_EQ(error.code, ErrorCode::limit_exceeded);
  EXPECT_EQ(error.path.size(), 2 * Limits::nesting_max + 1);
}

Result<Program> decode_alone(const std::string& bytes, const Limits& limits = {}) {
  const auto span = testing::bytes_of(bytes);
  OUTRIGGER_TRY(const std::size_t count, count_program_values(span, limits));
  std::vector<Node> nodes(count);
  return decode_program(span, nodes, limits);
}

std::string alone(const Program& program) {
  const test::Payload payload = test::encode_program(program);
  return {payload.begin(), payload.end()};
}

TEST(ProgramReader, ReadsAProgramWithoutAFrame) {
  const std::string bytes = alone(sample());
  const auto program = decode_alone(bytes);
  ASSERT_TRUE(program) << program.error().text;
  EXPECT_TRUE(same(*program, sample()));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto cut = decode_alone(bytes.substr(0, size));
    ASSERT_FALSE(cut) << size;
    EXPECT_EQ(cut.error().code, ErrorCode::bad_request);
  }
  EXPECT_EQ(decode_alone("\x90").error().text, "prepare: the program must be a map, got an array");
  Limits limits;
  limits.program_bytes_max = bytes.size() - 1;
  EXPECT_EQ(decode_alone(bytes, limits).error().code, ErrorCode::limit_exceeded);
}

TEST(ProgramReader, LimitsWhatAProgramTakesAsData) {
  // An operand of one byte takes 32 bytes as data, so that program_data_max is exceeded before
  // program_bytes_max.
  constexpr std::size_t operands = Limits::program_data_max / sizeof(Operand) + 1;
  static_assert(operands < Limits{}.program_bytes_max);
  Instruction wide = instruction("concatenate", {}, {});
  wide.in.assign(operands, Operand{ValueId{1}});
  const auto refused = decode_alone(alone({{}, {wide}, {}}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(refused.error().path, std::vector<std::uint32_t>{0});
}

TEST(ProgramReader, TellsWhereAnErrorIs) {
  Program program = sample();
  program.body[0].regions[1].body[0].regions[0].body[0].out = {1U << 31};
  const Error error = error_of(program);
  EXPECT_EQ(error.path, (std::vector<std::uint32_t>{0, 1, 0, 0, 0}));
  EXPECT_EQ(error.op, "add");
  EXPECT_EQ(
      error.text,
      R"(instruction: key "out" must be an array of value ids (integers from 0 to 2^31 - 1), )"
      R"(got the integer 2147483648 at position 0)");
}

TEST(ProgramReader, TellsWhichInstructionHasABadRegion) {
  Program program = sample();
  program.body.insert(program.body.begin(), instruction("iota", {}, {}));
  program.body[1].regions[1].outputs = {1U << 31};
  const Error error = error_of(program);
  EXPECT_EQ(error.path, (std::vector<std::uint32_t>{1}));
  EXPECT_EQ(error.op, "while");
}

TEST(ProgramReader, RefusesRepeatedAttributes) {
  Program program = sample();
  program.body[1].attrs = {{"axis", true}, {"axis", false}};
  const Error error = error_of(program);
  EXPECT_EQ(error.code, ErrorCode::bad_attr);
  EXPECT_EQ(error.text, R"(attribute "axis" appears twice)");
  EXPECT_EQ(error.path, (std::vector<std::uint32_t>{1}));
}

TEST(ProgramReader, LimitsAttributes) {
  Program program = sample();
  program.body[1].attrs.clear();
  for (int i = 0; i < 65; ++i) program.body[1].attrs.emplace_back("a" + std::to_string(i), true);
  EXPECT_EQ(error_of(program).code, ErrorCode::limit_exceeded);
}

/// A program of one instruction. `fill` packs its keys beside "op".
template <typename Fill>
tl::expected<Request, Refusal> decode_instruction(std::size_t entries, const Fill& fill) {
  const std::string frame = testing::request_frame(5, "prepare", 2, [&](testing::Packer& packer) {
    testing::pack_entry(packer, "program_id", 1);
    packer.pack("program");
    packer.pack_map(3);
    testing::pack_entry(packer, "params", testing::Handles{});
    testing::pack_entry(packer, "outputs", testing::Handles{});
    packer.pack("body");
    packer.pack_array(1);
    packer.pack_map(static_cast<std::uint32_t>(entries + 1));
    testing::pack_entry(packer, "op", "op");
    fill(packer);
  });
  return Decoder(Limits{}).decode(payload_of(frame));
}

template <typename T>
tl::expected<Request, Refusal> decode_literal(const T& value) {
  return decode_instruction(1, [&](testing::Packer& packer) {
    packer.pack("in");
    packer.pack_array(1);
    packer.pack_map(1);
    testing::pack_entry(packer, "number", value);
  });
}

double literal_of(const tl::expected<Request, Refusal>& request) {
  EXPECT_TRUE(request.has_value());
  const Program& program = *std::get<Prepare>(request->body).program;
  return std::get<double>(std::get<Number>(program.body[0].in[0]));
}

TEST(ProgramReader, ReadsNonFiniteLiterals) {
  EXPECT_TRUE(std::isnan(literal_of(decode_literal("nan"))));
  EXPECT_EQ(literal_of(decode_literal("infinity")), std::numeric_limits<double>::infinity());
  EXPECT_EQ(literal_of(decode_literal("neg_infinity")), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(decode_literal("Infinity").error().error.text,
            R"(literal: key "number" must be an integer, a float, "nan", "infinity", )"
            R"("neg_infinity" or a map of "re" and "im", got a string)");
}

TEST(ProgramReader, ReadsBareInstructions) {
  const auto request = decode_instruction(0, [](testing::Packer&) {});
  ASSERT_TRUE(request.has_value());
  const Instruction& only = std::get<Prepare>(request->body).program->body[0];
  EXPECT_EQ(only.op, "op");
  EXPECT_TRUE(only.in.empty() && only.out.empty() && only.attrs.empty() && only.regions.empty());
}

TEST(ProgramReader, RefusesAttributesOfNoType) {
  const auto refused = decode_instruction(1, [](testing::Packer& packer) {
    testing::pack_entry(packer, "attrs", std::map<std::string, std::vector<double>>{{"x", {0.5}}});
  });
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().error.code, ErrorCode::bad_attr);
  EXPECT_EQ(refused.error().error.op, "op");
}

}  // namespace
}  // namespace outrigger::wire
