#pragma once

#include <optional>
#include <span>
#include <string>

#include "base/program.hpp"
#include "differential/cells.hpp"

namespace outrigger::test {

/// The elements of an operand of one instruction in C order; a literal is a scalar.
struct Given {
  TensorType type;
  Cells cells;
};

struct Verdict {
  /// True if the reference knows the op and its operands.
  bool checked = false;
  std::optional<std::string> wrong;
};

/// Compares the result of an elementwise instruction with element_of, within the ulps of the op's
/// row.
Verdict check_elementwise(const Instruction& instruction, std::span<const Given> in,
                          const Tensor& result);

/// Compares the result of another instruction with a naive reference: moves and orders must be
/// exact; sums and products of floats must be within the rounding errors of any order.
Verdict check_whole(const Instruction& instruction, std::span<const Given> in,
                    const Tensor& result);

}  // namespace outrigger::test
