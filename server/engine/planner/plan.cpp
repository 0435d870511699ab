#include "engine/planner/plan.hpp"

#include <algorithm>
#include <bit>
#include <utility>
#include <variant>

#include "engine/planner/chain.hpp"

namespace outrigger::engine {

Result<std::shared_ptr<Plan>> make_plan(Memory& memory, std::shared_ptr<const Program> program,
                                        const ArgumentTypes& arguments, const Planning& planning) {
  auto plan = std::make_shared<Plan>();
  PlanningSteps steps(planning.interrupt);
  try {
    OUTRIGGER_TRY(const Block block,
                  resolve(memory, *program, arguments, planning.numbers, *plan, steps));
    plan->program = std::move(program);
    plan->op_uses = std::make_shared<const OpUses>(op_uses(*plan->program));
    plan->main = fuse(block, *plan, steps);
    form_chains(plan->main, *plan, planning.threads,
                planning.chains.value_or(ChainRules::usual(planning.threads)), steps);
    find_lifetimes(*plan, planning.threads, steps);
  } catch (const PlanningInterrupted&) {
    return tl::make_unexpected(planning.interrupt->error());
  }
  plan->types.finish();
  return plan;
}

namespace {

void count_ops(const Region& region, std::vector<std::uint32_t>& counts) {
  const ops::OpRow* const first = ops::all_ops().data();
  for (const Instruction& instruction : region.body) {
    if (const ops::OpRow* row = ops::find_op(instruction.op)) ++counts[row - first];
    for (const Region& inner : instruction.regions) count_ops(inner, counts);
    if (instruction.callee) count_ops(*instruction.callee, counts);
  }
}

}  // namespace

OpUses op_uses(const Program& program) {
  std::vector<std::uint32_t> counts(ops::all_ops().size());
  count_ops(program, counts);
  OpUses out;
  out.reserve(static_cast<std::size_t>(
      std::count_if(counts.begin(), counts.end(), [](std::uint32_t count) { return count != 0; })));
  for (std::size_t op = 0; op < counts.size(); ++op) {
    if (counts[op] != 0) out.push_back({static_cast<std::uint16_t>(op), counts[op]});
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const OpUse& a, const OpUse& b) { return a.count > b.count; });
  return out;
}

Slot TypeTable::add(const TensorType& type) {
  std::size_t hash = static_cast<std::size_t>(type.dtype);
  for (const std::int64_t dim : type.shape)
    hash = (hash ^ static_cast<std::size_t>(dim)) * 0x9e3779b97f4a7c15U;
  const auto [first, last] = by_hash_.equal_range(hash);
  const auto same =
      std::find_if(first, last, [&](const auto& entry) { return distinct_[entry.second] == type; });
  const auto position = same == last ? static_cast<std::uint32_t>(distinct_.size()) : same->second;
  if (same == last) {
    distinct_.push_back(type);
    by_hash_.emplace(hash, position);
  }
  positions_.push_back(position);
  return static_cast<Slot>(positions_.size() - 1);
}

void TypeTable::finish() {
  by_hash_ = {};
  positions_.shrink_to_fit();
}

std::uint64_t TypeTable::held_bytes() const {
  return positions_.capacity() * sizeof(std::uint32_t) + distinct_.size() * sizeof(TensorType);
}

NumberClass class_of(const Number& number) {
  const auto of_integer = [](std::uint64_t magnitude, bool negative) {
    // A signed dtype of n bits holds one more negative number than positive ones.
    const std::uint64_t bits = negative && magnitude > 0 ? magnitude - 1 : magnitude;
    return NumberClass{0, static_cast<std::uint8_t>(std::bit_width(bits)), negative};
  };
  if (const auto* n = std::get_if<std::int64_t>(&number)) {
    return *n < 0 ? of_integer(~static_cast<std::uint64_t>(*n) + 1, true)
                  : of_integer(static_cast<std::uint64_t>(*n), false);
  }
  if (const auto* n = std::get_if<std::uint64_t>(&number)) return of_integer(*n, false);
  return NumberClass{static_cast<std::uint8_t>(number.index()), 0, false};
}

