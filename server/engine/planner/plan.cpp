#include "engine/planner/plan.hpp"

#include <algorithm>
#include <bit>
#include <string>
#include <unordered_set>
#include <utility>

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

/// The bytes that malloc adds to a request, about.
constexpr std::uint64_t allocation_bytes = 16;

template <typename T>
std::uint64_t bytes_of(const std::vector<T>& items) {
  return items.capacity() == 0 ? 0 : items.capacity() * sizeof(T) + allocation_bytes;
}

std::uint64_t bytes_of(const ops::Pass& pass) {
  // The state of its machine code is behind `code`.
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

std::uint64_t bytes_of(const StepBlock& block) {
  std::uint64_t bytes = sizeof(StepBlock) + bytes_of(block.params) + bytes_of(block.outputs) +
                        (block.steps.capacity() - block.steps.size()) * sizeof(Step);
  for (const Step& step : block.steps) {
    bytes += sizeof(Step) + bytes_of(step.path) + bytes_of(step.ops) + bytes_of(step.in) +
             bytes_of(step.out) + bytes_of(step.captures) + bytes_of(step.dead);
    if (step.pass) bytes += bytes_of(*step.pass);
    if (step.lifted) bytes += bytes_of(step.lifted->pass);
    if (step.scalars) bytes += bytes_of(*step.scalars);
    if (step.chain) bytes += bytes_of(*step.chain);
    for (const StepBlock& region : step.regions) bytes += bytes_of(region);
  }
  return bytes;
}

}  // namespace

std::uint64_t held_bytes(const Plan& plan) {
  return sizeof(Plan) + plan.types.held_bytes() + plan.results.capacity() * sizeof(TensorType) +
         bytes_of(plan.constants) + bytes_of(plan.numbers) + bytes_of(plan.number_values) +
         bytes_of(plan.peak.argument_copies) + bytes_of(plan.main);
}

std::uint64_t planning_bytes(std::uint64_t instructions, std::uint64_t operands) {
  // A node and its step, with the slots of an op's result and of its casts; slots and constants.
  constexpr std::uint64_t for_instruction = 1536;
  constexpr std::uint64_t for_operand = 192;
  return instructions * for_instruction + operands * for_operand;
}

ops::AttrView attrs_of(const Step& step) {
  static const Attrs none;
  return ops::AttrView(step.attrs == nullptr ? none : *step.attrs);
}

bool may_take(const Step& step, std::size_t position, const TensorType& type,
              const TensorType& result) {
  return dies(step, position) && type.shape == result.shape &&
         size_of(type.dtype) == size_of(result.dtype);
}

bool made_in(const StepBlock& block, Slot slot) {
  return std::any_of(block.steps.begin(), block.steps.end(), [slot](const Step& step) {
    const auto fresh = step.out.begin() + static_cast<std::ptrdiff_t>(fresh_outputs(step));
    return std::find(step.out.begin(), fresh, slot) != fresh;
  });
}

bool may_donate(const Step& step, std::size_t donor, const TensorType& type, std::size_t o,
                const TensorType& result) {
  const std::size_t stores = step.pass->stores.size();
  if (o >= stores) return false;  // the result of a reduction
  for (std::size_t other = 0; other < stores; ++other) {
    if (other != o && step.pass->stores[other] == donor) return false;
    if (other >= step.fresh_outputs && step.out[other] == step.in[donor]) return false;
  }
  return may_take(step, donor, type, result);
}

Result<void> check_counts(const ops::OpRow& row, const Instruction& instruction) {
  const std::size_t wanted = row.operands.size();
  const bool many = wanted > 0 && row.operands.back().many;
  const std::size_t given = instruction.in.size();
  // A slice of a scalar has no starts: "many" may be none beside other operands. A call may have no
  // arguments.
  const std::size_t least = many && (wanted > 1 || row.name == "call") ? wanted - 1 : wanted;
  if (given < least || (!many && given > wanted)) {
    return fail(ErrorCode::bad_program, "takes " + std::string(many ? "at least " : "") +
                                            std::to_string(least) + " operands, got " +
                                            std::to_string(given));
  }
  if (instruction.regions.size() != row.regions.size()) {
    return fail(ErrorCode::bad_program, "takes " + std::to_string(row.regions.size()) +
                                            " regions, got " +
                                            std::to_string(instruction.regions.size()));
  }
  const auto results = static_cast<std::size_t>(row.results);
  if (row.kind != ops::Kind::control && instruction.out.size() != results) {
    return fail(ErrorCode::bad_program,
                "gives " + std::to_string(results) + (results == 1 ? " result" : " results") +
                    ", but `out` names " + std::to_string(instruction.out.size()));
  }
  if (instruction.in_place && row.in_place < 0) {
    return fail(ErrorCode::bad_program, "has no in-place form");
  }
  return {};
}

