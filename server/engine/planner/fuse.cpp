#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "engine/planner/pass_builder.hpp"
#include "engine/planner/plan.hpp"
#include "engine/planner/recompute.hpp"
#include "ops/cast/cast.hpp"

namespace outrigger::engine {
namespace {

using ops::Kind;

/// Whether a region of one node with that row gives the same, up to rounding, in any order.
bool is_associative(const Node& node, const Block& region, const Plan& plan) {
  constexpr std::array<std::string_view, 7> names{"add",         "multiply",   "max",        "min",
                                                  "bitwise_and", "bitwise_or", "bitwise_xor"};
  if (std::find(names.begin(), names.end(), node.row->name) == names.end()) return false;
  const DType dtype = plan.types[region.outputs[0]].dtype;
  const bool plain = node.inferred.compute == dtype && plan.types[node.out[0]].dtype == dtype &&
                     plan.types[node.in[0]].dtype == dtype && plan.types[node.in[1]].dtype == dtype;
  return plain && region.outputs[0] == node.out[0] && region.params.size() == 2 &&
         std::is_permutation(node.in.begin(), node.in.end(), region.params.begin(),
                             region.params.end());
}

/// The region of a fold as a pass, if all that it does is elementwise on scalars. `captures` are
/// the slots of the pass's inputs behind the region's parameters.
std::unique_ptr<ops::Lifted> lift(const Block& region, const Plan& plan, const Uses& uses,
                                  Slots& captures) {
  // More would need too many registers anyway, and take long to find out.
  constexpr std::size_t nodes_max = 4 * ops::pass_registers_max;
  if (region.nodes.size() > nodes_max) return nullptr;
  std::vector<const Node*> nodes;
  std::vector<Same> same;
  for (const Node& node : region.nodes) {
    const bool scalars = !node.in_place && node.regions.empty() &&
                         plan.types[node.out[0]].shape.empty() &&
                         std::all_of(node.in.begin(), node.in.end(),
                                     [&](Slot slot) { return plan.types[slot].shape.empty(); });
    if (!scalars) return nullptr;
    if (node.row->kind == Kind::elementwise) {
      nodes.push_back(&node);
    } else if (node.row->kind == Kind::constant || node.row->kind == Kind::view) {
      // A scalar seen as a scalar.
      Slot from = node.in[0];
      for (const Same& earlier : same) {
        if (earlier.first == from) from = earlier.second;
      }
      same.emplace_back(node.out[0], from);
    } else {
      return nullptr;
    }
  }
  auto pass = lift_pass(plan, uses, nodes, region.params, region.outputs[0], same, captures);
  if (!pass) return nullptr;
  const bool associative =
      region.nodes.size() == 1 && nodes.size() == 1 && is_associative(*nodes[0], region, plan);
  return std::make_unique<ops::Lifted>(ops::Lifted{std::move(*pass), associative});
}

/// Goes through a block in order, with one open group of elementwise nodes.
class Fuser {
 public:
  Fuser(const Plan& plan, const Uses& uses, PlanningSteps& steps)
      : plan_(plan), uses_(uses), watch_(steps) {}

  StepBlock block(const Block& block) {
    StepBlock result;
    result.params = block.params;
    result.outputs = block.outputs;
    recomputed_ = Recomputed(block, plan_, uses_, watch_);
    for (const Node& node : block.nodes) {
      watch_.step();
      // Their users compute them.
      if (node.row->kind == Kind::elementwise && recomputed_.maker(node.out[0]) != nullptr)
        continue;
      if (node.row->kind == Kind::elementwise) {
        elementwise(node, result.steps);
      } else if (is_reduction(node)) {
        reduction(node, result.steps);
      } else {
        other(node, result.steps);
      }
    }
    flush(result.steps);
    return result;
  }

 private:
  /// Registers that a node may take: its result, and every step of the casts around it.
  std::size_t registers_of(const Node& node) const {
    std::size_t count =
        1 + ops::cast_steps(node.inferred.raw[0], node.inferred.results[0].dtype).size();
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      const DType has = plan_.types[node.in[i]].dtype;
      const bool boolean = (node.row->boolean_operands >> i & 1) != 0;
      count += boolean ? ops::boolean_steps(has).size()
                       : ops::cast_steps(has, node.inferred.operands[i]).size();
    }
    return count;
  }

