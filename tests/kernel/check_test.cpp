// Units that are changed at one place are refused, or are still safe to run.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernel/check.hpp"
#include "support_unit.hpp"

namespace outrigger::kernel {
namespace {

Node& first(Kernel& kernel, What what) {
  for (Node& node : kernel.nodes)
    if (node.what == what) return node;
  throw std::runtime_error("no such node");
}

struct Change {
  std::string name;
  std::function<void(Kernel&)> apply;
};

class CheckTest : public testing::TestWithParam<Change> {};

TEST_P(CheckTest, IsRefused) {
  GoldenUnits golden;
  Unit unit = golden.unit("components/6");
  ASSERT_TRUE(check(unit));
  GetParam().apply(unit.kernels.back());
  const auto checked = check(std::move(unit));
  ASSERT_FALSE(checked);
  EXPECT_NE(checked.error().text, "");
}

INSTANTIATE_TEST_SUITE_P(
    Changes, CheckTest,
    testing::Values(
        Change{"a slot of another type", [](Kernel& k) { k.slots.back() = Type::f64; }},
        Change{"no scalar parameter first", [](Kernel& k) { k.slots.clear(); }},
        Change{"a dimension without a name", [](Kernel& k) { k.dims = 0; }},
        Change{"a dimension that no parameter has", [](Kernel& k) { ++k.dims; }},
        Change{"an operand above",
               [](Kernel& k) { first(k, What::subtract).operands[0] = 100000; }},
        Change{"an operand used twice",
               [](Kernel& k) {
                 Node& n = first(k, What::not_equal);
                 n.operands[1] = n.operands[0];
               }},
        Change{"a store to a tensor that is read", [](Kernel& k) { first(k, What::store).at = 0; }},
        Change{"a parameter that is read only", [](Kernel& k) { k.params.back().mode = Mode::in; }},
        Change{"an index less", [](Kernel& k) { first(k, What::load).operands.pop_back(); }},
        Change{"a call of itself", [](Kernel& k) { first(k, What::call).at = 1; }},
        Change{"a call without arguments",
               [](Kernel& k) { first(k, What::call).arguments.clear(); }},
        Change{"an argument of another type",
               [](Kernel& k) { first(k, What::call).arguments[0].at = 0; }},
        Change{"a result less", [](Kernel& k) { k.results.clear(); }},
        Change{"no return", [](Kernel& k) { k.blocks.back().pop_back(); }},
        Change{"a statement twice",
               [](Kernel& k) { k.blocks.back().push_back(k.blocks.back().front()); }},
        Change{"a block inside itself",
               [](Kernel& k) {
                 first(k, What::for_).operands[3] = static_cast<std::uint32_t>(k.blocks.size() - 1);
               }},
        Change{"a block twice", [](Kernel& k) { first(k, What::for_).operands[3] = 1; }},
        Change{"a variable without a value",
               [](Kernel& k) {
                 for (Node& n : k.nodes)
                   if (n.what == What::slot) n.at = static_cast<std::uint32_t>(k.slots.size());
                 k.slots.push_back(Type::s64);
               }},
        Change{"a break outside of a loop",
               [](Kernel& k) {
                 Node& last = k.nodes.back();
                 last = Node{.what = What::break_, .line = 1};
               }},
        Change{"a file that is not there", [](Kernel& k) { k.file = 7; }},
        Change{"names of tensors less", [](Kernel& k) { k.tensors.pop_back(); }},
        Change{"a size beyond the limit",
               [](Kernel& k) { k.params.back().dims[0].plus = std::int64_t{1} << 60; }},
        Change{"too many parameters", [](Kernel& k) { k.params.resize(65); }},
        Change{"a local array that is too large",
               [](Kernel& k) {
                 k.local.push_back({Type::s64, {{Dim::Kind::number, 0, 2049}}});
                 k.tensors.push_back("t");
               }}),
    [](const auto& made) {
      std::string name = made.param.name;
      for (char& c : name)
        if (c == ' ') c = '_';
      return name;
    });

TEST(CheckCallTest, ACallIsUsedOnceAndWithoutResultsItIsNoValue) {
  Kernel callee{.name = "callee", .file = 0};
  callee.blocks = {{}};
  Kernel caller{.name = "caller", .file = 0};
  caller.nodes = {{.what = What::call, .at = 0}, {.what = What::give, .operands = {0}}};
  caller.blocks = {{1}};
  EXPECT_TRUE(check(Unit{.files = {"a.ex"}, .kernels = {callee, caller}}));

  Kernel twice = caller;
  twice.nodes.push_back({.what = What::give, .operands = {0}});
  twice.blocks = {{1, 2}};
  EXPECT_FALSE(check(Unit{.files = {"a.ex"}, .kernels = {callee, twice}}));

  Kernel value = caller;
  value.slots = {Type::boolean};
  value.nodes[1] = {.what = What::set, .at = 0, .operands = {0}};
  EXPECT_FALSE(check(Unit{.files = {"a.ex"}, .kernels = {callee, value}}));
}

TEST(CheckLimitTest, EmptyUnitsAndTooManyKernels) {
  EXPECT_FALSE(check(Unit{}));
  Unit unit{.files = {"a.ex"}, .kernels = std::vector<Kernel>(257)};
  EXPECT_FALSE(check(unit));
  unit.kernels.resize(256);
  for (Kernel& kernel : unit.kernels) kernel.blocks.emplace_back();
  EXPECT_TRUE(check(unit));
}

TEST(CheckLimitTest, BlocksNest32Deep) {
  for (const std::uint32_t depth : {32U, 33U}) {
    // if true { if true { … } }
    Kernel kernel{.name = "deep", .file = 0};
    kernel.blocks.resize(2 * depth - 1);
    for (std::uint32_t level = 1; level < depth; ++level) {
      const auto condition = static_cast<std::uint32_t>(kernel.nodes.size());
      kernel.nodes.push_back({.what = What::number, .type = Type::boolean, .bits = 1});
      kernel.nodes.push_back(
          {.what = What::if_, .operands = {condition, 2 * level - 2, 2 * level - 1}});
      kernel.blocks[2 * level] = {condition + 1};
    }
    EXPECT_EQ(check(Unit{.files = {"a.ex"}, .kernels = {kernel}}).has_value(), depth == 32U);
  }
}

TEST(CheckLimitTest, ExpressionsNest512Deep) {
  for (const std::uint32_t depth : {512U, 513U}) {
    Kernel kernel{.name = "deep", .file = 0};
    kernel.slots = {Type::s64};
    kernel.nodes.push_back({.what = What::number, .bits = 1});
    for (std::uint32_t level = 0; level + 1 < depth; ++level)
      kernel.nodes.push_back({.what = What::negate, .operands = {level}});
    kernel.nodes.push_back({.what = What::set, .at = 0, .operands = {depth - 1}});
    kernel.blocks = {{depth}};
    EXPECT_EQ(check(Unit{.files = {"a.ex"}, .kernels = {kernel}}).has_value(), depth == 512U);
  }
}

}  // namespace
}  // namespace outrigger::kernel