Result<void> check_call(const Instruction& instruction) {
  const auto id = ops::AttrView(instruction.attrs).integer("program_id");
  if (!instruction.callee) {
    return fail(ErrorCode::unknown_program, "there is no prepared program " + std::to_string(id) +
                                                ": prepare it (again) before this one");
  }
  const auto counts = [&](std::string_view does, std::size_t wanted, std::string_view what,
                          std::size_t given) {
    return fail(ErrorCode::bad_program, "program " + std::to_string(id) + " " + std::string(does) +
                                            " " + std::to_string(wanted) + " " + std::string(what) +
                                            ", but " + std::to_string(given) + " are named");
  };
  const Program& callee = *instruction.callee;
  if (callee.params.size() != instruction.in.size())
    return counts("takes", callee.params.size(), "operands", instruction.in.size());
  if (callee.outputs.size() != instruction.out.size())
    return counts("gives", callee.outputs.size(), "results", instruction.out.size());
  return {};
}

namespace {

/// Checks what does not depend on types, with the ids that are visible at each point.
class FormChecker {
 public:
  Result<void> region(const Region& region) {
    const std::size_t scope = scope_.size();
    for (const ValueId id : region.params) OUTRIGGER_CHECK(define(id));
    for (std::size_t i = 0; i < region.body.size(); ++i) {
      path_.push_back(static_cast<std::uint32_t>(i));
      const std::size_t depth = path_.size();
      const Instruction& instruction = region.body[i];
      if (auto checked = this->instruction(instruction); !checked) {
        path_.resize(depth);  // A region's own mistake is its instruction's.
        return tl::make_unexpected(located(std::move(checked).error(), path_, instruction.op));
      }
      path_.pop_back();
    }
    for (const ValueId id : region.outputs) OUTRIGGER_CHECK(use(id));
    while (scope_.size() > scope) {
      known_.erase(scope_.back());
      scope_.pop_back();
    }
    return {};
  }

 private:
  Result<void> instruction(const Instruction& instruction) {
    const ops::OpRow* row = ops::find_op(instruction.op);
    if (row == nullptr) return fail(ErrorCode::unknown_op, "there is no such op");
    OUTRIGGER_CHECK(ops::check_attrs(*row, instruction.attrs));
    OUTRIGGER_CHECK(check_counts(*row, instruction));
    if (row->name == "call") OUTRIGGER_CHECK(check_call(instruction));
    for (const Operand& operand : instruction.in) {
      if (const auto* id = std::get_if<ValueId>(&operand)) OUTRIGGER_CHECK(use(*id));
    }
    for (std::size_t r = 0; r < instruction.regions.size(); ++r) {
      path_.push_back(static_cast<std::uint32_t>(r));
      OUTRIGGER_CHECK(region(instruction.regions[r]));
      path_.pop_back();
    }
    for (const ValueId id : instruction.out) OUTRIGGER_CHECK(define(id));
    return {};
  }

  Result<void> define(ValueId id) {
    if (!known_.insert(id).second)
      return fail(ErrorCode::bad_program, "value " + std::to_string(id) + " is defined twice");
    scope_.push_back(id);
    return {};
  }

  Result<void> use(ValueId id) const {
    if (known_.contains(id)) return {};
    return fail(ErrorCode::bad_program, "value " + std::to_string(id) + " is not defined here");
  }

  std::unordered_set<ValueId> known_;
  std::vector<ValueId> scope_;
  Path path_;  ///< of what is being checked; left as it is by the first error
};

}  // namespace

Result<void> check_program(const Program& program) { return FormChecker().region(program); }

}  // namespace outrigger::engine
