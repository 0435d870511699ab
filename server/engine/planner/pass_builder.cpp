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
      : plan_(plan), uses_(uses), recomputed_(recomputed), nodes_(nodes) {}

  Step build() {
    const Node& last = *nodes_.back();
    pass_.space = space_of(*nodes_.front(), plan_);
    collect_inputs();
    for (const Node* node : nodes_) {
      if (!is_reduction(*node)) add(*node);
    }
    for (const Node* node : nodes_) {
      if (!node->in_place && !is_reduction(*node) && escapes(*node))
        store(find(node->out[0])->reg, node->out[0], source::Donated{});
    }
    for (const Node* node : nodes_) {
      if (is_reduction(*node)) reduce(*node);
    }
    if (last.in_place) store(result_of_last_, last.out[0], source::Written{});
    pass_.finish();
    Step step;
    step.row = last.row;
    step.path = last.path;
    for (const Node* node :
         nodes_.first(std::min<std::size_t>(nodes_.size(), Limits::profiled_ops_max)))
      step.ops.push_back(node->row->name);
    step.in = std::move(in_);
    step.out = std::move(out_);
    step.kind = PassStep{std::make_unique<Pass>(std::move(pass_))};
    return step;
  }

  std::optional<LiftedPass> lift(const Slots& params, Slot output, std::span<const Same> same) {
    same_ = same;
    for (const Slot slot : params) add_input(slot);
    collect_inputs();
    if (!produced_here(root(output)) && find(root(output)) == nullptr) add_input(root(output));
    pass_.inputs = static_cast<std::uint16_t>(in_.size());
    for (const Node* node : nodes_) add(*node);
    pass_.stores.push_back(find(root(output))->reg);
    if (pass_.registers.size() > ops::pass_registers_max) return std::nullopt;
    pass_.finish();
    Slots captures(in_.begin() + static_cast<std::ptrdiff_t>(params.size()), in_.end());
    return LiftedPass{std::move(pass_), std::move(captures)};
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

  /// True if the node reads the operand's elements; some operands count with their shape only.
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
    pass_.inputs = static_cast<std::uint16_t>(in_.size());
  }

  void add_input(Slot slot) {
    in_.push_back(slot);
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
    pass_.registers.push_back(dtype);
    return static_cast<Pass::Register>(pass_.registers.size() - 1);
  }

  Pass::Register micro_op(const ops::Kernel& kernel, DType result,
                          std::initializer_list<Pass::Register> in) {
    Pass::MicroOp op{.run = kernel.run,
                     .out = new_register(result),
                     .arity = static_cast<std::uint8_t>(in.size()),
                     .record = kernel.record};
    std::copy(in.begin(), in.end(), op.in.begin());
    // Unused operands name a register too: this is cheaper than a branch for each tile.
    std::fill(op.in.begin() + op.arity, op.in.end(), op.arity == 0 ? op.out : op.in[0]);
    pass_.micro_ops.push_back(op);
    return op.out;
  }

  /// The register of an operand in the dtype that the node wants.
  Pass::Register operand(const Node& node, std::size_t i) {
    const Known& known = *find(root(node.in[i]));
    const DType has = pass_.registers[known.reg];
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
    const DType has = pass_.registers[from];
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
    // The operands that are not read name a register that is there.
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

  /// True if a node outside of the group, or an output, needs the node's result.
  bool escapes(const Node& node) const {
    if (recomputed_.maker(node.out[0]) != nullptr) return false;
    std::uint32_t inside = 0;
    for (const Node* other : nodes_) {
      inside +=
          static_cast<std::uint32_t>(std::count(other->in.begin(), other->in.end(), node.out[0]));
    }
    return uses_.of(node.out[0]) > inside;
  }

  void store(Pass::Register from, Slot slot, Source source) {
    pass_.stores.push_back(from);
    out_.push_back({slot, source});
  }

  void reduce(const Node& node) {
    const ops::Reduction reduction = reduction_of(node, plan_);
    pass_.reductions.push_back({find(node.in[0])->reg, reduction.reducer});
    pass_.folding = reduction.folding;
    out_.push_back({node.out[0], source::Fresh{}});
  }

  const Plan& plan_;
  const Uses& uses_;
  const Recomputed& recomputed_;
  std::span<const Node* const> nodes_;
  Pass pass_;
  Slots in_;
  std::vector<Output> out_;
  std::vector<Known> known_;
  std::span<const Same> same_;
  std::vector<Cast> casts_;
  Pass::Register result_of_last_ = 0;
};

}  // namespace

ops::Reduction reduction_of(const Node& node, const Plan& plan) {
  return node.row->reduction(plan.types[node.in[0]], node.inferred.raw[0],
                             ops::AttrView(*node.attrs));
}

Step build_pass(const Plan& plan, const Uses& uses, const Recomputed& recomputed,
                std::span<const Node* const> nodes) {
  return PassBuilder(plan, uses, recomputed, nodes).build();
}

Step put_pass(Step pass, const Node& put) {
  Step step = std::move(pass);
  step.row = put.row;
  step.path = put.path;
  if (step.ops.size() < Limits::profiled_ops_max) step.ops.push_back(put.row->name);
  const auto target = static_cast<std::uint32_t>(step.in.size());
  step.in.push_back(put.in[0]);
  step.in.insert(step.in.end(), put.in.begin() + 2, put.in.end());
  step.out.assign(1,
                  {put.out[0], put.in_place ? Source(source::Written{}) : source::Copied{target}});
  step.kind = PutPassStep{std::move(std::get<PassStep>(step.kind).pass)};
  return step;
}

std::optional<LiftedPass> lift_pass(const Plan& plan, const Uses& uses,
                                    std::span<const Node* const> nodes, const Slots& params,
                                    Slot output, std::span<const Same> same) {
  return PassBuilder(plan, uses, Recomputed(), nodes).lift(params, output, same);
}

}  // namespace outrigger::engine
