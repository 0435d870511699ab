#include <algorithm>
#include <type_traits>
#include <utility>

#include "ops/pass/reduction.hpp"
#include "ops/reduce/reducers.hpp"
#include "ops/reduce/reduction_row.hpp"
#include "ops/reduce/rows.hpp"
#include "ops/support/axes.hpp"
#include "tensor/cast_element.hpp"

namespace outrigger::ops {
namespace {

template <typename T>
struct Extremum {
  T value{};
  std::int64_t index = 0;
};

/// True if x, which comes after `best`, replaces it: x replaces it if it is larger (smaller, for
/// the minimum), or equal with `high`. A NaN always replaces it, and only a NaN replaces a NaN.
template <typename T, bool max, bool high>
bool replaces(T x, T best) {
  const bool beyond = max ? x > best : x < best;
  return beyond | (x != x) | (high && x == best);
}

/// The better of two extrema, whatever the order of their positions.
template <typename T, bool max, bool high>
Extremum<T> better(Extremum<T> a, Extremum<T> b) {
  if (a.index > b.index) std::swap(a, b);
  return replaces<T, max, high>(b.value, a.value) ? b : a;
}

template <typename T, bool max, bool high, typename Index>
class Search final : public Reducer {
 public:
  using Value = std::conditional_t<max, Maximum<T>, Minimum<T>>;

  Search() : Reducer(sizeof(T), sizeof(Extremum<T>), sizeof(Index)) {
    static_assert(sizeof(Extremum<T>) <= accumulator_bytes_max);
    static_assert(sizeof(T) + sizeof(Row) <= lane_bytes_max);
  }

  void begin(const Lanes& lanes, std::byte* state) const override {
    const std::int64_t used = lanes.width == 1 ? 1 : lanes.count();
    std::fill_n(values(state), used, Value::identity);
    std::fill_n(rows(state), used, Row{0});
  }

  void add(const Lanes& lanes, std::int64_t at, const std::byte* x, std::int64_t n,
           std::byte* state) const override {
    const auto* from = reinterpret_cast<const T*>(x);
    if (lanes.width == 1) return add_run(at, from, n, state);
    while (n > 0) {
      const std::int64_t lane = at % lanes.count();
      if (const std::int64_t rows_count = rows_together * lanes.count();
          lane == 0 && lanes.count() >= wide_lanes && n >= rows_count) {
        add_rows<rows_together>(values(state), rows(state), from, lanes.count(),
                                static_cast<Row>(at / lanes.count()));
        at += rows_count;
        from += rows_count;
        n -= rows_count;
        continue;
      }
      const std::int64_t count = std::min(lanes.count() - lane, n);
      add_rows<1>(values(state) + lane, rows(state) + lane, from, count,
                  static_cast<Row>(at / lanes.count()));
      at += count;
      from += count;
      n -= count;
    }
  }

  void end(const Lanes& lanes, std::int64_t first, std::int64_t rows_of_block, std::byte* state,
           std::byte* accumulators) const override {
    auto* to = reinterpret_cast<Extremum<T>*>(accumulators);
    const T* value = values(state);
    const Row* row = rows(state);
    if (lanes.width == 1) {
      *to = {*value, first + *row};
      return;
    }
    const std::int64_t groups = std::min(lanes.groups, rows_of_block);
    for (std::int64_t column = 0; column < lanes.width; ++column) {
      Extremum<T> best{value[column], row[column] * lanes.groups};
      for (std::int64_t group = 1; group < groups; ++group) {
        const std::int64_t lane = group * lanes.width + column;
        best = better<T, max, high>(best, {value[lane], row[lane] * lanes.groups + group});
      }
      to[column] = {best.value, first + best.index};
    }
  }

  void short_runs(const std::byte* x, std::int64_t count, std::int64_t n,
                  std::byte* accumulators) const override {
    const auto* from = reinterpret_cast<const T*>(x);
    auto* to = reinterpret_cast<Extremum<T>*>(accumulators);
    turn_short_runs(from, count, n, [&](std::int64_t first, std::int64_t runs, const T* turned) {
      T best[runs_turned];
      Row place[runs_turned];
      std::copy_n(turned, runs, best);
      std::fill_n(place, runs, Row{0});
      for (std::int64_t k = 1; k < n; ++k)
        add_rows<1>(best, place, turned + k * runs_turned, runs, static_cast<Row>(k));
      for (std::int64_t i = 0; i < runs; ++i) to[first + i] = {best[i], place[i]};
    });
  }

  void combine(std::byte* into, const std::byte* with, std::int64_t n) const override {
    auto* a = reinterpret_cast<Extremum<T>*>(into);
    const auto* b = reinterpret_cast<const Extremum<T>*>(with);
    for (std::int64_t i = 0; i < n; ++i) a[i] = better<T, max, high>(a[i], b[i]);
  }

  void store(const std::byte* accumulators, std::int64_t n, std::byte* out) const override {
    const auto* a = reinterpret_cast<const Extremum<T>*>(accumulators);
    auto* to = reinterpret_cast<Index*>(out);
    for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<Index>(a[i].index);
  }

 private:
  /// The position of a lane's extremum. It is as wide as the value, so that both fit the same
  /// vectors, but not narrower than 32 bits.
  using Row = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;

  static T* values(std::byte* state) { return reinterpret_cast<T*>(state); }
  static Row* rows(std::byte* state) {
    return reinterpret_cast<Row*>(state + static_cast<std::size_t>(lanes_max) * sizeof(T));
  }

