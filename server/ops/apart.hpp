#pragma once

#include "ops/op.hpp"
#include "ops/support/scratch.hpp"

namespace outrigger::ops {

/// The bytes of the copy of an operand that may overlap the output; 0 for other operands.
inline std::uint64_t apart_bytes(const ScratchOperand& operand) {
  return operand.overlaps ? copy_bytes(*operand.type) : 0;
}

}  // namespace outrigger::ops
