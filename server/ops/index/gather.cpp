#include <algorithm>
#include <array>
#include <atomic>

#include "ops/apart.hpp"
#include "ops/elementwise/kernels.hpp"
#include "ops/index/indices.hpp"
#include "ops/index/rows.hpp"
#include "ops/support/axes.hpp"
#include "ops/support/scratch.hpp"
#include "ops/support/strided.hpp"
#include "tensor/cast_element.hpp"
#include "tensor/small_float.hpp"

namespace outrigger::ops {
namespace {

/// The axes that the last axis of `indices` speaks of: the attribute, or as many leading ones as it
/// is long.
Result<Dims> indexed_axes(const TensorType& tensor, const TensorType& indices,
                          const AttrView& attrs) {
  if (indices.shape.empty()) {
    return fail(ErrorCode::bad_shape,
                "indices must have at least 1 axis, got " + to_string(indices));
  }
  const std::size_t rank = tensor.shape.size();
  const std::int64_t depth = indices.shape.back();
  const std::string found = "indices " + to_string(indices) + " into " + to_string(tensor);
  if (!attrs.has("axes")) {
    if (depth > static_cast<std::int64_t>(rank)) {
      return fail(ErrorCode::bad_shape,
                  found + ": their last axis must not be longer than the tensor has axes");
    }
    return all_axes(static_cast<std::size_t>(depth));
  }
  OUTRIGGER_TRY(Dims axes, normalize_axes(attrs.integers("axes"), rank));
  if (static_cast<std::int64_t>(axes.size()) != depth) {
    return fail(ErrorCode::bad_shape, found + ": their last axis must be as long as axes, " +
                                          std::to_string(axes.size()));
  }
  if (!std::is_sorted(axes.begin(), axes.end())) {
    return fail(ErrorCode::bad_axis, "axes must be in ascending order");
  }
  return axes;
}

Dims gathered_shape(const TensorType& tensor, const TensorType& indices,
                    std::span<const std::int64_t> axes) {
  Dims shape(indices.shape.begin(), indices.shape.end() - 1);
  const Dims rest = remove_axes(tensor.shape, axes, false);
  shape.append(rest.begin(), rest.end());
  return shape;
}

Result<Inferred> infer_gather(const InferCall& call) {
  OUTRIGGER_TRY(const DType index, index_dtype(call.type(1)));
  OUTRIGGER_TRY(const Dims axes, indexed_axes(call.type(0), call.type(1), call.attrs));
  TensorType result{call.type(0).dtype, gathered_shape(call.type(0), call.type(1), axes)};
  OUTRIGGER_CHECK(check_shape(result.shape, size_of(result.dtype)));
  Inferred inferred;
  inferred.operands = {result.dtype, index};
  inferred.results.push_back(std::move(result));
  return inferred;
}

/// A tensor as a table of blocks, and rows of indices that point at them.
struct Places {
  /// `part`: the shape of what is looked at of each block, from its start on; by default all of it.
  Places(const Tensor& tensor, Tensor index_rows, std::span<const std::int64_t> axes,
         const Dims* part = nullptr)
      : indices(std::move(index_rows)), depth(static_cast<std::int64_t>(axes.size())) {
    const Dims& shape = indices.shape();
    rows = element_count(std::span(shape).first(shape.size() - 1));
    Dims inner, inner_strides;
    for (std::size_t axis = 0; axis < tensor.shape().size(); ++axis) {
      const bool indexed = contains(axes, static_cast<std::int64_t>(axis));
      (indexed ? sizes : inner).push_back(tensor.shape()[axis]);
      (indexed ? strides : inner_strides).push_back(tensor.strides[axis]);
    }
    block = WalkedAxes(part == nullptr ? inner : *part, inner_strides);
  }

  /// Each row is an index of its own, to a single element.
  bool single() const { return depth == 1 && block.count == 1; }

  template <typename Index>
  std::int64_t offset(const Index* row) const {
    std::int64_t offset = 0;
    for (std::size_t k = 0; k < strides.size(); ++k) offset += row[k] * strides[k];
    return offset;
  }

