#include "engine/planner/scalar_loop.hpp"

#include <algorithm>
#include <unordered_map>

#include "engine/planner/plan.hpp"

namespace outrigger::engine {
namespace {

using Cell = ScalarLoop::Cell;

class Flattener {
 public:
  Flattener(const LoopStep& loop, const Plan& plan) : step_(loop), plan_(plan) {}

  std::optional<ScalarLoop> run() {
    const StepBlock& condition = *step_.condition;
    const StepBlock& body = *step_.body;
    for (const Slot slot : body.params) {
      if (!is_scalar(slot)) return std::nullopt;
      loop_.carried.push_back(new_cell(slot));
    }
    if (!block(condition, loop_.condition) || !block(body, loop_.body)) return std::nullopt;
    loop_.verdict = cell_of(condition.outputs[0]);
    loop_.verdict_type = plan_.types[condition.outputs[0]].dtype;
    for (const Slot slot : body.outputs) loop_.given.push_back(cell_of(slot));
    return std::move(loop_);
  }

 private:
  bool is_scalar(Slot slot) const { return plan_.types[slot].shape.empty(); }

  Cell new_cell(Slot slot) { return cells_[slot] = loop_.cells++; }

  /// The cell of a slot. A slot without a cell is a value from outside, and gets one.
  Cell cell_of(Slot slot) {
    if (const auto found = cells_.find(slot); found != cells_.end()) return found->second;
    loop_.captured.emplace_back(slot, loop_.cells);
    return new_cell(slot);
  }

  bool block(const StepBlock& block, std::vector<ScalarLoop::Op>& ops) {
    for (const Step& step : block.steps) {
      const bool scalars = std::all_of(step.in.begin(), step.in.end(),
                                       [this](Slot slot) { return is_scalar(slot); });
      if (!scalars) return false;
      const auto* pass = step.as<PassStep>();
      if (step.is<ConstantStep>() && is_scalar(step.out[0].slot)) {
        cells_[step.out[0].slot] = cell_of(step.in[0]);
      } else if (pass != nullptr && pass->pass->space.empty() && !has_effects(step)) {
        this->pass(step, *pass->pass, ops);
      } else {
        return false;
      }
    }
    return true;
  }

  void pass(const Step& step, const ops::Pass& pass, std::vector<ScalarLoop::Op>& ops) {
    std::vector<Cell> registers(pass.registers.size());
    for (std::size_t i = 0; i < step.in.size(); ++i) registers[i] = cell_of(step.in[i]);
    for (const ops::Pass::MicroOp& op : pass.micro_ops) {
      registers[op.out] = loop_.cells++;
      ops.push_back({op.run,
                     registers[op.out],
                     {registers[op.in[0]], registers[op.in[1]], registers[op.in[2]]}});
    }
    for (std::size_t o = 0; o < step.out.size(); ++o)
      cells_[step.out[o].slot] = registers[pass.stores[o]];
  }

  const LoopStep& step_;
  const Plan& plan_;
  ScalarLoop loop_;
  std::unordered_map<Slot, Cell> cells_;
};

void carry_out(const std::vector<ScalarLoop::Op>& ops, Bits128* cells) {
  for (const ScalarLoop::Op& op : ops) {
    const std::array<const void*, 3> in{cells + op.in[0], cells + op.in[1], cells + op.in[2]};
    op.run(cells + op.out, in.data(), 1);
  }
}

}  // namespace

std::optional<ScalarLoop> flatten(const LoopStep& loop, const Plan& plan) {
  return Flattener(loop, plan).run();
}

Result<void> run(const ScalarLoop& loop, const ops::Interrupt& interrupt,
                 std::span<Bits128> cells) {
  // A look at the interrupt takes as long as some operations.
  constexpr std::size_t unwatched_ops = 4096;
  const std::size_t turns =
      std::max<std::size_t>(1, unwatched_ops / (loop.condition.size() + loop.body.size() + 1));
  std::vector<Bits128> given(loop.given.size());
  while (true) {
    if (interrupt.raised()) return tl::make_unexpected(interrupt.error());
    for (std::size_t turn = 0; turn < turns; ++turn) {
      carry_out(loop.condition, cells.data());
      if (is_zero(loop.verdict_type, &cells[loop.verdict])) return {};
      carry_out(loop.body, cells.data());
      // All are read before one is written.
      for (std::size_t i = 0; i < given.size(); ++i) given[i] = cells[loop.given[i]];
      for (std::size_t i = 0; i < given.size(); ++i) cells[loop.carried[i]] = given[i];
    }
  }
}

}  // namespace outrigger::engine
