#pragma once

#include <span>

#include "ops/op.hpp"

namespace outrigger::ops {

/// Inference for the usual elementwise rows: operands are broadcast together and converted to their
/// common dtype.

/// The operands are converted to `compute`.
Result<Inferred> infer_elementwise(const InferCall& call, DType compute, DType result);
/// The dtype of the result, and of the computation, is the merged dtype.
Result<Inferred> infer_same(const InferCall& call);
/// infer_same, after integers are converted to f32.
Result<Inferred> infer_floating(const InferCall& call);
/// infer_same, but complex operands give a real result, as their magnitude.
Result<Inferred> infer_magnitude(const InferCall& call);
/// infer_same; floats are an error, bad_dtype.
Result<Inferred> infer_integer(const InferCall& call);
/// The merged dtype is compared; the result is u8.
Result<Inferred> infer_predicate(const InferCall& call);
/// The operands are true or false; the result is u8.
Result<Inferred> infer_logical(const InferCall& call);

/// The common dtype of the operands. A literal adapts to the tensors beside it.
DType merged_dtype(std::span<const InferOperand> operands);

}  // namespace outrigger::ops
