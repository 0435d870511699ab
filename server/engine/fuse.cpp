#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "engine/plan.hpp"
#include "engine/recompute.hpp"
#include "ops/cast.hpp"

namespace outrigger::engine {
namespace {

using ops::Kind;
using ops::Pass;

bool is_reduction(const Node& node) { return node.row->reduction != nullptr; }

ops::Reduction reduction_of(const Node& node, const Plan& plan) {
  static const Attrs none;
  return node.row->reduction(plan.types[node.in[0]], node.inferred.raw[0],
                             ops::AttrView(node.attrs == nullptr ? none : *node.attrs));
}

/// Builds one pass from the nodes of a group.
class PassBuilder {
 public:
  /// A slot that holds what another one does.
  using Same = std::pair<Slot, Slot>;

  PassBuilder(const Plan& plan, const Uses& uses, const Recomputed& recomputed,
              std::span<const Node* const> nodes)
      : plan_(plan), uses_(uses), recomputed_(recomputed), nodes_(nodes) {}

  Step build() {
    step_.kind = Step::Kind::pass;
    step_.row = nodes_.back()->row;
    step_.attrs = nodes_.back()->attrs;
    step_.path = nodes_.back()->path;
    for (const Node* node :
         nodes_.first(std::min<std::size_t>(nodes_.size(), Limits::profiled_ops_max)))
      step_.ops.push_back(node->row->name);
    step_.pass.space = space_of(*nodes_.front(), plan_);
    collect_inputs();
    for (const Node* node : nodes_) {
      if (!is_reduction(*node)) add(*node);
    }
    for (const Node* node : nodes_) {
      if (!node->in_place && !is_reduction(*node) && escapes(*node)) store(*node, node->out[0]);
    }
    for (const Node* node : nodes_) {
      if (is_reduction(*node)) reduce(*node);
    }
    step_.fresh_outputs = static_cast<std::uint16_t>(step_.out.size());
    const Node& last = *nodes_.back();
    if (last.in_place) {
      step_.in_place = true;
      store(last, last.out[0]);
    }
    step_.pass.finish();
    return std::move(step_);
  }

  /// The nodes as a pass with the parameters as its first inputs, and one store. `same` are slots
  /// that stand for others. Nothing if it needs too many registers.
  std::optional<Pass> lift(const Slots& params, Slot output, std::span<const Same> same,
                           Slots& captures) {
    same_ = same;
    for (const Slot slot : params) add_input(slot);
    collect_inputs();
    if (!produced_here(root(output)) && find(root(output)) == nullptr) add_input(root(output));
    step_.pass.inputs = static_cast<std::uint16_t>(step_.in.size());
    for (const Node* node : nodes_) add(*node);
    step_.pass.stores.push_back(find(root(output))->reg);
    if (step_.pass.registers.size() > ops::pass_registers_max) return std::nullopt;
    step_.pass.finish();
    captures.assign(step_.in.begin() + static_cast<std::ptrdiff_t>(params.size()), step_.in.end());
    return std::move(step_.pass);
  }

 private:
  struct Cast {
    Pass::Register from;
    DType dtype;
    Pass::Register to;
  };
  struct Known {
    Slot slot;
    Pass::Register reg;
    bool boolean;
  };

  /// Whether the node's operand matters for more than its shape.
  static bool is_read(const Node& node, std::size_t i) {
    return (node.row->shape_operands >> i & 1) == 0;
  }

  bool produced_here(Slot slot) const {
    return std::any_of(nodes_.begin(), nodes_.end(), [slot](const Node* node) {
      return !node->in_place && node->out[0] == slot;
    });
  }

  void collect_inputs() {
    for (const Node* node : nodes_) {
      for (std::size_t i = 0; i < node->in.size(); ++i) {
        const Slot slot = root(node->in[i]);
        if (is_read(*node, i) && !produced_here(slot) && find(slot) == nullptr) add_input(slot);
      }
    }
    step_.pass.inputs = static_cast<std::uint16_t>(step_.in.size());
  }

  void add_input(Slot slot) {
    step_.in.push_back(slot);
    known_.push_back({slot, new_register(plan_.types[slot].dtype), false});
  }

