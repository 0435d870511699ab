#pragma once

#include <cstddef>
#include <span>

#include "base/error.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::files {

/// Reverses the bytes of each element; of a complex number, those of each part. The span is whole
/// elements, aligned as they need.
void swap_bytes(std::span<std::byte> elements, DType dtype);

/// `from` has its elements in Fortran order (first axis fastest) although it says C order. Returns
/// them in C order: `from` itself where both are the same, otherwise a copy, for which both need
/// memory at once. Errors: out_of_memory.
Result<Tensor> c_order_from_fortran(Memory& memory, Tensor from);

}  // namespace outrigger::files
