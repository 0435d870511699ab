#include <algorithm>
#include <limits>
#include <span>
#include <utility>
#include <variant>

#include "engine/planner/plan.hpp"

namespace outrigger::engine {
namespace {

constexpr std::uint64_t unbounded = std::numeric_limits<std::uint64_t>::max();
/// Elements that count as work of a step. More would overflow the products, and is much in any
/// case.
constexpr std::uint64_t elements_max = std::uint64_t{1} << 28;

/// True if output `o` of a pass may take the memory of operand `donor`, which ends with the step:
/// it has the form of the output, and no other output is written there or stores that operand as it
/// is.
bool may_donate(const Step& step, const ops::Pass& pass, std::size_t donor, std::size_t o,
                const TypeTable& types) {
  for (std::size_t other = 0; other < pass.stores.size(); ++other) {
    if (other != o && pass.stores[other] == donor) return false;
    if (!step.out[other].made() && step.out[other].slot == step.in[donor]) return false;
  }
  const TensorType& from = types[step.in[donor]];
  const TensorType& to = types[step.out[o].slot];
  return from.shape == to.shape && size_of(from.dtype) == size_of(to.dtype);
}

/// Finds the last use of each slot that a block owns, and with it the memory that results may take.
class LastUses {
 public:
  LastUses(const TypeTable& types, PlanningSteps& steps)
      : types_(types), marks_(types.size(), 0), last_(types.size(), 0), steps_(steps) {}

  /// `owns_params`: the values in the block's parameters end with it.
  void block(StepBlock& block, bool owns_params) {
    Slots mine;
    if (owns_params) mine = block.params;
    for (const Step& step : block.steps) {
      for (const Output& output : step.out) {
        if (output.made()) mine.push_back(output.slot);
      }
    }
    const auto end = static_cast<std::uint32_t>(block.steps.size());
    for (const Slot slot : mine) last_[slot] = 0;
    for (std::uint32_t i = 0; i < end; ++i) {
      steps_.step();
      uses_.clear();
      collect_uses(block.steps[i], uses_);
      for (const Output& output : block.steps[i].out) uses_.push_back(output.slot);
      for (const Slot slot : uses_) last_[slot] = i;
    }
    for (const Slot slot : block.outputs) last_[slot] = end;
    for (const Slot slot : mine) {
      if (last_[slot] < end) block.steps[last_[slot]].dead.push_back(slot);
    }
    for (Step& step : block.steps) find_ending(step);
    find_handed_over(block, mine);
    for (Step& step : block.steps) {
      const auto* loop = step.as<LoopStep>();
      for_each_region(step, [&](StepBlock& region) {
        // The condition of a loop leaves the carried values to the body.
        const bool owns = step.is<FoldStep>() || (loop != nullptr && &region == loop->body.get());
        this->block(region, owns);
      });
    }
  }

 private:
  /// The block hands over its own values (its parameters, and the values that it makes), each with
  /// the last output that is this value.
  void find_handed_over(StepBlock& block, const Slots& mine) {
    for (const Slot slot : mine) marks_[slot] = 1;
    for (const Slot slot : block.params) marks_[slot] = 1;
    block.hands_over.assign(block.outputs.size(), false);
    for (std::size_t i = block.outputs.size(); i-- > 0;) {
      block.hands_over[i] = std::exchange(marks_[block.outputs[i]], 0) != 0;
    }
    for (const Slot slot : mine) marks_[slot] = 0;
    for (const Slot slot : block.params) marks_[slot] = 0;
  }

  /// Finds the operands that end with the step, for the kinds of steps that may take their memory.
  void find_ending(Step& step) {
    if (step.dead.empty()) return;
    std::visit(Overloaded{
                   [&](PassStep& pass) {
                     pass.ending = ending_operands(step);
                     for (std::size_t o = 0; o < step.out.size(); ++o) find_donors(step, pass, o);
                   },
                   [&](PutPassStep& put) {
                     put.ending = ending_operands(step);
                     // The pass may read its target, too.
                     if (auto* copied = std::get_if<source::Copied>(&step.out[0].source))
                       copied->ends = ends_in(step, step.in[put.target()]);
                   },
                   [&](UpdateStep&) {
                     if (auto* copied = std::get_if<source::Copied>(&step.out[0].source))
                       copied->ends = ending_operands(step).has(copied->operand);
                   },
                   [&](KernelStep&) {
                     const OperandSet ending = ending_operands(step);
                     for (Output& output : step.out) {
                       if (auto* copied = std::get_if<source::Copied>(&output.source))
                         copied->ends = ending.has(copied->operand);
                     }
                   },
                   [&](LoopStep& loop) { loop.ending = ending_operands(step); },
                   [](auto&) {},
               },
               step.kind);
  }

  /// A scalar gets new memory: that is cheaper than to look for a donor.
  void find_donors(Step& step, const PassStep& pass, std::size_t o) const {
    auto* donated = std::get_if<source::Donated>(&step.out[o].source);
    if (donated == nullptr || pass.pass->space.empty()) return;
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      if (pass.ending.has(i) && may_donate(step, *pass.pass, i, o, types_)) donated->donors.add(i);
    }
  }