  Slot root(Slot slot) const {
    for (const Same& same : same_) {
      if (same.first == slot) return same.second;
    }
    return slot;
  }

  const Known* find(Slot slot) const {
    const auto found = std::find_if(known_.begin(), known_.end(),
                                    [slot](const Known& k) { return k.slot == slot; });
    return found == known_.end() ? nullptr : &*found;
  }

  Pass::Register new_register(DType dtype) {
    step_.pass.registers.push_back(dtype);
    return static_cast<Pass::Register>(step_.pass.registers.size() - 1);
  }

  Pass::Register micro_op(const ops::Kernel& kernel, DType result,
                          std::initializer_list<Pass::Register> in) {
    Pass::MicroOp op{.run = kernel.run,
                     .out = new_register(result),
                     .arity = static_cast<std::uint8_t>(in.size()),
                     .record = kernel.record};
    std::copy(in.begin(), in.end(), op.in.begin());
    // Unused operands read what is there: cheaper than a branch for each tile.
    std::fill(op.in.begin() + op.arity, op.in.end(), op.arity == 0 ? op.out : op.in[0]);
    step_.pass.micro_ops.push_back(op);
    return op.out;
  }

  /// The register of an operand, cast as the node wants it.
  Pass::Register operand(const Node& node, std::size_t i) {
    const Known& known = *find(root(node.in[i]));
    const DType has = step_.pass.registers[known.reg];
    if ((node.row->boolean_operands >> i & 1) != 0) {
      return known.boolean ? known.reg : apply(ops::boolean_steps(has), known.reg);
    }
    return cast(known.reg, node.inferred.operands[i]);
  }

  Pass::Register apply(const ops::CastSteps& steps, Pass::Register from) {
    for (const ops::CastStep& step : steps) from = micro_op(step.kernel(), step.to, {from});
    return from;
  }

  /// A register is cast to a dtype only once: small floats are widened for each of their uses.
  Pass::Register cast(Pass::Register from, DType wanted) {
    const DType has = step_.pass.registers[from];
    if (has == wanted) return from;
    for (const Cast& earlier : casts_) {
      if (earlier.from == from && earlier.dtype == wanted) return earlier.to;
    }
    const Pass::Register to = apply(ops::cast_steps(has, wanted), from);
    casts_.push_back({from, wanted, to});
    return to;
  }

  void add(const Node& node) {
    std::array<Pass::Register, 3> in{};
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      if (is_read(node, i)) in.at(i) = operand(node, i);
    }
    // The others read what is there.
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      if (!is_read(node, i)) in.at(i) = in.at(node.in.size() - 1);
    }
    Pass::Register result = in[0];
    if (const ops::Kernel run = ops::kernel_of(*node.row, node.inferred.compute)) {
      const DType dtype = node.inferred.raw[0];
      result = node.in.size() == 1   ? micro_op(run, dtype, {in[0]})
               : node.in.size() == 2 ? micro_op(run, dtype, {in[0], in[1]})
                                     : micro_op(run, dtype, {in[0], in[1], in[2]});
    }
    result = cast(result, node.inferred.results[0].dtype);
    result_of_last_ = result;
    const bool boolean = node.row->family == "compare" || node.row->family == "logical";
    if (!node.in_place) known_.push_back({node.out[0], result, boolean});
  }

  /// Whether anybody outside of the group needs the node's result.
  bool escapes(const Node& node) const {
    if (recomputed_.maker(node.out[0]) != nullptr) return false;
    std::uint32_t inside = 0;
    for (const Node* other : nodes_) {
      inside +=
          static_cast<std::uint32_t>(std::count(other->in.begin(), other->in.end(), node.out[0]));
    }
    return uses_.of(node.out[0]) > inside;
  }

  void store(const Node& node, Slot slot) {
    step_.pass.stores.push_back(node.in_place ? result_of_last_ : find(slot)->reg);
    step_.out.push_back(slot);
    step_.types.push_back(plan_.types[slot]);
  }

  void reduce(const Node& node) {
    const ops::Reduction reduction = reduction_of(node, plan_);
    step_.pass.reductions.push_back({find(node.in[0])->reg, reduction.reducer});
    step_.pass.folding = reduction.folding;
    step_.out.push_back(node.out[0]);
    step_.types.push_back(plan_.types[node.out[0]]);
  }

