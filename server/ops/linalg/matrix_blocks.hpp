#pragma once

#include "ops/linalg/matrices.hpp"

namespace outrigger::ops {

/// Some matrices of a batch in the form for LAPACK's functions: operands in C order and in the
/// dtype of the computation, and memory for the results. The first axis counts the matrices.
struct MatrixBlock : RunCall {
  const Tensor& whole;  ///< operand 0 of the op
  std::int64_t first;   ///< position in the batch
};

/// The text "the matrix", or, in a batch, one that names the matrix at `index` of the block.
std::string matrix_text(const MatrixBlock& block, std::int64_t index);

using MatrixRun = Result<void> (*)(const MatrixBlock& block);
/// The temporaries of a MatrixRun. The operands of a block are plain.
using MatrixScratch = std::uint64_t (*)(const ScratchCall& block);

/// Runs an op over matrices, which are in the last two axes of operand 0. An operand with another
/// layout or dtype is copied and converted for some matrices at a time: at least one for each
/// thread, if there are enough. Errors: those of `run`, out_of_memory, cancelled,
/// deadline_exceeded.
Result<void> run_by_blocks(const RunCall& call, MatrixRun run);
std::uint64_t scratch_by_blocks(const ScratchCall& call, MatrixScratch scratch);

/// The row of an op over matrices.
template <MatrixRun run, MatrixScratch scratch>
OpRow matrix_row(std::string_view name, Result<Inferred> (*infer)(const InferCall&),
                 std::vector<OperandSpec> operands, std::vector<AttrSpec> attrs, int results,
                 std::string_view doc) {
  return OpRow{.name = name,
               .family = "linalg",
               .kind = Kind::compute,
               .operands = std::move(operands),
               .attrs = std::move(attrs),
               .results = results,
               .any_dtype = true,
               .cost = Cost::quadratic,
               .infer = infer,
               .run = [](const RunCall& call) { return run_by_blocks(call, run); },
               .scratch = [](const ScratchCall& call) { return scratch_by_blocks(call, scratch); },
               .doc = doc};
}

}  // namespace outrigger::ops