  /// The extremum of a few adjacent elements is found first. Only if it is better than the present
  /// one is its position searched.
  static void add_run(std::int64_t at, const T* x, std::int64_t n, std::byte* state) {
    constexpr std::int64_t few = 1024;
    for (std::int64_t start = 0; start < n; start += few) {
      const std::int64_t end = std::min(n, start + few);
      const T top = reduce_run<Value>(x + start, end - start);
      if (!replaces<T, max, high>(top, *values(state))) continue;
      const bool nan = top != top;
      const auto is_top = [=](std::int64_t i) { return nan ? x[i] != x[i] : x[i] == top; };
      std::int64_t place = high || nan ? end - 1 : start;
      while (!is_top(place)) place += high || nan ? -1 : 1;
      *values(state) = top;
      *rows(state) = static_cast<Row>(at + place);
    }
  }

  /// Adds `count` rows of `lanes` elements.
  template <std::int64_t count>
  static void add_rows(T* best, Row* best_row, const T* x, std::int64_t lanes, Row row) {
    OUTRIGGER_INDEPENDENT
    for (std::int64_t k = 0; k < lanes; ++k) {
      T value = best[k];
      Row place = best_row[k];
      for (Row i = 0; i < static_cast<Row>(count); ++i) {
        const T element = x[k + i * lanes];
        const bool take = replaces<T, max, high>(element, value);
        value = take ? element : value;
        place = take ? static_cast<Row>(row + i) : place;
      }
      best[k] = value;
      best_row[k] = place;
    }
  }
};

template <typename T, bool max, bool high, typename Index>
const Reducer* search_of() {
  static const Search<T, max, high, Index> search;
  return &search;
}

template <typename T, bool max>
const Reducer* search_of(bool high, DType index) {
  if (index == DType::s64)
    return high ? search_of<T, max, true, std::int64_t>()
                : search_of<T, max, false, std::int64_t>();
  return high ? search_of<T, max, true, std::int32_t>() : search_of<T, max, false, std::int32_t>();
}

/// `reduction` of the rows.
template <bool max>
Reduction search(const TensorType& operand, DType result, const AttrView& attrs) {
  const std::size_t rank = operand.shape.size();
  Dims axes = all_axes(rank);
  if (attrs.has("axis")) axes.assign(1, *normalize_axis(attrs.integer("axis"), rank));
  const bool high = attrs.string("tie_break", "low") == "high";
  return {with_type(
              operand.dtype,
              [&](auto tag) { return search_of<typename decltype(tag)::type, max>(high, result); }),
          fold_shape(operand.shape, axes)};
}

Result<Inferred> infer_extremum(const InferCall& call) {
  const TensorType& from = call.type(0);
  const std::string_view tie_break = call.attrs.string("tie_break", "low");
  if (tie_break != "low" && tie_break != "high") {
    return fail(ErrorCode::bad_attr,
                "tie_break must be \"low\" or \"high\", got \"" + std::string(tie_break) + "\"");
  }
  const DType type = call.attrs.dtype("type", DType::s32);
  if (type != DType::s32 && type != DType::s64) {
    return fail(ErrorCode::bad_dtype,
                "the type of indices must be s32 or s64, got " + std::string(name_of(type)));
  }
  Inferred inferred;
  inferred.operands = {from.dtype};
  Dims axes = all_axes(from.shape.size());
  if (call.attrs.has("axis")) {
    OUTRIGGER_TRY(const std::int64_t axis,
                  normalize_axis(call.attrs.integer("axis"), from.shape.size()));
    axes.assign(1, axis);
  }
  for (const std::int64_t axis : axes) {
    if (from.shape[static_cast<std::size_t>(axis)] == 0) {
      return fail(ErrorCode::bad_shape,
                  "there is no extremum along an axis without elements: " + to_string(from));
    }
  }
  // As in Nx, no axis is kept if no axis is named.
  const bool keep = call.attrs.has("axis") && call.attrs.boolean("keep_axis");
  inferred.results.push_back(TensorType{type, remove_axes(from.shape, axes, keep)});
  return inferred;
}

template <bool max>
OpRow extremum(std::string_view name, std::string_view doc) {
  return OpRow{
      .name = name,
      .family = "reduce",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .attrs = {{"axis", AttrType::integer, false, "",
                 "axis to search; by default all elements in C order"},
                {"tie_break", AttrType::string, false, "low",
                 "\"low\": the first of equal elements; \"high\": the last"},
                {"keep_axis", AttrType::boolean, false, "false",
                 "keep `axis` with size 1; without `axis`, no axis is kept"},
                {"type", AttrType::dtype, false, "s32", "dtype of the indices, s32 or s64"}},
      .infer = infer_extremum,
      .run = run_reduction<search<max>>,
      .reduction = search<max>,
      .scratch = reduction_scratch<search<max>>,
      .doc = doc};
}

}  // namespace

void add_argminmax_rows(std::vector<OpRow>& rows) {
  rows.push_back(extremum<true>("argmax",
                                "Index of the largest element along an axis. If there are NaNs, it "
                                "is the index of the last NaN, as in Nx.BinaryBackend."));
  rows.push_back(extremum<false>("argmin",
                                 "Index of the smallest element along an axis. If there are NaNs, "
                                 "it is the index of the last NaN, as in Nx.BinaryBackend."));
}

}  // namespace outrigger::ops
