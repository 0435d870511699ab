#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/planner/plan.hpp"

namespace outrigger::engine {

/// Steps that follow one another and need, for some rows of their results along an axis, only the
/// same rows of each other. They are carried out together, one block of rows after the other, so
/// that the values between them stay in the cache and are never in memory as a whole. Softmax along
/// rows is an example; the distances of a k-means are another. Every bit is the same as without the
/// chain.
struct Chain {
  /// A value that a member makes. Its rows lie along `axis`.
  struct Value {
    Slot slot = 0;
    std::size_t axis = 0;
    /// A step outside of the chain uses the value.
    bool escapes = false;
    /// The member writes the rows to their place in the result. The rows of other values are made
    /// in a temporary.
    bool direct = false;
    /// Position among the step's results, if the value escapes.
    std::optional<std::uint32_t> result = {};
  };
  /// An operand: a value of the chain, or a value from outside. A block needs its rows along
  /// `axis`, or all rows.
  struct Operand {
    std::optional<std::uint32_t> value = {};
    std::optional<std::size_t> axis = {};
    std::uint32_t outside = 0;  ///< position among the step's operands
  };
  struct Member {
    std::vector<Operand> in;
    /// Positions in `values`.
    std::vector<std::uint32_t> out;
    /// A pass over the rows of a block, and a pass over the rows of the last block.
    ops::Pass pass;
    ops::Pass last_pass;
  };

  std::int64_t rows = 0;
  std::int64_t block_rows = 0;
  std::vector<Value> values;
  /// One for each step of the chain's region.
  std::vector<Member> members;

  std::int64_t blocks() const { return (rows + block_rows - 1) / block_rows; }
  std::int64_t rows_of(std::int64_t block) const {
    return block + 1 < blocks() ? block_rows : rows - block * block_rows;
  }
};

/// The type of some rows along an axis.
TensorType rows_of(TensorType type, std::size_t axis, std::int64_t rows);

/// Makes chains of steps of the block, and of the regions in it, where the rules allow it.
void form_chains(StepBlock& block, const Plan& plan, int threads, const ChainRules& rules,
                 PlanningSteps& watch);

/// A bound of the bytes of the temporaries that a chain takes.
std::uint64_t chain_scratch(const ChainStep& step, const Plan& plan, int threads);

/// Carries out a chain. `in` are its operands and `out` its results. Errors: those of its members.
Result<void> run_chain(ops::Context& context, const Plan& plan, const ChainStep& step,
                       std::span<const Tensor> in, std::span<const Tensor> out);

}  // namespace outrigger::engine