  const Plan& plan_;
  const Uses& uses_;
  const Recomputed& recomputed_;
  std::span<const Node* const> nodes_;
  Step step_;
  std::vector<Known> known_;
  std::span<const Same> same_;
  std::vector<Cast> casts_;
  Pass::Register result_of_last_ = 0;
};

/// Goes through a block in order, with one open group of elementwise nodes.
class Fuser {
 public:
  Fuser(const Plan& plan, const Uses& uses) : plan_(plan), uses_(uses) {}

  StepBlock block(const Block& block) {
    StepBlock result;
    result.params = block.params;
    result.outputs = block.outputs;
    recomputed_ = Recomputed(block, plan_, uses_);
    for (const Node& node : block.nodes) {
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
    const bool effects = node.in_place || !node.regions.empty();
    // A reduction that has nothing to be fused with so far holds on to its operand for nothing.
    const bool waits = group_.size() == 1 && reductions_ == 1 && takes_memory(node);
    if (effects || waits || depends_on_group(node)) flush(steps);
    alone(node, steps);
  }

  static bool takes_memory(const Node& node) {
    return node.row->kind != Kind::view && node.row->kind != Kind::constant;
  }

  void alone(const Node& node, std::vector<Step>& steps) {
    Step step;
    step.kind = kind_of(node);
    step.row = node.row;
    step.attrs = node.attrs;
    step.path = node.path;
    step.ops = {node.row->name};
    step.in = node.in;
    step.out = node.out;
    step.in_place = node.in_place;
    for (const Slot slot : node.out) step.types.push_back(plan_.types[slot]);
    if (step.kind == Step::Kind::fold) step.lifted = lift(node.regions[0], plan_, step.captures);
    for (const Block& region : node.regions)
      step.regions.push_back(Fuser(plan_, uses_).block(region));
    if (step.kind == Step::Kind::loop) step.scalars = flatten(step, plan_);
    steps.push_back(std::move(step));
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
    group_.clear();
    registers_ = 0;
    reductions_ = 0;
  }

  void add_pass(std::span<const Node* const> nodes, std::vector<Step>& steps) {
    Step step = PassBuilder(plan_, uses_, recomputed_, nodes).build();
    if (!step.out.empty()) steps.push_back(std::move(step));
  }

  const Plan& plan_;
  const Uses& uses_;
  Recomputed recomputed_;
  /// Each needs room in the L1 cache beside the tiles.
  static constexpr std::size_t reductions_max = 4;

  std::vector<const Node*> group_;
  std::size_t registers_ = 0;
  std::size_t reductions_ = 0;
};

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

}  // namespace

std::optional<ops::Lifted> lift(const Block& region, const Plan& plan, Slots& captures) {
  std::vector<const Node*> nodes;
  std::vector<PassBuilder::Same> same;
  for (const Node& node : region.nodes) {
    const bool scalars = !node.in_place && node.regions.empty() &&
                         plan.types[node.out[0]].shape.empty() &&
                         std::all_of(node.in.begin(), node.in.end(),
                                     [&](Slot slot) { return plan.types[slot].shape.empty(); });
    if (!scalars) return std::nullopt;
    if (node.row->kind == Kind::elementwise) {
      nodes.push_back(&node);
    } else if (node.row->kind == Kind::constant || node.row->kind == Kind::view) {
      // A scalar seen as a scalar.
      Slot from = node.in[0];
      for (const PassBuilder::Same& earlier : same) {
        if (earlier.first == from) from = earlier.second;
      }
      same.emplace_back(node.out[0], from);
    } else {
      return std::nullopt;
    }
  }
  const Uses uses(region, plan.types.size());
  auto pass = PassBuilder(plan, uses, Recomputed(), nodes)
                  .lift(region.params, region.outputs[0], same, captures);
  if (!pass) return std::nullopt;
  const bool associative =
      region.nodes.size() == 1 && nodes.size() == 1 && is_associative(*nodes[0], region, plan);
  return ops::Lifted{std::move(*pass), associative};
}

StepBlock fuse(const Block& block, const Plan& plan) {
  const Uses uses(block, plan.types.size());
  return Fuser(plan, uses).block(block);
}

}  // namespace outrigger::engine
