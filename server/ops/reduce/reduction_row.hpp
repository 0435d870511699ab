#pragma once

#include "ops/op.hpp"
#include "ops/pass/reduction.hpp"

namespace outrigger::ops {

/// The attribute "axes", normalised; all axes if it is absent. Errors: bad_axis.
Result<Dims> reduced_axes(std::size_t rank, const AttrView& attrs);

// `run` and `scratch` of the row of a reduction.

using ReductionOf = Reduction (*)(const TensorType& operand, DType result, const AttrView& attrs);

template <ReductionOf reduction>
Result<void> run_reduction(const RunCall& call) {
  const TensorType& from = call.in[0].type;
  const Pass pass = reducing_pass(from, reduction(from, call.out[0].dtype(), call.attrs));
  return run_reductions(call.context, pass, call.in, call.out);
}

template <ReductionOf reduction>
std::uint64_t reduction_scratch(const ScratchCall& call) {
  const TensorType& from = *call.in[0].type;
  return reductions_scratch(reducing_pass(from, reduction(from, call.out[0].dtype, call.attrs)));
}

}  // namespace outrigger::ops
