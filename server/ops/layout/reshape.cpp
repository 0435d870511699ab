#include <algorithm>

#include "ops/layout/rows.hpp"
#include "ops/op.hpp"
#include "ops/support/axes.hpp"

namespace outrigger::ops {
namespace {

Inferred same_dtype(const InferCall& call, const Dims& shape) {
  Inferred inferred;
  const DType dtype = call.type(0).dtype;
  inferred.operands.assign(call.size(), dtype);
  inferred.results.push_back(TensorType{dtype, shape});
  return inferred;
}

Result<Inferred> infer_reshape(const InferCall& call) {
  const TensorType& from = call.type(0);
  const auto shape = call.attrs.integers("shape");
  OUTRIGGER_CHECK(check_shape(shape, size_of(from.dtype)));
  if (element_count(shape) != element_count(from.shape)) {
    return fail(ErrorCode::bad_shape, "cannot reshape " + to_string(from) + ", " +
                                          std::to_string(element_count(from.shape)) +
                                          " elements, to " + to_string(shape) + ", " +
                                          std::to_string(element_count(shape)));
  }
  return same_dtype(call, Dims(shape.begin(), shape.end()));
}

/// The strides of the new shape over the same memory; nothing if no strides give these elements.
std::optional<Dims> reshape_strides(const Tensor& from, std::span<const std::int64_t> shape) {
  if (from.size() == 0) return contiguous_strides(shape);
  Dims old_shape;
  Dims old_strides;
  for (std::size_t axis = 0; axis < from.shape().size(); ++axis) {
    if (from.shape()[axis] == 1) continue;
    old_shape.push_back(from.shape()[axis]);
    old_strides.push_back(from.strides[axis]);
  }
  Dims strides(shape.size(), 1);
  std::size_t o = 0;
  std::size_t n = 0;
  // Matches the shortest groups of old and new axes with the same number of elements.
  while (o < old_shape.size()) {
    std::size_t o_end = o + 1;
    std::int64_t old_count = old_shape[o];
    while (n < shape.size() && shape[n] == 1) strides[n++] = 1;
    std::size_t n_end = n + 1;
    std::int64_t new_count = shape[n];
    while (old_count != new_count) {
      if (new_count < old_count)
        new_count *= shape[n_end++];
      else
        old_count *= old_shape[o_end++];
    }
    for (std::size_t axis = o; axis + 1 < o_end; ++axis) {
      if (old_strides[axis] != old_strides[axis + 1] * old_shape[axis + 1]) return std::nullopt;
    }
    std::int64_t stride = old_strides[o_end - 1];
    for (std::size_t axis = n_end; axis-- > n;) {
      strides[axis] = stride;
      stride *= shape[axis];
    }
    o = o_end;
    n = n_end;
  }
  return strides;
}

Result<Tensor> view_reshape(const ViewCall& call) {
  const Tensor& from = call.in[0];
  auto strides = reshape_strides(from, call.result.shape);
  // If no view of the operand is possible, the executor has made it contiguous.
  if (!strides)
    return fail(ErrorCode::bad_shape, "the memory of a strided view cannot be reshaped in place");
  return view_of(from, call.result, std::move(*strides), from.offset, call.mutable_view);
}

Result<Inferred> infer_squeeze(const InferCall& call) {
  const Dims& shape = call.type(0).shape;
  Dims axes;
  if (call.attrs.has("axes")) {
    OUTRIGGER_TRY(axes, normalize_axes(call.attrs.integers("axes"), shape.size()));
    for (const std::int64_t axis : axes) {
      if (shape[static_cast<std::size_t>(axis)] == 1) continue;
      return fail(ErrorCode::bad_shape, "cannot squeeze axis " + std::to_string(axis) + " of " +
                                            to_string(call.type(0)) + ": its size is not 1");
    }
  } else {
    for (const std::int64_t axis : all_axes(shape.size())) {
      if (shape[static_cast<std::size_t>(axis)] == 1) axes.push_back(axis);
    }
  }
  return same_dtype(call, remove_axes(shape, axes, false));
}

Result<Dims> transpose_order(const InferCall& call) {
  const std::size_t rank = call.type(0).shape.size();
  Dims order = all_axes(rank);
  std::reverse(order.begin(), order.end());
  if (call.attrs.has("axes")) {
    OUTRIGGER_TRY(order, normalize_axes(call.attrs.integers("axes"), rank));
    if (order.size() != rank) {
      return fail(ErrorCode::bad_axis, "axes must name each of the " + std::to_string(rank) +
                                           " axes of " + to_string(call.type(0)) + " once");
    }
  }
  return order;
}

Result<Inferred> infer_transpose(const InferCall& call) {
  OUTRIGGER_TRY(const Dims order, transpose_order(call));
  Dims shape;
  for (const std::int64_t axis : order) {
    shape.push_back(call.type(0).shape[static_cast<std::size_t>(axis)]);
  }
  return same_dtype(call, std::move(shape));
}

Result<Tensor> view_transpose(const ViewCall& call) {
  const Tensor& from = call.in[0];
  const InferOperand operand{from.type, nullptr};
  OUTRIGGER_TRY(const Dims order, transpose_order(InferCall{std::span(&operand, 1), call.attrs}));
  Dims strides;
  for (const std::int64_t axis : order)
    strides.push_back(from.strides[static_cast<std::size_t>(axis)]);
  return view_of(from, call.result, std::move(strides), from.offset, call.mutable_view);
}

/// For each axis of the operand, the axis of the result.
Result<Dims> broadcast_axes(const TensorType& from, const AttrView& attrs) {
  const std::size_t rank = attrs.integers("shape").size();
  const std::size_t from_rank = from.shape.size();
  if (attrs.has("axes")) {
    OUTRIGGER_TRY(Dims axes, normalize_axes(attrs.integers("axes"), rank));
    if (axes.size() != from_rank || !std::is_sorted(axes.begin(), axes.end())) {
      return fail(ErrorCode::bad_axis,
                  "axes must name, in ascending order, one axis of the result for each of the " +
                      std::to_string(from_rank) + " axes of " + to_string(from));
    }
    return axes;
  }
  if (rank < from_rank) {
    return fail(ErrorCode::bad_shape, "cannot broadcast " + to_string(from) +
                                          " to the lower rank of " +
                                          to_string(attrs.integers("shape")));
  }
  Dims axes = all_axes(from_rank);
  for (std::int64_t& axis : axes) axis += static_cast<std::int64_t>(rank - from_rank);
  return axes;
}

Result<Inferred> infer_broadcast(const InferCall& call) {
  const TensorType& from = call.type(0);
  const auto shape = call.attrs.integers("shape");
  OUTRIGGER_CHECK(check_shape(shape, size_of(from.dtype)));
  OUTRIGGER_TRY(const Dims axes, broadcast_axes(from, call.attrs));
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const std::int64_t dim = shape[static_cast<std::size_t>(axes[i])];
    if (from.shape[i] != dim && from.shape[i] != 1) {
      return fail(ErrorCode::bad_shape,
                  "cannot broadcast " + to_string(from) + " to " + to_string(shape));
    }
  }
  return same_dtype(call, Dims(shape.begin(), shape.end()));
}

Result<Tensor> view_broadcast(const ViewCall& call) {
  const Tensor& from = call.in[0];
  OUTRIGGER_TRY(const Dims axes, broadcast_axes(from.type, call.attrs));
  Dims strides(call.result.shape.size(), 0);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (from.shape()[i] != 1) strides[static_cast<std::size_t>(axes[i])] = from.strides[i];
  }
  return view_of(from, call.result, std::move(strides), from.offset, call.mutable_view);
}

