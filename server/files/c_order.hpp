#pragma once

#include <cstddef>
#include <span>

#include "base/error.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::files {

/// Reverses the bytes of each element; in a complex number, the bytes of each part. The span has
/// whole elements, aligned to their size.
void swap_bytes(std::span<std::byte> elements, DType dtype);

/// `from` has its elements in Fortran order (first axis fastest), but its strides are those of C
/// order. Returns the elements in C order: `from` itself if both orders are equal, otherwise a
/// copy. Both tensors are then in memory at the same time. Errors: out_of_memory.
Result<Tensor> c_order_from_fortran(Memory& memory, Tensor from);

}  // namespace outrigger::files
