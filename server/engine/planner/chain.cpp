#include "engine/planner/chain.hpp"

#include <algorithm>
#include <utility>

#include "engine/planner/chain_candidate.hpp"

namespace outrigger::engine {
namespace {

/// Bytes of the results of a step that stands between the steps of a chain and is carried out
/// before them.
constexpr std::int64_t aside_bytes_max = std::int64_t{1} << 16;

/// Finds the chains of a block.
class ChainFinder {
  /// Steps that the finder looks at, from the first one on.
  static constexpr std::size_t steps_max = 64;

 public:
  /// `last_uses` has room for each slot of the plan. Blocks inside of this one have written to it.
  /// This does not matter: a step of this block has those blocks, and uses the slots that they use.
  ChainFinder(StepBlock& block, const Plan& plan, int threads, const ChainRules& rules,
              std::vector<std::size_t>& last_uses, PlanningSteps& watch)
      : block_(block),
        plan_(plan),
        threads_(threads),
        rules_(rules),
        last_uses_(last_uses),
        watch_(watch) {
    std::vector<Slot> uses;
    for (std::size_t i = 0; i < block.steps.size(); ++i) {
      uses.clear();
      collect_uses(block.steps[i], uses);
      for (const Slot slot : uses) last_uses_[slot] = i;
    }
    for (const Slot slot : block.outputs) last_uses_[slot] = nowhere;
  }

  void run() {
    std::vector<Step> steps;
    for (std::size_t i = 0; i < block_.steps.size();) {
      watch_.step();
      std::optional<Candidate> best = best_from(i);
      std::optional<Chain> chain;
      if (best) chain = best->finish(threads_, rules_.block_bytes);
      if (!chain) {
        steps.push_back(std::move(block_.steps[i++]));
        continue;
      }
      // The steps between the members need no result of the members: they come first.
      for (std::size_t k = i; k < best->end(); ++k) {
        if (!best->has(k)) steps.push_back(std::move(block_.steps[k]));
      }
      steps.push_back(make_step(std::move(*chain), *best, i));
      i = best->end();
    }
    block_.steps = std::move(steps);
  }

 private:
  /// The chain that begins with the step and saves most.
  std::optional<Candidate> best_from(std::size_t begin) const {
    const Step& first = block_.steps[begin];
    const auto* pass = first.as<PassStep>();
    if (pass == nullptr && !first.is<ComputeStep>()) return std::nullopt;
    if (first.in.empty() || !is_large(first)) return std::nullopt;
    const Dims& space = pass != nullptr ? pass->pass->space : plan_.types[first.in[0]].shape;
    std::optional<Candidate> best;
    for (std::size_t axis = 0; axis < space.size(); ++axis) {
      if (space[axis] < rules_.rows_min) continue;
      Candidate candidate = grow(begin, axis, space[axis]);
      if (candidate.size() < 2 || candidate.saved() < rules_.saved_bytes_min) continue;
      if (!best || candidate.saved() > best->saved()) best = std::move(candidate);
    }
    return best;
  }

  /// True if values of the size of the step's own can make a chain worth its cost. Most steps of a
  /// program need no closer look.
  bool is_large(const Step& step) const {
    std::int64_t bytes = byte_count(plan_.types[step.in[0]]);
    for (const Output& output : step.out)
      bytes = std::max(bytes, byte_count(plan_.types[output.slot]));
    return bytes >= rules_.saved_bytes_min / static_cast<std::int64_t>(members_max);
  }

  Candidate grow(std::size_t begin, std::size_t axis, std::int64_t rows) const {
    Candidate candidate(block_.steps, plan_, rows);
    if (!candidate.join(begin, axis)) return candidate;
    std::vector<Slot> uses;
    const std::size_t end = std::min(block_.steps.size(), begin + steps_max);
    for (std::size_t i = begin + 1; i < end; ++i) {
      uses.clear();
      collect_uses(block_.steps[i], uses);
      watch_.step();
      const bool depends =
          std::any_of(uses.begin(), uses.end(), [&](Slot slot) { return candidate.makes(slot); });
      if (depends ? !candidate.join(i) : !can_come_before(block_.steps[i])) break;
    }
    candidate.close(last_uses_);
    return candidate;
  }

