#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/program.hpp"
#include "kernel/interpret.hpp"
#include "ops/op.hpp"

// The instruction `kernel`: a call of a kernel with operands of known types.

namespace outrigger::engine {

DType dtype_of(kernel::Type type);

/// The results that an instruction has to name: the declared ones, then the `new` tensors, then,
/// unless it works in place, the new values of the `mut` operands.
std::size_t kernel_results(const kernel::Kernel& head, bool in_place);

/// The positions of the operands that the kernel writes.
std::vector<std::uint32_t> written_operands(const kernel::Kernel& head);

struct KernelCall {
  /// The dtype of each operand, to which a literal is converted.
  std::vector<DType> operands;
  /// The declared results and the `new` tensors.
  std::vector<TensorType> results;
  /// Kernel::memory_for the call.
  std::uint64_t memory = 0;
};

/// Compares the operands with the kernel's parameters. Errors: bad_dtype, bad_shape; they name the
/// kernel, and have the path.
Result<KernelCall> infer_kernel(const kernel::Machine& machine,
                                std::span<const ops::InferOperand> operands,
                                std::span<const std::uint32_t> path);

}  // namespace outrigger::engine