  /// The same for all that the node brings into the group.
  std::size_t registers_with(const Node& node) const {
    std::size_t count = node.in.size() + (is_reduction(node) ? 0 : registers_of(node));
    for (const Slot slot : node.in) {
      if (const Node* maker = recomputed_.maker(slot))
        count += registers_of(*maker) + maker->in.size();
    }
    return count;
  }

  /// Adds the node to a group, behind the values that it computes anew.
  void put(const Node& node, std::vector<const Node*>& group) const {
    for (const Slot slot : node.in) {
      const Node* maker = recomputed_.maker(slot);
      if (maker != nullptr && std::find(group.begin(), group.end(), maker) == group.end())
        group.push_back(maker);
    }
    group.push_back(&node);
  }

  bool made_by_group(Slot slot) const {
    return std::any_of(group_.begin(), group_.end(),
                       [slot](const Node* node) { return node->out[0] == slot; });
  }

  /// Whether `holds` for an operand of the node, or of a value that is computed with it.
  template <typename F>
  bool any_operand(const Node& node, const F& holds) const {
    return std::any_of(node.in.begin(), node.in.end(), [&](Slot slot) {
      const Node* maker = recomputed_.maker(slot);
      return holds(slot) || (maker != nullptr && any_operand(*maker, holds));
    });
  }

  bool depends_on_group(const Node& node) const {
    return any_operand(node, [this](Slot slot) { return made_by_group(slot); });
  }

  bool recomputes(const Node& node) const {
    return std::any_of(node.in.begin(), node.in.end(),
                       [this](Slot slot) { return recomputed_.maker(slot) != nullptr; });
  }

  /// Whether the group holds reductions, and the node needs the result of one.
  bool depends_on_reduction(const Node& node) const {
    return std::any_of(group_.begin(), group_.end(), [&](const Node* other) {
      return is_reduction(*other) &&
             any_operand(node, [other](Slot slot) { return slot == other->out[0]; });
    });
  }

  bool fits_space(const Node& node) const {
    return group_.empty() || space_of(node, plan_) == space_of(*group_.front(), plan_);
  }

  void elementwise(const Node& node, std::vector<Step>& steps) {
    if (depends_on_reduction(node)) flush(steps);
    if (!fits_space(node)) {
      // A smaller value on the side, such as a loop counter, need not end the group.
      const bool aside =
          !node.in_place && !depends_on_group(node) &&
          element_count(space_of(node, plan_)) < element_count(space_of(*group_.front(), plan_));
      if (aside) {
        std::vector<const Node*> alone;
        put(node, alone);
        return add_pass(alone, steps);
      }
      flush(steps);
    }
    // What is written must be a tensor by then, not a register. Reductions leave no place for it.
    if (node.in_place && (made_by_group(node.out[0]) || reductions_ > 0)) flush(steps);
    if (registers_ + registers_with(node) > ops::pass_registers_max) flush(steps);
    registers_ += registers_with(node);
    put(node, group_);
    // What comes after a write must read what was written.
    if (node.in_place) flush(steps);
  }

  void reduction(const Node& node, std::vector<Step>& steps) {
    // Scalars have steps of their own.
    if (space_of(node, plan_).empty()) return other(node, steps);
    const bool needs_pass = depends_on_group(node) || recomputes(node);
    if (depends_on_reduction(node) || (!joins(node) && needs_pass)) flush(steps);
    if (!joins(node)) return other(node, steps);
    registers_ += registers_with(node);
    put(node, group_);
    ++reductions_;
  }

  /// Whether a reduction can end the group's pass, beside those that end it already.
  bool joins(const Node& node) const {
    if (!fits_space(node)) return false;
    if (registers_ + registers_with(node) > ops::pass_registers_max) return false;
    const auto other = std::find_if(group_.begin(), group_.end(),
                                    [](const Node* member) { return is_reduction(*member); });
    return other == group_.end() ||
           (reductions_ < reductions_max &&
            reduction_of(node, plan_).folding == reduction_of(**other, plan_).folding);
  }