bool fits_numbers(const Plan& plan, std::span<const NumberArgument> numbers) {
  return std::equal(plan.numbers.begin(), plan.numbers.end(), numbers.begin(), numbers.end(),
                    [](const auto& planned, const NumberArgument& given) {
                      return planned.first == given.first &&
                             planned.second == class_of(given.second);
                    });
}

Tensor scalar_at(const StoragePtr& scalars, std::uint32_t position, const TensorType& type) {
  const auto offset = static_cast<std::int64_t>(position * (scalar_bytes / size_of(type.dtype)));
  return Tensor{type, {}, offset, scalars};
}

namespace {

/// The bytes that malloc adds to a request, approximately.
constexpr std::uint64_t allocation_bytes = 16;

template <typename T>
std::uint64_t bytes_of(const std::vector<T>& items) {
  return items.capacity() == 0 ? 0 : items.capacity() * sizeof(T) + allocation_bytes;
}

std::uint64_t bytes_of(const ops::Pass& pass) {
  // `code` points at the state of the pass's machine code.
  constexpr std::uint64_t code_state = 128;
  return sizeof(ops::Pass) + bytes_of(pass.registers) + bytes_of(pass.micro_ops) +
         bytes_of(pass.stores) + bytes_of(pass.reductions) + bytes_of(pass.slots) + code_state;
}

std::uint64_t bytes_of(const Chain& chain) {
  std::uint64_t bytes = sizeof(Chain) + bytes_of(chain.values);
  for (const Chain::Member& member : chain.members) {
    bytes += sizeof(Chain::Member) + bytes_of(member.in) + bytes_of(member.out) +
             bytes_of(member.pass) + bytes_of(member.last_pass);
  }
  return bytes;
}

std::uint64_t bytes_of(const ScalarLoop& loop) {
  return sizeof(ScalarLoop) + bytes_of(loop.captured) + bytes_of(loop.carried) +
         bytes_of(loop.given) + bytes_of(loop.condition) + bytes_of(loop.body);
}

std::uint64_t bytes_of(const StepBlock& block);

/// Bytes that a step of a kind points at, those of its regions aside.
std::uint64_t bytes_of(const Step::Kind& kind) {
  return std::visit(
      Overloaded{
          [](const PassStep& step) { return bytes_of(*step.pass); },
          [](const PutPassStep& step) { return bytes_of(*step.pass); },
          [](const FoldStep& step) {
            return step.lifted
                       ? bytes_of(step.lifted->lifted.pass) + bytes_of(step.lifted->captures)
                       : 0;
          },
          [](const LoopStep& step) { return step.scalars ? bytes_of(*step.scalars) : 0; },
          [](const ChainStep& step) { return bytes_of(*step.chain); },
          [](const auto&) { return std::uint64_t{0}; },
      },
      kind);
}

std::uint64_t bytes_of(const StepBlock& block) {
  std::uint64_t bytes = sizeof(StepBlock) + bytes_of(block.params) + bytes_of(block.outputs) +
                        (block.steps.capacity() - block.steps.size()) * sizeof(Step);
  for (const Step& step : block.steps) {
    bytes += sizeof(Step) + bytes_of(step.path) + bytes_of(step.ops) + bytes_of(step.in) +
             bytes_of(step.out) + bytes_of(step.dead) + bytes_of(step.kind);
    for_each_region(step, [&](const StepBlock& region) { bytes += bytes_of(region); });
  }
  return bytes;
}

}  // namespace

std::uint64_t held_bytes(const Plan& plan) {
  return sizeof(Plan) + plan.types.held_bytes() + plan.results.capacity() * sizeof(TensorType) +
         bytes_of(plan.constants) + bytes_of(plan.numbers) + bytes_of(plan.number_values) +
         bytes_of(plan.peak.argument_copies) + bytes_of(plan.main) +
         (plan.op_uses ? bytes_of(*plan.op_uses) + sizeof(OpUses) + allocation_bytes : 0);
}

std::uint64_t planning_bytes(std::uint64_t instructions, std::uint64_t operands) {
  // For an instruction: a node and its step, with the slots of the result and of its casts. For an
  // operand: a slot and a constant.
  constexpr std::uint64_t for_instruction = 1536;
  constexpr std::uint64_t for_operand = 192;
  return instructions * for_instruction + operands * for_operand;
}

}  // namespace outrigger::engine
