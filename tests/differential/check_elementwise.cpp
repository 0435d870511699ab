#include <algorithm>
#include <cmath>

#include "differential/elementwise.hpp"
#include "differential/whole.hpp"
#include "ops/op.hpp"

namespace outrigger::test {
namespace {

/// The number of elements of a large tensor that are checked; they are spread over the tensor.
constexpr std::int64_t checked_max = 3000;

/// The position in a broadcast operand for element `at` of the result.
std::size_t broadcast_index(const Dims& from, const Dims& to, std::int64_t at) {
  std::int64_t index = 0;
  std::int64_t stride = 1;
  for (std::size_t back = 1; back <= to.size(); ++back) {
    const std::int64_t dim = to[to.size() - back];
    const std::int64_t here = at % dim;
    at /= dim;
    if (back > from.size()) break;
    const std::int64_t own = from[from.size() - back];
    index += own == 1 ? 0 : here * stride;
    stride *= own;
  }
  return static_cast<std::size_t>(index);
}

Cell as_operand(const ops::OpRow& row, const ops::Inferred& inferred, std::size_t i,
                const Given& given, Cell cell) {
  if ((row.boolean_operands >> i & 1) != 0) return {cell.re != 0 || cell.im != 0 ? 1.0L : 0.0L};
  return cast_cell(cell, given.type.dtype, inferred.operands[i]);
}

/// True if Nx does not define the sign of a zero for the op.
bool any_zero(std::string_view op) {
  return op == "min" || op == "max" || op == "clip" || op == "round";
}

}  // namespace

Verdict check_elementwise(const Instruction& instruction, std::span<const Given> in,
                          const Tensor& result) {
  const ops::OpRow& row = *ops::find_op(instruction.op);
  std::vector<ops::InferOperand> operands;
  for (std::size_t i = 0; i < in.size(); ++i) {
    operands.push_back({in[i].type, std::get_if<Number>(&instruction.in[i])});
  }
  const auto inferred = ops::infer(row, {operands, ops::AttrView(instruction.attrs)});
  if (!inferred) return {true, "it ran, but inference refuses it: " + inferred.error().text};
  const DType compute = inferred->compute;
  const DType raw = inferred->raw[0];
  const double ulp = is_integer(raw) ? 0 : row.ulp.value_or(0);
  Slack slack{ulp, raw, 0};
  if (any_zero(row.name)) slack.abs = std::numeric_limits<long double>::denorm_min();
  const Cells got = cells_of(result);
  const auto step = std::max<std::int64_t>(1, result.size() / checked_max);
  Verdict verdict;
  for (std::int64_t at = 0; at < result.size(); at += step) {
    Cells cells;
    for (std::size_t i = 0; i < in.size(); ++i) {
      const Cell cell = in[i].cells[broadcast_index(in[i].type.shape, result.shape(), at)];
      cells.push_back(as_operand(row, *inferred, i, in[i], cell));
    }
    const auto exact = element_of(row.name, compute, bits_of(result.dtype()), cells);
    if (!exact) continue;
    verdict.checked = true;
    const Cell expected = ulp > 0 ? *exact : cast_cell(*exact, raw, raw);
    verdict.wrong =
        disagreement(expected, got[static_cast<std::size_t>(at)], result.dtype(), slack);
    if (!verdict.wrong) continue;
    *verdict.wrong += " in " + to_string(result.type) + " at " + std::to_string(at) + " of";
    for (const Cell& cell : cells) *verdict.wrong += " " + to_text(cell);
    return verdict;
  }
  return verdict;
}

}  // namespace outrigger::test
