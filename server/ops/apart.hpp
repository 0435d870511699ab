#pragma once

#include "ops/op.hpp"
#include "ops/support/scratch.hpp"

namespace outrigger::ops {

/// What an operand takes that must be in memory of its own.
inline std::uint64_t apart_bytes(const ScratchOperand& operand) {
  return operand.overlaps ? copy_bytes(*operand.type) : 0;
}

}  // namespace outrigger::ops
