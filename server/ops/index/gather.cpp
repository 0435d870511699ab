#include <algorithm>
#include <atomic>

#include "ops/index/places.hpp"
#include "ops/index/rows.hpp"

namespace outrigger::ops {
namespace {

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

/// The elements of one task of a thread.
constexpr std::int64_t chunk_elements = std::int64_t{1} << 14;

/// Gathers single elements of a tensor that has at least one. Returns false if an index is out of
/// bounds; the output is then not valid.
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
  const auto copy = [&](std::int64_t row, std::int64_t offset, std::int64_t start, std::int64_t n) {
    T* const to = out + row * count + start;
    if (together)
      std::copy_n(base + offset + start, n, to);
    else
      gather_tile(to, base + offset, block.dims, block.strides, start, n);
  };
  if (count > chunk_elements) {
    const std::int64_t pieces = (count + chunk_elements - 1) / chunk_elements;
    return parallel_ranges(
        call.context, places.rows * pieces, 1, places.rows * count,
        [&](int, std::int64_t task, std::int64_t) {
          const std::int64_t row = task / pieces;
          const std::int64_t start = task % pieces * chunk_elements;
          for_each_place(places, row, row + 1, [&](std::int64_t, std::int64_t offset) {
            copy(row, offset, start, std::min(chunk_elements, count - start));
          });
        });
  }
  return parallel_ranges(
      call.context, places.rows, chunk_elements / count, places.rows * count,
      [&](int, std::int64_t begin, std::int64_t end) {
        for_each_place(places, begin, end,
                       [&](std::int64_t row, std::int64_t offset) { copy(row, offset, 0, count); });
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

}  // namespace

void add_gather_rows(std::vector<OpRow>& rows) {
  rows.push_back(OpRow{
      .name = "gather",
      .family = "index",
      .kind = Kind::compute,
      .operands = {{"tensor"}, {"indices"}},
      .attrs = {{"axes", AttrType::integers, false, "",
                 "axes that the last axis of `indices` selects, ascending; by default the leading "
                 "axes"}},
      .any_dtype = true,
      .infer = infer_gather,
      .run = run_gather,
      .doc =
          "Picks elements or blocks: each row of `indices` (along its last axis) selects a place "
          "along `axes`. The shape of the result is that of `indices` without its last axis, then "
          "the axes that are not in `axes`. An index out of bounds is an error (`bad_index`)."});
}

}  // namespace outrigger::ops
