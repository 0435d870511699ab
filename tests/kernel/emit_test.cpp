// The text of units that are made to be hard: it is written in a short time, with a bounded length,
// and reads no element where the program does not read it.
#include <chrono>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "build_unit.hpp"
#include "kernel/check.hpp"
#include "kernel/emit/emit.hpp"
#include "kernel/interpret.hpp"
#include "support_compiler.hpp"
#include "support_unit.hpp"

namespace outrigger::kernel {
namespace {

using At = KernelBuilder::At;
using Clock = std::chrono::steady_clock;

CheckedUnit checked(Unit unit) {
  auto done = check(std::move(unit));
  if (!done) throw std::runtime_error(done.error().text);
  return std::move(*done);
}

class EmitTest : public testing::Test {
 protected:
  ~EmitTest() override { EXPECT_LT(Clock::now() - begin_, std::chrono::seconds(20)); }
  Clock::time_point begin_ = Clock::now();
  Kept kept_{0};
};

/// for i: if c[i] != 0, do: x = i + far; y = t[x - far]. Elsewhere x is 0.
TEST_F(EmitTest, AnIndexOfABranchIsUsedInTheBranchOnly) {
  OUTRIGGER_NEED_LLVM();
  constexpr std::int64_t far = std::int64_t{1} << 40;
  for (const bool constant : {false, true}) {
    KernelBuilder k(1);
    const auto c = k.tensor(Mode::in, Type::u8, {KernelBuilder::named(0)});
    const auto t = k.tensor(Mode::in, Type::s64, {KernelBuilder::named(0)});
    const auto i = k.variable(Type::s64);
    const auto x = k.variable(Type::s64);
    const auto y = k.variable(Type::s64);
    k.kernel.results = {Type::s64};
    const auto begin = k.set(y, k.number(5));
    const auto flag = k.load(c, {k.slot(i)});
    const auto condition = k.of(What::not_equal, flag, k.number(0, Type::u8));
    const auto base = constant ? k.number(0) : k.slot(i);
    const auto first = k.set(x, k.plus(base, far));
    const auto there = k.slot(x);
    const auto second = k.set(y, k.load(t, {k.of(What::subtract, there, k.number(far))}));
    const auto yes = k.block({first, second});
    const auto no = k.block({});
    const auto branch = k.add({.what = What::if_, .operands = {condition, yes, no}});
    const auto from = k.number(0);
    const auto loop = k.range(i, from, k.plus(k.dim(0), -1), {branch});
    const auto unit = checked(unit_of({k.done({begin, loop, k.give_back({k.slot(y)})})}));
    Compiler compiler(compiler_options());
    Machine machine(unit);
    machine.compile(unit, compiler, kept_);
    std::vector<std::uint8_t> flags(16, 0);
    std::vector<std::int64_t> elements(16, 7);
    const std::vector<TensorView> tensors{{reinterpret_cast<std::byte*>(flags.data()), {16}},
                                          {reinterpret_cast<std::byte*>(elements.data()), {16}}};
    EXPECT_EQ(run_alone(machine, {}, tensors)->at(0), 5U);
    flags[9] = 1;
    EXPECT_EQ(run_alone(machine, {}, tensors)->at(0), 7U);
    EXPECT_NE(compiler.describe().find(": 1 compiled"), std::string::npos);
  }
}

/// x1 = k + k, x2 = x1 + x1, and so on; t[x40].
TEST_F(EmitTest, ASumOfSumsOfSums) {
  for (const bool counter : {false, true}) {
    KernelBuilder k(1);
    const auto t = k.tensor(Mode::mut, Type::s64, {KernelBuilder::named(0)});
    const auto n = k.scalar(Type::s64);
    const auto i = k.variable(Type::s64);
    std::vector<At> body;
    At last = counter ? i : n;
    for (int step = 0; step < 40; ++step) {
      const auto next = k.variable(Type::s64);
      const auto a = k.slot(last);
      body.push_back(k.set(next, k.of(What::add, a, k.slot(last))));
      last = next;
    }
    const auto value = k.number(1);
    body.push_back(k.store(t, value, {k.slot(last)}));
    const auto from = k.number(0);
    const auto loop = k.range(i, from, k.plus(k.dim(0), -1), std::move(body));
    EXPECT_FALSE(emit(checked(unit_of({k.done({loop})}))).too_long);
  }
}

/// i1 <- 0..1, i2 <- i1..(i1 + 1), and so on.
TEST_F(EmitTest, RangesThatReferToEachOther) {
  KernelBuilder k(1);
  const auto t = k.tensor(Mode::mut, Type::s64, {KernelBuilder::named(0)});
  constexpr int depth = 30;
  std::vector<At> counters;
  for (int level = 0; level < depth; ++level) counters.push_back(k.variable(Type::s64));
  const auto value = k.number(1);
  At inner = k.store(t, value, {k.slot(counters.back())});
  for (int level = depth; level-- > 0;) {
    const auto from =
        level == 0 ? k.number(0) : k.slot(counters[static_cast<std::size_t>(level) - 1]);
    const auto to =
        level == 0 ? k.number(1) : k.plus(k.slot(counters[static_cast<std::size_t>(level) - 1]), 1);
    inner = k.range(counters[static_cast<std::size_t>(level)], from, to, {inner});
  }
  EXPECT_FALSE(emit(checked(unit_of({k.done({inner})}))).too_long);
}

/// Thousands of calls with 64 tensors of 16 axes each, whose sizes are all compared.
TEST_F(EmitTest, ATextThatIsTooLongEndsEarly) {
  const std::vector<Dim> dims(16, Dim{Dim::Kind::any, 0, 0});
  const std::vector<Dim> ones(16, Dim{Dim::Kind::number, 0, 1});
  KernelBuilder callee;
  for (int param = 0; param < 64; ++param) callee.tensor(Mode::in, Type::u8, ones);
  Kernel first = callee.done({});
  KernelBuilder k;
  const auto t = k.tensor(Mode::in, Type::u8, dims);
  std::vector<At> body;
  for (int call = 0; call < 4000; ++call) {
    Node node{.what = What::call, .at = 0};
    for (int param = 0; param < 64; ++param) node.arguments.push_back({.is_tensor = true, .at = t});
    const auto made = k.add(std::move(node));
    body.push_back(k.add({.what = What::give, .operands = {made}}));
  }
  const CheckedUnit unit = checked(unit_of({std::move(first), k.done(std::move(body))}));
  const Emission emission = emit(unit);
  EXPECT_TRUE(emission.too_long);
  EXPECT_LT(emission.text.size(), 2 * module_bytes_max);
  EXPECT_LT(emission.sites.size(), 200000U);
}

}  // namespace
}  // namespace outrigger::kernel
