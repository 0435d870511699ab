#pragma once

#include "ops/support/context.hpp"
#include "tensor/tensor.hpp"

// Who sees a tensor's memory, and copies for those who must not see a write.

namespace outrigger::engine {

/// True if two positions of the window are one element (broadcast axes).
bool repeats_elements(const Tensor& tensor);

/// A copy in C order with memory of its own.
Result<Tensor> compact_copy(ops::Context& context, const Tensor& tensor);

/// A tensor as a handle may keep it: a value has a Storage of its own, and does not hold on to
/// memory more than twice its size.
Result<Tensor> as_value(ops::Context& context, const Tensor& tensor);

/// Makes sure that nobody sees a write to the tensor but those who share its Storage.
Result<void> make_writable(ops::Context& context, Tensor& tensor);

}  // namespace outrigger::engine
