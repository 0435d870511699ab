#pragma once

#include <cstdint>
#include <span>

#include "tensor/memory.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::ops {

// Rows' `scratch` functions: what a kernel's temporaries count for against the budget.

/// A buffer of that many bytes. Of more than any machine has (a product that wrapped around, too)
/// it gives so many that a few of them can still be added up.
inline std::uint64_t buffer_bytes(std::int64_t bytes) {
  constexpr std::int64_t more_than_any = std::int64_t{1} << 56;
  return bytes < 0 || bytes > more_than_any ? std::uint64_t{more_than_any}
                                            : Memory::capacity_of(static_cast<std::size_t>(bytes));
}

/// A whole copy of a tensor of that type.
inline std::uint64_t copy_bytes(const TensorType& type) { return buffer_bytes(byte_count(type)); }

}  // namespace outrigger::ops
