#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/program.hpp"
#include "engine/planner/step.hpp"
#include "ops/op.hpp"

// The form of a program: the rules that do not depend on types. `prepare` checks them alone
// (check_program), and the resolver checks them with the types (resolve.cpp).

namespace outrigger::engine {

/// Checks the form of a program: ids, regions, op names, attributes, numbers of operands and
/// results. Errors: unknown_op, unknown_program, bad_attr, bad_program, with path and op.
Result<void> check_program(const Program& program);

/// The row of the instruction's op, if the instruction has attributes, operands, regions and
/// results as the row has them. Errors: unknown_op, bad_attr, bad_program.
Result<const ops::OpRow*> check_instruction(const Instruction& instruction);

/// Checks that `out` of an instruction names so many results. Errors: bad_program.
Result<void> check_results(std::size_t results, const Instruction& instruction);

/// Checks that a `call` is bound to a program, and that it has as many operands and results as the
/// program. Errors: unknown_program, bad_program.
Result<void> check_call(const Instruction& instruction);

/// Checks that a `kernel` is bound to a kernel, and that it has as many operands and results.
/// Errors: unknown_kernel, bad_program.
Result<void> check_kernel(const Instruction& instruction);

/// The ids that an instruction can name, each with a value of the scope's user.
template <typename Value>
class Scope {
 public:
  /// Errors: bad_program.
  Result<void> define(ValueId id, Value value) {
    if (!values_.emplace(id, std::move(value)).second)
      return fail(ErrorCode::bad_program, "value " + std::to_string(id) + " is defined twice");
    order_.push_back(id);
    return {};
  }

  /// Errors: bad_program.
  Result<Value> find(ValueId id) const {
    const auto found = values_.find(id);
    if (found == values_.end())
      return fail(ErrorCode::bad_program, "value " + std::to_string(id) + " is not defined here");
    return found->second;
  }

  /// The number of ids: a region that begins here ends with leave() of this number.
  std::size_t size() const { return order_.size(); }
  /// Forgets the ids that were defined since the scope had that size.
  void leave(std::size_t size) {
    for (; order_.size() > size; order_.pop_back()) values_.erase(order_.back());
  }

 private:
  std::unordered_map<ValueId, Value> values_;
  std::vector<ValueId> order_;
};

/// Calls f(instruction, its path) for each instruction of a region with that path. The first error
/// of f ends it, and gets the place of the instruction.
template <typename F>
Result<void> for_each_instruction(const Region& region, Path path, F&& f) {
  path.push_back(0);
  for (const Instruction& instruction : region.body) {
    if (Result<void> done = f(instruction, std::as_const(path)); !done)
      return tl::make_unexpected(located(std::move(done).error(), path, instruction.op));
    ++path.back();
  }
  return {};
}

}  // namespace outrigger::engine
