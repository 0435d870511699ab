#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/planner/plan.hpp"

namespace outrigger::engine {

/// The number of uses of each slot, by nodes and as outputs, nested regions included.
class Uses {
 public:
  Uses(const Block& block, std::size_t slots) : counts_(slots, 0) { count(block); }
  std::uint32_t of(Slot slot) const { return counts_[slot]; }

 private:
  void count(const Block& block);
  std::vector<std::uint32_t> counts_;
};

/// The iteration space of a node: the shape of a reduction's operand, or of an elementwise node's
/// result.
const Dims& space_of(const Node& node, const Plan& plan);

/// Values that a block never stores, because each pass that needs them computes them again. They
/// are cheap results of operands that are much smaller (the differences of all pairs), and only
/// passes over their own space use them.
class Recomputed {
 public:
  Recomputed() = default;
  Recomputed(const Block& block, const Plan& plan, const Uses& uses, PlanningSteps& steps);

  /// The node that makes such a value; null for other slots.
  const Node* maker(Slot slot) const {
    const auto found = makers_.find(slot);
    return found == makers_.end() ? nullptr : found->second;
  }

 private:
  std::unordered_map<Slot, const Node*> makers_;
};

}  // namespace outrigger::engine
