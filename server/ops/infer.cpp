#include <algorithm>
#include <optional>

#include "ops/inference.hpp"
#include "ops/support/axes.hpp"

namespace outrigger::ops {
namespace {

/// Refuses complex operands and results of a row without complex kernels.
Result<void> check_complex(const OpRow& row, const InferCall& call, const Inferred& inferred) {
  if (takes_complex(row)) return {};
  for (std::size_t i = 0; i < call.size(); ++i) {
    const bool boolean = (row.boolean_operands >> i & 1) != 0;
    if (boolean || !is_complex(call.type(i).dtype)) continue;
    return fail(ErrorCode::bad_dtype,
                "complex operands are not supported, got " + to_string(call.type(i)));
  }
  for (const TensorType& result : inferred.results) {
    if (!is_complex(result.dtype)) continue;
    return fail(ErrorCode::bad_dtype,
                "complex results are not supported, asked for " + to_string(result));
  }
  return {};
}

/// The dtype of the row's kernels for `dtype`.
DType kernel_dtype(const OpRow& row, DType dtype) {
  return row.any_dtype ? dtype : compute_dtype(dtype);
}

/// The dtype that the row's kernels give for a result of `dtype`.
DType raw_dtype(const OpRow& row, DType dtype) {
  if (row.any_dtype) return dtype;
  if (is_complex(dtype) && row.kind == Kind::create) return to_real(dtype);
  return is_small_float(dtype) ? row.small_float_result : compute_dtype(dtype);
}

}  // namespace

bool takes_complex(const OpRow& row) {
  if (row.real_only) return false;
  // An operand that is only true or false may be complex. An op without operands counts in real
  // numbers, and the result is then cast.
  const bool boolean = row.boolean_operands == (1U << row.operands.size()) - 1;
  return row.any_dtype || row.complex || row.complex_tile != nullptr || boolean ||
         row.kind == Kind::control;
}

Kernel kernel_of(const OpRow& row, DType compute) {
  if (is_complex(compute) && row.complex_tile != nullptr) return row.complex_tile(compute);
  return row.tile == nullptr ? nullptr : row.tile(compute);
}

Result<Inferred> infer(const OpRow& row, const InferCall& call) {
  OUTRIGGER_TRY(Inferred inferred, row.infer(call));
  OUTRIGGER_CHECK(check_complex(row, call, inferred));
  inferred.compute = kernel_dtype(row, inferred.compute);
  for (DType& operand : inferred.operands) operand = kernel_dtype(row, operand);
  const bool raw_known = !inferred.raw.empty();
  for (std::size_t i = 0; i < inferred.results.size(); ++i) {
    const TensorType& result = inferred.results[i];
    if (!raw_known) inferred.raw.push_back(raw_dtype(row, result.dtype));
    OUTRIGGER_CHECK(
        check_shape(result.shape, std::max(size_of(result.dtype), size_of(inferred.raw[i]))));
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

Result<Inferred> infer_elementwise(const InferCall& call, DType compute, DType result) {
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

Result<Inferred> infer_same(const InferCall& call) {
  const DType dtype = merged_dtype(call.in);
  return infer_elementwise(call, dtype, dtype);
}

Result<Inferred> infer_floating(const InferCall& call) {
  const DType dtype = to_floating(merged_dtype(call.in));
  return infer_elementwise(call, dtype, dtype);
}

Result<Inferred> infer_magnitude(const InferCall& call) {
  const DType dtype = merged_dtype(call.in);
  return infer_elementwise(call, dtype, is_complex(dtype) ? to_real(dtype) : dtype);
}

Result<Inferred> infer_integer(const InferCall& call) {
  const DType dtype = merged_dtype(call.in);
  if (!is_integer(dtype)) {
    return fail(ErrorCode::bad_dtype,
                "operands must be integers, got " + std::string(name_of(dtype)));
  }
  return infer_elementwise(call, dtype, dtype);
}

Result<Inferred> infer_predicate(const InferCall& call) {
  return infer_elementwise(call, merged_dtype(call.in), DType::u8);
}

Result<Inferred> infer_logical(const InferCall& call) {
  return infer_elementwise(call, DType::u8, DType::u8);
}

}  // namespace outrigger::ops
