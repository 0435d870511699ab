#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.hpp"

namespace outrigger::test {

/// An exact element: a long double (64 bits of mantissa) represents every number of every dtype. A
/// real element has im = 0.
struct Cell {
  long double re = 0;
  long double im = 0;
};
using Cells = std::vector<Cell>;

/// The elements in C order.
Cells cells_of(const Tensor& tensor);
Cell cell_at(DType dtype, const std::byte* element);

/// Rounds to the nearest number of a float dtype, ties to even. A number that is too large becomes
/// an infinity, or the largest number of f8_e4m3fn.
long double round_to(DType dtype, long double x);

/// Casts as Nx.as_type/2: floats to integers are truncated and wrap, NaN gives 0, and infinities
/// give the limits.
Cell cast_cell(Cell x, DType from, DType to);

/// The distance from x, which is finite, to the nearest other number of a float dtype.
long double spacing(DType dtype, long double x);

/// The allowed distance of `got` from `exact`.
struct Slack {
  /// The units in the last place of `dtype`, the dtype of the op's computation.
  double ulp = 0;
  DType dtype = DType::f64;
  /// An absolute difference that is always allowed.
  long double abs = 0;
};

/// Null if `got`, an element of dtype `result`, agrees with `exact` computed within `slack` and
/// then cast to `result`. Any NaN equals any NaN. Without slack, the signs of zeros must be equal.
std::optional<std::string> disagreement(Cell exact, Cell got, DType result, const Slack& slack);

/// Null if both have the same bits, except for the payloads of NaN.
std::optional<std::string> bit_difference(const Tensor& expected, const Tensor& actual);

std::string to_text(Cell x);

}  // namespace outrigger::test
