#include <algorithm>
#include <cstring>

#include "ops/apart.hpp"
#include "ops/elementwise/kernels.hpp"
#include "ops/layout/rows.hpp"
#include "ops/layout/slice.hpp"
#include "ops/support/axes.hpp"
#include "ops/support/scratch.hpp"
#include "ops/support/stream.hpp"

namespace outrigger::ops {
namespace {

/// Checks the operands after the first `skip`: they are the starts, one integer scalar for each
/// axis.
Result<void> check_starts(const InferCall& call, std::size_t skip) {
  const std::size_t rank = call.type(0).shape.size();
  if (call.size() != rank + skip) {
    return fail(ErrorCode::bad_shape,
                "one start is needed for each of the " + std::to_string(rank) + " axes of " +
                    to_string(call.type(0)) + ", got " + std::to_string(call.size() - skip));
  }
  for (std::size_t i = skip; i < call.size(); ++i) {
    const TensorType& start = call.type(i);
    if (is_integer(start.dtype) && start.shape.empty()) continue;
    return fail(start.shape.empty() ? ErrorCode::bad_dtype : ErrorCode::bad_shape,
                "starts must be integer scalars, got " + to_string(start));
  }
  return {};
}

/// Starts are read as s64. A u64 keeps its dtype, so that a huge start does not become negative.
void want_starts(const InferCall& call, std::size_t skip, Inferred& inferred) {
  for (std::size_t i = skip; i < call.size(); ++i) {
    inferred.operands[i] = call.type(i).dtype == DType::u64 ? DType::u64 : DType::s64;
  }
}

/// The start along an axis, moved so that the window fits, as in Nx.
std::int64_t clamped_start(const Tensor& start, std::int64_t dim, std::int64_t extent) {
  const std::int64_t last = dim - extent;
  if (start.dtype() == DType::u64) {
    return static_cast<std::int64_t>(
        std::min(*start.as<std::uint64_t>(), static_cast<std::uint64_t>(last)));
  }
  return std::clamp<std::int64_t>(*start.as<std::int64_t>(), 0, last);
}

Result<Inferred> infer_slice(const InferCall& call) {
  OUTRIGGER_CHECK(check_starts(call, 1));
  const TensorType& from = call.type(0);
  const auto lengths = call.attrs.integers("lengths");
  const auto strides = call.attrs.integers("strides");
  if (lengths.size() != from.shape.size() ||
      (call.attrs.has("strides") && strides.size() != lengths.size())) {
    return fail(ErrorCode::bad_attr, "lengths and strides need one entry for each of the " +
                                         std::to_string(from.shape.size()) + " axes of " +
                                         to_string(from));
  }
  Inferred inferred;
  inferred.operands.assign(call.size(), from.dtype);
  want_starts(call, 1, inferred);
  TensorType result{from.dtype, {}};
  for (std::size_t axis = 0; axis < lengths.size(); ++axis) {
    const std::int64_t stride = strides.empty() ? 1 : strides[axis];
    if (lengths[axis] < 1 || lengths[axis] > from.shape[axis] || stride < 1) {
      return fail(ErrorCode::bad_shape, "cannot slice length " + std::to_string(lengths[axis]) +
                                            " with stride " + std::to_string(stride) +
                                            " from axis " + std::to_string(axis) + " of " +
                                            to_string(from));
    }
    result.shape.push_back(lengths[axis] == 0 ? 0 : (lengths[axis] - 1) / stride + 1);
  }
  inferred.results.push_back(std::move(result));
  return inferred;
}

Result<Tensor> view_slice(const ViewCall& call) {
  const Tensor& from = call.in[0];
  const auto lengths = call.attrs.integers("lengths");
  const auto steps = call.attrs.integers("strides");
  Dims strides = from.strides;
  std::int64_t offset = from.offset;
  for (std::size_t axis = 0; axis < lengths.size(); ++axis) {
    offset +=
        clamped_start(call.in[axis + 1], from.shape()[axis], lengths[axis]) * from.strides[axis];
    if (!steps.empty()) strides[axis] *= steps[axis];
  }
  return view_of(from, call.result, std::move(strides), offset, call.mutable_view);
}

Result<Inferred> infer_put_slice(const InferCall& call) {
  OUTRIGGER_CHECK(check_starts(call, 2));
  const TensorType& into = call.type(0);
  const TensorType& slice = call.type(1);
  bool fits = slice.shape.size() == into.shape.size();
  for (std::size_t axis = 0; fits && axis < slice.shape.size(); ++axis) {
    fits = slice.shape[axis] <= into.shape[axis];
  }
  if (!fits) {
    return fail(ErrorCode::bad_shape,
                "a slice " + to_string(slice) + " does not fit into " + to_string(into));
  }
  const DType dtype = merged_dtype(call.in.first(2));
  Inferred inferred;
  inferred.operands.assign(call.size(), dtype);
  want_starts(call, 2, inferred);
  inferred.results.push_back(TensorType{dtype, into.shape});
  return inferred;
}

Result<void> run_put_slice(const RunCall& call) {
  const Tensor& slice = call.in[1];
  const Tensor window = window_at(call.out[0], slice.shape(), call.in.subspan(2));
  if (!streams(window, call.context.stream_from) || !slice.contiguous() ||
      overlap_differently(slice, window))
    return copy_tensor(call.context, slice, window);
  stream_copy(window.data(), slice.data(), static_cast<std::size_t>(byte_count(slice.type)));
  end_of_stream();
  return {};
}

Result<Inferred> infer_concatenate(const InferCall& call) {
  const TensorType& first = call.type(0);
  OUTRIGGER_TRY(const std::int64_t named,
                normalize_axis(call.attrs.integer("axis"), first.shape.size()));
  const auto axis = static_cast<std::size_t>(named);
  TensorType result{merged_dtype(call.in), first.shape};
  result.shape[axis] = 0;
  for (const InferOperand& operand : call.in) {
    Dims shape = operand.type.shape;
    if (shape.size() == first.shape.size()) {
      if (__builtin_add_overflow(result.shape[axis], shape[axis], &result.shape[axis])) {
        return fail(ErrorCode::bad_shape, "the joined axis would be too long");
      }
      shape[axis] = first.shape[axis];
    }
    if (shape != first.shape) {
      return fail(ErrorCode::bad_shape, "cannot concatenate " + to_string(operand.type) + " to " +
                                            to_string(first) + " along axis " +
                                            std::to_string(named));
    }
  }
  OUTRIGGER_CHECK(check_shape(result.shape, size_of(result.dtype)));
  Inferred inferred;
  inferred.operands.assign(call.size(), result.dtype);
  inferred.results.push_back(std::move(result));
  return inferred;
}

Result<void> run_concatenate(const RunCall& call) {
  const Tensor& out = call.out[0];
  const auto axis =
      static_cast<std::size_t>(*normalize_axis(call.attrs.integer("axis"), out.shape().size()));
  std::int64_t offset = out.offset;
  for (const Tensor& part : call.in) {
    const Tensor window = view_of(out, part.type, out.strides, offset, true);
    OUTRIGGER_CHECK(copy_tensor(call.context, part, window));
    offset += part.shape()[axis] * out.strides[axis];
  }
  return {};
}

}  // namespace

Tensor window_at(const Tensor& tensor, const Dims& shape, std::span<const Tensor> starts) {
  std::int64_t offset = tensor.offset;
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    offset += clamped_start(starts[axis], tensor.shape()[axis], shape[axis]) * tensor.strides[axis];
  return view_of(tensor, TensorType{tensor.dtype(), shape}, tensor.strides, offset, true);
}

bool streams(const Tensor& window, std::size_t stream_from) {
  constexpr std::int64_t bytes_max = std::int64_t{64} << 10;
  return window.storage->buffer->bytes() >= stream_from && byte_count(window.type) <= bytes_max &&
         window.contiguous();
}

void add_slice_rows(std::vector<OpRow>& rows) {
  rows.push_back(OpRow{.name = "slice",
                       .family = "slice",
                       .kind = Kind::view,
                       .operands = {{"tensor"}, {"starts", true}},
                       .attrs = {{"lengths", AttrType::integers, true, "",
                                  "extent of the window along each axis, at least 1"},
                                 {"strides", AttrType::integers, false, "1",
                                  "take each n-th element of the window"}},
                       .in_place = 0,
                       .any_dtype = true,
                       .infer = infer_slice,
                       .view = view_slice,
                       .doc = "A window of `lengths` elements along each axis, from `starts` (an "
                              "integer scalar for each axis) on; with `strides`, each n-th of "
                              "them. Starts are moved so that the window fits, as in Nx. A view."});
  rows.push_back(OpRow{
      .name = "put_slice",
      .family = "slice",
      .kind = Kind::update,
      .operands = {{"tensor"}, {"slice"}, {"starts", true}},
      .in_place = 0,
      .any_dtype = true,
      .infer = infer_put_slice,
      .run = run_put_slice,
      .scratch = [](const ScratchCall& call) { return apart_bytes(call.in[1]); },
      .doc = "The tensor with the window at `starts` (an integer scalar for each axis) replaced by "
             "`slice`. Starts are moved so that the window fits, as in Nx. Both tensors are "
             "converted to their common dtype. The op accesses only the window."});
  rows.push_back(OpRow{
      .name = "concatenate",
      .family = "slice",
      .kind = Kind::compute,
      .operands = {{"tensors", true}},
      .attrs = {{"axis", AttrType::integer, false, "0", "the axis along which tensors are joined"}},
      .any_dtype = true,
      .infer = infer_concatenate,
      .run = run_concatenate,
      .doc = "Joins tensors along an axis; the other axes must be equal (`bad_shape`). The tensors "
             "are converted to their common dtype."});
}

}  // namespace outrigger::ops
