#include <algorithm>

#include "ops/index/indices.hpp"
#include "ops/index/rows.hpp"
#include "ops/support/axes.hpp"
#include "ops/support/look.hpp"
#include "ops/support/strided.hpp"

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

/// The tensor as [outer][axis][inner], with any strides.
struct Picked {
  const std::byte* from = nullptr;
  std::int64_t axis = 0;
  std::int64_t dim = 1;
  std::int64_t stride = 0;  ///< stride of the axis, in elements
  WalkedAxes outer, inner;

  template <typename T>
  const T* at_outer(std::int64_t position) const {
    return reinterpret_cast<const T*>(from) + outer.offset(position);
  }
};

/// Axes [begin, end) of a tensor.
WalkedAxes some_axes(const Tensor& tensor, std::size_t begin, std::size_t end) {
  const auto cut = [=](const Dims& of) {
    return Dims(of.begin() + static_cast<std::ptrdiff_t>(begin),
                of.begin() + static_cast<std::ptrdiff_t>(end));
  };
  return WalkedAxes(cut(tensor.shape()), cut(tensor.strides));
}

Result<Picked> prepare(const RunCall& call) {
  const Tensor& from = call.in[0];
  Picked picked;
  OUTRIGGER_TRY(picked.axis, normalize_axis(call.attrs.integer("axis"), from.shape().size()));
  const auto at = static_cast<std::size_t>(picked.axis);
  picked.from = from.data();
  picked.dim = from.shape()[at];
  picked.stride = from.strides[at];
  picked.outer = some_axes(from, 0, at);
  picked.inner = some_axes(from, at + 1, from.shape().size());
  return picked;
}

/// The elements of one task of a thread.
constexpr std::int64_t chunk_elements = std::int64_t{1} << 16;

/// Calls f(outer index, begin, end, look) for pieces of [0, count) of each outer index, with
/// `weight` elements for each position. f returns false if it was interrupted.
template <typename F>
Result<void> for_each_task(const RunCall& call, std::int64_t outer, std::int64_t count,
                           std::int64_t weight, F&& f) {
  if (outer * count * weight == 0) return {};
  const std::int64_t piece = std::clamp<std::int64_t>(chunk_elements / weight, 1, count);
  const std::int64_t pieces = (count + piece - 1) / piece;
  const std::int64_t grain = std::max<std::int64_t>(1, chunk_elements / (piece * weight));
  return looking_ranges(call.context, outer * pieces, grain, outer * count * weight,
                        [&](int, std::int64_t first, std::int64_t last) {
                          Look look(call.context.interrupt);
                          for (std::int64_t task = first; task < last; ++task) {
                            const std::int64_t begin = task % pieces * piece;
                            if (!f(task / pieces, begin, std::min(begin + piece, count), look))
                              return false;
                          }
                          return true;
                        });
}

/// Copies the elements of some axes. Returns false if it was interrupted.
template <typename T>
bool copy_all(const WalkedAxes& axes, const T* from, T* to, Look& look) {
  for (std::int64_t start = 0; start < axes.count; start += chunk_elements) {
    const std::int64_t n = std::min(chunk_elements, axes.count - start);
    if (!look.go_on(n)) return false;
    if (axes.together())
      std::copy_n(from + start, n, to + start);
    else
      gather_tile(to + start, from, axes.dims, axes.strides, start, n);
  }
  return true;
}

