#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/error.hpp"
#include "ops/pass/pass.hpp"
#include "ops/support/context.hpp"

// Passes that write over what they read, each element's operands at other places than its result:
// a step of a stencil in place. ops/pass/pass.cpp calls this.

namespace outrigger::ops {

/// The elements that a result stays behind what is computed, so that it may be written over inputs
/// that are its own window, shifted. With an input that begins s elements before the output, in
/// memory, a write destroys what up to s positions behind it is still to read (s positions, because
/// addresses grow at least as fast as positions do). So a thread goes through one range of
/// positions block by block, computes each into memory of its own, and only then writes the one
/// before. The first and the last block of its range, which the neighbours read, wait until all are
/// done.
struct Lag {
  /// Positions; no input is shifted by more.
  std::int64_t block = 0;
  /// Ranges, of 4 blocks at least.
  std::int64_t ranges = 1;
  std::uint64_t scratch_bytes = 0;
};

/// How to run the pass without copies of the inputs, one for each of `threads` ranges. Nothing if
/// an input that overlaps the output is not the output's window shifted, or if blocks would be too
/// large for that to pay. The pass has one output and no reductions; `overlapping` are the inputs
/// that overlap it differently.
std::optional<Lag> find_lag(const Pass& pass, std::span<const Tensor> overlapping,
                            const Tensor& out, int threads);

/// Runs it so. Inputs that overlap the output are those that the lag was found for, or the output's
/// very window. Errors: as run_pass.
Result<void> run_lagging(Context& context, const Pass& pass, std::span<const Tensor> in,
                         const Tensor& out, const Lag& lag);

}  // namespace outrigger::ops
