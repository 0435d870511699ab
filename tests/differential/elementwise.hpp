#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "differential/cells.hpp"

namespace outrigger::test {

/// One element of an elementwise op, in the plainest way: `in` are elements of `compute` (0 or 1
/// where an operand is only true or false), `bits` the width of the op's own dtype. Floats in
/// long double, where the function has no exact result; nothing for what has no reference here.
std::optional<Cell> element_of(std::string_view op, DType compute, std::size_t bits,
                               std::span<const Cell> in);

/// The exact value of a function of real numbers, for ops with a bound in ulps; null for others.
using RealFunction = long double (*)(long double, long double);
RealFunction real_function(std::string_view op);

}  // namespace outrigger::test