  /// True if the step takes little memory when it comes earlier, and changes nothing for the steps
  /// that it overtakes.
  bool can_come_before(const Step& step) const {
    if (has_effects(step) || has_regions(step)) return false;
    if (step.is<ViewStep>() || step.is<ConstantStep>()) return true;
    std::int64_t bytes = 0;
    for (const Output& output : step.out) bytes += byte_count(plan_.types[output.slot]);
    return (step.is<PassStep>() || step.is<ComputeStep>()) && bytes <= aside_bytes_max;
  }

  Step make_step(Chain chain, const Candidate& candidate, std::size_t begin) {
    auto members = std::make_unique<StepBlock>();
    for (std::size_t i = begin; i < candidate.end(); ++i) {
      if (candidate.has(i)) members->steps.push_back(std::move(block_.steps[i]));
    }
    Step step;
    step.row = members->steps.back().row;
    step.path = members->steps.back().path;
    for (std::size_t m = 0; m < members->steps.size(); ++m) {
      const Step& member = members->steps[m];
      for (std::size_t i = 0; i < member.in.size(); ++i) {
        if (!candidate.makes(member.in[i]))
          chain.members[m].in[i].outside = operand(step, member.in[i]);
      }
      for (const std::string_view name : member.ops) {
        if (step.ops.size() < Limits::profiled_ops_max) step.ops.push_back(name);
      }
    }
    for (Chain::Value& value : chain.values) {
      if (!value.escapes) continue;
      value.result = static_cast<std::uint32_t>(step.out.size());
      step.out.push_back({value.slot, source::Fresh{}});
      members->outputs.push_back(value.slot);
    }
    step.kind = ChainStep{std::move(members), std::make_shared<const Chain>(std::move(chain))};
    return step;
  }

  /// The position of the slot among the operands of the step; adds the slot if it is missing.
  static std::uint32_t operand(Step& step, Slot slot) {
    const auto found = std::find(step.in.begin(), step.in.end(), slot);
    const auto position = static_cast<std::uint32_t>(found - step.in.begin());
    if (found == step.in.end()) step.in.push_back(slot);
    return position;
  }

  StepBlock& block_;
  const Plan& plan_;
  const int threads_;
  const ChainRules& rules_;
  /// For each slot, the position of the step that uses it last; `nowhere` if it is an output.
  std::vector<std::size_t>& last_uses_;
  PlanningSteps& watch_;
};

void form_in(StepBlock& block, const Plan& plan, int threads, const ChainRules& rules,
             std::vector<std::size_t>& last_uses, PlanningSteps& watch) {
  for (Step& step : block.steps) {
    if (step.is<FoldStep>()) continue;
    for_each_region(
        step, [&](StepBlock& region) { form_in(region, plan, threads, rules, last_uses, watch); });
  }
  ChainFinder(block, plan, threads, rules, last_uses, watch).run();
}

}  // namespace

ChainRules ChainRules::usual(int threads) {
  const auto cache = static_cast<std::int64_t>(ops::core_cache_bytes());
  return {.saved_bytes_min = cache * threads, .block_bytes = cache / 2};
}

TensorType rows_of(TensorType type, std::size_t axis, std::int64_t rows) {
  type.shape[axis] = rows;
  return type;
}

void form_chains(StepBlock& block, const Plan& plan, int threads, const ChainRules& rules,
                 PlanningSteps& watch) {
  std::vector<std::size_t> last_uses(plan.types.size(), 0);
  form_in(block, plan, threads, rules, last_uses, watch);
}

}  // namespace outrigger::engine
