#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <utility>

#include "engine/planner/kernel_call.hpp"
#include "engine/planner/pass_builder.hpp"
#include "engine/planner/plan.hpp"
#include "engine/planner/recompute.hpp"
#include "ops/cast/cast.hpp"

namespace outrigger::engine {
namespace {

using ops::Kind;

/// True if the results of a region that is this node differ only by rounding if the elements come
/// in another order.
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

/// The region of a fold as a pass; null if the region has nodes that are not elementwise on
/// scalars.
std::unique_ptr<LiftedRegion> lift(const Block& region, const Plan& plan, const Uses& uses) {
  // More nodes would need too many registers, and it would take long to find this out.
  constexpr std::size_t nodes_max = 4 * ops::pass_registers_max;
  if (region.nodes.size() > nodes_max) return nullptr;
  std::vector<const Node*> nodes;
  std::vector<Same> same;
  for (const Node& node : region.nodes) {
    const bool scalars = !node.in_place && node.regions.empty() && !node.out.empty() &&
                         plan.types[node.out[0]].shape.empty() &&
                         std::all_of(node.in.begin(), node.in.end(),
                                     [&](Slot slot) { return plan.types[slot].shape.empty(); });
    if (!scalars) return nullptr;
    if (node.row->kind == Kind::elementwise) {
      nodes.push_back(&node);
    } else if (node.row->kind == Kind::constant || node.row->kind == Kind::view) {
      // A view of a scalar that is a scalar has the same value.
      Slot from = node.in[0];
      for (const Same& earlier : same) {
        if (earlier.first == from) from = earlier.second;
      }
      same.emplace_back(node.out[0], from);
    } else {
      return nullptr;
    }
  }
  auto made = lift_pass(plan, uses, nodes, region.params, region.outputs[0], same);
  if (!made) return nullptr;
  const bool associative =
      region.nodes.size() == 1 && nodes.size() == 1 && is_associative(*nodes[0], region, plan);
  return std::make_unique<LiftedRegion>(
      LiftedRegion{{std::move(made->pass), associative}, std::move(made->captures)});
}

/// Reads a block in order, with one open group of elementwise nodes and reductions.
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
      // The passes that use such a value compute it.
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
  /// Registers that a node may take: one for its result, and one for each step of its casts.
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

  /// Registers that the node and the values that are computed with it add to the group.
  std::size_t registers_with(const Node& node) const {
    std::size_t count = node.in.size() + (is_reduction(node) ? 0 : registers_of(node));
    for (const Slot slot : node.in) {
      if (const Node* maker = recomputed_.maker(slot))
        count += registers_of(*maker) + maker->in.size();
    }
    return count;
  }

  /// Adds the node to a group, behind the values that are computed again for it.
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

  /// True if `holds` is true for an operand of the node, or of a value that is computed with it.
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

  /// True if the group holds reductions, and the node needs the result of one.
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
      // A smaller value that is independent of the group, such as a loop counter, does not end it.
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
    // A value that is written must be a tensor then, not a register. A group with reductions has
    // no place for the write.
    if (node.in_place && (made_by_group(node.out[0]) || reductions_ > 0)) flush(steps);
    if (registers_ + registers_with(node) > ops::pass_registers_max) flush(steps);
    registers_ += registers_with(node);
    put(node, group_);
    // The nodes behind a write read the written elements.
    if (node.in_place) flush(steps);
  }

  void reduction(const Node& node, std::vector<Step>& steps) {
    // A reduction of a scalar is a step of its own.
    if (space_of(node, plan_).empty()) return other(node, steps);
    const bool needs_pass = depends_on_group(node) || recomputes(node);
    if (depends_on_reduction(node) || (!joins(node) && needs_pass)) flush(steps);
    if (!joins(node)) return other(node, steps);
    registers_ += registers_with(node);
    put(node, group_);
    ++reductions_;
  }

  /// True if a reduction can end the group's pass, beside those that end it already.
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
      if (pass.out.size() == 1 && pass.out[0].slot == node.in[1]) {
        steps.push_back(put_pass(std::move(pass), node));
        return clear();
      }
    }
    const bool effects = node.in_place || !node.regions.empty();
    // A reduction that is alone in the group would keep the memory of its operand without a gain.
    const bool waits = group_.size() == 1 && reductions_ == 1 && takes_memory(node);
    if (effects || waits || depends_on_group(node)) flush(steps);
    alone(node, steps);
  }

  /// True if the node is a put_slice of a value that the group makes and that only this node uses.
  /// If the value is the only result of the group, its pass may write to the window itself.
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

  void alone(const Node& node, std::vector<Step>& steps) const {
    Step step;
    step.row = node.row;
    step.path = node.path;
    step.ops = {node.row->name};
    step.in = node.in;
    if (node.kernel.machine != nullptr) {
      step.out = kernel_outputs(node);
    } else {
      const Source source = source_of(node);
      for (const Slot slot : node.out) step.out.push_back({slot, source});
    }
    step.kind = kind_of(node);
    steps.push_back(std::move(step));
  }

  static std::vector<Output> kernel_outputs(const Node& node) {
    const std::vector<std::uint32_t> written = written_operands(node.kernel.machine->head());
    const std::size_t made = node.out.size() - written.size();
    std::vector<Output> outputs;
    for (std::size_t i = 0; i < node.out.size(); ++i) {
      outputs.push_back({node.out[i], source::Fresh{}});
      if (i < made) continue;
      if (node.in_place)
        outputs.back().source = source::Written{};
      else
        outputs.back().source = source::Copied{written[i - made]};
    }
    return outputs;
  }

  static Source source_of(const Node& node) {
    switch (node.row->kind) {
      case Kind::view:
        if (node.in_place) return source::Aliased{};
        return node.row->keeps_order ? Source(source::Reshaped{}) : source::Viewed{};
      case Kind::constant:
        return source::Repeated{};
      case Kind::update:
        return node.in_place ? Source(source::Written{}) : source::Copied{0};
      case Kind::control:
        return source::HandedOver{};
      case Kind::fold:
      case Kind::create:
      case Kind::compute:
      case Kind::elementwise:
        break;
    }
    return source::Fresh{};
  }

  Step::Kind kind_of(const Node& node) const {
    switch (node.row->kind) {
      case Kind::view:
        return ViewStep{node.attrs};
      case Kind::constant:
        return ConstantStep{};
      case Kind::update:
        return UpdateStep{node.attrs, node.inferred.compute};
      case Kind::fold:
        return FoldStep{node.attrs, region(node.regions[0]), lift(node.regions[0], plan_, uses_)};
      case Kind::control:
        if (node.row->name == "while") return loop(node);
        if (node.kernel.machine != nullptr) return node.kernel;
        return BranchStep{region(node.regions[0]), region(node.regions[1])};
      case Kind::create:
      case Kind::compute:
      case Kind::elementwise:
        break;
    }
    return ComputeStep{node.attrs, node.inferred.compute};
  }

  LoopStep loop(const Node& node) const {
    LoopStep loop{region(node.regions[0]), region(node.regions[1]), nullptr};
    if (auto scalars = flatten(loop, plan_))
      loop.scalars = std::make_unique<ScalarLoop>(std::move(*scalars));
    return loop;
  }

  std::unique_ptr<StepBlock> region(const Block& region) const {
    return std::make_unique<StepBlock>(Fuser(plan_, uses_, watch_).block(region));
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
  /// Each reduction needs room in the L1 cache beside the tiles.
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