  Tensor indices;
  std::int64_t rows = 0;
  std::int64_t depth;  ///< indices of a row
  Dims sizes;          ///< of the indexed axes
  Dims strides;        ///< of the indexed axes, in elements
  WalkedAxes block;    ///< the axes not indexed
};

/// Calls f(IndexRows) with the rows as their dtype.
template <typename F>
decltype(auto) with_rows(const Places& places, F&& f) {
  return with_index_type(places.indices.dtype(), [&](auto tag) -> decltype(auto) {
    return f(IndexRows<typename decltype(tag)::type>(places.indices, places.depth));
  });
}

/// Errors: bad_index.
Result<void> check_places(const RunCall& call, const Places& places,
                          std::span<const std::int64_t> axes) {
  return with_rows(places, [&](const auto& rows) {
    return check_indices(call, rows, places.rows, places.sizes, axes);
  });
}

/// Calls f(row, element offset of its block) for rows [begin, end).
template <typename F>
void for_each_place(const Places& places, std::int64_t begin, std::int64_t end, F&& f) {
  with_rows(places, [&](const auto& rows) {
    rows.for_each(begin, end, [&](std::int64_t first, const auto* index, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) f(first + i, places.offset(index + i * places.depth));
    });
  });
}

/// Elements that one thread takes at a time.
constexpr std::int64_t chunk_elements = std::int64_t{1} << 14;

/// Single elements, of a tensor that has some. False if an index is outside: what was gathered
/// then counts for nothing.
template <typename T>
Result<bool> gather_elements(const RunCall& call, const Places& places) {
  const std::int64_t stride = places.strides[0];
  const auto size = static_cast<std::uint64_t>(places.sizes[0]);
  const T* base = call.in[0].as<T>();
  T* to = call.out[0].as<T>();
  std::atomic<bool> inside{true};
  OUTRIGGER_CHECK(with_rows(places, [&](const auto& rows) {
    return parallel_ranges(
        call.context, places.rows, chunk_elements, places.rows,
        [&](int, std::int64_t begin, std::int64_t end) {
          rows.for_each(begin, end, [&](std::int64_t first, const auto* index, std::int64_t n) {
            T* const out = to + first;
            bool all = true;
            for (std::int64_t row = 0; row < n; ++row) {
              const std::int64_t i = index[row];
              const bool in_bounds = static_cast<std::uint64_t>(i) < size;
              all &= in_bounds;
              out[row] = base[(in_bounds ? i : 0) * stride];
            }
            if (!all) inside.store(false, std::memory_order_relaxed);
          });
        });
  }));
  return inside.load();
}

template <typename T>
Result<void> gather_blocks(const RunCall& call, const Places& places) {
  const WalkedAxes& block = places.block;
  const std::int64_t count = block.count;
  const T* base = call.in[0].as<T>();
  T* out = call.out[0].as<T>();
  const bool together = block.together();
  return parallel_ranges(
      call.context, places.rows, std::max<std::int64_t>(1, chunk_elements / count),
      places.rows * count, [&](int, std::int64_t begin, std::int64_t end) {
        for_each_place(places, begin, end, [&](std::int64_t row, std::int64_t offset) {
          if (together) {
            std::copy_n(base + offset, count, out + row * count);
            return;
          }
          gather_tile(out + row * count, base + offset, block.dims, block.strides, 0, count);
        });
      });
}

Result<void> run_gather(const RunCall& call) {
  OUTRIGGER_TRY(const Dims axes, indexed_axes(call.in[0].type, call.in[1].type, call.attrs));
  const Places places(call.in[0], call.in[1], axes);
  return with_width(size_of(call.in[0].dtype()), [&](auto tag) -> Result<void> {
    using T = typename decltype(tag)::type;
    if (places.single() && places.sizes[0] > 0) {
      OUTRIGGER_TRY(const bool inside, gather_elements<T>(call, places));
      return inside ? Result<void>{} : check_places(call, places, axes);
    }
    OUTRIGGER_CHECK(check_places(call, places, axes));
    if (places.block.count == 0) return {};
    return gather_blocks<T>(call, places);
  });
}

Result<Inferred> infer_indexed(const InferCall& call) {
  OUTRIGGER_TRY(const DType index, index_dtype(call.type(1)));
  const TensorType& into = call.type(0);
  OUTRIGGER_TRY(const Dims axes, indexed_axes(into, call.type(1), call.attrs));
  const Dims widest = gathered_shape(into, call.type(1), axes);
  const std::size_t rows = call.type(1).shape.size() - 1;
  const Dims& updates = call.type(2).shape;
  // As in Nx, an update may be smaller than the block that it goes to: it starts where the block
  // does.
  bool fits = updates.size() == widest.size();
  for (std::size_t axis = 0; fits && axis < updates.size(); ++axis) {
    fits = axis < rows ? updates[axis] == widest[axis] : updates[axis] <= widest[axis];
  }
  if (!fits) {
    return fail(ErrorCode::bad_shape, "updates for indices " + to_string(call.type(1)) + " into " +
                                          to_string(into) + " must have the shape " +
                                          to_string(widest) + ", got " + to_string(call.type(2)));
  }
  const std::array<InferOperand, 2> merged{call.in[0], call.in[2]};
  const DType dtype = merged_dtype(merged);
  Inferred inferred;
  inferred.operands = {dtype, index, dtype};
  inferred.results.push_back(TensorType{dtype, into.shape});
  return inferred;
}

struct Put {
  template <typename T>
  static T apply(T, T update) {
    return update;
  }
};
struct Accumulate {
  template <typename T>
  static T apply(T old, T update) {
    return static_cast<T>(old + update);
  }
};
template <typename F>
struct AccumulateFloat {
  static typename F::Bits apply(typename F::Bits old, typename F::Bits update) {
    return narrow<F>(widen<F>(old) + widen<F>(update));
  }
};
template <typename I>
struct AccumulateInteger {
  static typename I::Carrier apply(typename I::Carrier old, typename I::Carrier update) {
    return I::wrap(static_cast<typename I::Carrier>(old + update));
  }
};

/// n elements of an update, from the start-th on, into the block at `to`.
template <typename F, typename T>
void update_block(const WalkedAxes& block, T* to, const T* from, std::int64_t start,
                  std::int64_t n) {
  if (block.together()) {
    T* const first = to + start;
    OUTRIGGER_INDEPENDENT
    for (std::int64_t i = 0; i < n; ++i) first[i] = F::apply(first[i], from[i]);
    return;
  }
  for_each_run(
      block.dims, block.strides, start, n,
      [&](std::int64_t position, std::int64_t offset, std::int64_t stride, std::int64_t length) {
        T* const run = to + offset;
        for (std::int64_t i = 0; i < length; ++i)
          run[i * stride] = F::apply(run[i * stride], from[position + i]);
      });
}

/// Updates for rows [begin, end), which follow one another in memory.
template <typename F, typename T>
void update_rows(const Places& places, T* base, const T* updates, std::int64_t begin,
                 std::int64_t end) {
  if (places.single()) {
    const std::int64_t stride = places.strides[0];
    with_rows(places, [&](const auto& rows) {
      rows.for_each(begin, end, [&](std::int64_t first, const auto* index, std::int64_t n) {
        const T* const from = updates + (first - begin);
        for (std::int64_t row = 0; row < n; ++row) {
          T& element = base[index[row] * stride];
          element = F::apply(element, from[row]);
        }
      });
    });
    return;
  }
  const std::int64_t count = places.block.count;
  for_each_place(places, begin, end, [&](std::int64_t row, std::int64_t at) {
    update_block<F>(places.block, base + at, updates + (row - begin) * count, 0, count);
  });
}

/// Updates go one after the other, in the order of the indices: of equal indices the last one wins,
/// and sums of floats do not depend on the number of threads. What does not lie side by side is
/// copied some elements at a time.
template <typename F, typename T>
void update_all(const Places& places, T* base, const Tensor& updates) {
  const WalkedAxes walk(updates.shape(), updates.strides);
  const T* const from = updates.as<T>();
  if (walk.together()) return update_rows<F>(places, base, from, 0, places.rows);
  constexpr std::int64_t copied = 1024;
  std::array<T, copied> copy;
  const auto copy_from = [&](std::int64_t start, std::int64_t n) {
    gather_tile(copy.data(), from, walk.dims, walk.strides, start, n);
  };
  const std::int64_t count = places.block.count;
  if (count == 0) return;
  if (count <= copied) {
    for (std::int64_t row = 0; row < places.rows; row += copied / count) {
      const std::int64_t end = std::min(row + copied / count, places.rows);
      copy_from(row * count, (end - row) * count);
      update_rows<F>(places, base, copy.data(), row, end);
    }
    return;
  }
  for_each_place(places, 0, places.rows, [&](std::int64_t row, std::int64_t at) {
    for (std::int64_t start = 0; start < count; start += copied) {
      const std::int64_t n = std::min(copied, count - start);
      copy_from(row * count + start, n);
      update_block<F>(places.block, base + at, copy.data(), start, n);
    }
  });
}

struct Update {
  Places places;
  Tensor updates;
};

/// Operands are copied if they are the memory that is about to change. Errors: bad_index,
/// out_of_memory.
Result<Update> prepare_update(const RunCall& call) {
  OUTRIGGER_TRY(const Dims axes, indexed_axes(call.in[0].type, call.in[1].type, call.attrs));
  const auto prepare = [&](const Tensor& from) -> Result<Tensor> {
    if (from.storage->buffer != call.out[0].storage->buffer) return from;
    OUTRIGGER_TRY(Tensor copy, allocate_tensor(call.context.memory, from.type));
    OUTRIGGER_CHECK(copy_tensor(call.context, from, copy));
    return copy;
  };
  OUTRIGGER_TRY(Tensor indices, prepare(call.in[1]));
  OUTRIGGER_TRY(Tensor updates, prepare(call.in[2]));
  // An update may be smaller than the block that it goes to.
  const auto rows_rank = static_cast<std::ptrdiff_t>(indices.shape().size()) - 1;
  const Dims part(updates.shape().begin() + rows_rank, updates.shape().end());
  Places places(call.out[0], std::move(indices), axes, &part);
  OUTRIGGER_CHECK(check_places(call, places, axes));
  return Update{std::move(places), std::move(updates)};
}

/// Calls f(type_tag<T>{}, how) with the dtype's type in memory and the way that its elements are
/// added up, each sum rounded or wrapped at once.
template <typename F>
void with_accumulation(DType dtype, F&& f) {
  constexpr type_tag<std::uint8_t> byte;
  constexpr type_tag<std::int8_t> signed_byte;
  constexpr type_tag<std::uint16_t> half;
  switch (dtype) {
    case DType::u2:
      return f(byte, AccumulateInteger<U2>{});
    case DType::u4:
      return f(byte, AccumulateInteger<U4>{});
    case DType::s2:
      return f(signed_byte, AccumulateInteger<S2>{});
    case DType::s4:
      return f(signed_byte, AccumulateInteger<S4>{});
    case DType::f8:
      return f(byte, AccumulateFloat<F8>{});
    case DType::f8_e4m3fn:
      return f(byte, AccumulateFloat<F8E4M3FN>{});
    case DType::f16:
      return f(half, AccumulateFloat<F16>{});
    case DType::bf16:
      return f(half, AccumulateFloat<BF16>{});
    case DType::c64:
    case DType::c128:
      return with_complex_type(dtype, [&](auto tag) { return f(tag, Accumulate{}); });
    default:
      return with_type(dtype, [&](auto tag) { return f(tag, Accumulate{}); });
  }
}

Result<void> run_indexed_put(const RunCall& call) {
  OUTRIGGER_TRY(const Update update, prepare_update(call));
  with_width(size_of(call.out[0].dtype()), [&](auto tag) {
    using T = typename decltype(tag)::type;
    update_all<Put>(update.places, call.out[0].as<T>(), update.updates);
  });
  return {};
}

Result<void> run_indexed_add(const RunCall& call) {
  OUTRIGGER_TRY(const Update update, prepare_update(call));
  with_accumulation(call.out[0].dtype(), [&](auto tag, auto how) {
    using T = typename decltype(tag)::type;
    update_all<decltype(how)>(update.places, call.out[0].as<T>(), update.updates);
  });
  return {};
}

std::uint64_t indexed_scratch(const ScratchCall& call) {
  return apart_bytes(call.in[1]) + apart_bytes(call.in[2]);
}

OpRow indexed(std::string_view name, Result<void> (*run)(const RunCall&), std::string_view doc) {
  return OpRow{.name = name,
               .family = "index",
               .kind = Kind::update,
               .operands = {{"tensor"}, {"indices"}, {"updates"}},
               .attrs = {{"axes", AttrType::integers, false, "",
                          "axes that the last axis of indices speaks of, ascending; by default the "
                          "leading ones"}},
               .in_place = 0,
               .any_dtype = true,
               .infer = infer_indexed,
               .run = run,
               .scratch = indexed_scratch,
               .doc = doc};
}

}  // namespace

