#pragma once

#include <cstdint>
#include <span>

#include "tensor/memory.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::ops {

// Functions for `scratch` of rows: the bytes for which the temporaries of a kernel count in the
// budget.

/// The bytes of a buffer. For a size that no machine has (or a product that wrapped around), it
/// returns a number so large that the budget refuses it, but of which several can be added.
inline std::uint64_t buffer_bytes(std::int64_t bytes) {
  constexpr std::int64_t more_than_any = std::int64_t{1} << 56;
  return bytes < 0 || bytes > more_than_any ? std::uint64_t{more_than_any}
                                            : Memory::capacity_of(static_cast<std::size_t>(bytes));
}

/// The bytes of a copy of a tensor of that type.
inline std::uint64_t copy_bytes(const TensorType& type) { return buffer_bytes(byte_count(type)); }

}  // namespace outrigger::ops
