// The budget is compared with Plan::peak. It must not be less than the memory of a run.

#include <cstdio>
#include <optional>
#include <random>

#include "engine/builder.hpp"
#include "support/random.hpp"

namespace outrigger::engine::test {
namespace {

using enum DType;

struct Measured {
  std::uint64_t planned = 0;
  std::uint64_t taken = 0;
};

/// The rise of the peak during the run, above the memory in use before.
Measured measure(const Program& program, const std::vector<TensorType>& types) {
  Runner runner;
  std::vector<Tensor> arguments;
  for (const TensorType& type : types) arguments.push_back(runner.empty(type.dtype, type.shape));
  const auto plan = runner.plan(program, arguments);
  EXPECT_TRUE(plan) << (plan ? "" : plan.error().text);
  if (!plan) return {};
  const std::uint64_t before = runner.memory.used();
  const Outcome outcome = runner.run(**plan, arguments);
  EXPECT_TRUE(succeeded(outcome));
  const std::uint64_t peak = std::max(runner.memory.peak(), before);
  Measured measured{(*plan)->peak.bytes, peak - before};
  for (std::size_t i = 0; i < arguments.size(); ++i)
    measured.planned += (*plan)->peak.argument_copies[i] *
                        Memory::capacity_of(arguments[i].storage->buffer->bytes());
  return measured;
}

void expect_covered(const Program& program, const std::vector<TensorType>& types = {}) {
  const Measured measured = measure(program, types);
  EXPECT_GE(measured.planned, measured.taken);
}

constexpr std::int64_t peak_size = std::int64_t{1} << 18;  // 1 MiB of s32
const TensorType vector{s32, {peak_size}};
const TensorType matrix{s32, {512, 512}};

TEST(PeakTest, SmallBuffersAreRoundedUp) { expect_covered({{}, {iota(0, "s32", {3})}, {0}}); }

TEST(PeakTest, LargeBuffersAreRoundedUp) {
  expect_covered({{}, {iota(0, "s32", {peak_size + 1})}, {0}});
}

TEST(PeakTest, AConstantWrittenInPlace) {
  expect_covered(
      {{0},
       {constant(1, 0, "s32", {peak_size}), in_place(op("put_slice", {v(1), v(0), number(0)}, 2))},
       {1}},
      {{s32, {1}}});
}

TEST(PeakTest, AnInPlaceWriteToWhatAViewStillSees) {
  expect_covered({{0}, {op("reverse", {v(0)}, 1), in_place(op("add", {v(0), number(1)}, 2))}, {1}},
                 {vector});
}

TEST(PeakTest, AReshapeThatMustCopy) {
  expect_covered(
      {{0},
       {op("transpose", {v(0)}, 1), op("reshape", {v(1)}, 2, {{"shape", List{peak_size}}}),
        op("reverse", {v(2)}, 3)},
       {3}},
      {matrix});
}

TEST(PeakTest, TemporariesOfAReduction) {
  expect_covered({{0}, {op("transpose", {v(0)}, 1), op("sum", {v(1)}, 2)}, {2}}, {matrix});
}

TEST(PeakTest, PartialSumsOfAReduction) {
  expect_covered({{0}, {op("sum", {v(0)}, 1, {{"axes", List{0}}})}, {1}}, {{u8, {1 << 20, 4}}});
}

TEST(PeakTest, TemporariesOfASort) {
  expect_covered({{0}, {op("sort", {v(0)}, 1)}, {1}}, {vector});
}

TEST(PeakTest, TemporariesOfAnArgsort) {
  expect_covered({{0}, {op("argsort", {v(0)}, 1, {{"axis", Number{std::int64_t{0}}}})}, {1}},
                 {matrix});
}

TEST(PeakTest, TemporariesOfADot) {
  expect_covered({{0}, {op("transpose", {v(0)}, 1), op("dot", {v(1), v(1)}, 2)}, {2}}, {matrix});
}

TEST(PeakTest, TemporariesOfAScan) {
  expect_covered({{0}, {op("cumulative_sum", {v(0)}, 1)}, {1}}, {{s32, {4, 100000}}});
}

TEST(PeakTest, TwoResultsThatAreSmallViewsOfATemporary) {
  const Attrs part{{"lengths", List{peak_size * 2 / 5}}};
  expect_covered({{},
                  {iota(0, "s32", {peak_size}), op("slice", {v(0), number(0)}, 1, part),
                   op("slice", {v(0), number(peak_size / 2)}, 2, part)},
                  {1, 2}});
}

TEST(PeakTest, ACapturedValueAsTheResultOfBothBranches) {
  expect_covered(
      {{0},
       {iota(1, "s32", {peak_size}), branch(v(0), {2}, Region{{}, {}, {1}}, Region{{}, {}, {1}}),
        op("sort", {v(1)}, 3), op("sort", {v(2)}, 4)},
       {1, 2, 3, 4}},
      {{s32, {}}});
}

TEST(PeakTest, APassThatReadsAReversedViewOfItsTarget) {
  expect_covered(
      {{0}, {in_place(op("reverse", {v(0)}, 1)), in_place(op("add", {v(0), v(1)}, 2))}, {}},
      {vector});
}

TEST(PeakTest, APassThatPutsAReversedViewIntoItsTarget) {
  expect_covered({{},
                  {iota(0, "s32", {peak_size}), op("reverse", {v(0)}, 1), op("negate", {v(1)}, 2),
                   op("put_slice", {v(0), v(2), number(0)}, 3)},
                  {3}});
}

TEST(PeakTest, APassThatPutsAMutableViewIntoItsTarget) {
  expect_covered({{},
                  {iota(0, "s32", {peak_size}),
                   in_place(op("slice", {v(0), number(9)}, 1, {{"lengths", List{peak_size / 4}}})),
                   op("negate", {v(1)}, 2), op("put_slice", {v(0), v(2), number(0)}, 3)},
                  {3}});
}

/// The first half of 2n elements without another use: a result in it takes the memory of the whole.
std::vector<Instruction> half_of_something() {
  return {iota(0, "s32", {2 * peak_size}),
          op("slice", {v(0), number(0)}, 1, {{"lengths", List{peak_size}}})};
}

TEST(PeakTest, APassThatTakesTheMemoryOfAPart) {
  Program program{{}, half_of_something(), {2, 3}};
  program.body.push_back(op("negate", {v(1)}, 2));
  program.body.push_back(op("concatenate", {v(2), v(2)}, 3));
  expect_covered(program);
}

TEST(PeakTest, AnUpdateThatTakesTheMemoryOfAPart) {
  Program program{{0}, half_of_something(), {2, 3}};
  for (Instruction& made : program.body) {
    for (ValueId& id : made.out) id += 10;
  }
  program.body[1].in[0] = v(10);
  program.body.push_back(op("put_slice", {v(11), v(0), number(7)}, 2));
  program.body.push_back(iota(3, "s32", {2 * peak_size}));
  expect_covered(program, {{s32, {5}}});
}

TEST(PeakTest, APutOfAPassThatTakesTheMemoryOfAPart) {
  Program program{{}, half_of_something(), {4, 5}};
  program.body.push_back(op("slice", {v(1), number(3)}, 2, {{"lengths", List{peak_size / 2}}}));
  program.body.push_back(op("negate", {v(2)}, 3));
  program.body.push_back(op("put_slice", {v(1), v(3), number(7)}, 4));
  program.body.push_back(iota(5, "s32", {2 * peak_size}));
  expect_covered(program);
}

TEST(PeakTest, ValuesThatMayBeOneAreNotBothTaken) {
  // Without a turn, the loop returns its arguments: the pass gets one value under two names.
  const Region condition{{2, 3}, {op("less", {v(2), number(0)}, 4)}, {4}};
  expect_covered({{0},
                  {op("negate", {v(0)}, 1), constant(5, 5, "s32", {}),
                   loop({v(5), v(1)}, {8, 9}, condition, Region{{6, 7}, {}, {6, 7}}),
                   op("negate", {v(9)}, 10), op("add", {v(1), number(1)}, 11)},
                  {10, 11}},
                 {vector});
}

TEST(PeakTest, SumsOfHugeSizesDoNotWrapAround) {
  Runner runner;
  Program program{{}, {}, {}};
  for (ValueId i = 0; i < 4; ++i) {
    program.body.push_back(iota(i, "u8", {std::int64_t{1} << 62}));
    program.outputs.push_back(i);
  }
  const auto plan = runner.plan(program);
  if (!plan) return;  // refused, which is correct
  EXPECT_GE((*plan)->peak.bytes, std::uint64_t{1} << 62);
}

/// Random programs over 16 KiB vectors, functional and in place, with views, loops and branches.
class RandomProgram {
  static constexpr std::int64_t n = std::int64_t{1} << 12;

