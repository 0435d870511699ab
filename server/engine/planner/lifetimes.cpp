#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "engine/planner/plan.hpp"

namespace outrigger::engine {
namespace {

constexpr std::uint64_t unbounded = std::numeric_limits<std::uint64_t>::max();

/// Marks where each slot that a block owns is used for the last time.
class LastUses {
 public:
  LastUses(std::size_t slots, PlanningSteps& steps)
      : marks_(slots, 0), last_(slots, 0), steps_(steps) {}

  /// `owns_params`: the values in the block's parameters end with it.
  void block(StepBlock& block, bool owns_params) {
    std::vector<Slot> mine;
    const auto own = [&](Slot slot) { mine.push_back(slot); };
    if (owns_params) std::for_each(block.params.begin(), block.params.end(), own);
    for (const Step& step : block.steps) {
      std::for_each(step.out.begin(),
                    step.out.begin() + static_cast<std::ptrdiff_t>(fresh_outputs(step)), own);
    }
    const auto end = static_cast<std::uint32_t>(block.steps.size());
    for (const Slot slot : mine) last_[slot] = 0;
    for (std::uint32_t i = 0; i < end; ++i) {
      steps_.step();
      uses_.clear();
      collect_uses(block.steps[i], uses_);
      uses_.insert(uses_.end(), block.steps[i].out.begin(), block.steps[i].out.end());
      for (const Slot slot : uses_) last_[slot] = i;
    }
    for (const Slot slot : block.outputs) last_[slot] = end;
    for (const Slot slot : mine) {
      if (last_[slot] < end) block.steps[last_[slot]].dead.push_back(slot);
    }
    for (Step& step : block.steps) find_dying(step);
    find_handed_over(block, mine);
    for (Step& step : block.steps) {
      for (std::size_t r = 0; r < step.regions.size(); ++r) {
        // The condition of a loop leaves the carried values to the body.
        this->block(step.regions[r],
                    step.kind == Step::Kind::fold || (step.kind == Step::Kind::loop && r == 1));
      }
    }
  }

 private:
  /// The block hands over its own values (those that it makes, and its parameters), each by the
  /// last output that it is.
  void find_handed_over(StepBlock& block, const std::vector<Slot>& mine) {
    for (const Slot slot : mine) marks_[slot] = 1;
    for (const Slot slot : block.params) marks_[slot] = 1;
    block.hands_over.assign(block.outputs.size(), false);
    for (std::size_t i = block.outputs.size(); i-- > 0;) {
      block.hands_over[i] = std::exchange(marks_[block.outputs[i]], 0) != 0;
    }
    for (const Slot slot : mine) marks_[slot] = 0;
    for (const Slot slot : block.params) marks_[slot] = 0;
  }

  /// Which operands end with the step.
  void find_dying(Step& step) {
    const bool loop = step.kind == Step::Kind::loop;
    if (step.dead.empty() || (!step.regions.empty() && !loop)) return;
    // An operand that is named twice cannot be taken over; nor one that a region uses too.
    for (const Slot slot : step.dead) marks_[slot] = 1;
    for (const Slot slot : step.in) marks_[slot] *= 2;
    uses_.clear();
    for (const StepBlock& region : step.regions) {
      for (const Step& inner : region.steps) collect_uses(inner, uses_);
      uses_.insert(uses_.end(), region.outputs.begin(), region.outputs.end());
    }
    for (const Slot slot : uses_) marks_[slot] = 0;
    for (std::size_t i = 0; i < std::min<std::size_t>(step.in.size(), 64); ++i) {
      if (marks_[step.in[i]] == 2) step.dies |= std::uint64_t{1} << i;
    }
    for (const Slot slot : step.dead) marks_[slot] = 0;
  }

  std::vector<std::uint8_t> marks_;  ///< all zero between two uses
  std::vector<std::uint32_t> last_;
  std::vector<Slot> uses_;
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

/// Elements that the step reads and writes, those of a put_pass's target aside.
std::uint64_t elements_of(const Step& step, const Plan& plan) {
  if (step.kind == Step::Kind::view) return 1;
  const bool put = step.kind == Step::Kind::put_pass;
  std::uint64_t elements = 1;
  for (std::size_t i = 0; i < (put ? step.pass->inputs : step.in.size()); ++i)
    elements += elements_of(plan.types[step.in[i]].shape);
  if (put) return elements + elements_of(step.pass->space);
  for (const Slot slot : step.out) elements += elements_of(plan.types[slot].shape);
  return elements;
}

std::uint64_t work_of(const StepBlock& block, const Plan& plan) {
  std::uint64_t work = 0;
  for (const Step& step : block.steps) {
    if (step.kind == Step::Kind::loop) return unbounded;
    // Once for each element: nobody counts what that is.
    if (step.kind == Step::Kind::fold && !step.lifted) return unbounded;
    std::uint64_t elements = elements_of(step, plan);
    if (step.kind == Step::Kind::chain) elements = 0;       // its members' are counted
    elements = std::min(elements, std::uint64_t{1} << 28);  // more is a lot anyway
    const std::uint64_t each = operations_for_each(step.row->cost, elements);
    if (each == unbounded) return unbounded;
    const ops::Pass* pass = step.lifted ? &step.lifted->pass : step.pass.get();
    const std::uint64_t micro_ops = pass == nullptr ? 0 : pass->micro_ops.size();
    work = saturating_add(work, elements * each * (1 + micro_ops));
    // The target may have to be copied.
    if (step.kind == Step::Kind::put_pass)
      work = saturating_add(work, 2 * elements_of(plan.types[step.out[0]].shape));
    for (const StepBlock& region : step.regions) {
      const std::uint64_t inner = work_of(region, plan);
      if (inner == unbounded) return unbounded;
      work = saturating_add(work, inner);
    }
  }
  return work;
}

}  // namespace

void collect_uses(const Step& step, std::vector<Slot>& uses) {
  uses.insert(uses.end(), step.in.begin(), step.in.end());
  if (step.in_place) uses.insert(uses.end(), step.out.begin(), step.out.end());
  for (const StepBlock& region : step.regions) {
    for (const Step& inner : region.steps) collect_uses(inner, uses);
    uses.insert(uses.end(), region.outputs.begin(), region.outputs.end());
  }
}

void find_lifetimes(Plan& plan, int threads, PlanningSteps& steps) {
  // An argument's memory may be taken where nobody but the run holds it: it was donated.
  LastUses(plan.types.size(), steps).block(plan.main, true);
  plan.peak = find_peak(plan, std::vector<ArgumentLayout>(plan.argument_count()), threads, steps);
  plan.work = work_of(plan.main, plan);
}

}  // namespace outrigger::engine
