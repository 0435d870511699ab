#include <algorithm>
#include <array>
#include <type_traits>

#include "ops/catalogue.hpp"
#include "ops/reducers.hpp"
#include "ops/reduction.hpp"
#include "ops/scratch.hpp"
#include "ops/shapes.hpp"
#include "tensor/cast.hpp"

namespace outrigger::ops {
namespace {

template <typename T>
struct Extremum {
  T value{};
  std::int64_t index = 0;
};

/// Whether x, which comes after `best`, takes its place: a larger one (smaller, for the minimum)
/// does, an equal one if `high`. A NaN always does, and nothing but a NaN takes the place of a NaN.
template <typename T, bool max, bool high>
bool replaces(T x, T best) {
  const bool beyond = max ? x > best : x < best;
  return beyond | (x != x) | (high && x == best);
}

template <typename T, bool max>
bool replaces(T x, T best, bool high) {
  return high ? replaces<T, max, true>(x, best) : replaces<T, max, false>(x, best);
}

/// The extremum of n neighbours. Blocks are reduced first: only in one that holds something better
/// than what is known is it worth looking where.
template <typename T, bool max>
Extremum<T> scan_run(const T* x, std::int64_t n, bool high) {
  using Reducer = std::conditional_t<max, Maximum<T>, Minimum<T>>;
  constexpr std::int64_t block = 512;
  Extremum<T> best{x[0], 0};
  for (std::int64_t start = 0; start < n; start += block) {
    const std::int64_t end = std::min(n, start + block);
    const T top = reduce_run<Reducer>(x + start, end - start);
    if (start > 0 && !replaces<T, max>(top, best.value, high)) continue;
    const bool nan = top != top;
    const auto is_top = [=](std::int64_t i) { return nan ? x[i] != x[i] : x[i] == top; };
    std::int64_t at = high || nan ? end - 1 : start;
    while (!is_top(at)) at += high || nan ? -1 : 1;
    best = {top, at};
  }
  return best;
}

/// Columns of an inner axis that are searched side by side, in the L1 cache.
constexpr std::int64_t stripe = 512;

/// The extrema of up to `stripe` columns of n rows, `pitch` apart; to[c · step] is column c's.
template <typename T, bool max, bool high>
void scan_columns(const T* x, std::int64_t n, std::int64_t pitch, std::int64_t columns,
                  std::int64_t first, Extremum<T>* to, std::int64_t step) {
  std::array<T, stripe> best;
  std::array<std::int32_t, stripe> index;
  std::copy_n(x, columns, best.begin());
  index.fill(0);
  for (std::int64_t row = 1; row < n; ++row) {
    const T* from = x + row * pitch;
    for (std::int64_t c = 0; c < columns; ++c) {
      const bool take = replaces<T, max, high>(from[c], best[c]);
      best[c] = take ? from[c] : best[c];
      index[c] = take ? static_cast<std::int32_t>(row) : index[c];
    }
  }
  for (std::int64_t c = 0; c < columns; ++c) to[c * step] = {best[c], first + index[c]};
}

constexpr std::int64_t chunk_elements = std::int64_t{1} << 16;

/// The extrema of chunks of the reduced axis: partial[output · chunks + chunk].
template <typename T, bool max>
Result<void> scan_chunks(const Context& context, const Folded& x, std::int64_t chunks, bool high,
                         Extremum<T>* partial) {
  const T* base = x.tensor.as<T>();
  const std::int64_t stripes = (x.inner + stripe - 1) / stripe;
  const std::int64_t tasks = x.outer * stripes * chunks;
  const std::int64_t of_one = std::min(x.reduced, chunk_elements) * std::min(x.inner, stripe);
  return parallel_ranges(
      context, tasks, std::max<std::int64_t>(1, chunk_elements / of_one),
      x.outer * x.inner * x.reduced, [&](int, std::int64_t begin, std::int64_t end) {
        for (std::int64_t task = begin; task < end; ++task) {
          const std::int64_t chunk = task % chunks;
          const std::int64_t column = task / chunks % stripes * stripe;
          const std::int64_t outer = task / chunks / stripes;
          const std::int64_t first = chunk * chunk_elements;
          const std::int64_t n = std::min(chunk_elements, x.reduced - first);
          const T* from = base + (outer * x.reduced + first) * x.inner + column;
          Extremum<T>* to = partial + (outer * x.inner + column) * chunks + chunk;
          if (x.inner == 1) {
            *to = scan_run<T, max>(from, n, high);
            to->index += first;
            continue;
          }
          const auto scan = high ? &scan_columns<T, max, true> : &scan_columns<T, max, false>;
          scan(from, n, x.inner, std::min(stripe, x.inner - column), first, to, chunks);
        }
      });
}

template <typename T, bool max>
Result<void> run_typed(const RunCall& call, const Folded& x, bool high) {
  const std::int64_t outputs = x.outer * x.inner;
  if (outputs == 0) return {};
  const std::int64_t chunks = (x.reduced + chunk_elements - 1) / chunk_elements;
  OUTRIGGER_TRY(const BufferPtr buffer,
                call.context.memory.allocate(static_cast<std::size_t>(outputs * chunks) *
                                             sizeof(Extremum<T>)));
  auto* partial = reinterpret_cast<Extremum<T>*>(buffer->data());
  OUTRIGGER_CHECK((scan_chunks<T, max>(call.context, x, chunks, high, partial)));
  for (std::int64_t output = 0; output < outputs; ++output) {
    Extremum<T> best = partial[output * chunks];
    for (std::int64_t chunk = 1; chunk < chunks; ++chunk) {
      const Extremum<T>& next = partial[output * chunks + chunk];
      if (replaces<T, max>(next.value, best.value, high)) best = next;
    }
    if (call.out[0].dtype() == DType::s64)
      call.out[0].as<std::int64_t>()[output] = best.index;
    else
      call.out[0].as<std::int32_t>()[output] = static_cast<std::int32_t>(best.index);
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
    return run_typed<typename decltype(tag)::type, max>(call, folded, high);
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