template <typename T, typename Index>
Result<void> take_typed(const RunCall& call, const Picked& p) {
  const std::int64_t count = call.in[1].size();
  const IndexRows<Index> indices(call.in[1]);
  OUTRIGGER_CHECK(check_indices(call, indices, count, Dims{p.dim}, std::span(&p.axis, 1)));
  T* to = call.out[0].as<T>();
  const std::int64_t inner = p.inner.count;
  return for_each_task(
      call, p.outer.count, count, inner,
      [&](std::int64_t outer, std::int64_t begin, std::int64_t end, Look& look) {
        const T* base = p.at_outer<T>(outer);
        bool go_on = true;
        indices.for_each(begin, end, [&](std::int64_t first, const Index* index, std::int64_t n) {
          T* out = to + (outer * count + first) * inner;
          if (inner == 1) {
            for (std::int64_t j = 0; j < n; ++j) *out++ = base[index[j] * p.stride];
          } else if (inner > chunk_elements) {
            for (std::int64_t j = 0; go_on && j < n; ++j, out += inner)
              go_on = copy_all(p.inner, base + index[j] * p.stride, out, look);
          } else if (p.inner.together()) {
            for (std::int64_t j = 0; j < n; ++j, out += inner)
              std::copy_n(base + index[j] * p.stride, inner, out);
          } else {
            for (std::int64_t j = 0; j < n; ++j, out += inner)
              gather_tile(out, base + index[j] * p.stride, p.inner.dims, p.inner.strides, 0, inner);
          }
        });
        return go_on;
      });
}

/// Picks one element for each of n indices. The first index is at `position` of a row of the inner
/// axes; the others are in this row and the next ones.
template <typename T, typename Index>
void pick_each(const T* base, const Picked& p, const Index* index, std::int64_t position,
               std::int64_t n, T* out) {
  while (n > 0) {
    const std::int64_t length = std::min(n, p.inner.count - position);
    for_each_run(p.inner.dims, p.inner.strides, position, length,
                 [&](std::int64_t at, std::int64_t offset, std::int64_t stride, std::int64_t run) {
                   const T* const column = base + offset;
                   for (std::int64_t i = 0; i < run; ++i)
                     out[at + i] = column[index[at + i] * p.stride + i * stride];
                 });
    index += length;
    out += length;
    n -= length;
    position = 0;
  }
}

template <typename T, typename Index>
Result<void> take_along_axis_typed(const RunCall& call, const Picked& p) {
  const Tensor& picks = call.in[1];
  const IndexRows<Index> indices(picks);
  OUTRIGGER_CHECK(check_indices(call, indices, picks.size(), Dims{p.dim}, std::span(&p.axis, 1)));
  const std::int64_t count = picks.shape()[static_cast<std::size_t>(p.axis)];
  const std::int64_t inner = p.inner.count;
  T* to = call.out[0].as<T>();
  return for_each_task(
      call, p.outer.count, count, inner,
      [&](std::int64_t outer, std::int64_t begin, std::int64_t end, Look& look) {
        const T* base = p.at_outer<T>(outer);
        const std::int64_t start = outer * count * inner;
        const std::int64_t stop = start + end * inner;
        for (std::int64_t at = start + begin * inner; at < stop; at += chunk_elements) {
          const std::int64_t picked = std::min(chunk_elements, stop - at);
          if (!look.go_on(picked)) return false;
          indices.for_each(at, at + picked,
                           [&](std::int64_t first, const Index* index, std::int64_t n) {
                             pick_each(base, p, index, (first - start) % inner, n, to + first);
                           });
        }
        return true;
      });
}

template <typename F>
Result<void> with_picked(const RunCall& call, F&& f) {
  OUTRIGGER_TRY(const Picked picked, prepare(call));
  return with_width(size_of(call.in[0].dtype()), [&](auto tag) {
    return with_index_type(call.in[1].dtype(),
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
               .doc = doc};
}

}  // namespace

void add_take_rows(std::vector<OpRow>& rows) {
  rows.push_back(picking("take", infer_take, run_take,
                         "Picks along one axis. The axes of `indices` replace that axis. An index "
                         "out of bounds is an error (`bad_index`)."));
  rows.push_back(picking(
      "take_along_axis", infer_take_along_axis, run_take_along_axis,
      "Picks along one axis, with one index for each element of the result. The result has the "
      "shape of `indices`, which is the tensor's shape except for the axis. With the result of "
      "`argsort` as indices, the op sorts. An index out of bounds is an error (`bad_index`)."));
}

}  // namespace outrigger::ops
