#include <algorithm>
#include <limits>
#include <string>

#include "ops/elementwise/kernels.hpp"
#include "ops/layout/rows.hpp"
#include "ops/support/axes.hpp"
#include "ops/window/windows.hpp"

namespace outrigger::ops {
namespace {

struct Padding {
  Dims low, high, interior;
};

Result<Padding> padding_of(const AttrView& attrs, std::size_t rank) {
  Padding padding;
  OUTRIGGER_TRY(padding.low, per_axis(attrs, "low", rank, 0));
  OUTRIGGER_TRY(padding.high, per_axis(attrs, "high", rank, 0));
  OUTRIGGER_TRY(padding.interior, per_axis(attrs, "interior", rank, 0));
  return padding;
}

Result<Inferred> infer_pad(const InferCall& call) {
  const TensorType& from = call.type(0);
  if (!call.type(1).shape.empty()) {
    return fail(ErrorCode::bad_shape,
                "the padding value must be a scalar, got " + to_string(call.type(1)));
  }
  const std::size_t rank = from.shape.size();
  OUTRIGGER_TRY(const Padding padding, padding_of(call.attrs, rank));
  TensorType result{merged_dtype(call.in), {}};
  for (std::size_t axis = 0; axis < rank; ++axis) {
    const std::int64_t low = padding.low[axis];
    const std::int64_t high = padding.high[axis];
    const std::int64_t interior = padding.interior[axis];
    if (interior < 0) {
      return fail(ErrorCode::bad_attr, "interior padding must not be negative, got " +
                                           std::to_string(interior) + " for axis " +
                                           std::to_string(axis));
    }
    const std::int64_t dim = from.shape[axis];
    const Wide padded = Wide{std::max<std::int64_t>(dim - 1, 0)} * interior + dim + low + high;
    if (padded < 0 || padded > std::numeric_limits<std::int64_t>::max()) {
      return fail(ErrorCode::bad_shape, "axis " + std::to_string(axis) + " of " + to_string(from) +
                                            " cannot be padded by " + std::to_string(low) + ", " +
                                            std::to_string(high) + " and " +
                                            std::to_string(interior) + " between elements");
    }
    result.shape.push_back(static_cast<std::int64_t>(padded));
  }
  Inferred inferred;
  inferred.operands = {result.dtype, result.dtype};
  inferred.results.push_back(std::move(result));
  return inferred;
}

Result<void> fill_window(Context& context, const Tensor& scalar, const Tensor& out,
                         const Dims& first, const Dims& shape) {
  std::int64_t offset = out.offset;
  for (std::size_t axis = 0; axis < first.size(); ++axis) offset += first[axis] * out.strides[axis];
  const TensorType type{out.dtype(), shape};
  const Tensor from = view_of(scalar, type, Dims(shape.size(), 0), scalar.offset, false);
  return copy_tensor(context, from, view_of(out, type, out.strides, offset, true));
}

Result<void> run_pad(const RunCall& call) {
  const Tensor& from = call.in[0];
  const Tensor& value = call.in[1];
  const Tensor& out = call.out[0];
  const std::size_t rank = out.shape().size();
  OUTRIGGER_TRY(const Padding padding, padding_of(call.attrs, rank));
  // The part of the operand in the result: elements [from_first, from_first + kept) of each axis,
  // at distances of `step` from out_first on.
  Dims kept, from_first, out_first, step;
  bool gaps = false;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    const std::int64_t low = padding.low[axis];
    const std::int64_t apart = padding.interior[axis] + 1;
    const std::int64_t skipped = low < 0 ? (-low + apart - 1) / apart : 0;
    const std::int64_t at = low + skipped * apart;
    const std::int64_t room = out.shape()[axis] - at;
    const std::int64_t fits = room > 0 ? (room - 1) / apart + 1 : 0;
    const std::int64_t count =
        std::max<std::int64_t>(0, std::min(from.shape()[axis] - skipped, fits));
    kept.push_back(count);
    from_first.push_back(skipped);
    out_first.push_back(at);
    step.push_back(apart);
    gaps = gaps || (apart > 1 && count > 1);
  }
  if (gaps || element_count(kept) == 0) {
    OUTRIGGER_CHECK(fill_window(call.context, value, out, Dims(rank), out.shape()));
    if (element_count(kept) == 0) return {};
  } else {
    // Fills the margins below and above in each axis, without overlap: each margin is within the
    // kept part of the axes before it.
    Dims first(rank);
    Dims shape = out.shape();
    for (std::size_t axis = 0; axis < rank; ++axis) {
      const std::int64_t end = out_first[axis] + kept[axis];
      shape[axis] = out_first[axis];
      OUTRIGGER_CHECK(fill_window(call.context, value, out, first, shape));
      first[axis] = end;
      shape[axis] = out.shape()[axis] - end;
      OUTRIGGER_CHECK(fill_window(call.context, value, out, first, shape));
      first[axis] = out_first[axis];
      shape[axis] = kept[axis];
    }
  }
  std::int64_t from_offset = from.offset;
  std::int64_t out_offset = out.offset;
  Dims strides;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    from_offset += from_first[axis] * from.strides[axis];
    out_offset += out_first[axis] * out.strides[axis];
    strides.push_back(out.strides[axis] * step[axis]);
  }
  const TensorType type{out.dtype(), kept};
  return copy_tensor(call.context, view_of(from, type, from.strides, from_offset, false),
                     view_of(out, type, strides, out_offset, true));
}

