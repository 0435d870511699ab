#include <algorithm>

#include "ops/catalogue.hpp"
#include "ops/indices.hpp"
#include "ops/scratch.hpp"
#include "ops/shapes.hpp"
#include "ops/strided.hpp"

namespace outrigger::ops {
namespace {

Result<Inferred> infer_take(const InferCall& call) {
  OUTRIGGER_TRY(const DType index, index_dtype(call.type(1)));
  const TensorType& from = call.type(0);
  OUTRIGGER_TRY(const std::int64_t named,
                normalize_axis(call.attrs.integer("axis"), from.shape.size()));
  TensorType result{from.dtype, Dims(from.shape.begin(), from.shape.begin() + named)};
  result.shape.append(call.type(1).shape.begin(), call.type(1).shape.end());
  result.shape.append(from.shape.begin() + named + 1, from.shape.end());
  OUTRIGGER_CHECK(check_shape(result.shape, size_of(result.dtype)));
  Inferred inferred;
  inferred.operands = {from.dtype, index};
  inferred.results.push_back(std::move(result));
  return inferred;
}

Result<Inferred> infer_take_along_axis(const InferCall& call) {
  OUTRIGGER_TRY(const DType index, index_dtype(call.type(1)));
  const TensorType& from = call.type(0);
  const Dims& picked = call.type(1).shape;
  OUTRIGGER_TRY(const std::int64_t axis,
                normalize_axis(call.attrs.integer("axis"), from.shape.size()));
  bool fits = picked.size() == from.shape.size();
  for (std::size_t i = 0; fits && i < picked.size(); ++i)
    fits = static_cast<std::int64_t>(i) == axis || picked[i] == from.shape[i];
  if (!fits) {
    return fail(ErrorCode::bad_shape,
                "indices into " + to_string(from) + " must have its shape, but for axis " +
                    std::to_string(axis) + ", got " + to_string(call.type(1)));
  }
  Inferred inferred;
  inferred.operands = {from.dtype, index};
  inferred.results.push_back(TensorType{from.dtype, picked});
  return inferred;
}

/// The tensor as [outer][axis][inner], wherever its elements lie; the indices in C order.
struct Picked {
  Tensor indices;
  const std::byte* from = nullptr;
  std::int64_t axis = 0;
  std::int64_t dim = 1;
  std::int64_t stride = 0;  ///< along the axis, in elements
  std::int64_t outer = 1;
  Dims outer_dims, outer_strides;
  std::int64_t inner = 1;
  Dims inner_dims, inner_strides;

  bool inner_together() const {
    return inner_dims.empty() || (inner_dims.size() == 1 && inner_strides[0] == 1);
  }

