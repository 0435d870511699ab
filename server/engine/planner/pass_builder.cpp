#include "engine/planner/pass_builder.hpp"

#include <algorithm>
#include <array>

#include "ops/cast/cast.hpp"

namespace outrigger::engine {
namespace {

using ops::Pass;

class PassBuilder {
 public:
  PassBuilder(const Plan& plan, const Uses& uses, const Recomputed& recomputed,
              std::span<const Node* const> nodes)
      : plan_(plan), uses_(uses), recomputed_(recomputed), nodes_(nodes) {
    step_.pass = std::make_unique<Pass>();
  }

  Step build() {
    step_.kind = Step::Kind::pass;
    step_.row = nodes_.back()->row;
    step_.attrs = nodes_.back()->attrs;
    step_.path = nodes_.back()->path;
    for (const Node* node :
         nodes_.first(std::min<std::size_t>(nodes_.size(), Limits::profiled_ops_max)))
      step_.ops.push_back(node->row->name);
    step_.pass->space = space_of(*nodes_.front(), plan_);
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
    step_.pass->finish();
    return std::move(step_);
  }

  std::optional<Pass> lift(const Slots& params, Slot output, std::span<const Same> same,
                           Slots& captures) {
    same_ = same;
    for (const Slot slot : params) add_input(slot);
    collect_inputs();
    if (!produced_here(root(output)) && find(root(output)) == nullptr) add_input(root(output));
    step_.pass->inputs = static_cast<std::uint16_t>(step_.in.size());
    for (const Node* node : nodes_) add(*node);
    step_.pass->stores.push_back(find(root(output))->reg);
    if (step_.pass->registers.size() > ops::pass_registers_max) return std::nullopt;
    step_.pass->finish();
    captures.assign(step_.in.begin() + static_cast<std::ptrdiff_t>(params.size()), step_.in.end());
    return std::move(*step_.pass);
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
    step_.pass->inputs = static_cast<std::uint16_t>(step_.in.size());
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
    step_.pass->registers.push_back(dtype);
    return static_cast<Pass::Register>(step_.pass->registers.size() - 1);
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
    step_.pass->micro_ops.push_back(op);
    return op.out;
  }

  /// The register of an operand, cast as the node wants it.
  Pass::Register operand(const Node& node, std::size_t i) {
    const Known& known = *find(root(node.in[i]));
    const DType has = step_.pass->registers[known.reg];
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
    const DType has = step_.pass->registers[from];
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
    step_.pass->stores.push_back(node.in_place ? result_of_last_ : find(slot)->reg);
    step_.out.push_back(slot);
  }

  void reduce(const Node& node) {
    const ops::Reduction reduction = reduction_of(node, plan_);
    step_.pass->reductions.push_back({find(node.in[0])->reg, reduction.reducer});
    step_.pass->folding = reduction.folding;
    step_.out.push_back(node.out[0]);
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

}  // namespace

ops::Reduction reduction_of(const Node& node, const Plan& plan) {
  static const Attrs none;
  return node.row->reduction(plan.types[node.in[0]], node.inferred.raw[0],
                             ops::AttrView(node.attrs == nullptr ? none : *node.attrs));
}

Step build_pass(const Plan& plan, const Uses& uses, const Recomputed& recomputed,
                std::span<const Node* const> nodes) {
  return PassBuilder(plan, uses, recomputed, nodes).build();
}

Step put_pass(Step pass, const Node& put) {
  pass.kind = Step::Kind::put_pass;
  pass.row = put.row;
  pass.attrs = put.attrs;
  pass.path = put.path;
  if (pass.ops.size() < Limits::profiled_ops_max) pass.ops.push_back(put.row->name);
  pass.in.push_back(put.in[0]);
  pass.in.insert(pass.in.end(), put.in.begin() + 2, put.in.end());
  pass.out = put.out;
  pass.in_place = put.in_place;
  return pass;
}

std::optional<Pass> lift_pass(const Plan& plan, const Uses& uses,
                              std::span<const Node* const> nodes, const Slots& params, Slot output,
                              std::span<const Same> same, Slots& captures) {
  return PassBuilder(plan, uses, Recomputed(), nodes).lift(params, output, same, captures);
}

}  // namespace outrigger::engine
