#pragma once

#include <boost/container/static_vector.hpp>

#include "ops/pass/pass.hpp"
#include "ops/support/export.hpp"
#include "tensor/dtype.hpp"

namespace outrigger::ops {

/// One kernel of a cast, and the dtype that it gives.
struct CastStep {
  TileFn run = nullptr;
  DType to = DType::f32;
  RecordFn record = nullptr;

  Kernel kernel() const { return {run, record}; }
};

/// Small and complex dtypes are cast by way of the dtypes that they compute in: at most widen,
/// convert, narrow.
using CastSteps = boost::container::static_vector<CastStep, 3>;

/// The kernels that cast from one dtype to another, as `as_type` says. None if the elements need
/// no change.
OUTRIGGER_EXPORT CastSteps cast_steps(DType from, DType to);
/// The kernels that give 1 where the element is not zero (NaN is not), else 0, as u8.
OUTRIGGER_EXPORT CastSteps boolean_steps(DType from);

}  // namespace outrigger::ops
