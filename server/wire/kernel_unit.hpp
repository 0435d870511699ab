#pragma once

#include "base/error.hpp"
#include "base/kernel_unit.hpp"
#include "wire/value.hpp"

namespace outrigger::wire {

/// Reads a unit (protocol/KERNELS.md) and checks its form. It does not check that
/// positions, types and blocks agree with each other: kernel::check does. All errors are
/// bad_request. The memory is bounded by the frame: some 150 bytes for each node, and a node has at
/// least three bytes.
Result<kernel::Unit> read_kernel_unit(Value map);

}  // namespace outrigger::wire
