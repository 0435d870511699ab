#include <algorithm>
#include <cmath>

#include "ops/catalogue.hpp"
#include "ops/reduction.hpp"
#include "ops/scratch.hpp"
#include "ops/shapes.hpp"
#include "tensor/cast.hpp"

namespace outrigger::ops {
namespace {

/// Whether x, which comes after `best`, takes its place. A NaN always does, and nothing but a NaN
/// takes the place of a NaN.
template <typename T, bool max, bool high>
bool replaces(T x, T best) {
  if (x != x) return true;
  if constexpr (max) return high ? x >= best : x > best;
  return high ? x <= best : x < best;
}

template <typename T>
struct Extremum {
  T value{};
  std::int64_t index = 0;
};

/// The extremum of n elements, `stride` apart.
template <typename T, bool max, bool high>
Extremum<T> scan_run(const T* x, std::int64_t n, std::int64_t stride) {
  constexpr std::int64_t block = 1024;
  Extremum<T> best{x[0], 0};
  std::int64_t i = 1;
  for (; stride == 1 && i + block <= n; i += block) {
    // Most blocks hold nothing better than what is known: find that out without branches.
    bool better = false;
    for (std::int64_t k = 0; k < block; ++k) better |= replaces<T, max, high>(x[i + k], best.value);
    if (!better) continue;
    for (std::int64_t k = i; k < i + block; ++k) {
      if (replaces<T, max, high>(x[k], best.value)) best = {x[k], k};
    }
  }
  for (; i < n; ++i) {
    if (replaces<T, max, high>(x[i * stride], best.value)) best = {x[i * stride], i};
  }
  return best;
}

constexpr std::int64_t chunk_elements = std::int64_t{1} << 16;

template <typename T, typename Out, bool max, bool high>
Result<void> run_typed(const RunCall& call, const Folded& x) {
  const T* base = x.tensor.as<T>();
  Out* out = call.out[0].as<Out>();
  const std::int64_t outputs = x.outer * x.inner;
  if (outputs == 0) return {};
  const std::int64_t chunks = (x.reduced + chunk_elements - 1) / chunk_elements;
  OUTRIGGER_TRY(const BufferPtr buffer,
                call.context.memory.allocate(static_cast<std::size_t>(outputs * chunks) *
                                             sizeof(Extremum<T>)));
  auto* partial = reinterpret_cast<Extremum<T>*>(buffer->data());
  const std::int64_t grain =
      std::max<std::int64_t>(1, chunk_elements / std::min(x.reduced, chunk_elements));
  OUTRIGGER_CHECK(parallel_ranges(
      call.context, outputs * chunks, grain, outputs * x.reduced,
      [&](int, std::int64_t begin, std::int64_t end) {
        for (std::int64_t task = begin; task < end; ++task) {
          const std::int64_t output = task / chunks;
          const std::int64_t first = task % chunks * chunk_elements;
          const std::int64_t n = std::min(chunk_elements, x.reduced - first);
          const T* from =
              base + output / x.inner * x.reduced * x.inner + output % x.inner + first * x.inner;
          partial[task] = scan_run<T, max, high>(from, n, x.inner);
          partial[task].index += first;
        }
      }));
  for (std::int64_t output = 0; output < outputs; ++output) {
    Extremum<T> best = partial[output * chunks];
    for (std::int64_t chunk = 1; chunk < chunks; ++chunk) {
      const Extremum<T>& next = partial[output * chunks + chunk];
      if (replaces<T, max, high>(next.value, best.value)) best = next;
    }
    out[output] = static_cast<Out>(best.index);
  }
  return {};
}

template <bool max>
Result<void> run_extremum(const RunCall& call) {
  const Tensor& in = call.in[0];
  Dims axes = all_axes(in.shape().size());
  if (call.attrs.has("axis")) {
    OUTRIGGER_TRY(const std::int64_t axis,
                  normalize_axis(call.attrs.integer("axis"), in.shape().size()));
    axes.assign(1, axis);
  }
  OUTRIGGER_TRY(const Folded folded, fold(call.context, in, axes));
  const bool high = call.attrs.string("tie_break", "low") == "high";
  return with_type(in.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (call.out[0].dtype() == DType::s64) {
      return high ? run_typed<T, std::int64_t, max, true>(call, folded)
                  : run_typed<T, std::int64_t, max, false>(call, folded);
    }
    return high ? run_typed<T, std::int32_t, max, true>(call, folded)
                : run_typed<T, std::int32_t, max, false>(call, folded);
  });
}

std::uint64_t extremum_scratch(const ScratchCall& call) {
  const TensorType& from = *call.in[0].type;
  Dims axes = all_axes(from.shape.size());
  if (call.attrs.has("axis")) {
    const auto axis = normalize_axis(call.attrs.integer("axis"), from.shape.size());
    if (!axis) return 0;
    axes.assign(1, *axis);
  }
  const Folding folding = fold_shape(from.shape, axes);
  const std::int64_t chunks = (folding.reduced + chunk_elements - 1) / chunk_elements;
  const auto partials = folding.outer * folding.inner * chunks *
                        static_cast<std::int64_t>(sizeof(Extremum<std::int64_t>));
  return contiguous_bytes(call.in[0], folding.order) + buffer_bytes(partials);
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
  // As in Nx, there is no axis to keep if none is named.
  const bool keep = call.attrs.has("axis") && call.attrs.boolean("keep_axis");
  inferred.results.push_back(TensorType{type, remove_axes(from.shape, axes, keep)});
  return inferred;
}

OpRow extremum(std::string_view name, Result<void> (*run)(const RunCall&), std::string_view doc) {
  return OpRow{
      .name = name,
      .family = "reduce",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .attrs = {{"axis", AttrType::integer, false, "",
                 "axis to search; by default all elements in C order"},
                {"tie_break", AttrType::string, false, "low",
                 "\"low\": the first of equals, \"high\": the last"},
                {"keep_axis", AttrType::boolean, false, "false", "keep the axis with size 1"},
                {"type", AttrType::dtype, false, "s32", "dtype of the indices, s32 or s64"}},
      .infer = infer_extremum,
      .run = run,
      .scratch = extremum_scratch,
      .doc = doc};
}

}  // namespace

void register_argminmax(std::vector<OpRow>& rows) {
  rows.push_back(extremum("argmax", run_extremum<true>,
                          "Index of the largest element along an axis. The last NaN, if there is "
                          "one, as in Nx.BinaryBackend."));
  rows.push_back(extremum("argmin", run_extremum<false>,
                          "Index of the smallest element along an axis. The last NaN, if there is "
                          "one, as in Nx.BinaryBackend."));
}

}  // namespace outrigger::ops