Result<Inferred> infer_stack(const InferCall& call) {
  const TensorType& first = call.type(0);
  OUTRIGGER_TRY(const std::int64_t axis,
                normalize_axis(call.attrs.integer("axis"), first.shape.size() + 1));
  for (const InferOperand& operand : call.in) {
    if (operand.type.shape == first.shape) continue;
    return fail(ErrorCode::bad_shape,
                "cannot stack " + to_string(operand.type) + " on " + to_string(first));
  }
  TensorType result{merged_dtype(call.in), {}};
  result.shape.append(first.shape.begin(), first.shape.begin() + axis);
  result.shape.push_back(static_cast<std::int64_t>(call.size()));
  result.shape.append(first.shape.begin() + axis, first.shape.end());
  OUTRIGGER_CHECK(check_shape(result.shape, size_of(result.dtype)));
  Inferred inferred;
  inferred.operands.assign(call.size(), result.dtype);
  inferred.results.push_back(std::move(result));
  return inferred;
}

Result<void> run_stack(const RunCall& call) {
  const Tensor& out = call.out[0];
  OUTRIGGER_TRY(const std::int64_t axis,
                normalize_axis(call.attrs.integer("axis"), out.shape().size()));
  Dims strides = out.strides;
  std::copy(strides.begin() + axis + 1, strides.end(), strides.begin() + axis);
  strides.resize(strides.size() - 1);
  std::int64_t offset = out.offset;
  for (const Tensor& part : call.in) {
    OUTRIGGER_CHECK(
        copy_tensor(call.context, part, view_of(out, part.type, strides, offset, true)));
    offset += out.strides[static_cast<std::size_t>(axis)];
  }
  return {};
}

}  // namespace

void add_pad_rows(std::vector<OpRow>& rows) {
  rows.push_back(OpRow{
      .name = "pad",
      .family = "slice",
      .kind = Kind::compute,
      .operands = {{"tensor"}, {"pad_value"}},
      .attrs = {{"low", AttrType::integers, false, "",
                 "padding before each axis; by default 0. Negative padding cuts off"},
                {"high", AttrType::integers, false, "", "padding behind each axis; by default 0"},
                {"interior", AttrType::integers, false, "",
                 "padding between neighbours along each axis; by default 0"}},
      .any_dtype = true,
      .infer = infer_pad,
      .run = run_pad,
      .doc = "The tensor with the scalar `pad_value` around it, and `interior` times between its "
             "elements. Negative values of `low` and `high` cut elements off, after the interior "
             "was padded. An axis whose size would be negative is an error (`bad_shape`). Both "
             "operands are converted to their common dtype."});
  rows.push_back(OpRow{.name = "stack",
                       .family = "slice",
                       .kind = Kind::compute,
                       .operands = {{"tensors", true}},
                       .attrs = {{"axis", AttrType::integer, false, "0", "the new axis"}},
                       .any_dtype = true,
                       .infer = infer_stack,
                       .run = run_stack,
                       .doc = "Joins tensors of one shape (`bad_shape`) along a new axis. They are "
                              "converted to their common dtype."});
}

}  // namespace outrigger::ops
