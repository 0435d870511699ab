#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/planner/plan.hpp"

namespace outrigger::engine {

/// Steps that follow one another and need, for some rows of their results along an axis, only the
/// same rows of each other's: they are carried out together, a block of rows after the other, so
/// that what only they use stays in the cache and is never in memory as a whole. Softmax along rows
/// is an example, the distances of a k-means another. Every bit is what it would be without.
struct Chain {
  /// A value that a member makes. Its rows lie along `axis`.
  struct Value {
    Slot slot = 0;
    std::size_t axis = 0;
    /// Used outside of the chain.
    bool escapes = false;
    /// Its rows are put where they belong right away; others are made in a temporary.
    bool direct = false;
    /// Position among the step's results, if it escapes.
    std::optional<std::uint32_t> result = {};
  };
  /// An operand: a value of the chain, or one from outside, of which a block needs its rows along
  /// `axis`, or all.
  struct Operand {
    std::optional<std::uint32_t> value = {};
    std::optional<std::size_t> axis = {};
    std::uint32_t outside = 0;  ///< position among the step's operands
  };
  struct Member {
    std::vector<Operand> in;
    /// Positions in `values`.
    std::vector<std::uint32_t> out;
    /// A pass over the rows of a block, and over those of the last one.
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

/// Puts steps of the block, and of the regions in it, together to chains where that is worth it.
void form_chains(StepBlock& block, const Plan& plan, int threads, const ChainRules& rules,
                 PlanningSteps& watch);

/// Bytes of the temporaries that a chain takes, at most.
std::uint64_t chain_scratch(const Step& step, const Plan& plan, int threads);

/// Carries out a chain. `in` are its operands and `out` its results. Errors: those of its members.
Result<void> run_chain(ops::Context& context, const Plan& plan, const Step& step,
                       std::span<const Tensor> in, std::span<const Tensor> out);

}  // namespace outrigger::engine
