#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.hpp"

namespace outrigger::test {

/// An element, exactly: a long double (64 bits of mantissa) holds every number of every dtype. Real
/// ones have im = 0.
struct Cell {
  long double re = 0;
  long double im = 0;
};
using Cells = std::vector<Cell>;

/// The elements in C order.
Cells cells_of(const Tensor& tensor);
Cell cell_at(DType dtype, const std::byte* element);

/// To the nearest number of a float dtype, ties to even; too large: an infinity, or the largest
/// number of f8_e4m3fn.
long double round_to(DType dtype, long double x);

/// As Nx.as_type/2: floats to integers truncate and wrap, NaN gives 0, infinities the limits.
Cell cast_cell(Cell x, DType from, DType to);

/// Distance to the nearest other number of a float dtype around x, which is finite.
long double spacing(DType dtype, long double x);

/// How far `got` may be from `exact`.
struct Slack {
  /// Units in the last place of `dtype`, the one that the op computes in.
  double ulp = 0;
  DType dtype = DType::f64;
  /// A difference that is fine whatever the ulps.
  long double abs = 0;
};

/// Null if `got`, an element of dtype `result`, is what `exact` gives when it is computed within
/// `slack` and then cast to `result`. Any NaN equals any NaN; with no slack, zeros must agree in
/// their sign.
std::optional<std::string> disagreement(Cell exact, Cell got, DType result, const Slack& slack);

/// Null if both hold the same bits, but for the payloads of NaN.
std::optional<std::string> bit_difference(const Tensor& expected, const Tensor& actual);

std::string to_text(Cell x);

}  // namespace outrigger::test
