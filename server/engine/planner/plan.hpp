#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <boost/container/small_vector.hpp>

#include "base/error.hpp"
#include "base/program.hpp"
#include "engine/planner/peak.hpp"
#include "engine/planner/scalar_loop.hpp"
#include "ops/fold/fold.hpp"
#include "ops/op.hpp"
#include "ops/pass/pass.hpp"
#include "ops/support/context.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::engine {

/// Index of a value in the frame of a running program.
using Slot = std::uint32_t;
using Slots = std::vector<Slot>;
/// Where an instruction stands: index, then (region, index) for each nesting.
using Path = std::vector<std::uint32_t>;

struct Block;
struct Chain;

/// One instruction with its types resolved, before fusion.
struct Node {
  const ops::OpRow* row = nullptr;
  /// Null for the casts that the planner adds.
  const Attrs* attrs = nullptr;
  Path path;
  Slots in;
  Slots out;
  ops::Inferred inferred;
  /// Writes into this operand's memory (or makes a mutable view of it).
  bool in_place = false;
  std::vector<Block> regions;
};

/// A region with its types resolved.
struct Block {
  Slots params;
  std::vector<Node> nodes;
  Slots outputs;
};

struct StepBlock;

/// One thing that the executor does.
struct Step {
  enum class Kind : std::uint8_t {
    pass,
    put_pass,  ///< a pass whose only result is put into a window, by the put_slice that follows it
    view,
    constant,
    compute,
    update,
    fold,
    loop,
    branch,
    chain
  };
  Kind kind = Kind::compute;
  const ops::OpRow* row = nullptr;
  const Attrs* attrs = nullptr;
  /// The instruction's ops::Inferred::compute.
  DType compute = DType::f32;
  Path path;
  /// Names of the instructions that it carries out: several in a pass. Cut to profiled_ops_max.
  std::vector<std::string_view> ops;
  Slots in;
  Slots out;
  /// Pass: `out` belong to the pass's stores, then to its reductions; they are in-place targets
  /// from this position on. Put_pass: the operands behind the pass's inputs are the target, which
  /// is written, and the window's starts. Others: in[row->in_place] is written.
  bool in_place = false;
  std::uint16_t fresh_outputs = 0;
  /// Pass and put_pass; null for others.
  std::unique_ptr<ops::Pass> pass;
  std::vector<StepBlock> regions;
  /// Fold: the region as a pass, if it is elementwise, and the scalars from outside that it reads.
  std::unique_ptr<ops::Lifted> lifted;
  Slots captures;
  /// Chain: how the steps of the region are carried out together.
  std::shared_ptr<const Chain> chain;
  /// Loop: without tensors, if nothing but scalars is in it.
  std::unique_ptr<ScalarLoop> scalars;
  /// Bit i: in[i] is not used after this step. Only the first 64 operands count.
  std::uint64_t dies = 0;
  /// Slots that nobody needs after this step.
  Slots dead;
};

/// How many of the step's leading outputs are values that it makes; the others are operands written
/// in place.
inline std::size_t fresh_outputs(const Step& step) {
  if (step.kind == Step::Kind::pass) return step.fresh_outputs;
  return step.in_place && step.kind != Step::Kind::view ? 0 : step.out.size();
}

/// The operand that a put_pass puts its result into.
inline Slot put_target(const Step& step) { return step.in[step.pass->inputs]; }

/// The attributes of the instruction; none for a cast that the planner added.
ops::AttrView attrs_of(const Step& step);

/// Whether operand `position` is not used after the step.
inline bool dies(const Step& step, std::size_t position) {
  return position < 64 && (step.dies >> position & 1) != 0;
}

/// Whether nobody needs the slot after the step.
inline bool ends_in(const Step& step, Slot slot) {
  return std::find(step.dead.begin(), step.dead.end(), slot) != step.dead.end();
}