 public:
  static TensorType vector() { return {s32, {n}}; }

  explicit RandomProgram(std::mt19937& random) : random_(random) {}

  Program make() {
    Program program;
    program.params = {0, 1, 2};
    values_ = {0, 1};
    next_ = 3;
    const std::size_t steps = 3 + random_() % 12;
    for (std::size_t i = 0; i < steps; ++i) add(program.body, true);
    for (std::size_t i = 0; i < 1 + random_() % 3; ++i) program.outputs.push_back(pick());
    return program;
  }

 private:
  ValueId pick() { return values_[random_() % values_.size()]; }
  ValueId fresh() { return next_++; }

  void add(std::vector<Instruction>& body, bool nest) {
    switch (random_() % (nest ? 13 : 11)) {
      case 0:
        append(body, "add", {v(pick()), v(pick())});
        break;
      case 1:
        append(body, "negate", {v(pick())});
        break;
      case 2:
        append(body, "reverse", {v(pick())});
        break;
      case 3:
        append(body, "put_slice", {v(pick()), v(pick()), number(0)});
        break;
      case 4:
        append(body, "cumulative_sum", {v(pick())});
        break;
      case 5:
        append(body, "sort", {v(pick())});
        break;
      case 6:
        body.push_back(in_place(op("multiply", {v(pick()), number(3)}, fresh())));
        break;
      case 7:
        append(body, "max", {v(pick()), number(5)});
        break;
      case 8:
        append(body, "argsort", {v(pick())});
        break;
      case 9: {
        const ValueId part = fresh();
        body.push_back(op("slice", {v(pick()), number(5)}, part, {{"lengths", List{n * 2 / 5}}}));
        append(body, "put_slice", {v(pick()), v(part), number(7)});
        break;
      }
      case 10:
        stencil(body);
        break;
      case 11: {
        const std::vector<ValueId> outside = values_;
        Region yes;
        Region no;
        for (int i = 0; i < 2; ++i) add(yes.body, false);
        yes.outputs = {pick()};
        values_ = outside;
        add(no.body, false);
        no.outputs = {pick()};
        values_ = outside;
        const ValueId result = fresh();
        body.push_back(branch(v(2), {result}, std::move(yes), std::move(no)));
        values_.push_back(result);
        break;
      }
      default: {
        const std::vector<ValueId> outside = values_;
        const ValueId i = fresh();
        const ValueId x = fresh();
        const ValueId verdict = fresh();
        const Region condition{{i, x}, {op("less", {v(i), number(3)}, verdict)}, {verdict}};
        const ValueId j = fresh();
        const ValueId y = fresh();
        const ValueId up = fresh();
        Region turn{{j, y}, {op("add", {v(j), number(1)}, up)}, {}};
        values_.push_back(y);
        for (int k = 0; k < 2; ++k) add(turn.body, false);
        turn.outputs = {up, pick()};
        values_ = outside;
        const ValueId count = fresh();
        const ValueId result = fresh();
        body.push_back(loop({v(2), v(pick())}, {count, result}, condition, std::move(turn)));
        values_.push_back(result);
      }
    }
  }

