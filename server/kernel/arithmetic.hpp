#pragma once

#include <cstdint>

#include "base/kernel_unit.hpp"

namespace outrigger::kernel {

/// Operations on cells: an integer extended to 64 bits, the bits of a float, or 0 and 1.
using Unary = std::uint64_t (*)(std::uint64_t);
using Binary = std::uint64_t (*)(std::uint64_t, std::uint64_t);

/// The operation for operands of `type`, with the meaning of the op of the same name. The divisor
/// of a quotient or remainder is not 0. The check has proven that there is one.
Unary unary_operation(What what, Type type);
Binary binary_operation(What what, Type type);
/// The conversion of `as_type`.
Unary conversion(Type from, Type to);

}  // namespace outrigger::kernel
