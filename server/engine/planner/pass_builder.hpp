#pragma once

#include <optional>
#include <span>
#include <utility>

#include "engine/planner/plan.hpp"
#include "engine/planner/recompute.hpp"

namespace outrigger::engine {

/// Whether the node may end a pass.
inline bool is_reduction(const Node& node) { return node.row->reduction != nullptr; }
ops::Reduction reduction_of(const Node& node, const Plan& plan);

/// A pass of the nodes of a group, in their order. Without outputs, if nobody needs a result.
Step build_pass(const Plan& plan, const Uses& uses, const Recomputed& recomputed,
                std::span<const Node* const> nodes);

/// Makes the pass part of a put_slice of its only output.
Step put_pass(Step pass, const Node& put);

/// A slot that holds what another one does.
using Same = std::pair<Slot, Slot>;

/// The nodes as a pass with the parameters as its first inputs, and one store. `same` are slots
/// that stand for others; `captures` will be those of the inputs behind the parameters. Nothing if
/// it needs too many registers.
std::optional<ops::Pass> lift_pass(const Plan& plan, const Uses& uses,
                                   std::span<const Node* const> nodes, const Slots& params,
                                   Slot output, std::span<const Same> same, Slots& captures);

}  // namespace outrigger::engine
