#include <algorithm>
#include <limits>
#include <span>

#include "engine/planner/plan.hpp"

namespace outrigger::engine {
namespace {

constexpr std::uint64_t unbounded = std::numeric_limits<std::uint64_t>::max();

/// Marks where each slot that a block owns is used for the last time.
class LastUses {
 public:
  explicit LastUses(std::size_t slots) : owned_(slots, false), last_(slots, 0) {}

  /// `owns_params`: the values in the block's parameters end with it.
  void block(StepBlock& block, bool owns_params) {
    std::vector<Slot> mine;
    const auto own = [&](Slot slot) {
      owned_[slot] = true;
      mine.push_back(slot);
    };
    if (owns_params) std::for_each(block.params.begin(), block.params.end(), own);
    for (const Step& step : block.steps) {
      std::for_each(step.out.begin(),
                    step.out.begin() + static_cast<std::ptrdiff_t>(fresh_outputs(step)), own);
    }
    const auto end = static_cast<std::uint32_t>(block.steps.size());
    for (const Slot slot : mine) last_[slot] = 0;
    for (std::uint32_t i = 0; i < end; ++i) {
      uses_.clear();
      collect_uses(block.steps[i], uses_);
      uses_.insert(uses_.end(), block.steps[i].out.begin(), block.steps[i].out.end());
      for (const Slot slot : uses_) last_[slot] = i;
    }
    for (const Slot slot : block.outputs) last_[slot] = end;
    for (const Slot slot : mine) {
      if (last_[slot] < end) kill(block.steps[last_[slot]], slot);
    }
    for (std::size_t i = 0; i < block.outputs.size(); ++i)
      block.hands_over.push_back(hands_over(block, i));
    for (const Slot slot : mine) owned_[slot] = false;
    for (Step& step : block.steps) {
      for (std::size_t r = 0; r < step.regions.size(); ++r) {
        // The condition of a loop leaves the carried values to the body.
        this->block(step.regions[r],
                    step.kind == Step::Kind::fold || (step.kind == Step::Kind::loop && r == 1));
      }
    }
  }

 private:
  static bool hands_over(const StepBlock& block, std::size_t output) {
    const Slot slot = block.outputs[output];
    const auto after = block.outputs.begin() + static_cast<std::ptrdiff_t>(output) + 1;
    if (std::find(after, block.outputs.end(), slot) != block.outputs.end()) return false;
    return made_in(block, slot) ||
           std::find(block.params.begin(), block.params.end(), slot) != block.params.end();
  }

  static void kill(Step& step, Slot slot) {
    step.dead.push_back(slot);
    // An operand that is named twice cannot be taken over; nor one that a region uses too.
    const auto named = std::count(step.in.begin(), step.in.end(), slot);
    if (named != 1 || !step.regions.empty()) {
      if (step.kind != Step::Kind::loop || named != 1 || captured(step, slot)) return;
    }
    const auto position = std::find(step.in.begin(), step.in.end(), slot) - step.in.begin();
    if (position < 64) step.dies |= std::uint64_t{1} << position;
  }

  static bool captured(const Step& step, Slot slot) {
    std::vector<Slot> uses;
    for (const StepBlock& region : step.regions) {
      for (const Step& inner : region.steps) collect_uses(inner, uses);
      uses.insert(uses.end(), region.outputs.begin(), region.outputs.end());
    }
    return std::find(uses.begin(), uses.end(), slot) != uses.end();
  }

  std::vector<bool> owned_;
  std::vector<std::uint32_t> last_;
  std::vector<Slot> uses_;
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
  for (std::size_t i = 0; i < (put ? step.pass.inputs : step.in.size()); ++i)
    elements += elements_of(plan.types[step.in[i]].shape);
  if (put) return elements + elements_of(step.pass.space);
  for (const TensorType& type : step.types) elements += elements_of(type.shape);
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
    const ops::Pass& pass = step.lifted ? step.lifted->pass : step.pass;
    work = saturating_add(work, elements * each * (1 + pass.micro_ops.size()));
    // The target may have to be copied.
    if (step.kind == Step::Kind::put_pass)
      work = saturating_add(work, 2 * elements_of(step.types[0].shape));
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

void find_lifetimes(Plan& plan, int threads) {
  // An argument's memory may be taken where nobody but the run holds it: it was donated.
  LastUses(plan.types.size()).block(plan.main, true);
  plan.peak = find_peak(plan, std::vector<ArgumentLayout>(plan.arguments.size()), threads);
  plan.work = work_of(plan.main, plan);
}

}  // namespace outrigger::engine
