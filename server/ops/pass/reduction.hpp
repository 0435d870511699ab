#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "ops/pass/folding.hpp"
#include "ops/pass/pass.hpp"
#include "ops/pass/reducer.hpp"
#include "ops/support/export.hpp"

namespace outrigger::ops {

/// The folding of a tensor whose `axes` are reduced.
Folding fold_shape(std::span<const std::int64_t> shape, std::span<const std::int64_t> axes);

/// The folding of n positions along an axis of a space, if every result for them has the same bits
/// as in the whole space.
struct RowsFolding {
  Folding folding;
  /// True if the axis is before the reduced axes, false if it is behind them.
  bool outer = false;
};
OUTRIGGER_EXPORT std::optional<RowsFolding> folding_of_rows(const Folding& whole,
                                                            std::span<const std::int64_t> space,
                                                            std::size_t axis, std::int64_t n);

/// Runs the pass's reductions, and its stores (see run_pass).
Result<void> run_reductions(Context& context, const Pass& pass, std::span<const Tensor> in,
                            std::span<const Tensor> out);

/// The largest number of bytes of the temporaries of a pass's reductions.
OUTRIGGER_EXPORT std::uint64_t reductions_scratch(const Pass& pass);

/// A pass that only reduces its single input.
Pass reducing_pass(const TensorType& input, const Reduction& reduction);

}  // namespace outrigger::ops
