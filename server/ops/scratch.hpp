#pragma once

#include <cstdint>
#include <span>

#include "ops/op.hpp"

namespace outrigger::ops {

// Rows' `scratch` functions: what a kernel's temporaries count for against the budget.

/// A buffer of that many bytes.
inline std::uint64_t buffer_bytes(std::int64_t bytes) {
  return Memory::capacity_of(static_cast<std::size_t>(bytes));
}

/// A whole copy of a tensor of that type.
inline std::uint64_t copy_bytes(const TensorType& type) { return buffer_bytes(byte_count(type)); }

/// What an operand takes that must be in memory of its own.
inline std::uint64_t apart_bytes(const ScratchOperand& operand) {
  return operand.overlaps ? copy_bytes(*operand.type) : 0;
}

}  // namespace outrigger::ops
