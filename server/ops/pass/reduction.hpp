#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "ops/pass/folding.hpp"
#include "ops/pass/pass.hpp"
#include "ops/pass/reducer.hpp"
#include "ops/support/export.hpp"

namespace outrigger::ops {

/// Axes of a tensor in the order in which it is [outer][reduced][inner].
Folding fold_shape(std::span<const std::int64_t> shape, std::span<const std::int64_t> axes);

/// The folding of n of the positions along an axis of a space that has that folding, if every
/// result for one of them has the same bits as in the whole.
struct RowsFolding {
  Folding folding;
  /// The axis is before the reduced ones; otherwise behind them.
  bool outer = false;
};
OUTRIGGER_EXPORT std::optional<RowsFolding> folding_of_rows(const Folding& whole,
                                                            std::span<const std::int64_t> space,
                                                            std::size_t axis, std::int64_t n);

/// The pass's reductions, and its stores beside them (see run_pass).
Result<void> run_reductions(Context& context, const Pass& pass, std::span<const Tensor> in,
                            std::span<const Tensor> out);

/// Bytes of the temporaries that a pass's reductions take, at most.
OUTRIGGER_EXPORT std::uint64_t reductions_scratch(const Pass& pass);

/// A pass that does nothing but reduce its only input.
Pass reducing_pass(const TensorType& input, const Reduction& reduction);

}  // namespace outrigger::ops