void add_gather_rows(std::vector<OpRow>& rows) {
  rows.push_back(OpRow{
      .name = "gather",
      .family = "index",
      .kind = Kind::compute,
      .operands = {{"tensor"}, {"indices"}},
      .attrs = {{"axes", AttrType::integers, false, "",
                 "axes that the last axis of indices speaks of, ascending; by default the leading "
                 "ones"}},
      .any_dtype = true,
      .infer = infer_gather,
      .run = run_gather,
      .doc = "Picks elements or blocks: each row of `indices` (its last axis) names a place along "
             "`axes`. Shape: indices without their "
             "last axis, then the axes not named. An index outside of its axis: `bad_index`."});
  rows.push_back(indexed("indexed_put", run_indexed_put,
                         "The tensor with `updates` put at the places that the rows of `indices` "
                         "name; of equal places the last update stays. "
                         "Tensor and updates meet in one dtype. Touches only what it writes. An "
                         "index outside of its axis: `bad_index`, and nothing has changed."));
  rows.push_back(indexed("indexed_add", run_indexed_add,
                         "The tensor with `updates` added at the places that the rows of `indices` "
                         "name, one after the other. "
                         "Tensor and updates meet in one dtype; integers wrap around. An index "
                         "outside of its axis: `bad_index`, and nothing has changed."));
}

}  // namespace outrigger::ops
