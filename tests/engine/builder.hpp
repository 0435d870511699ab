#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "engine/executor/execute.hpp"
#include "engine/planner/plan.hpp"
#include "ops/pass/pass.hpp"

namespace outrigger::engine::test {

using Ids = std::vector<ValueId>;
using List = std::vector<std::int64_t>;

constexpr std::uint64_t KiB = std::uint64_t{1} << 10;
constexpr std::uint64_t MiB = std::uint64_t{1} << 20;

inline Operand number(std::int64_t n) { return Operand{Number{n}}; }
inline Operand real(double x) { return Operand{Number{x}}; }

inline Instruction op(std::string name, std::vector<Operand> in, ValueId out, Attrs attrs = {}) {
  return Instruction{std::move(name), std::move(in), {out}, std::move(attrs), {}, false};
}
inline Instruction in_place(Instruction instruction) {
  instruction.in_place = true;
  return instruction;
}
inline Attrs typed(const char* dtype, List shape) {
  return Attrs{{"type", std::string(dtype)}, {"shape", std::move(shape)}};
}
inline Instruction iota(ValueId out, const char* dtype, List shape) {
  return op("iota", {}, out, typed(dtype, std::move(shape)));
}
inline Instruction constant(ValueId out, std::int64_t value, const char* dtype, List shape) {
  Attrs attrs = typed(dtype, std::move(shape));
  attrs.emplace_back("value", Number{value});
  return op("constant", {}, out, std::move(attrs));
}
inline Instruction loop(std::vector<Operand> in, Ids out, Region condition, Region body) {
  return Instruction{
      "while", std::move(in), std::move(out), {}, {std::move(condition), std::move(body)}, false};
}
inline Instruction branch(Operand pred, Ids out, Region on_true, Region on_false) {
  return Instruction{"cond", {pred}, std::move(out), {}, {std::move(on_true), std::move(on_false)},
                     false};
}
inline ValueId v(ValueId id) { return id; }
inline Attrs over(List axes, bool keep = false) {
  return Attrs{{"axes", std::move(axes)}, {"keep_axes", keep}};
}

/// Programs of one instruction.
inline Program add(std::int64_t amount) {
  return {{0}, {op("add", {v(0), number(amount)}, 1)}, {1}};
}
inline Program add_in_place(std::int64_t amount) {
  return {{0}, {in_place(op("add", {v(0), number(amount)}, 1))}, {}};
}
inline Program bytes(std::int64_t count) { return {{}, {iota(0, "u8", {count})}, {0}}; }
inline const Program increment = add(1);

/// Memory, a planner and an executor for programs.
class Runner {
 public:
  explicit Runner(std::uint64_t limit = 0) : memory(limit) {}

  template <typename T>
  Tensor tensor(DType dtype, const Dims& shape, const std::vector<T>& values) {
    Tensor made = empty(dtype, shape);
    std::copy(values.begin(), values.end(), made.as<T>());
    return made;
  }
  Tensor empty(DType dtype, const Dims& shape) {
    auto made = allocate_tensor(memory, TensorType{dtype, shape});
    EXPECT_TRUE(made);
    std::fill_n(made->storage->buffer->data(), made->storage->buffer->bytes(), std::byte{1});
    return std::move(*made);
  }

  Result<std::shared_ptr<const Plan>> plan(Program program,
                                           const std::vector<Tensor>& arguments = {},
                                           int threads = 1,
                                           const std::optional<ChainRules>& chains = {}) {
    std::vector<TensorType> types;
    for (const Tensor& tensor : arguments) types.push_back(tensor.type);
    return make_plan(memory, std::make_shared<const Program>(std::move(program)), types,
                     {.threads = threads, .chains = chains});
  }

  Outcome run(Program program, const std::vector<Tensor>& arguments = {}, int threads = 1) {
    const auto planned = plan(std::move(program), arguments, threads);
    if (!planned) {
      Outcome outcome;
      outcome.error = planned.error();
      return outcome;
    }
    return run(**planned, arguments, threads);
  }
  Outcome run(const Plan& plan, const std::vector<Tensor>& arguments, int threads = 1) {
    ops::Context context{memory, interrupt, threads, scratch, compile};
    return execute(context, plan, arguments);
  }

  Memory memory;
  ops::Interrupt interrupt;
  std::vector<std::byte> scratch;
  ops::Compile compile;
};

template <typename T>
std::vector<T> values(const Tensor& tensor) {
  std::vector<T> all(static_cast<std::size_t>(tensor.size()));
  if (!all.empty()) ops::read_elements(tensor, 0, tensor.size(), all.data());
  return all;
}

/// The kinds of steps, in the order of Step::Kind.
enum class Kind : std::size_t {
  pass,
  put_pass,
  view,
  constant,
  compute,
  update,
  fold,
  loop,
  branch,
  kernel,
  chain
};
inline Kind kind_of(const Step& step) { return static_cast<Kind>(step.kind.index()); }
static_assert(
    std::is_same_v<std::variant_alternative_t<static_cast<std::size_t>(Kind::chain), Step::Kind>,
                   ChainStep>);

inline std::size_t count(const StepBlock& block, Kind kind) {
  std::size_t found = 0;
  for (const Step& step : block.steps) {
    found += kind_of(step) == kind ? 1 : 0;
    for_each_region(step, [&](const StepBlock& region) { found += count(region, kind); });
  }
  return found;
}

/// Fails the test with the error's text if the program failed.
inline bool succeeded(const Outcome& outcome) {
  if (outcome.error) ADD_FAILURE() << name_of(outcome.error->code) << ": " << outcome.error->text;
  return !outcome.error;
}

}  // namespace outrigger::engine::test