  /// The sum of a value's neighbours is put into that value, or into another one.
  void stencil(std::vector<Instruction>& body) {
    const ValueId x = pick();
    std::optional<ValueId> kept;
    const auto window = [&] {
      const ValueId made = fresh();
      const auto start = static_cast<std::int64_t>(random_() % 2 == 0 ? random_() % 3 : n / 3);
      body.push_back(op("slice", {v(x), number(start)}, made, {{"lengths", List{n / 2}}}));
      body.back().in_place = random_() % 6 == 0;
      if (random_() % 8 == 0) kept = made;
      return made;
    };
    ValueId sum = window();
    for (std::size_t i = 0; i < random_() % 4; ++i) {
      const ValueId other = window();
      body.push_back(op("add", {v(sum), v(other)}, fresh()));
      sum = next_ - 1;
    }
    body.push_back(op("negate", {v(sum)}, fresh()));
    append(body, "put_slice", {v(random_() % 4 == 0 ? pick() : x), v(next_ - 1), number(1)});
    body.back().in_place = random_() % 3 == 0;
    if (kept) append(body, "put_slice", {v(pick()), v(*kept), number(2)});
  }

  void append(std::vector<Instruction>& body, const char* name, std::vector<Operand> in) {
    const ValueId result = fresh();
    body.push_back(op(name, std::move(in), result));
    values_.push_back(result);
  }

