#pragma once

#include <span>

#include "ops/op.hpp"
#include "ops/pass/pass.hpp"
#include "ops/window/windows.hpp"

namespace outrigger::ops {

// reduce, window_reduce and map apply a region of scalars to the elements of a tensor. Where the
// region is elementwise it is lifted: the planner makes a pass of it, whose registers then hold
// tiles of many results' values, and not one.

/// A region as a pass. Registers 0 (the element) and 1 (the accumulator) are its parameters, the
/// other inputs are scalars from outside; it has one store. For map there is no accumulator.
struct Lifted {
  Pass pass;
  /// The region is one op that may be regrouped and reordered (add, max, …).
  bool associative = false;
};

/// What the op "reduce" or "window_reduce" folds: windows over the operand, one for each result.
/// Their elements are taken in C order.
OUTRIGGER_EXPORT Result<Windows> fold_windows(const OpRow& row, std::span<const std::int64_t> shape,
                                              const AttrView& attrs);

/// Folds each window with the region: out = f(last, … f(second, f(first, init))). The padding holds
/// init. Few results of an associative region are made of lanes that are put together at the end,
/// in an order that does not depend on the number of threads.
/// Errors: cancelled, deadline_exceeded, out_of_memory.
OUTRIGGER_EXPORT Result<void> run_fold(Context& context, const Lifted& region,
                                       const Windows& windows, const Tensor& x, const Tensor& init,
                                       std::span<const Tensor> captured, const Tensor& out);

/// Bytes of the temporaries that run_fold takes, at most.
OUTRIGGER_EXPORT std::uint64_t fold_scratch(const Lifted& region, const Windows& windows,
                                            int threads);

}  // namespace outrigger::ops
