#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/error.hpp"
#include "ops/pass/pass.hpp"
#include "ops/support/context.hpp"

// Passes that overwrite inputs at other positions than those of the results, for example one step
// of a stencil in place. ops/pass/pass.cpp calls these functions.

namespace outrigger::ops {

/// A pass that writes results later than it computes them, so that the output may overlap inputs
/// that are its own window, shifted. Let an input begin s elements before the output in memory. A
/// write then destroys input elements that up to s later positions still read. (They are at most s
/// positions, because addresses grow at least as fast as positions.) Therefore a thread goes
/// through one range of positions block by block, computes each block into separate memory, and
/// then writes the previous block. The first and the last block of its range, which the
/// neighbouring ranges read, are written after all ranges are computed.
struct Lag {
  /// The positions of a block. No input is shifted by more.
  std::int64_t block = 0;
  /// The number of ranges; each has at least 4 blocks.
  std::int64_t ranges = 1;
  std::uint64_t scratch_bytes = 0;
};

/// A lag to run the pass without copies of the inputs, with one range for each of `threads`.
/// Returns nothing if an input that overlaps the output is not the output's window shifted, or if
/// the blocks would be too large. The pass has one output and no reductions; `overlapping` are the
/// inputs that overlap the output at other positions.
std::optional<Lag> find_lag(const Pass& pass, std::span<const Tensor> overlapping,
                            const Tensor& out, int threads);

/// Runs the pass with the lag. An input that overlaps the output must be one of those for which the
/// lag was found, or must be the output's window itself. Errors: those of run_pass.
Result<void> run_lagging(Context& context, const Pass& pass, std::span<const Tensor> in,
                         const Tensor& out, const Lag& lag);

}  // namespace outrigger::ops