  void other(const Node& node, std::vector<Step>& steps) {
    if (may_end_group(node)) {
      Step pass = build_pass(plan_, uses_, recomputed_, group_);
      if (pass.out == Slots{node.in[1]}) {
        steps.push_back(put_pass(std::move(pass), node));
        return clear();
      }
    }
    const bool effects = node.in_place || !node.regions.empty();
    // A reduction that has nothing to be fused with so far holds on to its operand for nothing.
    const bool waits = group_.size() == 1 && reductions_ == 1 && takes_memory(node);
    if (effects || waits || depends_on_group(node)) flush(steps);
    alone(node, steps);
  }

  /// Whether the node is a put_slice of something that the group makes for nobody else: if that is
  /// all that the group gives, its pass may write to the window itself.
  bool may_end_group(const Node& node) const {
    if (node.row->name != "put_slice" || group_.empty() || reductions_ > 0) return false;
    const Slot slice = node.in[1];
    const TensorType& type = plan_.types[slice];
    const Dims& space = space_of(*group_.front(), plan_);
    return made_by_group(slice) && uses_.of(slice) == 1 && type.shape == space && !space.empty() &&
           type.dtype == plan_.types[node.out[0]].dtype &&
           plan_.types[node.in[0]] == plan_.types[node.out[0]] &&
           std::count_if(node.in.begin(), node.in.end(),
                         [this](Slot slot) { return made_by_group(slot); }) == 1;
  }

  static bool takes_memory(const Node& node) {
    return node.row->kind != Kind::view && node.row->kind != Kind::constant;
  }

  void alone(const Node& node, std::vector<Step>& steps) {
    Step step;
    step.kind = kind_of(node);
    step.row = node.row;
    step.attrs = node.attrs;
    step.compute = node.inferred.compute;
    step.path = node.path;
    step.ops = {node.row->name};
    step.in = node.in;
    step.out = node.out;
    step.in_place = node.in_place;
    if (step.kind == Step::Kind::fold)
      step.lifted = lift(node.regions[0], plan_, uses_, step.captures);
    for (const Block& region : node.regions)
      step.regions.push_back(Fuser(plan_, uses_, watch_).block(region));
    if (step.kind == Step::Kind::loop) step.scalars = make_flat(step);
    steps.push_back(std::move(step));
  }

  std::unique_ptr<ScalarLoop> make_flat(const Step& step) const {
    auto loop = flatten(step, plan_);
    return loop ? std::make_unique<ScalarLoop>(std::move(*loop)) : nullptr;
  }

  static Step::Kind kind_of(const Node& node) {
    switch (node.row->kind) {
      case Kind::view:
        return Step::Kind::view;
      case Kind::constant:
        return Step::Kind::constant;
      case Kind::update:
        return Step::Kind::update;
      case Kind::fold:
        return Step::Kind::fold;
      case Kind::control:
        return node.row->name == "while" ? Step::Kind::loop : Step::Kind::branch;
      case Kind::create:
      case Kind::compute:
      case Kind::elementwise:
        break;
    }
    return Step::Kind::compute;
  }

  void flush(std::vector<Step>& steps) {
    if (group_.empty()) return;
    if (group_.size() == 1 && reductions_ == 1) {
      alone(*group_.front(), steps);
    } else {
      add_pass(group_, steps);
    }
    clear();
  }

  void clear() {
    group_.clear();
    registers_ = 0;
    reductions_ = 0;
  }

  void add_pass(std::span<const Node* const> nodes, std::vector<Step>& steps) {
    Step step = build_pass(plan_, uses_, recomputed_, nodes);
    if (!step.out.empty()) steps.push_back(std::move(step));
  }

  const Plan& plan_;
  const Uses& uses_;
  PlanningSteps& watch_;
  Recomputed recomputed_;
  /// Each needs room in the L1 cache beside the tiles.
  static constexpr std::size_t reductions_max = 4;

  std::vector<const Node*> group_;
  std::size_t registers_ = 0;
  std::size_t reductions_ = 0;
};

}  // namespace

StepBlock fuse(const Block& block, const Plan& plan, PlanningSteps& steps) {
  const Uses uses(block, plan.types.size());
  return Fuser(plan, uses, steps).block(block);
}

}  // namespace outrigger::engine
