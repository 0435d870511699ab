#pragma once

#include <span>

#include "ops/op.hpp"

namespace outrigger::ops {

/// Inference for the usual elementwise rows: operands broadcast together and meet in one dtype.

/// Operands are cast to `compute`.
Result<Inferred> infer_elementwise(const InferCall& call, DType compute, DType result);
/// Result and compute dtype: the merged dtype.
Result<Inferred> infer_same(const InferCall& call);
/// Integers become f32 first.
Result<Inferred> infer_floating(const InferCall& call);
/// Complex numbers give a real one, as their magnitude does.
Result<Inferred> infer_magnitude(const InferCall& call);
/// Errors with bad_dtype for floats.
Result<Inferred> infer_integer(const InferCall& call);
/// Compares in the merged dtype, gives u8.
Result<Inferred> infer_predicate(const InferCall& call);
/// Operands are true or false; gives u8.
Result<Inferred> infer_logical(const InferCall& call);

/// The dtype that the operands meet in; literals adapt to the tensors beside them.
DType merged_dtype(std::span<const InferOperand> operands);

}  // namespace outrigger::ops
