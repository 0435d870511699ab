#include <optional>

#include "ops/kernels.hpp"
#include "ops/shapes.hpp"

namespace outrigger::ops {
namespace {

Result<Inferred> elementwise(const InferCall& call, DType compute, DType result) {
  Dims shape;
  for (const InferOperand& operand : call.in) {
    OUTRIGGER_TRY(shape, broadcast_shapes(shape, operand.type.shape));
  }
  Inferred inferred;
  inferred.compute = compute;
  inferred.operands.assign(call.size(), compute);
  inferred.results.push_back(TensorType{result, std::move(shape)});
  return inferred;
}

}  // namespace

Result<Inferred> infer(const OpRow& row, const InferCall& call) {
  OUTRIGGER_TRY(Inferred inferred, row.infer(call));
  for (const TensorType& result : inferred.results) {
    OUTRIGGER_CHECK(check_shape(result.shape, size_of(result.dtype)));
  }
  for (std::size_t i = 0; i < call.size() && i < inferred.operands.size(); ++i) {
    OUTRIGGER_CHECK(check_shape(call.type(i).shape, size_of(inferred.operands[i])));
  }
  return inferred;
}

DType merged_dtype(std::span<const InferOperand> operands) {
  std::optional<DType> merged;
  for (const InferOperand& operand : operands) {
    if (operand.literal != nullptr) continue;
    merged = merged ? merge(*merged, operand.type.dtype) : operand.type.dtype;
  }
  for (const InferOperand& operand : operands) {
    if (operand.literal == nullptr) continue;
    merged = merged ? merge(*merged, *operand.literal) : infer_dtype(*operand.literal);
  }
  return merged.value_or(DType::f32);
}

Result<Inferred> infer_same(const InferCall& call) {
  const DType dtype = merged_dtype(call.in);
  return elementwise(call, dtype, dtype);
}

Result<Inferred> infer_floating(const InferCall& call) {
  const DType dtype = to_floating(merged_dtype(call.in));
  return elementwise(call, dtype, dtype);
}

Result<Inferred> infer_integer(const InferCall& call) {
  const DType dtype = merged_dtype(call.in);
  if (!is_integer(dtype)) {
    return fail(ErrorCode::bad_dtype,
                "operands must be integers, got " + std::string(name_of(dtype)));
  }
  return elementwise(call, dtype, dtype);
}

Result<Inferred> infer_predicate(const InferCall& call) {
  return elementwise(call, merged_dtype(call.in), DType::u8);
}

Result<Inferred> infer_logical(const InferCall& call) {
  return elementwise(call, DType::u8, DType::u8);
}

}  // namespace outrigger::ops
