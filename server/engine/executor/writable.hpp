#pragma once

#include "ops/support/context.hpp"
#include "tensor/tensor.hpp"

// Copies of memory that other values see, before it is written.

namespace outrigger::engine {

/// True if two positions of the window are one element (broadcast axes).
bool repeats_elements(const Tensor& tensor);

/// A copy in C order with memory of its own.
Result<Tensor> compact_copy(ops::Context& context, const Tensor& tensor);

/// True if the tensor's buffer has more than twice its size, so that a handle keeps a copy instead.
bool has_too_large_buffer(const Tensor& tensor);

/// A tensor as a handle may keep it: a value with a Storage of its own, whose buffer has at most
/// twice its size.
Result<Tensor> as_value(ops::Context& context, const Tensor& tensor);

/// Makes sure that only tensors which share the tensor's Storage see a write to it.
Result<void> make_writable(ops::Context& context, Tensor& tensor);

}  // namespace outrigger::engine
