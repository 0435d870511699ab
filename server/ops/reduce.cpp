#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

#include "ops/catalogue.hpp"
#include "ops/complex_math.hpp"
#include "ops/kernels.hpp"
#include "ops/op.hpp"
#include "ops/reducers.hpp"
#include "ops/reduction.hpp"
#include "ops/scratch.hpp"
#include "ops/shapes.hpp"

namespace outrigger::ops {
namespace {

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

/// Elements of one block: the unit that partial results are made of.
constexpr std::int64_t block_elements = std::int64_t{1} << 16;
/// Columns that are reduced side by side.
constexpr std::int64_t column_tile = 1024;
constexpr std::int64_t accumulator_bytes_max = 16;

/// The loops of one reduction over one type. What goes round them knows sizes only, and is compiled
/// once.
struct ReductionLoops {
  std::int64_t element_bytes;
  std::int64_t accumulator_bytes;
  std::int64_t result_bytes;
  /// n neighbours to one accumulator.
  void (*run)(const std::byte* in, std::int64_t n, std::byte* accumulator);
  /// `width` columns of `rows` rows, `stride` elements apart, to as many accumulators.
  void (*columns)(const std::byte* in, std::int64_t rows, std::int64_t stride, std::int64_t width,
                  std::byte* accumulators);
  void (*combine)(std::byte* into, const std::byte* with, std::int64_t n);
  void (*store)(const std::byte* accumulators, std::int64_t n, std::byte* out);
};

/// A result as it is stored. The sign of a NaN that arithmetic makes is the processor's own.
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
struct Loops {
  using A = typename R::Accumulator;

  static void run(const std::byte* in, std::int64_t n, std::byte* accumulator) {
    *reinterpret_cast<A*>(accumulator) = reduce_run<R>(reinterpret_cast<const T*>(in), n);
  }

  static void columns(const std::byte* in, std::int64_t rows, std::int64_t stride,
                      std::int64_t width, std::byte* accumulators) {
    const auto* x = reinterpret_cast<const T*>(in);
    auto* a = reinterpret_cast<A*>(accumulators);
    std::fill_n(a, width, R::identity);
    for (std::int64_t row = 0; row < rows; ++row, x += stride) {
      OUTRIGGER_INDEPENDENT
      for (std::int64_t k = 0; k < width; ++k) a[k] = R::combine(a[k], R::lift(x[k]));
    }
  }

  static void combine(std::byte* into, const std::byte* with, std::int64_t n) {
    auto* a = reinterpret_cast<A*>(into);
    const auto* b = reinterpret_cast<const A*>(with);
    for (std::int64_t i = 0; i < n; ++i) a[i] = R::combine(a[i], b[i]);
  }

  static void store(const std::byte* accumulators, std::int64_t n, std::byte* out) {
    const auto* a = reinterpret_cast<const A*>(accumulators);
    auto* r = reinterpret_cast<Out*>(out);
    for (std::int64_t i = 0; i < n; ++i) r[i] = finished<Out>(a[i]);
  }

