#include "engine/planner/form.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <variant>

#include "engine/planner/kernel_call.hpp"

namespace outrigger::engine {
namespace {

/// Checks the numbers of operands, regions and results. Errors: bad_program.
Result<void> check_counts(const ops::OpRow& row, const Instruction& instruction) {
  const std::size_t wanted = row.operands.size();
  const bool many = wanted > 0 && row.operands.back().many;
  const std::size_t given = instruction.in.size();
  const bool named = row.name == "call" || row.name == "kernel";
  // "Many" operands beside others may be none: a slice of a scalar has no starts. A call and
  // a kernel may have no arguments.
  const std::size_t least = many && (wanted > 1 || named) ? wanted - 1 : wanted;
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
  if (row.kind != ops::Kind::control)
    OUTRIGGER_CHECK(check_results(static_cast<std::size_t>(row.results), instruction));
  if (instruction.in_place && row.in_place < 0 && row.name != "kernel") {
    return fail(ErrorCode::bad_program, "has no in-place form");
  }
  return {};
}

class FormChecker {
 public:
  Result<void> region(const Region& region, const Path& path) {
    const std::size_t outside = scope_.size();
    for (const ValueId id : region.params) OUTRIGGER_CHECK(scope_.define(id, {}));
    OUTRIGGER_CHECK(for_each_instruction(region, path,
                                         [this](const Instruction& instruction, const Path& here) {
                                           return this->instruction(instruction, here);
                                         }));
    for (const ValueId id : region.outputs) OUTRIGGER_CHECK(scope_.find(id));
    scope_.leave(outside);
    return {};
  }

 private:
  Result<void> instruction(const Instruction& instruction, const Path& path) {
    OUTRIGGER_TRY(const ops::OpRow* row, check_instruction(instruction));
    if (row->name == "call") OUTRIGGER_CHECK(check_call(instruction));
    if (row->name == "kernel") OUTRIGGER_CHECK(check_kernel(instruction));
    for (const Operand& operand : instruction.in) {
      if (const auto* id = std::get_if<ValueId>(&operand)) OUTRIGGER_CHECK(scope_.find(*id));
    }
    for (std::uint32_t r = 0; r < instruction.regions.size(); ++r) {
      Path inner = path;
      inner.push_back(r);
      OUTRIGGER_CHECK(region(instruction.regions[r], inner));
    }
    for (const ValueId id : instruction.out) OUTRIGGER_CHECK(scope_.define(id, {}));
    return {};
  }

  struct Defined {};
  Scope<Defined> scope_;
};

}  // namespace

Result<void> check_program(const Program& program) { return FormChecker().region(program, {}); }

Result<const ops::OpRow*> check_instruction(const Instruction& instruction) {
  const ops::OpRow* row = ops::find_op(instruction.op);
  if (row == nullptr) return fail(ErrorCode::unknown_op, "there is no such op");
  OUTRIGGER_CHECK(ops::check_attrs(*row, instruction.attrs));
  OUTRIGGER_CHECK(check_counts(*row, instruction));
  return row;
}

Result<void> check_results(std::size_t results, const Instruction& instruction) {
  if (instruction.out.size() == results) return {};
  return fail(ErrorCode::bad_program,
              "gives " + std::to_string(results) + (results == 1 ? " result" : " results") +
                  ", but `out` names " + std::to_string(instruction.out.size()));
}

namespace {

/// Compares the numbers of operands or results of what an instruction names.
Result<void> check_count(const std::string& what, std::string_view does, std::size_t wanted,
                         std::string_view things, std::size_t given) {
  if (wanted == given) return {};
  return fail(ErrorCode::bad_program, what + " " + std::string(does) + " " +
                                          std::to_string(wanted) + " " + std::string(things) +
                                          ", but " + std::to_string(given) + " are named");
}

}  // namespace

Result<void> check_kernel(const Instruction& instruction) {
  const auto id = ops::AttrView(instruction.attrs).integer("kernel_id");
  if (!instruction.machine) {
    return fail(ErrorCode::unknown_kernel, "there is no kernel " + std::to_string(id) +
                                               ": define it (again) before this program");
  }
  const kernel::Kernel& head = instruction.machine->head();
  const auto operands =
      std::count_if(head.params.begin(), head.params.end(),
                    [](const kernel::Param& param) { return param.mode != kernel::Mode::fresh; });
  OUTRIGGER_CHECK(check_count(head.name, "takes", static_cast<std::size_t>(operands), "operands",
                              instruction.in.size()));
  return check_count(head.name, "gives", kernel_results(head, instruction.in_place), "results",
                     instruction.out.size());
}

Result<void> check_call(const Instruction& instruction) {
  const auto id = ops::AttrView(instruction.attrs).integer("program_id");
  if (!instruction.callee) {
    return fail(ErrorCode::unknown_program, "there is no prepared program " + std::to_string(id) +
                                                ": prepare it (again) before this one");
  }
  const std::string what = "program " + std::to_string(id);
  const Program& callee = *instruction.callee;
  OUTRIGGER_CHECK(
      check_count(what, "takes", callee.params.size(), "operands", instruction.in.size()));
  return check_count(what, "gives", callee.outputs.size(), "results", instruction.out.size());
}

}  // namespace outrigger::engine
