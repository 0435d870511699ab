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
#include "engine/planner/step.hpp"
#include "ops/op.hpp"
#include "ops/support/context.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::engine {

struct Block;

/// One instruction with its types resolved, before fusion.
struct Node {
  const ops::OpRow* row = nullptr;
  const Attrs* attrs = &no_attrs;
  Path path;
  Slots in;
  Slots out;
  ops::Inferred inferred;
  /// The instruction writes the operand that its row names, or makes a mutable view of it.
  bool in_place = false;
  /// With `kernel` only.
  KernelStep kernel = {};
  std::vector<Block> regions;
};

/// A region with its types resolved.
struct Block {
  Slots params;
  std::vector<Node> nodes;
  Slots outputs;
};

/// The type of each slot. Slots of the same type share one entry.
class TypeTable {
 public:
  /// References stay valid.
  const TensorType& operator[](Slot slot) const { return distinct_[positions_[slot]]; }
  std::size_t size() const { return positions_.size(); }
  Slot add(const TensorType& type);
  /// Ends the additions, and frees what only add() needs.
  void finish();
  std::uint64_t held_bytes() const;

 private:
  std::vector<std::uint32_t> positions_;
  std::deque<TensorType> distinct_;
  std::unordered_multimap<std::size_t, std::uint32_t> by_hash_;
};

/// The properties of a number that decide dtypes. Numbers of one class share a plan.
struct NumberClass {
  std::uint8_t kind = 0;  ///< the alternative of Number; u64 only beyond s64
  std::uint8_t bits = 0;  ///< of an integer: the bits of the magnitude
  bool negative = false;  ///< of an integer
  friend bool operator==(const NumberClass&, const NumberClass&) = default;
};
NumberClass class_of(const Number& number);

/// An argument that is a number without a dtype, by its position.
using NumberArgument = std::pair<std::uint32_t, Number>;

/// An op, by its position in ops::all_ops(), and the number of its instructions in a program.
struct OpUse {
  std::uint16_t op = 0;
  std::uint32_t count = 0;
};
/// The most frequent ones first.
using OpUses = std::vector<OpUse>;
/// The ops of a program and of the programs that it calls. An instruction in a loop counts once.
OpUses op_uses(const Program& program);

/// A program made ready for arguments of certain types: immutable, shared, run many times.
struct Plan {
  std::size_t argument_count() const { return main.params.size(); }
  /// The type of an argument. The type of a number is the one that the number has alone.
  const TensorType& argument(std::size_t position) const { return types[main.params[position]]; }

  std::vector<TensorType> results;
  /// Results that are mutable views: their memory stays shared.
  std::vector<bool> result_aliases;
  /// Arguments that the program writes in place, by position.
  std::vector<bool> written;
  TypeTable types;
  /// Scalars, by their position in the buffer `constant_values`.
  std::vector<std::pair<Slot, std::uint32_t>> constants;
  StoragePtr constant_values;
  /// The arguments that are numbers, by position in their order.
  std::vector<std::pair<std::uint32_t, NumberClass>> numbers;
  /// Scalars of such an argument in a dtype, by position in `numbers`.
  std::vector<std::pair<Slot, std::uint32_t>> number_values;
  StepBlock main;
  /// A bound of the memory that a run takes, for every layout of the arguments.
  Peak peak;
  /// A bound of the element operations; the largest number if the plan has a loop.
  std::uint64_t work = 0;
  std::shared_ptr<const OpUses> op_uses;
  /// Keeps the instructions' attributes alive.
  std::shared_ptr<const Program> program;
  /// Counts the plan in the budget of `Kept` if the session keeps it, and in the memory limit if it
  /// does not.
  Kept::Charge kept;
  MemoryCharge used;
};

/// True if the plan is for numbers of these classes at these positions.
bool fits_numbers(const Plan& plan, std::span<const NumberArgument> numbers);

/// Bytes that each scalar has in a buffer of scalars.
inline constexpr std::size_t scalar_bytes = 16;
/// The scalar at that position of a buffer of scalars.
Tensor scalar_at(const StoragePtr& scalars, std::uint32_t position, const TensorType& type);

/// Bytes that a plan takes, without its constants and without machine code.
std::uint64_t held_bytes(const Plan& plan);

/// A bound of the bytes that the planner takes for a program of so many instructions and operands.
std::uint64_t planning_bytes(std::uint64_t instructions, std::uint64_t operands);

/// The conditions for a chain of steps (engine/planner/chain.hpp).
struct ChainRules {
  /// Bytes of values that the chain keeps out of memory. Fewer bytes stay in the caches of the
  /// cores in any case.
  std::int64_t saved_bytes_min = 0;
  /// Bytes of all values' rows in a block: they stay in the cache of a core.
  std::int64_t block_bytes = 0;
  std::int64_t rows_min = 16;

  /// The rules for this machine and a team of so many threads.
  static ChainRules usual(int threads);
};

/// The types of a program's arguments, made one at a time: there may be many.
class ArgumentTypes {
 public:
  ArgumentTypes(std::size_t count, std::function<TensorType(std::size_t)> at)
      : count_(count), at_(std::move(at)) {}
  /// A list, which must outlive this object.
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
  /// Arguments that are numbers, in the order of their positions. The plan also fits other numbers
  /// of the same class.
  std::span<const NumberArgument> numbers = {};
  std::optional<ChainRules> chains = {};
};

/// Thrown from within the planner when its interrupt is raised; make_plan catches it.
struct PlanningInterrupted {};

/// Looks at the interrupt at regular intervals. The planner calls step() once for each instruction,
/// operand or step that it looks at.
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

/// Checks the whole program against the types of its arguments, and plans it. Nothing is executed.
/// Errors: the codes of PROTOCOL.md for programs, with path and op; cancelled, deadline_exceeded.
/// Throws std::bad_alloc.
Result<std::shared_ptr<Plan>> make_plan(Memory& memory, std::shared_ptr<const Program> program,
                                        const ArgumentTypes& arguments, const Planning& planning);

// The planner's stages, in their order.

/// Resolves ids and operands, and infers types. Fills types, constants and results of the plan.
Result<Block> resolve(Memory& memory, const Program& program, const ArgumentTypes& arguments,
                      std::span<const NumberArgument> numbers, Plan& plan, PlanningSteps& steps);
/// Groups elementwise nodes, and the reductions behind them, into passes.
StepBlock fuse(const Block& block, const Plan& plan, PlanningSteps& steps);
/// Finds last uses, the memory that results may take, the peak of memory, and the amount of work.
void find_lifetimes(Plan& plan, int threads, PlanningSteps& steps);

}  // namespace outrigger::engine