  std::mt19937& random_;
  std::vector<ValueId> values_;
  ValueId next_ = 0;
};

std::string describe(const Region& region) {
  std::string text;
  for (const Instruction& instruction : region.body) {
    text += instruction.op + (instruction.in_place ? "! " : " ");
    for (const Operand& in : instruction.in)
      text += in.index() == 0 ? std::to_string(std::get<0>(in)) + " " : "n ";
    for (const Region& inner : instruction.regions) text += "{ " + describe(inner) + "} ";
    text += "-> " + std::to_string(instruction.out.at(0)) + "; ";
  }
  text += "out ";
  for (const ValueId id : region.outputs) text += std::to_string(id) + " ";
  return text;
}

TEST(PeakTest, CoversRandomProgramsAndNotAbsurdly) {
  const std::uint64_t programs = outrigger::test::environment("OUTRIGGER_PROGRAMS", 4000);
  const unsigned seed = outrigger::test::new_seed();
  SCOPED_TRACE(testing::Message() << "OUTRIGGER_SEED=" << seed);
  std::mt19937 random(seed);
  int below = 0;
  std::string example;
  std::uint64_t planned = 0;
  std::uint64_t taken = 0;
  for (std::uint64_t round = 0; round < programs; ++round) {
    const Program program = RandomProgram(random).make();
    const Measured measured =
        measure(program, {RandomProgram::vector(), RandomProgram::vector(), {s32, {}}});
    planned += measured.planned;
    taken += measured.taken;
    if (measured.planned >= measured.taken) continue;
    ++below;
    const std::string text = std::to_string(measured.planned) + " planned, " +
                             std::to_string(measured.taken) + " taken: " + describe(program);
    if (example.empty() || text.size() < example.size()) example = text;
  }
  EXPECT_EQ(below, 0) << "of the programs took more than planned; the shortest: " << example;
  EXPECT_LE(planned, 4 * taken) << "absurdly much is planned";
  std::printf("  random programs: %.1f planned for each byte taken\n",
              static_cast<double>(planned) / static_cast<double>(taken));
}

}  // namespace
}  // namespace outrigger::engine::test
