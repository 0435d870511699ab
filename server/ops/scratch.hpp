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

/// What an operand takes that must be in C order, in memory of its own.
inline std::uint64_t contiguous_bytes(const ScratchOperand& operand) {
  return operand.plain && !operand.overlaps ? 0 : copy_bytes(*operand.type);
}

/// What an operand takes that must be in memory of its own.
inline std::uint64_t apart_bytes(const ScratchOperand& operand) {
  return operand.overlaps ? copy_bytes(*operand.type) : 0;
}

/// The same for its axes in another order.
std::uint64_t contiguous_bytes(const ScratchOperand& operand, std::span<const std::int64_t> order);

/// What to_contiguous takes for some of the operands.
template <std::size_t... positions>
std::uint64_t contiguous_operands(const ScratchCall& call) {
  return (std::uint64_t{0} + ... + contiguous_bytes(call.in[positions]));
}

}  // namespace outrigger::ops
