#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

#include "ops/elementwise/complex_math.hpp"
#include "ops/elementwise/kernels.hpp"
#include "ops/op.hpp"
#include "ops/pass/reduction.hpp"
#include "ops/reduce/reducers.hpp"
#include "ops/reduce/reduction_row.hpp"
#include "ops/reduce/rows.hpp"
#include "ops/support/axes.hpp"
#include "ops/support/scratch.hpp"

namespace outrigger::ops {
namespace {

/// The axes that inference has checked.
Dims axes_of(std::size_t rank, const AttrView& attrs) { return *reduced_axes(rank, attrs); }

template <typename T>
struct All {
  using Accumulator = std::uint8_t;
  static constexpr std::uint8_t identity = 1;
  static std::uint8_t lift(T x) { return x != T{0} ? 1 : 0; }
  static std::uint8_t combine(std::uint8_t a, std::uint8_t b) { return a & b; }
};
template <typename T>
struct Any {
  using Accumulator = std::uint8_t;
  static constexpr std::uint8_t identity = 0;
  static std::uint8_t lift(T x) { return x != T{0} ? 1 : 0; }
  static std::uint8_t combine(std::uint8_t a, std::uint8_t b) { return a | b; }
};

/// The stored form of a result. The sign of a NaN from arithmetic depends on the processor; a
/// stored NaN is always the same.
template <typename Out, typename A>
Out finished(A x) {
  if constexpr (is_complex_v<A>) {
    using Part = typename Out::value_type;
    return {finished<Part>(x.real()), finished<Part>(x.imag())};
  } else {
    if constexpr (std::is_floating_point_v<A>) {
      if (x != x) return std::numeric_limits<Out>::quiet_NaN();
    }
    return static_cast<Out>(x);
  }
}

template <typename R, typename T, typename Out>
class Fold final : public Reducer {
 public:
  using A = typename R::Accumulator;
  Fold() : Reducer(sizeof(T), sizeof(A), sizeof(Out)) {
    static_assert(sizeof(A) <= lane_bytes_max && sizeof(A) <= accumulator_bytes_max);
  }

  void begin(const Lanes& lanes, std::byte* state) const override {
    std::fill_n(reinterpret_cast<A*>(state), lanes.count(), R::identity);
  }

  void add(const Lanes& lanes, std::int64_t at, const std::byte* x, std::int64_t n,
           std::byte* state) const override {
    add_to_lanes<R>(reinterpret_cast<A*>(state), lanes.count(), at, reinterpret_cast<const T*>(x),
                    n);
  }

  void end(const Lanes& lanes, std::int64_t /*first*/, std::int64_t /*rows*/, std::byte* state,
           std::byte* accumulators) const override {
    auto* a = reinterpret_cast<A*>(state);
    join_lanes<R>(a, lanes.width, lanes.groups);
    std::copy_n(a, lanes.width, reinterpret_cast<A*>(accumulators));
  }

  void short_runs(const std::byte* x, std::int64_t count, std::int64_t n,
                  std::byte* accumulators) const override {
    const auto* from = reinterpret_cast<const T*>(x);
    auto* a = reinterpret_cast<A*>(accumulators);
    turn_short_runs(from, count, n, [&](std::int64_t first, std::int64_t runs, const T* turned) {
      A total[runs_turned];
      std::fill_n(total, runs, A{R::identity});
      for (std::int64_t k = 0; k < n; ++k) {
        const T* x_k = turned + k * runs_turned;
        OUTRIGGER_INDEPENDENT
        for (std::int64_t i = 0; i < runs; ++i) total[i] = R::combine(total[i], R::lift(x_k[i]));
      }
      std::copy_n(total, runs, a + first);
    });
  }

  void combine(std::byte* into, const std::byte* with, std::int64_t n) const override {
    auto* a = reinterpret_cast<A*>(into);
    const auto* b = reinterpret_cast<const A*>(with);
    for (std::int64_t i = 0; i < n; ++i) a[i] = R::combine(a[i], b[i]);
  }

