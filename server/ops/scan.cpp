#include <algorithm>

#include "ops/catalogue.hpp"
#include "ops/reduction.hpp"
#include "ops/scratch.hpp"
#include "ops/shapes.hpp"

namespace outrigger::ops {
namespace {

template <typename T>
using Accumulator = std::conditional_t<std::is_same_v<T, float>, double, T>;

constexpr std::int64_t block_elements = std::int64_t{1} << 16;

/// Running sums of n elements from `in` to `out`, `stride` apart (negative to go backwards), after
/// `start`.
template <typename T>
void scan_run(const T* in, T* out, std::int64_t n, std::int64_t stride, Accumulator<T> start) {
  Accumulator<T> sum = start;
  for (std::int64_t i = 0; i < n; ++i) {
    sum = static_cast<Accumulator<T>>(sum + static_cast<Accumulator<T>>(in[i * stride]));
    out[i * stride] = static_cast<T>(sum);
  }
}

template <typename T>
Accumulator<T> sum_run(const T* in, std::int64_t n, std::int64_t stride) {
  Accumulator<T> sum{};
  for (std::int64_t i = 0; i < n; ++i) {
    sum = static_cast<Accumulator<T>>(sum + static_cast<Accumulator<T>>(in[i * stride]));
  }
  return sum;
}

/// Sums of blocks first, then each block again from where the one before it ends: two reads, one
/// write, and every block can go to another thread.
template <typename T>
Result<void> scan_typed(const RunCall& call, const Folded& x, bool reverse) {
  const T* in = x.tensor.as<T>();
  T* out = call.out[0].as<T>();
  const std::int64_t lines = x.outer * x.inner;
  const std::int64_t blocks = (x.reduced + block_elements - 1) / block_elements;
  const std::int64_t stride = reverse ? -x.inner : x.inner;
  const auto line_start = [&](std::int64_t line) {
    const std::int64_t first = line / x.inner * x.reduced * x.inner + line % x.inner;
    return reverse ? first + (x.reduced - 1) * x.inner : first;
  };
  const auto block_length = [&](std::int64_t block) {
    return std::min(block_elements, x.reduced - block * block_elements);
  };
  OUTRIGGER_TRY(const BufferPtr buffer,
                call.context.memory.allocate(static_cast<std::size_t>(lines * blocks) *
                                             sizeof(Accumulator<T>)));
  auto* starts = reinterpret_cast<Accumulator<T>*>(buffer->data());
  std::fill_n(starts, lines * blocks, Accumulator<T>{});
  const std::int64_t grain =
      std::max<std::int64_t>(1, block_elements / std::min(x.reduced, block_elements));
  if (blocks > 1) {
    OUTRIGGER_CHECK(parallel_ranges(call.context, lines * blocks, grain, lines * x.reduced,
                                    [&](int, std::int64_t begin, std::int64_t end) {
                                      for (std::int64_t task = begin; task < end; ++task) {
                                        const std::int64_t block = task % blocks;
                                        starts[task] = sum_run(in + line_start(task / blocks) +
                                                                   block * block_elements * stride,
                                                               block_length(block), stride);
                                      }
                                    }));
    for (std::int64_t line = 0; line < lines; ++line) {
      Accumulator<T> sum{};
      for (std::int64_t block = 0; block < blocks; ++block) {
        std::swap(sum, starts[line * blocks + block]);
        sum = static_cast<Accumulator<T>>(sum + starts[line * blocks + block]);
      }
    }
  }
  return parallel_ranges(call.context, lines * blocks, grain, lines * x.reduced,
                         [&](int, std::int64_t begin, std::int64_t end) {
                           for (std::int64_t task = begin; task < end; ++task) {
                             const std::int64_t block = task % blocks;
                             const std::int64_t at =
                                 line_start(task / blocks) + block * block_elements * stride;
                             scan_run(in + at, out + at, block_length(block), stride, starts[task]);
                           }
                         });
}

Result<void> run_cumulative_sum(const RunCall& call) {
  const Tensor& in = call.in[0];
  if (in.size() == 0) return {};
  OUTRIGGER_TRY(const std::int64_t axis,
                normalize_axis(call.attrs.integer("axis"), in.shape().size()));
  OUTRIGGER_TRY(const Folded folded, fold(call.context, in, std::span(&axis, 1)));
  const bool reverse = call.attrs.boolean("reverse");
  return with_type(in.dtype(), [&](auto tag) {
    return scan_typed<typename decltype(tag)::type>(call, folded, reverse);
  });
}

std::uint64_t cumulative_scratch(const ScratchCall& call) {
  const TensorType& from = *call.in[0].type;
  const auto axis = normalize_axis(call.attrs.integer("axis"), from.shape.size());
  if (!axis || element_count(from.shape) == 0) return 0;
  const Folding folding = fold_shape(from.shape, std::span(&*axis, 1));
  const std::int64_t blocks = (folding.reduced + block_elements - 1) / block_elements;
  constexpr std::int64_t accumulator_bytes = 8;
  return contiguous_bytes(call.in[0], folding.order) +
         buffer_bytes(folding.outer * folding.inner * blocks * accumulator_bytes);
}

Result<Inferred> infer_cumulative(const InferCall& call) {
  OUTRIGGER_CHECK(normalize_axis(call.attrs.integer("axis"), call.type(0).shape.size()));
  Inferred inferred;
  inferred.operands = {call.type(0).dtype};
  inferred.results.push_back(call.type(0));
  return inferred;
}

}  // namespace

void register_scan(std::vector<OpRow>& rows) {
  rows.push_back(
      OpRow{.name = "cumulative_sum",
            .family = "scan",
            .kind = Kind::compute,
            .operands = {{"tensor"}},
            .attrs = {{"axis", AttrType::integer, false, "0", "the axis to go along"},
                      {"reverse", AttrType::boolean, false, "false", "start at the axis's end"}},
            .infer = infer_cumulative,
            .run = run_cumulative_sum,
            .scratch = cumulative_scratch,
            .doc = "Running sums along an axis. Keeps the dtype: integers wrap around, f32 is "
                   "added up in f64."});
}

}  // namespace outrigger::ops
