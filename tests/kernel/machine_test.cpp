// The register machine on units that the golden file does not have: windows with strides, sizes of
// memory, interrupts, branches of all forms, and the ops' own functions.
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernel/check.hpp"
#include "kernel/interpret.hpp"
#include "ops/op.hpp"
#include "support_unit.hpp"

namespace outrigger::kernel {
namespace {

Machine machine_of(Kernel kernel) {
  auto checked = check(Unit{.files = {"a.ex"}, .kernels = {std::move(kernel)}});
  if (!checked) throw std::runtime_error(checked.error().text);
  return Machine(*checked);
}

Node number(std::int64_t n) {
  return {.what = What::number, .bits = static_cast<std::uint64_t>(n)};
}
Node slot(std::uint32_t at) { return {.what = What::slot, .at = at}; }

/// f(a :: mut(s32[h][w])), which adds 10 times the row and the column to each element.
Kernel with_places() {
  Kernel kernel{.name = "places", .file = 0, .dims = 2};
  const Dim h{Dim::Kind::name, 0, 0};
  const Dim w{Dim::Kind::name, 1, 0};
  kernel.params = {{Mode::mut, Type::s32, {h, w}}};
  kernel.tensors = {"a"};
  kernel.slots = {Type::s64, Type::s64};
  auto& nodes = kernel.nodes;
  const auto add = [&](Node node) {
    node.line = 7;
    nodes.push_back(std::move(node));
    return static_cast<std::uint32_t>(nodes.size() - 1);
  };
  const auto i = add(slot(0));
  const auto j = add(slot(1));
  const auto old = add({.what = What::load, .at = 0, .operands = {i, j}});
  const auto i2 = add(slot(0));
  const auto ten = add(number(10));
  const auto tens = add({.what = What::multiply, .operands = {i2, ten}});
  const auto j2 = add(slot(1));
  const auto sum = add({.what = What::add, .operands = {tens, j2}});
  const auto narrow = add({.what = What::as, .type = Type::s32, .operands = {sum}});
  const auto value = add({.what = What::add, .operands = {old, narrow}});
  const auto i3 = add(slot(0));
  const auto j3 = add(slot(1));
  const auto store = add({.what = What::store, .at = 0, .operands = {value, i3, j3}});
  const auto range = [&](std::uint32_t variable, std::uint32_t dim, std::uint32_t body) {
    const auto from = add(number(0));
    const auto size = add({.what = What::dim, .at = dim});
    const auto one = add(number(1));
    const auto to = add({.what = What::subtract, .operands = {size, one}});
    const auto step = add(number(1));
    return add({.what = What::for_, .at = variable, .operands = {from, to, step, body}});
  };
  const auto inner = range(1, 1, 0);
  const auto outer = range(0, 0, 1);
  kernel.blocks = {{store}, {inner}, {outer}};
  return kernel;
}

TEST(MachineTest, WindowsWithStrides) {
  const Machine machine = machine_of(with_places());
  std::vector<std::int32_t> memory(24, 0);
  // The columns 3, 1 of rows 0, 2 of a 4 x 6 tensor: {2, 2} with a step back.
  auto* const first = reinterpret_cast<std::byte*>(memory.data() + 3);
  ASSERT_TRUE(run_alone(machine, {}, {{first, {2, 2}, {12, -2}}}));
  std::vector<std::int32_t> expected(24, 0);
  expected[1] = 1;
  expected[15] = 10;
  expected[13] = 11;
  EXPECT_EQ(memory, expected);
  ASSERT_TRUE(run_alone(machine, {}, {{nullptr, {0, 5}}}));
}

TEST(MachineTest, SizesWithoutBoundAreCountless) {
  Kernel kernel{.name = "large", .file = 0, .dims = 1};
  const Dim n{Dim::Kind::name, 0, 0};
  kernel.params = {{Mode::in, Type::u8, {n}}};
  kernel.scratch = {{Type::f64, {n, n, n}}};
  kernel.tensors = {"a", "t"};
  kernel.blocks = {{}};
  const Machine machine = machine_of(kernel);
  const std::vector<Sizes> small{{2}};
  EXPECT_GE(machine.memory_for(small), 64U);
  EXPECT_LT(machine.memory_for(small), 4096U);
  const std::vector<Sizes> large{{std::int64_t{1} << 40}};
  EXPECT_EQ(machine.memory_for(large), ~std::uint64_t{0});
  const std::vector<Sizes> none{{0}};
  EXPECT_LT(machine.memory_for(none), 4096U);
}

/// f(a :: s64, b :: s64) :: s64, one if the condition holds.
Kernel condition(const std::vector<Node>& nodes) {
  Kernel kernel{.name = "condition", .file = 0};
  kernel.params = {{Mode::scalar, Type::s64, {}}, {Mode::scalar, Type::s64, {}}};
  kernel.slots = {Type::s64, Type::s64};
  kernel.results = {Type::s64};
  kernel.nodes = nodes;
  const auto last = static_cast<std::uint32_t>(nodes.size() - 1);
  kernel.nodes.push_back(number(1));
  kernel.nodes.push_back({.what = What::return_, .operands = {last + 1}});
  kernel.nodes.push_back(number(0));
  kernel.nodes.push_back({.what = What::return_, .operands = {last + 3}});
  kernel.nodes.push_back({.what = What::if_, .operands = {last, 0, 1}});
  kernel.blocks = {{last + 2}, {last + 4}, {last + 5}};
  return kernel;
}

/// not (a < 3 or (b < 3 and not (a == b))), and the same with `and` and `or` changed.
std::vector<Node> nested(What outer, What inner) {
  return {slot(0),
          number(3),
          {.what = What::less, .operands = {0, 1}},
          slot(1),
          number(3),
          {.what = What::less, .operands = {3, 4}},
          slot(0),
          slot(1),
          {.what = What::equal, .operands = {6, 7}},
          {.what = What::logical_not, .operands = {8}},
          {.what = inner, .operands = {5, 9}},
          {.what = outer, .operands = {2, 10}},
          {.what = What::logical_not, .operands = {11}}};
}

TEST(MachineTest, ConditionsOfAllForms) {
  for (const bool either : {false, true}) {
    const What outer = either ? What::logical_or : What::logical_and;
    const What inner = either ? What::logical_and : What::logical_or;
    const Machine machine = machine_of(condition(nested(outer, inner)));
    for (std::uint64_t a = 0; a < 6; ++a) {
      for (std::uint64_t b = 0; b < 6; ++b) {
        const bool expected =
            either ? !(a < 3 || (b < 3 && a != b)) : !(a < 3 && (b < 3 || a != b));
        const auto result = run_alone(machine, {a, b}, {});
        ASSERT_TRUE(result);
        EXPECT_EQ(result->at(0), expected ? 1U : 0U) << either << " " << a << " " << b;
      }
    }
  }
}

TEST(MachineTest, AVariableThatItsOwnValueReads) {
  // x = if x < y, do: x + y, else: x; the value of `select` must not overwrite x early.
  Kernel kernel{.name = "select", .file = 0};
  kernel.params = {{Mode::scalar, Type::s64, {}}, {Mode::scalar, Type::s64, {}}};
  kernel.slots = {Type::s64, Type::s64};
  kernel.results = {Type::s64};
  kernel.nodes = {slot(0),
                  slot(1),
                  {.what = What::less, .operands = {0, 1}},
                  slot(0),
                  slot(1),
                  {.what = What::add, .operands = {3, 4}},
                  slot(0),
                  {.what = What::select, .operands = {2, 5, 6}},
                  {.what = What::set, .at = 0, .operands = {7}},
                  slot(0),
                  {.what = What::return_, .operands = {9}}};
  kernel.blocks = {{8, 10}};
  const Machine machine = machine_of(kernel);
  EXPECT_EQ(run_alone(machine, {2, 5}, {})->at(0), 7U);
  EXPECT_EQ(run_alone(machine, {5, 2}, {})->at(0), 5U);
}

/// f(x :: type) :: type, one operation of x, or of x and x.
Kernel operation(What what, Type type, bool two) {
  Kernel kernel{.name = "operation", .file = 0};
  kernel.params = {{Mode::scalar, type, {}}};
  kernel.slots = {type};
  kernel.results = {type};
  kernel.nodes = {slot(0), slot(0), {.what = what, .operands = {0, 1}}};
  if (!two) kernel.nodes = {slot(0), {.what = what, .operands = {0}}};
  const auto last = static_cast<std::uint32_t>(kernel.nodes.size() - 1);
  kernel.nodes.push_back({.what = What::return_, .operands = {last}});
  kernel.blocks = {{last + 1}};
  return kernel;
}

TEST(MachineTest, FunctionsAreThoseOfTheOps) {
  const std::vector<std::pair<What, const char*>> functions{
      {What::pow, "pow"},   {What::atan2, "atan2"}, {What::exp, "exp"},     {What::log, "log"},
      {What::sin, "sin"},   {What::cos, "cos"},     {What::tan, "tan"},     {What::asin, "asin"},
      {What::acos, "acos"}, {What::atan, "atan"},   {What::sinh, "sinh"},   {What::cosh, "cosh"},
      {What::tanh, "tanh"}, {What::asinh, "asinh"}, {What::acosh, "acosh"}, {What::atanh, "atanh"}};
  for (const auto& [what, name] : functions) {
    SCOPED_TRACE(name);
    const bool two = what == What::pow || what == What::atan2;
    const Machine machine = machine_of(operation(what, Type::f64, two));
    const Machine narrow = machine_of(operation(what, Type::f32, two));
    for (const double x : {0.5, 1.0, -0.25, 3.5, 1e300}) {
      double expected = 0;
      const void* in[]{&x, &x};
      ops::kernel_of(*ops::find_op(name), DType::f64).run(&expected, in, 1);
      const auto result = run_alone(machine, {std::bit_cast<std::uint64_t>(x)}, {});
      ASSERT_TRUE(result);
      if (std::isnan(expected))
        EXPECT_TRUE(std::isnan(std::bit_cast<double>(result->at(0))));
      else
        EXPECT_EQ(result->at(0), std::bit_cast<std::uint64_t>(expected)) << x;
      const auto f = static_cast<float>(x);
      float narrowed = 0;
      const void* in32[]{&f, &f};
      ops::kernel_of(*ops::find_op(name), DType::f32).run(&narrowed, in32, 1);
      const auto result32 = run_alone(narrow, {std::bit_cast<std::uint32_t>(f)}, {});
      ASSERT_TRUE(result32);
      if (!std::isnan(narrowed)) {
        EXPECT_EQ(result32->at(0), std::bit_cast<std::uint32_t>(narrowed)) << x;
      }
    }
  }
}

TEST(MachineTest, AFunctionOfAnIntegerIsRefused) {
  EXPECT_FALSE(check(Unit{.files = {"a.ex"}, .kernels = {operation(What::exp, Type::s64, false)}}));
  EXPECT_FALSE(check(Unit{.files = {"a.ex"}, .kernels = {operation(What::pow, Type::s64, true)}}));
}

TEST(MachineTest, ASumOverABackwardRangeWithTheSmallestStep) {
  // for i <- a..b//step, do: count = count + 1
  Kernel kernel{.name = "turns", .file = 0};
  kernel.params = {
      {Mode::scalar, Type::s64, {}}, {Mode::scalar, Type::s64, {}}, {Mode::scalar, Type::s64, {}}};
  kernel.slots = {Type::s64, Type::s64, Type::s64, Type::s64, Type::s64};
  kernel.results = {Type::s64};
  kernel.nodes = {number(0),
                  {.what = What::set, .at = 4, .operands = {0}},
                  slot(4),
                  number(1),
                  {.what = What::add, .operands = {2, 3}},
                  {.what = What::set, .at = 4, .operands = {4}},
                  slot(0),
                  slot(1),
                  slot(2),
                  {.what = What::for_, .line = 3, .at = 3, .operands = {6, 7, 8, 0}},
                  slot(4),
                  {.what = What::return_, .operands = {10}}};
  kernel.blocks = {{5}, {1, 9, 11}};
  const Machine machine = machine_of(kernel);
  const auto turns = [&](std::int64_t a, std::int64_t b, std::int64_t step) {
    const auto cell = [](std::int64_t n) { return static_cast<std::uint64_t>(n); };
    return run_alone(machine, {cell(a), cell(b), cell(step)}, {});
  };
  constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(turns(0, 9, 1)->at(0), 10U);
  EXPECT_EQ(turns(0, 9, 4)->at(0), 3U);
  EXPECT_EQ(turns(9, 0, -3)->at(0), 4U);
  EXPECT_EQ(turns(0, -1, 1)->at(0), 0U);
  EXPECT_EQ(turns(0, 1, -1)->at(0), 0U);
  EXPECT_EQ(turns(most, least, least)->at(0), 2U);
  EXPECT_EQ(turns(least, most, most)->at(0), 3U);
  EXPECT_EQ(turns(most - 1, most, 1)->at(0), 2U);
  const auto none = turns(0, 1, 0);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, FailureCode::bad_value);
  EXPECT_EQ(none.error().line, 3U);
  EXPECT_EQ(none.error().file, "a.ex");
}

}  // namespace
}  // namespace outrigger::kernel
