#include "engine/planner/recompute.hpp"

#include <algorithm>
#include <optional>

namespace outrigger::engine {
namespace {

using ops::Kind;

bool writes(const Block& block) {
  return std::any_of(block.nodes.begin(), block.nodes.end(), [](const Node& node) {
    return node.in_place || std::any_of(node.regions.begin(), node.regions.end(), writes);
  });
}

/// True if the node is less work than to write its result and read it again.
bool is_cheap(const Node& node, const Plan& plan) {
  constexpr std::int64_t much = 8;
  // Functions that are not exact are expensive.
  if (node.row->kind != Kind::elementwise || node.row->ulp.value_or(0) > 0) return false;
  std::int64_t operands = 0;
  for (const Slot slot : node.in) operands += element_count(plan.types[slot].shape);
  return element_count(node.inferred.results[0].shape) / much >= operands;
}

/// For each slot, the number of operands that a pass over the shape of the slot reads from it.
std::unordered_map<Slot, std::uint32_t> passed_in(const Block& block, const Plan& plan,
                                                  PlanningSteps& steps) {
  std::unordered_map<Slot, std::uint32_t> passed;
  for (const Node& node : block.nodes) {
    steps.step();
    const bool pass = node.row->kind == Kind::elementwise || node.row->reduction != nullptr;
    if (!pass) continue;
    const Dims& space = space_of(node, plan);
    for (const Slot slot : node.in) {
      if (space == plan.types[slot].shape) ++passed[slot];
    }
  }
  return passed;
}

}  // namespace

void Uses::count(const Block& block) {
  for (const Node& node : block.nodes) {
    for (const Slot slot : node.in) ++counts_[slot];
    for (const Block& region : node.regions) count(region);
  }
  for (const Slot slot : block.outputs) ++counts_[slot];
}

const Dims& space_of(const Node& node, const Plan& plan) {
  const bool reduces = node.row->reduction != nullptr;
  return reduces ? plan.types[node.in[0]].shape : node.inferred.results[0].shape;
}

Recomputed::Recomputed(const Block& block, const Plan& plan, const Uses& uses,
                       PlanningSteps& steps) {
  // A value that is computed later must find its operands unchanged.
  if (writes(block)) return;
  std::optional<std::unordered_map<Slot, std::uint32_t>> passed;
  for (const Node& node : block.nodes) {
    if (!is_cheap(node, plan)) continue;
    if (!passed) passed = passed_in(block, plan, steps);
    const Slot slot = node.out[0];
    const bool of_others = std::none_of(node.in.begin(), node.in.end(),
                                        [this](Slot in) { return maker(in) != nullptr; });
    const auto found = passed->find(slot);
    const std::uint32_t count = found == passed->end() ? 0 : found->second;
    if (count == uses.of(slot) && of_others) makers_.emplace(slot, &node);
  }
}

}  // namespace outrigger::engine
