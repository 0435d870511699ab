#include "engine/plan.hpp"

#include <limits>

namespace outrigger::engine {

Result<std::shared_ptr<const Plan>> make_plan(Memory& memory,
                                              std::shared_ptr<const Program> program,
                                              std::span<const TensorType> arguments) {
  auto plan = std::make_shared<Plan>();
  OUTRIGGER_TRY(const Block block, resolve(memory, *program, arguments, *plan));
  plan->program = std::move(program);
  plan->main = fuse(block, *plan);
  find_lifetimes(*plan);
  return std::shared_ptr<const Plan>(std::move(plan));
}

namespace {

Result<void> check_region(const Region& region, const Path& path) {
  for (std::size_t i = 0; i < region.body.size(); ++i) {
    const Instruction& instruction = region.body[i];
    Path here = path;
    here.push_back(static_cast<std::uint32_t>(i));
    const auto refuse = [&](Error error) {
      error.op = instruction.op;
      error.path.assign(here.begin(), here.end());
      error.text = instruction.op + ": " + error.text;
      return tl::make_unexpected(std::move(error));
    };
    const ops::OpRow* row = ops::find_op(instruction.op);
    if (row == nullptr) return refuse(Error{ErrorCode::unknown_op, "there is no such op"});
    if (auto checked = ops::check_attrs(*row, instruction.attrs); !checked)
      return refuse(std::move(checked).error());
    for (std::size_t r = 0; r < instruction.regions.size(); ++r) {
      Path inner = here;
      inner.push_back(static_cast<std::uint32_t>(r));
      OUTRIGGER_CHECK(check_region(instruction.regions[r], inner));
    }
  }
  return {};
}

}  // namespace

Result<void> check_program(const Program& program) { return check_region(program, {}); }

}  // namespace outrigger::engine
