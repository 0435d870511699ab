#pragma once

#include <span>

#include "ops/op.hpp"
#include "ops/pass/pass.hpp"
#include "ops/window/windows.hpp"

namespace outrigger::ops {

// reduce, window_reduce and map apply a region of scalars to the elements of a tensor. If the
// region is elementwise, the planner lifts it to a pass. A register of the pass then holds a tile
// of values, which belong to many results.

/// A region as a pass. Registers 0 (the element) and 1 (the accumulator) are the region's
/// parameters; the other inputs are scalars that the region captures. The pass has one store. With
/// map there is no accumulator.
struct Lifted {
  Pass pass;
  /// The region is one op that may be regrouped and reordered (add, max, …).
  bool associative = false;
};

/// The windows of "reduce" or "window_reduce" over the operand, one for each result. The elements
/// of a window are folded in C order.
OUTRIGGER_EXPORT Result<Windows> fold_windows(const OpRow& row, std::span<const std::int64_t> shape,
                                              const AttrView& attrs);

/// Folds each window with the region: out = f(last, … f(second, f(first, init))). The padding holds
/// init. With few results and an associative region, lanes are folded and then combined, in an
/// order that does not depend on the number of threads. Errors: cancelled, deadline_exceeded,
/// out_of_memory.
OUTRIGGER_EXPORT Result<void> run_fold(Context& context, const Lifted& region,
                                       const Windows& windows, const Tensor& x, const Tensor& init,
                                       std::span<const Tensor> captured, const Tensor& out);

/// The largest number of bytes of run_fold's temporaries.
OUTRIGGER_EXPORT std::uint64_t fold_scratch(const Lifted& region, const Windows& windows,
                                            int threads);

}  // namespace outrigger::ops