  static ReductionLoops loops() {
    return {sizeof(T), sizeof(A), sizeof(Out), run, columns, combine, store};
  }
};

std::int64_t column_width(std::int64_t inner) { return std::min(inner, column_tile); }
std::int64_t block_rows(std::int64_t width) {
  return std::max<std::int64_t>(1, block_elements / width);
}
std::int64_t block_count(std::int64_t reduced, std::int64_t width) {
  return std::max<std::int64_t>(1, (reduced + block_rows(width) - 1) / block_rows(width));
}

/// Reduces the middle axis of a [outer][reduced][inner] array. Work is cut into blocks of about
/// block_elements; partial results of a column are combined in order.
Result<void> reduce_middle(const RunCall& call, const Folded& x, const ReductionLoops& loops) {
  const std::int64_t outputs = x.outer * x.inner;
  if (outputs == 0) return {};
  const std::int64_t width = column_width(x.inner);
  const std::int64_t column_tiles = (x.inner + width - 1) / width;
  const std::int64_t rows_per_block = block_rows(width);
  const std::int64_t blocks = block_count(x.reduced, width);
  OUTRIGGER_TRY(const BufferPtr partials,
                call.context.memory.allocate(static_cast<std::size_t>(
                    blocks > 1 ? outputs * blocks * loops.accumulator_bytes : 0)));
  // A task is one block of one column tile of one outer index.
  const auto reduce_task = [&](std::int64_t task) {
    const std::int64_t block = task % blocks;
    const std::int64_t outer = task / blocks / column_tiles;
    const std::int64_t column = task / blocks % column_tiles * width;
    const std::int64_t first_row = block * rows_per_block;
    const std::int64_t rows = std::min(rows_per_block, x.reduced - first_row);
    const std::int64_t w = std::min(width, x.inner - column);
    const std::byte* from = x.tensor.data() + ((outer * x.reduced + first_row) * x.inner + column) *
                                                  loops.element_bytes;
    const std::int64_t at = outer * x.inner + column;
    alignas(64) std::array<std::byte, column_tile * accumulator_bytes_max> columns;
    std::byte* into = blocks > 1
                          ? partials->data() + (block * outputs + at) * loops.accumulator_bytes
                          : columns.data();
    if (x.inner == 1)
      loops.run(from, rows, into);
    else
      loops.columns(from, rows, x.inner, w, into);
    if (blocks == 1) loops.store(into, w, call.out[0].data() + at * loops.result_bytes);
  };
  const std::int64_t tasks = x.outer * column_tiles * blocks;
  // Short runs go together.
  const std::int64_t grain = std::max<std::int64_t>(
      1, block_elements / std::max<std::int64_t>(1, std::min(x.reduced, rows_per_block) * width));
  OUTRIGGER_CHECK(parallel_ranges(call.context, tasks, grain, x.outer * x.reduced * x.inner,
                                  [&](int, std::int64_t begin, std::int64_t end) {
                                    for (std::int64_t task = begin; task < end; ++task)
                                      reduce_task(task);
                                  }));
  if (blocks == 1) return {};
  for (std::int64_t block = 1; block < blocks; ++block)
    loops.combine(partials->data(), partials->data() + block * outputs * loops.accumulator_bytes,
                  outputs);
  loops.store(partials->data(), outputs, call.out[0].data());
  return {};
}

template <template <typename> typename R, typename OutOf>
Result<void> run_reduction(const RunCall& call, OutOf) {
  OUTRIGGER_TRY(const Folded folded, fold(call.context, call.in[0], call.attrs));
  const DType dtype = call.in[0].dtype();
  const auto loops_of = [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Out = typename OutOf::template type<T>;
    if constexpr (OutOf::wide && std::is_same_v<Out, float>) {
      // Sums of small floats: they are rounded only once they are narrowed.
      if (call.out[0].dtype() == DType::f64) return Loops<R<T>, T, double>::loops();
    }
    return Loops<R<T>, T, Out>::loops();
  };
  if constexpr (OutOf::complex) {
    if (is_complex(dtype)) return reduce_middle(call, folded, with_complex_type(dtype, loops_of));
  }
  return reduce_middle(call, folded, with_type(dtype, loops_of));
}

/// Partial results, if there is more than one block, and the operand in C order.
std::uint64_t reduction_scratch(const ScratchCall& call) {
  const Dims& shape = call.in[0].type->shape;
  const auto axes = reduced_axes(shape.size(), call.attrs);
  if (!axes) return 0;
  const Folding folding = fold_shape(shape, *axes);
  const std::int64_t outputs = folding.outer * folding.inner;
  const std::int64_t blocks =
      outputs == 0 ? 1 : block_count(folding.reduced, column_width(folding.inner));
  const std::int64_t accumulator_bytes = is_complex(call.in[0].type->dtype) ? 16 : 8;
  return contiguous_bytes(call.in[0], folding.order) +
         (blocks > 1 ? buffer_bytes(outputs * blocks * accumulator_bytes) : 0);
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

OpRow reduction(std::string_view name, Result<Inferred> (*infer)(const InferCall&),
                Result<void> (*run)(const RunCall&), std::string_view doc) {
  return OpRow{
      .name = name,
      .family = "reduce",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .attrs = {{"axes", AttrType::integers, false, "", "axes to reduce; by default all"},
                {"keep_axes", AttrType::boolean, false, "false", "keep reduced axes with size 1"}},
      .complex = infer != infer_extremum,
      .small_float_result = infer == infer_aggregate ? DType::f64 : DType::f32,
      .infer = infer,
      .run = run,
      .scratch = reduction_scratch,
      .doc = doc};
}

}  // namespace

Result<Dims> reduced_axes(std::size_t rank, const AttrView& attrs) {
  if (!attrs.has("axes")) return all_axes(rank);
  return normalize_axes(attrs.integers("axes"), rank);
}

Result<Folded> fold(Context& context, const Tensor& tensor, const AttrView& attrs) {
  OUTRIGGER_TRY(const Dims axes, reduced_axes(tensor.shape().size(), attrs));
  return fold(context, tensor, axes);
}

Folding fold_shape(std::span<const std::int64_t> shape, std::span<const std::int64_t> axes) {
  const std::size_t rank = shape.size();
  const auto reduced = [&](std::size_t axis) {
    return contains(axes, static_cast<std::int64_t>(axis));
  };
  Folding folding;
  // The pattern kept… reduced… kept… folds as it is; any other is brought to kept… reduced… first.
  std::size_t axis = 0;
  for (; axis < rank && !reduced(axis); ++axis) folding.outer *= shape[axis];
  for (; axis < rank && (reduced(axis) || shape[axis] == 1); ++axis) folding.reduced *= shape[axis];
  for (; axis < rank && !reduced(axis); ++axis) folding.inner *= shape[axis];
  if (axis == rank) {
    folding.order = all_axes(rank);
    return folding;
  }
  folding = Folding{};
  for (const bool wanted : {false, true}) {
    for (axis = 0; axis < rank; ++axis) {
      if (reduced(axis) != wanted) continue;
      folding.order.push_back(static_cast<std::int64_t>(axis));
      (wanted ? folding.reduced : folding.outer) *= shape[axis];
    }
  }
  return folding;
}

Result<Folded> fold(Context& context, const Tensor& tensor, std::span<const std::int64_t> axes) {
  const Folding folding = fold_shape(tensor.shape(), axes);
  Folded folded{{}, folding.outer, folding.reduced, folding.inner};
  OUTRIGGER_TRY(folded.tensor, to_contiguous(context, permute(tensor, folding.order)));
  return folded;
}

void register_reduce(std::vector<OpRow>& rows) {
  rows.push_back(reduction(
      "sum", infer_aggregate,
      [](const RunCall& call) { return run_reduction<Sum>(call, AggregateType{}); },
      "Sum over axes. Integers become u32, s32 or s64 and wrap around; floats keep their dtype and "
      "are added up in f64, "
      "in an order that does not depend on the number of threads."));
  rows.push_back(reduction(
      "product", infer_aggregate,
      [](const RunCall& call) { return run_reduction<Product>(call, AggregateType{}); },
      "Product over axes. Integers become u32, s32 or s64 and wrap around; floats keep their dtype "
      "and are multiplied in f64."));
  rows.push_back(reduction(
      "reduce_max", infer_extremum,
      [](const RunCall& call) { return run_reduction<Maximum>(call, SameType{}); },
      "Largest element over axes; NaN if there is one. Over nothing: -infinity or the smallest "
      "integer."));
  rows.push_back(reduction(
      "reduce_min", infer_extremum,
      [](const RunCall& call) { return run_reduction<Minimum>(call, SameType{}); },
      "Smallest element over axes; NaN if there is one. Over nothing: infinity or the largest "
      "integer."));
  rows.push_back(reduction(
      "all", infer_quantifier,
      [](const RunCall& call) { return run_reduction<All>(call, PredicateType{}); },
      "1 where all elements over the axes are not zero, as u8."));
  rows.push_back(reduction(
      "any", infer_quantifier,
      [](const RunCall& call) { return run_reduction<Any>(call, PredicateType{}); },
      "1 where an element over the axes is not zero, as u8."));
}

}  // namespace outrigger::ops