Result<Inferred> infer_reverse(const InferCall& call) {
  OUTRIGGER_CHECK(normalize_axes(call.attrs.integers("axes"), call.type(0).shape.size()));
  return same_dtype(call, call.type(0).shape);
}

Result<Tensor> view_reverse(const ViewCall& call) {
  const Tensor& from = call.in[0];
  const std::size_t rank = from.shape().size();
  Dims axes = all_axes(rank);
  if (call.attrs.has("axes")) {
    OUTRIGGER_TRY(axes, normalize_axes(call.attrs.integers("axes"), rank));
  }
  Dims strides = from.strides;
  std::int64_t offset = from.offset;
  for (const std::int64_t named : axes) {
    const auto axis = static_cast<std::size_t>(named);
    if (from.shape()[axis] > 0) offset += (from.shape()[axis] - 1) * strides[axis];
    strides[axis] = -strides[axis];
  }
  return view_of(from, call.result, std::move(strides), offset, call.mutable_view);
}

OpRow view(std::string_view name, std::vector<AttrSpec> attrs,
           Result<Inferred> (*infer)(const InferCall&), Result<Tensor> (*make)(const ViewCall&),
           std::string_view doc) {
  return OpRow{.name = name,
               .family = "shape",
               .kind = Kind::view,
               .operands = {{"tensor"}},
               .attrs = std::move(attrs),
               .in_place = 0,
               .any_dtype = true,
               .infer = infer,
               .view = make,
               .doc = doc};
}

}  // namespace

void add_reshape_rows(std::vector<OpRow>& rows) {
  OpRow reshape = view(
      "reshape", {{"shape", AttrType::shape, true, "", "the new shape"}}, infer_reshape,
      view_reshape,
      "The same elements in C order with another shape, which must have as many elements "
      "(`bad_shape`). A view; for some strided tensors a copy, whose mutable view is refused.");
  reshape.keeps_order = true;
  rows.push_back(std::move(reshape));
  OpRow squeeze =
      view("squeeze",
           {{"axes", AttrType::integers, false, "", "axes to drop; by default all of size 1"}},
           infer_squeeze, view_reshape, "Drops axes of size 1. A view.");
  squeeze.keeps_order = true;
  rows.push_back(std::move(squeeze));
  rows.push_back(view("transpose",
                      {{"axes", AttrType::integers, false, "",
                        "the operand's axes in their new order; by default reversed"}},
                      infer_transpose, view_transpose, "Reorders the axes. A view."));
  OpRow broadcast =
      view("broadcast",
           {{"shape", AttrType::shape, true, "", "the new shape"},
            {"axes", AttrType::integers, false, "",
             "the axis of the result for each axis of the operand; by default the last axes"}},
           infer_broadcast, view_broadcast,
           "Repeats axes of size 1, and new axes, to the shape. A view: it takes no memory until "
           "it is written.");
  broadcast.in_place = -1;
  rows.push_back(std::move(broadcast));
  rows.push_back(
      view("reverse", {{"axes", AttrType::integers, false, "", "axes to reverse; by default all"}},
           infer_reverse, view_reverse, "Reverses the order of the elements along axes. A view."));
}

}  // namespace outrigger::ops
