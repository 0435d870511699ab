#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/overloaded.hpp"
#include "base/program.hpp"
#include "engine/planner/scalar_loop.hpp"
#include "ops/fold/fold.hpp"
#include "ops/op.hpp"
#include "ops/pass/pass.hpp"

// The steps of a plan. A step has its operands, its results, and the sources of their memory; each
// kind of step adds its own fields.

namespace outrigger::engine {

/// Index of a value in the frame of a running program.
using Slot = std::uint32_t;
using Slots = std::vector<Slot>;
/// The place of an instruction: its index, then (region, index) for each nesting.
using Path = std::vector<std::uint32_t>;

struct Chain;
struct StepBlock;

/// Positions of operands of a step. Only the first `positions_max` operands can be in it.
class OperandSet {
 public:
  static constexpr std::size_t positions_max = 64;

  bool has(std::size_t position) const {
    return position < positions_max && (bits_ >> position & 1) != 0;
  }
  void add(std::size_t position) {
    if (position < positions_max) bits_ |= std::uint64_t{1} << position;
  }

 private:
  std::uint64_t bits_ = 0;
};

/// The sources of a result's memory. The planner chooses the source of each result once. The
/// executor follows it (execute.cpp), and the peak counts it (peak.cpp).
namespace source {

/// New memory.
struct Fresh {};
/// The memory of the first donor that no other value sees and that no other result of the step has
/// taken; new memory if there is no such donor. The elements of the donor are read, not kept.
struct Donated {
  OperandSet donors;
};
/// The elements of the operand at that position, which the step then changes. They stay in their
/// memory if the operand `ends` with the step and no other value sees it; otherwise they are
/// copied.
struct Copied {
  std::uint32_t operand = 0;
  bool ends = false;
};
/// The result has the slot of an operand, and the step writes it in place. It gets a copy of the
/// memory first if another value sees it.
struct Written {};
/// A value that is a window onto the buffer of operand 0.
struct Viewed {};
/// The same, or a copy if the layout of operand 0 allows no such window.
struct Reshaped {};
/// A mutable view of operand 0: a window onto its storage.
struct Aliased {};
/// The scalar operand 0 in every position.
struct Repeated {};
/// A region of the step hands the value over.
struct HandedOver {};

}  // namespace source

using Source =
    std::variant<source::Fresh, source::Donated, source::Copied, source::Written, source::Viewed,
                 source::Reshaped, source::Aliased, source::Repeated, source::HandedOver>;

/// One result of a step.
struct Output {
  Slot slot = 0;
  Source source;

  template <typename S>
  bool is() const {
    return std::holds_alternative<S>(source);
  }
  /// True if the step makes the value; otherwise it writes an operand.
  bool made() const { return !is<source::Written>(); }
};

/// Elementwise instructions, and reductions behind them, over one iteration space. The operands are
/// the pass's inputs; the results are those of its stores, then those of its reductions.
struct PassStep {
  std::unique_ptr<ops::Pass> pass;
  /// Operands that end with the step. An operand that is named twice does not count.
  OperandSet ending = {};
};

/// A pass whose only result goes into a window of another operand, as put_slice puts it. The
/// operands are the pass's inputs, then the target, then the starts of the window.
struct PutPassStep {
  std::unique_ptr<ops::Pass> pass;
  OperandSet ending = {};  ///< as in PassStep