/// Whether a result may take the memory of operand `position`, of that type, as far as the plan
/// knows: the operand dies and has the result's form.
bool may_take(const Step& step, std::size_t position, const TensorType& type,
              const TensorType& result);

/// Whether output `o` of a pass, of the type `result`, may take the memory of input `donor` as far
/// as the plan knows: the input dies and has the output's form, and no other output is written
/// there or stores that input as it is.
bool may_donate(const Step& step, std::size_t donor, const TensorType& type, std::size_t o,
                const TensorType& result);

struct StepBlock {
  Slots params;
  std::vector<Step> steps;
  Slots outputs;
  /// For each output, whether the block hands it over: it owns the value (a parameter, or made in
  /// it), and no later output is the same.
  std::vector<bool> hands_over;
};

/// Whether a step of the block makes the slot: it is no parameter, and not captured from outside.
bool made_in(const StepBlock& block, Slot slot);

/// The type of each slot. Most are the same as others': each is held once.
class TypeTable {
 public:
  /// References stay valid.
  const TensorType& operator[](Slot slot) const { return distinct_[positions_[slot]]; }
  std::size_t size() const { return positions_.size(); }
  Slot add(const TensorType& type);
  /// No more will be added.
  void finish();
  std::uint64_t held_bytes() const;

 private:
  std::vector<std::uint32_t> positions_;
  std::deque<TensorType> distinct_;
  std::unordered_multimap<std::size_t, std::uint32_t> by_hash_;
};

/// All that matters of a number to the dtypes that it leads to: numbers of one class share a plan.
struct NumberClass {
  std::uint8_t kind = 0;  ///< of Number's alternatives; u64 only beyond s64
  std::uint8_t bits = 0;  ///< integers: of the magnitude
  bool negative = false;  ///< integers
  friend bool operator==(const NumberClass&, const NumberClass&) = default;
};
NumberClass class_of(const Number& number);

/// An argument that is a number of no fixed dtype, by its position.
using NumberArgument = std::pair<std::uint32_t, Number>;

/// A program made ready for arguments of certain types: immutable, shared, run many times.
struct Plan {
  std::size_t argument_count() const { return main.params.size(); }
  /// An argument's type; of a number, what it has alone.
  const TensorType& argument(std::size_t position) const { return types[main.params[position]]; }

  std::vector<TensorType> results;
  /// Results that are mutable views: their memory stays shared.
  std::vector<bool> result_aliases;
  /// Arguments that the program writes in place, by position.
  std::vector<bool> written;
  TypeTable types;
  /// Scalars, one beside the other in one buffer.
  std::vector<std::pair<Slot, std::uint32_t>> constants;
  StoragePtr constant_values;
  /// The arguments that are numbers, by position in their order.
  std::vector<std::pair<std::uint32_t, NumberClass>> numbers;
  /// Scalars of such an argument in a dtype, by position in `numbers`.
  std::vector<std::pair<Slot, std::uint32_t>> number_values;
  StepBlock main;
  /// What running it may take, whatever the arguments' layout.
  Peak peak;
  /// Element operations, at most; the largest number if a loop is in it.
  std::uint64_t work = 0;
  /// Keeps the instructions' attributes alive.
  std::shared_ptr<const Program> program;
  /// Counts the plan among what is kept, or for as long as it is in use.
  Kept::Charge kept;
  MemoryCharge used;
};

/// Whether the plan is for numbers of these classes at these positions.
bool fits_numbers(const Plan& plan, std::span<const NumberArgument> numbers);

/// Bytes that each scalar has in a buffer of scalars.
inline constexpr std::size_t scalar_bytes = 16;
/// The scalar at that position of a buffer of scalars.
Tensor scalar_at(const StoragePtr& scalars, std::uint32_t position, const TensorType& type);

/// Bytes that a plan takes, those of its constants and of machine code aside.
std::uint64_t held_bytes(const Plan& plan);

/// Bytes that it takes to plan a program of so many instructions and operands, at most.
std::uint64_t planning_bytes(std::uint64_t instructions, std::uint64_t operands);