  template <typename T>
  const T* at_outer(std::int64_t position) const {
    const T* first = reinterpret_cast<const T*>(from);
    for (std::size_t i = outer_dims.size(); i-- > 0; position /= outer_dims[i])
      first += position % outer_dims[i] * outer_strides[i];
    return first;
  }
};

/// Axes [begin, end) of a tensor, as few as they can be walked as.
std::int64_t some_axes(const Tensor& tensor, std::size_t begin, std::size_t end, Dims& dims,
                       Dims& strides) {
  const Dims& shape = tensor.shape();
  dims.assign(shape.begin() + static_cast<std::ptrdiff_t>(begin),
              shape.begin() + static_cast<std::ptrdiff_t>(end));
  strides.assign(tensor.strides.begin() + static_cast<std::ptrdiff_t>(begin),
                 tensor.strides.begin() + static_cast<std::ptrdiff_t>(end));
  const std::int64_t count = element_count(dims);
  if (count > 0) collapse(dims, std::span(&strides, 1));
  return count;
}

Result<Picked> prepare(const RunCall& call) {
  const Tensor& from = call.in[0];
  Picked picked;
  OUTRIGGER_TRY(picked.axis, normalize_axis(call.attrs.integer("axis"), from.shape().size()));
  OUTRIGGER_TRY(picked.indices, to_contiguous(call.context, call.in[1]));
  const auto at = static_cast<std::size_t>(picked.axis);
  picked.from = from.data();
  picked.dim = from.shape()[at];
  picked.stride = from.strides[at];
  picked.outer = some_axes(from, 0, at, picked.outer_dims, picked.outer_strides);
  picked.inner =
      some_axes(from, at + 1, from.shape().size(), picked.inner_dims, picked.inner_strides);
  return picked;
}

/// Elements that one thread takes at a time.
constexpr std::int64_t chunk_elements = std::int64_t{1} << 16;

/// f(outer index, begin, end) for pieces of [0, count) below each outer index, `weight` elements
/// for each.
template <typename F>
Result<void> for_each_piece(const RunCall& call, std::int64_t outer, std::int64_t count,
                            std::int64_t weight, F&& f) {
  if (outer * count * weight == 0) return {};
  const std::int64_t piece = std::clamp<std::int64_t>(chunk_elements / weight, 1, count);
  const std::int64_t pieces = (count + piece - 1) / piece;
  const std::int64_t grain = std::max<std::int64_t>(1, chunk_elements / (piece * weight));
  return parallel_ranges(call.context, outer * pieces, grain, outer * count * weight,
                         [&](int, std::int64_t first, std::int64_t last) {
                           for (std::int64_t task = first; task < last; ++task) {
                             const std::int64_t begin = task % pieces * piece;
                             f(task / pieces, begin, std::min(begin + piece, count));
                           }
                         });
}

template <typename T, typename Index>
Result<void> take_typed(const RunCall& call, const Picked& p) {
  const std::int64_t count = p.indices.size();
  const auto* index = p.indices.as<Index>();
  OUTRIGGER_CHECK(check_indices(call, index, count, Dims{p.dim}, std::span(&p.axis, 1)));
  T* to = call.out[0].as<T>();
  return for_each_piece(
      call, p.outer, count, p.inner, [&](std::int64_t outer, std::int64_t begin, std::int64_t end) {
        const T* base = p.at_outer<T>(outer);
        T* out = to + (outer * count + begin) * p.inner;
        if (p.inner == 1) {
          for (std::int64_t j = begin; j < end; ++j) *out++ = base[index[j] * p.stride];
        } else if (p.inner_together()) {
          for (std::int64_t j = begin; j < end; ++j, out += p.inner)
            std::copy_n(base + index[j] * p.stride, p.inner, out);
        } else {
          for (std::int64_t j = begin; j < end; ++j, out += p.inner)
            gather_tile(out, base + index[j] * p.stride, p.inner_dims, p.inner_strides, 0, p.inner);
        }
      });
}

template <typename T, typename Index>
Result<void> take_along_axis_typed(const RunCall& call, const Picked& p) {
  const std::int64_t total = p.indices.size();
  const auto* index = p.indices.as<Index>();
  OUTRIGGER_CHECK(check_indices(call, index, total, Dims{p.dim}, std::span(&p.axis, 1)));
  const std::int64_t count = p.indices.shape()[static_cast<std::size_t>(p.axis)];
  T* to = call.out[0].as<T>();
  return for_each_piece(call, p.outer, count, p.inner,
                        [&](std::int64_t outer, std::int64_t begin, std::int64_t end) {
                          const T* base = p.at_outer<T>(outer);
                          for (std::int64_t j = begin; j < end; ++j) {
                            const std::int64_t row = (outer * count + j) * p.inner;
                            for_each_run(p.inner_dims, p.inner_strides, 0, p.inner,
                                         [&](std::int64_t position, std::int64_t offset,
                                             std::int64_t stride, std::int64_t length) {
                                           const Index* const picks = index + row + position;
                                           T* const out = to + row + position;
                                           const T* const column = base + offset;
                                           for (std::int64_t i = 0; i < length; ++i)
                                             out[i] = column[picks[i] * p.stride + i * stride];
                                         });
                          }
                        });
}

template <typename F>
Result<void> with_picked(const RunCall& call, F&& f) {
  OUTRIGGER_TRY(const Picked picked, prepare(call));
  return with_width(size_of(call.in[0].dtype()), [&](auto tag) {
    return with_index_type(picked.indices.dtype(),
                           [&](auto index_tag) { return f(tag, index_tag, picked); });
  });
}

Result<void> run_take(const RunCall& call) {
  return with_picked(call, [&](auto tag, auto index_tag, const Picked& picked) {
    return take_typed<typename decltype(tag)::type, typename decltype(index_tag)::type>(call,
                                                                                        picked);
  });
}

Result<void> run_take_along_axis(const RunCall& call) {
  return with_picked(call, [&](auto tag, auto index_tag, const Picked& picked) {
    return take_along_axis_typed<typename decltype(tag)::type, typename decltype(index_tag)::type>(
        call, picked);
  });
}

OpRow picking(std::string_view name, Result<Inferred> (*infer)(const InferCall&),
              Result<void> (*run)(const RunCall&), std::string_view doc) {
  return OpRow{.name = name,
               .family = "index",
               .kind = Kind::compute,
               .operands = {{"tensor"}, {"indices"}},
               .attrs = {{"axis", AttrType::integer, false, "0", "the axis to pick along"}},
               .any_dtype = true,
               .infer = infer,
               .run = run,
               .scratch = contiguous_operands<1>,
               .doc = doc};
}

}  // namespace

void register_take(std::vector<OpRow>& rows) {
  rows.push_back(picking("take", infer_take, run_take,
                         "Picks along one axis, which the axes of `indices` replace. An index "
                         "outside of the axis: `bad_index`."));
  rows.push_back(picking("take_along_axis", infer_take_along_axis, run_take_along_axis,
                         "Picks along one axis, at each place by its own index: `indices` has the "
                         "tensor's shape but for the axis, and is the result's shape. Undoes what "
                         "`argsort` names. An index outside of the axis: `bad_index`."));
}

}  // namespace outrigger::ops
