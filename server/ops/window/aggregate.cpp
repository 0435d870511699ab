#include <algorithm>
#include <limits>

#include "ops/elementwise/kernels.hpp"
#include "ops/reduce/reducers.hpp"
#include "ops/support/scratch.hpp"
#include "ops/window/rows.hpp"
#include "ops/window/tiles.hpp"

namespace outrigger::ops {
namespace {

template <typename R, typename A>
void combine(void* to, const void* a, const void* b, std::int64_t n, std::int64_t step) {
  auto* t = static_cast<A*>(to);
  const auto* x = static_cast<const A*>(a);
  const auto* y = static_cast<const A*>(b);
  if (step == 1) {
    OUTRIGGER_INDEPENDENT
    for (std::int64_t i = 0; i < n; ++i) t[i] = R::combine(x[i], y[i]);
  } else {
    OUTRIGGER_INDEPENDENT
    for (std::int64_t i = 0; i < n; ++i) t[i] = R::combine(x[i], y[i * step]);
  }
}

template <typename R>
CombineFn combine_fn() {
  return &combine<R, typename R::Accumulator>;
}

/// Integers wrap around, so that signed and unsigned sums have the same bits.
DType sum_accumulator(DType dtype) {
  if (is_complex(dtype)) return DType::c128;
  if (is_float(dtype)) return DType::f64;
  return size_of(dtype) == 8 ? DType::s64 : DType::s32;
}

template <template <typename> typename R>
CombineFn sum_loop(DType accumulator) {
  switch (accumulator) {
    case DType::c128:
      return combine_fn<R<std::complex<double>>>();
    case DType::f64:
      return combine_fn<R<double>>();
    case DType::s64:
      return combine_fn<R<std::int64_t>>();
    default:
      return combine_fn<R<std::int32_t>>();
  }
}

template <template <typename> typename R, int identity>
WindowReducer sum_reducer(DType dtype) {
  WindowReducer reducer;
  reducer.accumulator = sum_accumulator(dtype);
  reducer.combine = sum_loop<R>(reducer.accumulator);
  store_number(Number{std::int64_t{identity}}, reducer.accumulator, reducer.identity.data());
  return reducer;
}

/// The smallest or largest value of a dtype.
Number limit_of(DType dtype, bool largest) {
  if (is_float(dtype)) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    return largest ? infinity : -infinity;
  }
  const auto bits = static_cast<int>(bits_of(dtype));
  if (is_unsigned(dtype)) return largest ? ~std::uint64_t{0} >> (64 - bits) : std::uint64_t{0};
  const std::int64_t high = std::numeric_limits<std::int64_t>::max() >> (64 - bits);
  return largest ? high : -high - 1;
}

template <template <typename> typename R, bool identity_is_largest>
WindowReducer extremum_reducer(DType dtype) {
  WindowReducer reducer;
  reducer.accumulator = compute_dtype(dtype);
  reducer.combine = with_type(
      reducer.accumulator, [](auto tag) { return combine_fn<R<typename decltype(tag)::type>>(); });
  store_number(limit_of(dtype, identity_is_largest), reducer.accumulator, reducer.identity.data());
  return reducer;
}

Result<Inferred> infer_window(const InferCall& call) {
  const TensorType& from = call.type(0);
  OUTRIGGER_TRY(const Windows windows, windows_of(from.shape, call.attrs));
  Inferred inferred;
  inferred.operands = {from.dtype};
  inferred.results.push_back(TensorType{from.dtype, windows.out});
  return inferred;
}

template <WindowReducer (*reducer_of)(DType)>
Result<void> run_window(const RunCall& call) {
  const Tensor& x = call.in[0];
  const WindowReducer reducer = reducer_of(x.dtype());
  OUTRIGGER_TRY(const Windows windows, windows_of(x.shape(), call.attrs));
  const WindowTiles tiles(reducer, windows, x, call.out[0]);
  const std::int64_t each = WindowTiles::scratch_bytes(reducer.accumulator);
  OUTRIGGER_TRY(
      const BufferPtr scratch,
      call.context.memory.allocate(static_cast<std::size_t>(each * call.context.threads)));
  return looking_ranges(call.context, tiles.tasks(), 1, call.out[0].size() + x.size(),
                        [&](int thread, std::int64_t begin, std::int64_t end) {
                          Look look(call.context.interrupt);
                          for (std::int64_t task = begin; task < end; ++task) {
                            if (!tiles.task(task, scratch->data() + thread * each, look))
                              return false;
                          }
                          return true;
                        });
}

template <WindowReducer (*reducer_of)(DType)>
std::uint64_t window_scratch(const ScratchCall& call) {
  const DType accumulator = reducer_of(call.in[0].type->dtype).accumulator;
  return buffer_bytes(WindowTiles::scratch_bytes(accumulator) * call.threads);
}

template <WindowReducer (*reducer_of)(DType)>
OpRow window_row(std::string_view name, bool ordered, std::string_view doc) {
  return OpRow{.name = name,
               .family = "window",
               .kind = Kind::compute,
               .operands = {{"tensor"}},
               .attrs = window_attrs(true),
               .any_dtype = true,
               .real_only = ordered,
               .cost = Cost::quadratic,
               .infer = infer_window,
               .run = run_window<reducer_of>,
               .scratch = window_scratch<reducer_of>,
               .doc = doc};
}

}  // namespace

void add_aggregate_rows(std::vector<OpRow>& rows) {
  rows.push_back(window_row<sum_reducer<Sum, 0>>(
      "window_sum", false,
      "Sum over each window; padding counts as 0. Keeps the dtype: integers wrap around, floats "
      "are summed in f64 and rounded once. Axes are reduced one after the other, each by doubling; "
      "the order does not depend on the number of threads. If no window fits, the error is "
      "`bad_shape`."));
  rows.push_back(window_row<sum_reducer<Product, 1>>(
      "window_product", false,
      "Product over each window; padding counts as 1. Keeps the dtype: integers wrap around, "
      "floats are multiplied in f64 and rounded once. If no window fits, the error is "
      "`bad_shape`."));
  rows.push_back(window_row<extremum_reducer<Maximum, false>>(
      "window_max", true,
      "Largest element of each window; NaN if there is one. Padding counts as -infinity or the "
      "smallest integer. If no window fits, the error is `bad_shape`."));
  rows.push_back(window_row<extremum_reducer<Minimum, true>>(
      "window_min", true,
      "Smallest element of each window; NaN if there is one. Padding counts as infinity or the "
      "largest integer. If no window fits, the error is `bad_shape`."));
}

}  // namespace outrigger::ops
