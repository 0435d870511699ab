#pragma once

#include <boost/container/static_vector.hpp>

#include "ops/pass/pass.hpp"
#include "ops/support/export.hpp"
#include "tensor/dtype.hpp"

namespace outrigger::ops {

/// One kernel of a cast, and the dtype of its result.
struct CastStep {
  TileFn run = nullptr;
  DType to = DType::f32;
  RecordFn record = nullptr;

  Kernel kernel() const { return {run, record}; }
};

/// The kernels of a cast. A small or complex dtype is cast through the dtype in which it is
/// computed: at most widen, convert, narrow.
using CastSteps = boost::container::static_vector<CastStep, 3>;

/// The kernels that cast from one dtype to another, as `as_type` does. The list is empty if the
/// elements do not change.
OUTRIGGER_EXPORT CastSteps cast_steps(DType from, DType to);
/// The kernels that give u8: 1 where the element is not zero (NaN is not zero), else 0.
OUTRIGGER_EXPORT CastSteps boolean_steps(DType from);

}  // namespace outrigger::ops
