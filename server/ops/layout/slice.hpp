#pragma once

#include <cstddef>
#include <span>

#include "ops/support/export.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::ops {

/// The window of the given shape that put_slice writes. It begins at the starts, which are an s64
/// or u64 scalar for each axis, and is moved so that it fits. It shares the tensor's Storage.
OUTRIGGER_EXPORT Tensor window_at(const Tensor& tensor, const Dims& shape,
                                  std::span<const Tensor> starts);

/// True if a write to the window bypasses the caches although the window is small. The caches
/// cannot hold the whole tensor, and would read the window only to overwrite it.
OUTRIGGER_EXPORT bool streams(const Tensor& window, std::size_t stream_from);

}  // namespace outrigger::ops