/// When steps become a chain (engine/planner/chain.hpp).
struct ChainRules {
  /// What it keeps out of memory, at least: less stays in the caches of the cores anyway.
  std::int64_t saved_bytes_min = 0;
  /// What a block's rows of all values may take: they stay in the cache of a core.
  std::int64_t block_bytes = 0;
  std::int64_t rows_min = 16;

  /// For this machine and a team of so many threads.
  static ChainRules usual(int threads);
};

/// The types of a program's arguments, told one by one: there may be many.
class ArgumentTypes {
 public:
  ArgumentTypes(std::size_t count, std::function<TensorType(std::size_t)> at)
      : count_(count), at_(std::move(at)) {}
  /// A list, which must outlive it.
  template <typename List>
  requires std::constructible_from < std::span<const TensorType>,
  const List& > ArgumentTypes(const List& list)  // NOLINT(google-explicit-constructor)
      : count_(std::span<const TensorType>(list).size()),
  at_([types = std::span<const TensorType>(list)](std::size_t i) { return types[i]; }) {}

  std::size_t size() const { return count_; }
  TensorType operator[](std::size_t position) const { return at_(position); }

 private:
  std::size_t count_;
  std::function<TensorType(std::size_t)> at_;
};

/// The properties, beside the types of its arguments, that a plan is made for.
struct Planning {
  int threads = 1;
  /// Ends the planning when it is raised.
  const ops::Interrupt* interrupt = nullptr;
  /// Arguments that are numbers, in the order of their positions. The plan fits others of the same
  /// class.
  std::span<const NumberArgument> numbers = {};
  std::optional<ChainRules> chains = {};
};

/// Thrown from within the planner when its interrupt is raised; make_plan catches it.
struct PlanningInterrupted {};

/// Looks at the interrupt now and then. The planner calls it once for each thing that it looks at.
class PlanningSteps {
 public:
  explicit PlanningSteps(const ops::Interrupt* interrupt) : interrupt_(interrupt) {}
  void step() {
    constexpr std::uint64_t unwatched = 64;
    if (++count_ % unwatched == 0 && interrupt_ != nullptr && interrupt_->raised())
      throw PlanningInterrupted();
  }

 private:
  const ops::Interrupt* interrupt_;
  std::uint64_t count_ = 0;
};

/// Checks the program wholly against the types of its arguments and plans it. Nothing is executed.
/// Errors: every code of PROTOCOL.md that speaks of programs, with path and op; cancelled,
/// deadline_exceeded. Throws std::bad_alloc.
Result<std::shared_ptr<Plan>> make_plan(Memory& memory, std::shared_ptr<const Program> program,
                                        const ArgumentTypes& arguments, const Planning& planning);

/// The form of a program that does not depend on types: ids, regions, op names, attributes.
Result<void> check_program(const Program& program);

/// Numbers of operands, results and regions against the op's row; whether it can be done in place.
/// Errors: bad_program.
Result<void> check_counts(const ops::OpRow& row, const Instruction& instruction);

/// A `call`: whether it is bound to a program, and as many operands and results as that has.
/// Errors: unknown_program, bad_program.
Result<void> check_call(const Instruction& instruction);

// The planner's stages, in their order.

/// Resolves ids and operands, infers types. Fills types, constants and results of the plan.
Result<Block> resolve(Memory& memory, const Program& program, const ArgumentTypes& arguments,
                      std::span<const NumberArgument> numbers, Plan& plan, PlanningSteps& steps);
/// Groups elementwise nodes, and the reductions behind them, into passes.
StepBlock fuse(const Block& block, const Plan& plan, PlanningSteps& steps);
/// All slots that a step uses, those that its regions do included.
void collect_uses(const Step& step, std::vector<Slot>& uses);
/// Finds last uses, the peak of memory and the amount of work.
void find_lifetimes(Plan& plan, int threads, PlanningSteps& steps);

}  // namespace outrigger::engine
