#pragma once

#include <optional>
#include <span>
#include <string>

#include "base/program.hpp"
#include "differential/cells.hpp"

namespace outrigger::test {

/// An operand of one instruction, as its elements in C order; a literal is a scalar.
struct Given {
  TensorType type;
  Cells cells;
};

struct Verdict {
  /// Whether the reference knows the op, and the operands.
  bool checked = false;
  std::optional<std::string> wrong;
};

/// The result of an elementwise instruction against element_of, within the ulps of the op's row.
Verdict check_elementwise(const Instruction& instruction, std::span<const Given> in,
                          const Tensor& result);

/// The result of another instruction against a naive reference: moves and orders exactly, sums and
/// products of floats within the rounding errors of any order.
Verdict check_whole(const Instruction& instruction, std::span<const Given> in,
                    const Tensor& result);

}  // namespace outrigger::test