  void store(const std::byte* accumulators, std::int64_t n, std::byte* out) const override {
    const auto* a = reinterpret_cast<const A*>(accumulators);
    auto* r = reinterpret_cast<Out*>(out);
    for (std::int64_t i = 0; i < n; ++i) r[i] = finished<Out>(a[i]);
  }
};

template <typename R, typename T, typename Out>
const Reducer* reducer_of() {
  static const Fold<R, T, Out> reducer;
  return &reducer;
}

struct AggregateType {
  static constexpr bool complex = true;
  static constexpr bool wide = true;
  template <typename T>
  using type =
      std::conditional_t<std::is_floating_point_v<T> || is_complex_v<T>, T, SumAccumulator<T>>;
};
struct SameType {
  static constexpr bool complex = false;
  static constexpr bool wide = false;
  template <typename T>
  using type = T;
};
struct PredicateType {
  static constexpr bool complex = true;
  static constexpr bool wide = false;
  template <typename T>
  using type = std::uint8_t;
};

/// `reduction` of the row: R for each type for which it is defined.
template <template <typename> typename R, typename OutOf>
Reduction reduction_of(const TensorType& operand, DType result, const AttrView& attrs) {
  const auto of_type = [&](auto tag) -> const Reducer* {
    using T = typename decltype(tag)::type;
    using Out = typename OutOf::template type<T>;
    if constexpr (OutOf::wide && std::is_same_v<Out, float>) {
      // Sums of small floats are rounded only when they are narrowed.
      if (result == DType::f64) return reducer_of<R<T>, T, double>();
    }
    return reducer_of<R<T>, T, Out>();
  };
  Reduction reduction{nullptr, fold_shape(operand.shape, axes_of(operand.shape.size(), attrs))};
  if constexpr (OutOf::complex) {
    if (is_complex(operand.dtype)) {
      reduction.reducer = with_complex_type(operand.dtype, of_type);
      return reduction;
    }
  }
  reduction.reducer = with_type(operand.dtype, of_type);
  return reduction;
}

Result<Inferred> infer_reduction(const InferCall& call, DType result) {
  const TensorType& from = call.type(0);
  OUTRIGGER_TRY(const Dims axes, reduced_axes(from.shape.size(), call.attrs));
  Inferred inferred;
  inferred.operands = {from.dtype};
  inferred.results.push_back(
      TensorType{result, remove_axes(from.shape, axes, call.attrs.boolean("keep_axes"))});
  return inferred;
}

Result<Inferred> infer_aggregate(const InferCall& call) {
  return infer_reduction(call, to_aggregate(call.type(0).dtype));
}
Result<Inferred> infer_extremum(const InferCall& call) {
  return infer_reduction(call, call.type(0).dtype);
}
Result<Inferred> infer_quantifier(const InferCall& call) {
  return infer_reduction(call, DType::u8);
}

template <template <typename> typename R, typename OutOf>
OpRow row(std::string_view name, Result<Inferred> (*infer)(const InferCall&), DType small_result,
          std::string_view doc) {
  constexpr auto reduction = &reduction_of<R, OutOf>;
  return OpRow{
      .name = name,
      .family = "reduce",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .attrs = {{"axes", AttrType::integers, false, "", "axes to reduce; by default all"},
                {"keep_axes", AttrType::boolean, false, "false", "keep reduced axes with size 1"}},
      .complex = OutOf::complex,
      .small_float_result = small_result,
      .infer = infer,
      .run = run_reduction<reduction>,
      .reduction = reduction,
      .scratch = reduction_scratch<reduction>,
      .doc = doc};
}

}  // namespace

Result<Dims> reduced_axes(std::size_t rank, const AttrView& attrs) {
  if (!attrs.has("axes")) return all_axes(rank);
  return normalize_axes(attrs.integers("axes"), rank);
}

void add_reduce_rows(std::vector<OpRow>& rows) {
  rows.push_back(row<Sum, AggregateType>(
      "sum", infer_aggregate, DType::f64,
      "Sum over axes. Integers become u32, s32 or s64 and wrap around. Floats keep their dtype; "
      "they are summed in f64, in an order that does not depend on the number of threads."));
  rows.push_back(
      row<Product, AggregateType>("product", infer_aggregate, DType::f64,
                                  "Product over axes. Integers become u32, s32 or s64 and wrap "
                                  "around. Floats keep their dtype; they are multiplied in f64."));
  rows.push_back(row<Maximum, SameType>(
      "reduce_max", infer_extremum, DType::f32,
      "Largest element over axes; NaN if there is one. Without elements, the result is -infinity "
      "or the smallest integer. s2 and s4 are computed in s8; their result without elements is the "
      "smallest s8 in their bits, which is 0."));
  rows.push_back(row<Minimum, SameType>(
      "reduce_min", infer_extremum, DType::f32,
      "Smallest element over axes; NaN if there is one. Without elements, the result is infinity "
      "or the largest integer. s2 and s4 are computed in s8; their result without elements is the "
      "largest s8 in their bits, which is -1."));
  rows.push_back(
      row<All, PredicateType>("all", infer_quantifier, DType::f32,
                              "1 where all elements over the axes are not zero, as u8."));
  rows.push_back(row<Any, PredicateType>("any", infer_quantifier, DType::f32,
                                         "1 where an element over the axes is not zero, as u8."));
}

}  // namespace outrigger::ops
