// Loops over tensors become vector instructions: no check, no look at the interrupt and no branch
// is left in them.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "build_unit.hpp"
#include "kernel/check.hpp"
#include "kernel/emit/emit.hpp"
#include "kernel/native/llvm.hpp"
#include "support_compiler.hpp"

namespace outrigger::kernel {
namespace {

using At = KernelBuilder::At;
Dim named(std::uint32_t name) { return KernelBuilder::named(name); }

/// c[i] = a[i] + b[i]
Unit vec_add() {
  KernelBuilder k(1);
  const auto a = k.tensor(Mode::in, Type::f32, {named(0)});
  const auto b = k.tensor(Mode::in, Type::f32, {named(0)});
  const auto c = k.tensor(Mode::fresh, Type::f32, {named(0)});
  const auto i = k.variable(Type::s64);
  const auto x = k.load(a, {k.slot(i)});
  const auto y = k.load(b, {k.slot(i)});
  const auto store = k.store(c, k.of(What::add, x, y), {k.slot(i)});
  const auto from = k.number(0);
  return unit_of({k.done({k.range(i, from, k.plus(k.dim(0), -1), {store})})});
}

/// The sum of an s64 tensor.
Unit integer_sum() {
  KernelBuilder k(1);
  const auto a = k.tensor(Mode::in, Type::s64, {named(0)});
  const auto sum = k.variable(Type::s64);
  const auto i = k.variable(Type::s64);
  k.kernel.results = {Type::s64};
  const auto begin = k.set(sum, k.number(0));
  const auto old = k.slot(sum);
  const auto next = k.set(sum, k.of(What::add, old, k.load(a, {k.slot(i)})));
  const auto from = k.number(0);
  const auto loop = k.range(i, from, k.plus(k.dim(0), -1), {next});
  return unit_of({k.done({begin, loop, k.give_back({k.slot(sum)})})});
}

/// b[i][j] = a[i - 1][j] + a[i + 1][j], inside of the border.
Unit stencil() {
  KernelBuilder k(2);
  const auto a = k.tensor(Mode::in, Type::f32, {named(0), named(1)});
  const auto b = k.tensor(Mode::mut, Type::f32, {named(0), named(1)});
  const auto i = k.variable(Type::s64);
  const auto j = k.variable(Type::s64);
  const auto above = k.plus(k.slot(i), -1);
  const auto x = k.load(a, {above, k.slot(j)});
  const auto below = k.plus(k.slot(i), 1);
  const auto y = k.load(a, {below, k.slot(j)});
  const auto value = k.of(What::add, x, y);
  const auto row = k.slot(i);
  const auto store = k.store(b, value, {row, k.slot(j)});
  const auto one = k.number(1);
  const auto inner = k.range(j, one, k.plus(k.dim(1), -2), {store});
  const auto first = k.number(1);
  return unit_of({k.done({k.range(i, first, k.plus(k.dim(0), -2), {inner})})});
}

/// a[i * w + j] = 2 * a[i * w + j]: the index is checked before the inner loop.
Unit flattened() {
  KernelBuilder k(1);
  const auto a = k.tensor(Mode::mut, Type::f32, {named(0)});
  const auto h = k.scalar(Type::s64);
  const auto w = k.scalar(Type::s64);
  const auto i = k.variable(Type::s64);
  const auto j = k.variable(Type::s64);
  const auto index = [&] {
    const auto row = k.slot(i);
    const auto begin = k.of(What::multiply, row, k.slot(w));
    return k.of(What::add, begin, k.slot(j));
  };
  const auto x = k.load(a, {index()});
  const auto y = k.load(a, {index()});
  const auto value = k.of(What::add, x, y);
  const auto store = k.store(a, value, {index()});
  const auto zero = k.number(0);
  const auto inner = k.range(j, zero, k.plus(k.slot(w), -1), {store});
  const auto from = k.number(0);
  return unit_of({k.done({k.range(i, from, k.plus(k.slot(h), -1), {inner})})});
}

/// b[i] = 1 if a[i] is 3, or if a[i] is 2 and b[i] is 1; elements are read without a branch.
Unit rule() {
  KernelBuilder k(1);
  const auto a = k.tensor(Mode::in, Type::u8, {named(0)});
  const auto b = k.tensor(Mode::mut, Type::u8, {named(0)});
  const auto i = k.variable(Type::s64);
  const auto is = [&](At tensor, std::int64_t n) {
    const auto x = k.load(tensor, {k.slot(i)});
    return k.of(What::equal, x, k.number(n, Type::u8));
  };
  const auto three = is(a, 3);
  const auto two = is(a, 2);
  const auto lives = k.of(What::logical_and, two, is(b, 1));
  const auto condition = k.of(What::logical_or, three, lives);
  const auto yes = k.number(1, Type::u8);
  const auto no = k.number(0, Type::u8);
  const auto value = k.add({.what = What::select, .operands = {condition, yes, no}});
  const auto store = k.store(b, value, {k.slot(i)});
  const auto from = k.number(0);
  return unit_of({k.done({k.range(i, from, k.plus(k.dim(0), -1), {store})})});
}

/// The registers of 256 bits that the instructions of an object name; negative without objdump.
int wide_registers(const std::vector<std::uint8_t>& object) {
  const std::string path =
      testing::TempDir() + "outrigger-object-" + std::to_string(::getpid()) + ".o";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(object.data()),
             static_cast<std::streamsize>(object.size()));
  FILE* const listing = ::popen(("objdump -d " + path + " 2>/dev/null").c_str(), "r");
  int count = listing == nullptr ? -1 : 0;
  bool any = false;
  std::array<char, 512> line{};
  while (listing != nullptr && std::fgets(line.data(), line.size(), listing) != nullptr) {
    any = true;
    if (std::string(line.data()).find("%ymm") != std::string::npos) ++count;
  }
  if (listing != nullptr) ::pclose(listing);
  std::filesystem::remove(path);
  return any ? count : -1;
}

struct VectorLoop {
  const char* name;
  Unit (*make)();
  bool needs_bounds;  ///< LLVM alone does not prove them
};

class NativeVectorTest : public testing::TestWithParam<VectorLoop> {};

TEST_P(NativeVectorTest, TheLoopHasVectors) {
  OUTRIGGER_NEED_LLVM();
  if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "this processor has no AVX2";
  auto llvm = Llvm::load(Llvm::find_library());
  ASSERT_TRUE(llvm) << llvm.error();
  const auto checked = check(GetParam().make());
  ASSERT_TRUE(checked) << checked.error().text;
  const auto fast = llvm->compile(emit(*checked).text);
  ASSERT_TRUE(fast) << fast.error();
  const int wide = wide_registers(*fast);
  if (wide < 0) GTEST_SKIP() << "there is no objdump";
  EXPECT_GT(wide, 2);
  if (!GetParam().needs_bounds) return;
  // With checks inside of the loop, it has none.
  const auto slow = llvm->compile(emit(*checked, {.check_all = true}).text);
  ASSERT_TRUE(slow) << slow.error();
  EXPECT_EQ(wide_registers(*slow), 0);
}

INSTANTIATE_TEST_SUITE_P(Loops, NativeVectorTest,
                         testing::Values(VectorLoop{"vec_add", vec_add, false},
                                         VectorLoop{"integer_sum", integer_sum, false},
                                         VectorLoop{"stencil", stencil, false},
                                         VectorLoop{"flattened", flattened, false},
                                         VectorLoop{"rule", rule, true}),
                         [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace outrigger::kernel
