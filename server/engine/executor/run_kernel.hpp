#pragma once

#include <span>

#include "engine/planner/step.hpp"
#include "ops/support/context.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::engine {

/// Checks that no operand of the step shares the storage of an operand that it writes in place.
/// Errors: bad_program; they have the place.
Result<void> check_apart(const Step& step, const KernelStep& kind, std::span<const Tensor> in);

/// Carries out the kernel. `in` are its operands, and `out` its results: the declared ones, the
/// `new` tensors, whose memory this function clears, and the tensors that it writes. Errors:
/// bad_index, bad_value, bad_shape, raised, with the place in the source; cancelled,
/// deadline_exceeded, out_of_memory. Tensors may then be written in part.
Result<void> run_kernel(ops::Context& context, const Step& step, const KernelStep& kind,
                        std::span<const Tensor> in, std::span<const Tensor> out);

}  // namespace outrigger::engine
