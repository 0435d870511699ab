#pragma once

#include <cstddef>
#include <span>

#include "ops/support/export.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::ops {

/// The window of that shape which put_slice writes: from the starts on, an s64 or u64 scalar for
/// each axis, moved so that it fits. It shares the tensor's Storage.
OUTRIGGER_EXPORT Tensor window_at(const Tensor& tensor, const Dims& shape,
                                  std::span<const Tensor> starts);

/// Whether what is put into the window goes past the caches, though it is small: they cannot hold
/// the tensor as a whole, and would read the window only to overwrite it.
OUTRIGGER_EXPORT bool streams(const Tensor& window, std::size_t stream_from);

}  // namespace outrigger::ops
