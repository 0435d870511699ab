#pragma once

#include <optional>
#include <span>
#include <utility>

#include "engine/planner/plan.hpp"
#include "engine/planner/recompute.hpp"

namespace outrigger::engine {

/// True if the node is a reduction, which may end a pass.
inline bool is_reduction(const Node& node) { return node.row->reduction != nullptr; }
ops::Reduction reduction_of(const Node& node, const Plan& plan);

/// The nodes of a group, in their order, as a step with a PassStep. The step has no results if no
/// other node needs one.
Step build_pass(const Plan& plan, const Uses& uses, const Recomputed& recomputed,
                std::span<const Node* const> nodes);

/// Makes one step of a step with a PassStep and of the put_slice of its only result.
Step put_pass(Step pass, const Node& put);

/// A slot, and another slot that holds the same value.
using Same = std::pair<Slot, Slot>;

/// A pass, and the slots of its inputs behind the parameters.
struct LiftedPass {
  ops::Pass pass;
  Slots captures;
};

/// The nodes as a pass whose first inputs are the parameters, with one store. `same` are slots that
/// hold the values of others. Nothing if the pass needs too many registers.
std::optional<LiftedPass> lift_pass(const Plan& plan, const Uses& uses,
                                    std::span<const Node* const> nodes, const Slots& params,
                                    Slot output, std::span<const Same> same);

}  // namespace outrigger::engine
