// Runs the units of protocol/golden/kernels, which the Elixir client has written: by the
// interpreter and as machine code.
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernel/check.hpp"
#include "kernel/interpret.hpp"
#include "support_compiler.hpp"
#include "support_unit.hpp"

namespace outrigger::kernel {
namespace {

std::vector<std::int64_t> integers(wire::Value array) {
  std::vector<std::int64_t> all;
  for (wire::Value item : array.items()) all.push_back(static_cast<std::int64_t>(item.natural()));
  return all;
}

/// A tensor of a case, with memory of its own.
struct Operand {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> data;
};

Operand operand(wire::Value map) {
  Operand operand;
  for (auto [key, value] : map.entries()) {
    if (key == "dtype") operand.dtype = value.string();
    if (key == "shape") operand.shape = integers(value);
    if (key == "data") {
      const auto bytes = std::as_bytes(value.binary());
      operand.data.assign(bytes.begin(), bytes.end());
    }
  }
  return operand;
}

std::uint64_t cell(const Operand& operand) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, operand.data.data(), operand.data.size());
  // A signed integer is extended.
  if (operand.dtype.front() == 's' && operand.data.size() < 8) {
    const int unused = 64 - 8 * static_cast<int>(operand.data.size());
    bits = static_cast<std::uint64_t>(static_cast<std::int64_t>(bits << unused) >> unused);
  }
  return bits;
}

constexpr std::string_view code_names[] = {"bad_index", "bad_value", "bad_shape", "raised",
                                           "interrupted"};

class GoldenKernelTest : public testing::Test {
 protected:
  /// With a compiler, the unit runs as machine code.
  void run_case(const std::map<std::string, wire::Value>& fields, Compiler* compiler) {
    auto unit = wire::read_kernel_unit(fields.at("unit"));
    ASSERT_TRUE(unit) << unit.error().text;
    auto checked = check(std::move(*unit));
    ASSERT_TRUE(checked) << checked.error().text << " (line " << checked.error().line << ")";
    const Kernel& kernel = checked->kernels.back().kernel;
    Machine machine(*checked);
    if (compiler != nullptr) machine.compile(*checked, *compiler, kept_);

    std::vector<Operand> operands;
    for (wire::Value item : fields.at("in").items()) operands.push_back(operand(item));
    std::vector<std::uint64_t> scalars;
    std::vector<TensorView> given;
    std::size_t next = 0;
    for (const Param& param : kernel.params) {
      if (param.mode == Mode::fresh) continue;
      Operand& one = operands[next++];
      if (param.mode == Mode::scalar)
        scalars.push_back(cell(one));
      else
        given.push_back({one.data.data(), one.shape});
    }
    std::vector<Sizes> shapes;
    for (const TensorView& tensor : given) shapes.push_back(tensor.dims);
    const auto dims = bind_dims(kernel, shapes, false);
    if (!dims) {
      EXPECT_EQ(fields.at("error").string(), "bad_shape");
      EXPECT_EQ(fields.at("message").string(), dims.error());
      return;
    }
    std::vector<std::vector<std::byte>> memory;
    std::vector<TensorView> tensors;
    std::size_t view = 0;
    for (const Param& param : kernel.params) {
      if (param.mode == Mode::scalar) continue;
      if (param.mode != Mode::fresh) {
        tensors.push_back(given[view++]);
        continue;
      }
      TensorView fresh;
      std::size_t bytes = static_cast<std::size_t>(bytes_of(param.type));
      for (const Dim& dim : param.dims) {
        fresh.dims.push_back(size_of(dim, *dims));
        bytes *= static_cast<std::size_t>(fresh.dims.back());
      }
      memory.emplace_back(bytes);
      fresh.data = memory.back().data();
      tensors.push_back(fresh);
    }
    const auto results = run_alone(machine, scalars, tensors);
    if (!results) {
      ASSERT_TRUE(fields.contains("error")) << results.error().text;
      const Failure& failure = results.error();
      EXPECT_EQ(fields.at("error").string(), code_names[static_cast<std::size_t>(failure.code)]);
      EXPECT_EQ(fields.at("message").string(), failure.text);
      EXPECT_EQ(fields.at("op").string(), failure.kernel);
      for (auto [key, value] : fields.at("at").entries()) {
        if (key == "file") {
          EXPECT_EQ(value.string(), failure.file);
        } else {
          EXPECT_EQ(value.natural(), failure.line);
        }
      }
      return;
    }
    ASSERT_FALSE(fields.contains("error"));
    std::vector<Operand> expected;
    for (wire::Value item : fields.at("out").items()) expected.push_back(operand(item));
    std::size_t at = 0;
    for (std::size_t i = 0; i < results->size(); ++i)
      EXPECT_EQ(cell(expected[at++]), (*results)[i]);
    for (const Mode mode : {Mode::fresh, Mode::mut}) {
      std::size_t number = 0;
      for (const Param& param : kernel.params) {
        if (param.mode == Mode::scalar) continue;
        const TensorView& tensor = tensors[number++];
        if (param.mode != mode) continue;
        const Operand& one = expected[at++];
        EXPECT_EQ(one.shape, tensor.dims);
        if (!one.data.empty()) {
          EXPECT_EQ(std::memcmp(one.data.data(), tensor.data, one.data.size()), 0);
        }
      }
    }
    EXPECT_EQ(at, expected.size());
  }

  void run_all(Compiler* compiler) {
    GoldenUnits golden;
    std::size_t count = 0;
    for (wire::Value item : golden.cases().items()) {
      std::map<std::string, wire::Value> fields;
      for (auto [key, value] : item.entries()) fields.emplace(key, value);
      SCOPED_TRACE(std::string(fields.at("name").string()));
      run_case(fields, compiler);
      ++count;
    }
    EXPECT_GT(count, 20U);
  }

  Kept kept_{0};
};

TEST_F(GoldenKernelTest, UnitsGiveTheResultsOfTheFile) { run_all(nullptr); }

TEST_F(GoldenKernelTest, MachineCodeGivesTheResultsOfTheFile) {
  OUTRIGGER_NEED_LLVM();
  Compiler compiler(compiler_options());
  run_all(&compiler);
  // Each unit has become code.
  EXPECT_NE(compiler.describe().find(" compiled"), std::string::npos) << compiler.describe();
  EXPECT_EQ(compiler.describe().find(" 0 compiled"), std::string::npos) << compiler.describe();
  EXPECT_EQ(compiler.describe().find("interpreted"), std::string::npos) << compiler.describe();
  RecordProperty("compiler", compiler.describe());
}

TEST_F(GoldenKernelTest, ACancelledRunEnds) {
  GoldenUnits golden;
  auto checked = check(golden.unit("sieve/50"));
  ASSERT_TRUE(checked) << checked.error().text;
  const Machine machine(*checked);
  constexpr std::int64_t n = 1 << 20;
  std::vector<std::byte> composite(n);
  ops::Interrupt interrupt;
  interrupt.cancel();
  const auto results = run_alone(machine, {}, {{composite.data(), {n}}}, interrupt);
  ASSERT_FALSE(results);
  EXPECT_EQ(results.error().code, FailureCode::interrupted);
}

}  // namespace
}  // namespace outrigger::kernel