  std::size_t target() const { return pass->inputs; }
};

/// The attributes of an instruction that has none.
inline const Attrs no_attrs;

/// Another window onto operand 0.
struct ViewStep {
  const Attrs* attrs = &no_attrs;
};

/// A scalar, operand 0, in every position.
struct ConstantStep {};

/// An op that reads its operands and writes results of its own.
struct ComputeStep {
  const Attrs* attrs = &no_attrs;
  DType compute = DType::f32;  ///< ops::Inferred::compute
};

/// An op that changes some places of operand 0, or of a copy of it.
struct UpdateStep {
  const Attrs* attrs = &no_attrs;
  DType compute = DType::f32;  ///< ops::Inferred::compute
};

/// An elementwise region as a pass, with the scalars from outside that it reads.
struct LiftedRegion {
  ops::Lifted lifted;
  Slots captures;
};

/// reduce, window_reduce or map: a region of scalars is applied to elements.
struct FoldStep {
  const Attrs* attrs = &no_attrs;
  std::unique_ptr<StepBlock> region;
  /// Null if the region is not elementwise. Its steps are then carried out for each element.
  std::unique_ptr<LiftedRegion> lifted;
};

struct LoopStep {
  std::unique_ptr<StepBlock> condition;
  std::unique_ptr<StepBlock> body;
  /// The loop without tensors; null if it does more than passes over scalars.
  std::unique_ptr<ScalarLoop> scalars;
  OperandSet ending = {};  ///< as in PassStep
};

/// A kernel of the user. Its results are the declared ones, the `new` tensors, then each operand
/// that it writes, in place or as a new value.
struct KernelStep {
  const kernel::Machine* machine = nullptr;
  std::uint64_t memory = 0;  ///< bytes of its scratch, local arrays and registers
};

/// A scalar, operand 0, selects one of two regions.
struct BranchStep {
  std::unique_ptr<StepBlock> on_true;
  std::unique_ptr<StepBlock> on_false;
};

/// Steps that are carried out together, block of rows by block (engine/planner/chain.hpp).
struct ChainStep {
  std::unique_ptr<StepBlock> members;
  std::shared_ptr<const Chain> chain;
};

/// The unit that the executor carries out.
struct Step {
  using Kind = std::variant<PassStep, PutPassStep, ViewStep, ConstantStep, ComputeStep, UpdateStep,
                            FoldStep, LoopStep, BranchStep, KernelStep, ChainStep>;

  /// The op and the place of the instruction that errors name: of several, the last one.
  const ops::OpRow* row = nullptr;
  Path path;
  /// Names of the instructions that it carries out, cut to profiled_ops_max.
  std::vector<std::string_view> ops;
  Slots in;
  std::vector<Output> out;
  /// Slots that no step uses after this one.
  Slots dead;
  Kind kind;

  template <typename K>
  bool is() const {
    return std::holds_alternative<K>(kind);
  }
  /// The step as one of that kind; null if it is of another kind.
  template <typename K>
  const K* as() const {
    return std::get_if<K>(&kind);
  }
};

/// A region as steps, or the whole program.
struct StepBlock {
  Slots params;
  std::vector<Step> steps;
  Slots outputs;
  /// For each output, whether the block hands it over: it owns the value (a parameter, or a value
  /// that it makes), and no later output is the same value.
  std::vector<bool> hands_over;
};

/// Calls f for each region of the step, in the order of the instruction's regions.
template <typename AnyStep, typename F>
void for_each_region(AnyStep& step, const F& f) {
  std::visit(
      [&](auto& kind) {
        using K = std::remove_cvref_t<decltype(kind)>;
        if constexpr (std::is_same_v<K, FoldStep>) {
          f(*kind.region);
        } else if constexpr (std::is_same_v<K, LoopStep>) {
          f(*kind.condition);
          f(*kind.body);
        } else if constexpr (std::is_same_v<K, BranchStep>) {
          f(*kind.on_true);
          f(*kind.on_false);
        } else if constexpr (std::is_same_v<K, ChainStep>) {
          f(*kind.members);
        }
      },
      step.kind);
}

/// True if the step has regions.
bool has_regions(const Step& step);

/// True if the step writes an operand, or makes a view through which one is written.
bool has_effects(const Step& step);

/// True if no step uses the slot after this one.
bool ends_in(const Step& step, Slot slot);

/// Operands that see memory of a result and do not keep the step from writing it: they end with the
/// step, and the step reads them as they were.
OperandSet ending_views(const Step& step);

/// All slots that the step uses, those that its regions use included.
void collect_uses(const Step& step, Slots& uses);

/// True if a step of the block makes the slot: the slot is no parameter, and is not captured from
/// outside.
bool made_in(const StepBlock& block, Slot slot);

}  // namespace outrigger::engine
