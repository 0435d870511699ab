#include "engine/planner/plan.hpp"

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>

#include "engine/planner/chain.hpp"

namespace outrigger::engine {

Result<std::shared_ptr<const Plan>> make_plan(Memory& memory,
                                              std::shared_ptr<const Program> program,
                                              std::span<const TensorType> arguments, int threads,
                                              const std::optional<ChainRules>& chains) {
  auto plan = std::make_shared<Plan>();
  OUTRIGGER_TRY(const Block block, resolve(memory, *program, arguments, *plan));
  plan->program = std::move(program);
  plan->main = fuse(block, *plan);
  form_chains(plan->main, *plan, threads, chains.value_or(ChainRules::usual(threads)));
  find_lifetimes(*plan, threads);
  return std::shared_ptr<const Plan>(std::move(plan));
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

bool may_donate(const Step& step, std::size_t donor, const TensorType& type, std::size_t o) {
  const std::size_t stores = step.pass.stores.size();
  if (o >= stores) return false;  // the result of a reduction
  for (std::size_t other = 0; other < stores; ++other) {
    if (other != o && step.pass.stores[other] == donor) return false;
    if (other >= step.fresh_outputs && step.out[other] == step.in[donor]) return false;
  }
  return may_take(step, donor, type, step.types[o]);
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
        Error error = std::move(checked).error();
        if (error.op.empty()) {
          error.op = instruction.op;
          path_.resize(depth);  // A region's own mistake is its instruction's.
          error.path = path_;
          error.text = instruction.op + ": " + error.text;
        }
        return tl::make_unexpected(std::move(error));
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
