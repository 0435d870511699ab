#pragma once

#include <cstddef>
#include <span>

#include "ops/pass/pass.hpp"
#include "ops/support/export.hpp"

namespace outrigger::ops {

/// run_pass for a space of one element, where layouts do not matter. `in` and `out` are addresses;
/// an output may be the memory of any input.
OUTRIGGER_EXPORT void run_single(const Pass& pass, std::span<std::byte* const> in,
                                 std::span<std::byte* const> out);

}  // namespace outrigger::ops
