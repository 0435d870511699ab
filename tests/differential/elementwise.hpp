#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "differential/cells.hpp"

namespace outrigger::test {

/// One element of an elementwise op, in the simplest way. `in` are elements of `compute` (0 or 1
/// for an operand that is only true or false); `bits` is the width of the op's dtype. Floats
/// without an exact result are computed in long double. Returns nothing if the op has no reference
/// here.
std::optional<Cell> element_of(std::string_view op, DType compute, std::size_t bits,
                               std::span<const Cell> in);

/// The exact value of a function of real numbers, for ops with a bound in ulps; null for other ops.
using RealFunction = long double (*)(long double, long double);
RealFunction real_function(std::string_view op);

}  // namespace outrigger::test
