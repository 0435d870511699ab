#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "files/check.hpp"
#include "ops/support/context.hpp"
#include "tensor/tensor.hpp"
#include "wire/request.hpp"

namespace outrigger::engine {

/// The type that a client names. Errors: bad_dtype, bad_shape.
Result<TensorType> type_of(const std::string& name, std::span<const std::int64_t> shape);

/// True if the request has been cancelled, or its deadline has passed.
files::Check check_of(const ops::Context& context);

/// The tensor of a request that reads a file. Errors: those of load_array(), load_raw(),
/// load_csv(); bad_dtype, bad_shape; bad_request for an impossible separator; cancelled,
/// deadline_exceeded.
Result<Tensor> load(Memory& memory, const ops::Context& context, const wire::Load& request);
Result<Tensor> load(Memory& memory, const ops::Context& context, const wire::LoadRaw& request);
Result<Tensor> load(Memory& memory, const ops::Context& context, const wire::LoadCsv& request);

}  // namespace outrigger::engine
