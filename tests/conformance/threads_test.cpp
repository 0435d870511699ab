// The bits of results must not depend on the number of threads. The sizes are not multiples of
// tiles.

#include <gtest/gtest.h>

#include "conformance/runner.hpp"

namespace outrigger::test {
namespace {

constexpr std::int64_t size = 1'000'003;

Instruction make(std::string op, std::vector<Operand> in, ValueId out, Attrs attrs = {}) {
  Instruction made;
  made.op = std::move(op);
  made.in = std::move(in);
  made.out = {out};
  made.attrs = std::move(attrs);
  return made;
}

using Shape = std::vector<std::int64_t>;

/// All of these ops round, so that another order of additions would give other bits.
Program everything(const std::string& dtype) {
  const Number tenth = 0.1;
  const auto in = [](auto... ids) { return std::vector<Operand>{ids...}; };
  const auto v = [](ValueId id) { return Operand(id); };
  Program program;
  program.body = {
      make("iota", {}, 0, {{"type", dtype}, {"shape", Shape{size}}}),
      make("multiply", in(v(0), Operand(tenth)), 1),
      make("sin", in(v(1)), 2),
      make("sum", in(v(2)), 3),
      make("cumulative_sum", in(v(2)), 4),
      make("argmax", in(v(2)), 5),
      make("sort", in(v(2)), 6),
      make("argsort", in(v(2)), 7, {{"stable", true}}),
      make("slice", in(v(2), Operand(Number(std::int64_t{3}))), 8, {{"lengths", Shape{999'000}}}),
      make("reshape", in(v(8)), 9, {{"shape", Shape{999, 1000}}}),
      make("sum", in(v(9)), 10, {{"axes", Shape{0}}}),
      make("sum", in(v(9)), 11, {{"axes", Shape{1}}}),
      make("transpose", in(v(9)), 12),
      make("dot", in(v(12), v(9)), 13),
      make("product", in(v(9)), 14, {{"axes", Shape{1}}}),
      make("as_type", in(v(0)), 15, {{"type", std::string("s64")}}),
      make("remainder", in(v(15), Operand(Number(std::int64_t{1000}))), 16),
      make("reshape", in(v(16)), 17, {{"shape", Shape{size, 1}}}),
      make("constant", {}, 18, {{"value", Number(0.5)}, {"type", dtype}, {"shape", Shape{1000}}}),
      make("indexed_add", in(v(18), v(17), v(2)), 19),
  };
  program.outputs = {3, 5, 10, 11, 13, 14, 19, 4, 6, 7};
  return program;
}

/// A region with two parameters, or one, that computes op(x · 1.0625, accumulator).
Region folding(ValueId first, const char* op, bool accumulator = true) {
  Region region;
  region.params = {first};
  if (accumulator) region.params.push_back(first + 1);
  region.body = {make("multiply", {first, Operand(Number(1.0625))}, first + 2)};
  if (accumulator) region.body.push_back(make(op, {first + 2, first + 1}, first + 3));
  region.outputs = {accumulator ? first + 3 : first + 2};
  return region;
}

/// Ops that apply regions: one in the order of the elements, and one that may be regrouped.
Program folds(const std::string& dtype) {
  const auto v = [](ValueId id) { return Operand(id); };
  const Operand zero = Number(0.0);
  Program program;
  program.body = {
      make("iota", {}, 0, {{"type", dtype}, {"shape", Shape{999, 1001}}}),
      make("sin", {v(0)}, 1),
      make("reduce", {v(1), zero}, 2),
      make("reduce", {v(1), zero}, 3, {{"axes", Shape{0}}}),
      make("reduce", {v(1), zero}, 4, {{"axes", Shape{1}}}),
      make("window_reduce", {v(1), zero}, 5, {{"window", Shape{3, 5}}, {"strides", Shape{2, 1}}}),
      make("map", {v(1)}, 6),
      make("reduce", {v(1), zero}, 7),
  };
  ValueId next = 100;
  for (Instruction& instruction : program.body) {
    if (instruction.op == "map") instruction.regions = {folding(next, "", false)};
    if (instruction.op == "reduce" || instruction.op == "window_reduce")
      instruction.regions = {folding(next, "subtract")};
    next += 10;
  }
  // An associative region is folded on lanes.
  Region& sum = program.body.back().regions[0];
  sum.body = {make("add", {sum.params[0], sum.params[1]}, next)};
  sum.outputs = {next};
  program.outputs = {2, 3, 4, 5, 6, 7};
  return program;
}

void expect_same_bits(const Program& program) {
  std::vector<Data> first;
  for (const int threads : {1, 2, 5}) {
    Client client(open_session_transport({.threads = threads}));
    const Outcome outcome = carry_out(client, program, {});
    ASSERT_TRUE(outcome.reply.ok()) << outcome.reply.text();
    if (first.empty()) first = outcome.outputs;
    for (std::size_t i = 0; i < first.size(); ++i) {
      EXPECT_FALSE(difference(first[i], outcome.outputs[i]))
          << threads << " threads, output " << i << ": "
          << *difference(first[i], outcome.outputs[i]);
    }
  }
}

class Threads : public testing::TestWithParam<std::string> {};

TEST_P(Threads, GiveTheSameBits) { expect_same_bits(everything(GetParam())); }

TEST_P(Threads, GiveTheSameBitsInFolds) { expect_same_bits(folds(GetParam())); }

INSTANTIATE_TEST_SUITE_P(, Threads, testing::Values("f32", "f64"),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace outrigger::test