  /// Operands that end with the step. An operand that is named twice cannot be taken over, nor one
  /// that a region uses, too.
  OperandSet ending_operands(const Step& step) {
    for (const Slot slot : step.dead) marks_[slot] = 1;
    for (const Slot slot : step.in) marks_[slot] *= 2;
    uses_.clear();
    for_each_region(step, [&](const StepBlock& region) {
      for (const Step& inner : region.steps) collect_uses(inner, uses_);
      uses_.insert(uses_.end(), region.outputs.begin(), region.outputs.end());
    });
    for (const Slot slot : uses_) marks_[slot] = 0;
    OperandSet ending;
    for (std::size_t i = 0; i < std::min(step.in.size(), OperandSet::positions_max); ++i) {
      if (marks_[step.in[i]] == 2) ending.add(i);
    }
    for (const Slot slot : step.dead) marks_[slot] = 0;
    return ending;
  }

  const TypeTable& types_;
  std::vector<std::uint8_t> marks_;  ///< all zero between two uses
  std::vector<std::uint32_t> last_;
  Slots uses_;
  PlanningSteps& steps_;
};

std::uint64_t operations_for_each(ops::Cost cost, std::uint64_t elements) {
  switch (cost) {
    case ops::Cost::linear:
      return 1;
    case ops::Cost::transform:
      return 64;
    case ops::Cost::quadratic:
      return elements;
    case ops::Cost::unbounded:
      break;
  }
  return unbounded;
}

std::uint64_t elements_of(std::span<const std::int64_t> shape) {
  return static_cast<std::uint64_t>(element_count(shape));
}

/// Elements of the values that the step reads, and of those that it writes.
std::uint64_t elements_read(const Step& step, std::size_t operands, const Plan& plan) {
  std::uint64_t elements = 0;
  for (std::size_t i = 0; i < operands; ++i) elements += elements_of(plan.types[step.in[i]].shape);
  return elements;
}
std::uint64_t elements_written(const Step& step, const Plan& plan) {
  std::uint64_t elements = 0;
  for (const Output& output : step.out) elements += elements_of(plan.types[output.slot].shape);
  return elements;
}

/// The work of a step of its own, its regions aside: elements, and operations for each.
struct Work {
  std::uint64_t elements = 0;
  std::uint64_t operations = 1;
  /// Elements that it may have to copy.
  std::uint64_t copied = 0;
};

Work work_of(const Step& step, const Plan& plan) {
  const auto all = [&] {
    return 1 + elements_read(step, step.in.size(), plan) + elements_written(step, plan);
  };
  const auto operations = [](const ops::Pass& pass) { return 1 + pass.micro_ops.size(); };
  return std::visit(
      Overloaded{
          [&](const PassStep& pass) {
            return Work{all(), operations(*pass.pass)};
          },
          [&](const PutPassStep& put) {
            const std::uint64_t window = elements_of(put.pass->space);
            return Work{1 + elements_read(step, put.target(), plan) + window, operations(*put.pass),
                        2 * elements_written(step, plan)};
          },
          [](const ViewStep&) { return Work{1}; },
          [&](const FoldStep& fold) {
            return fold.lifted ? Work{all(), operations(fold.lifted->lifted.pass)} : Work{all()};
          },
          [](const ChainStep&) { return Work{}; },  // its members have it
          [&](const auto&) { return Work{all()}; },
      },
      step.kind);
}

/// True if the plan does not tell how often the step's regions are carried out.
bool repeats_regions(const Step& step) {
  const auto* fold = step.as<FoldStep>();
  return step.is<LoopStep>() || (fold != nullptr && !fold->lifted);
}

std::uint64_t work_of(const StepBlock& block, const Plan& plan) {
  std::uint64_t work = 0;
  for (const Step& step : block.steps) {
    if (repeats_regions(step)) return unbounded;
    const Work own = work_of(step, plan);
    const std::uint64_t elements = std::min(own.elements, elements_max);
    const std::uint64_t each = operations_for_each(step.row->cost, elements);
    if (each == unbounded) return unbounded;
    work = saturating_add(work, elements * each * own.operations);
    work = saturating_add(work, own.copied);
    for_each_region(
        step, [&](const StepBlock& region) { work = saturating_add(work, work_of(region, plan)); });
    if (work == unbounded) return unbounded;
  }
  return work;
}

}  // namespace

void find_lifetimes(Plan& plan, int threads, PlanningSteps& steps) {
  // The run may take the memory of an argument that only the run holds: a donated one.
  LastUses(plan.types, steps).block(plan.main, true);
  plan.peak = find_peak(plan, std::vector<ArgumentLayout>(plan.argument_count()), threads, steps);
  plan.work = work_of(plan.main, plan);
}

}  // namespace outrigger::engine
