#include <algorithm>
#include <array>
#include <limits>

#include "ops/catalogue.hpp"
#include "ops/complex_math.hpp"
#include "ops/kernels.hpp"
#include "ops/reduction.hpp"
#include "ops/scratch.hpp"
#include "ops/shapes.hpp"

namespace outrigger::ops {
namespace {

// Scans run in blocks of a fixed length: first the total of each block, then, from the totals,
// where each block starts, then each block from its start. So every block can go to another thread,
// and results do not depend on how many there are.

template <typename T>
using Wide = std::conditional_t<
    std::is_same_v<T, float>, double,
    std::conditional_t<std::is_same_v<T, std::complex<float>>, std::complex<double>, T>>;

template <typename T>
struct Sum {
  using Accumulator = Wide<T>;
  static constexpr Accumulator identity = 0;
  static Accumulator combine(Accumulator a, Accumulator b) {
    return static_cast<Accumulator>(a + b);
  }
};
template <typename T>
struct Product {
  using Accumulator = Wide<T>;
  static constexpr Accumulator identity = 1;
  static Accumulator combine(Accumulator a, Accumulator b) { return times(a, b); }
};
template <typename T>
struct Minimum {
  using Accumulator = T;
  static constexpr T identity = std::is_floating_point_v<T> ? std::numeric_limits<T>::infinity()
                                                            : std::numeric_limits<T>::max();
  static T combine(T a, T b) { return a < b || a != a ? a : b; }
};
template <typename T>
struct Maximum {
  using Accumulator = T;
  static constexpr T identity = std::is_floating_point_v<T> ? -std::numeric_limits<T>::infinity()
                                                            : std::numeric_limits<T>::min();
  static T combine(T a, T b) { return a > b || a != a ? a : b; }
};

/// The total of n neighbours: lanes regroup it, always in the same way.
template <typename F, typename T>
typename F::Accumulator total(const T* x, std::int64_t n) {
  using A = typename F::Accumulator;
  constexpr std::int64_t lanes = 32;
  std::array<A, lanes> lane;
  lane.fill(F::identity);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (std::int64_t k = 0; k < lanes; ++k)
      lane[k] = F::combine(lane[k], static_cast<A>(x[i + k]));
  }
  for (std::int64_t k = 0; i < n; ++i, ++k) lane[k] = F::combine(lane[k], static_cast<A>(x[i]));
  A result = lane[0];
  for (std::int64_t k = 1; k < lanes; ++k) result = F::combine(result, lane[k]);
  return result;
}

/// Runs that are scanned side by side: each step of one run waits for the one before it.
constexpr std::int64_t streams = 8;

template <typename T, typename A>
struct Stream {
  const T* in;
  T* out;
  A state;
};

/// Scans n elements of each of `streams` runs; step is 1 or -1.
template <typename F, typename T, typename A>
void scan_streams(std::array<Stream<T, A>, streams>& runs, std::int64_t n, std::int64_t step) {
  std::array<A, streams> state;
  for (std::size_t k = 0; k < streams; ++k) state[k] = runs[k].state;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < streams; ++k) {
      state[k] = F::combine(state[k], static_cast<A>(runs[k].in[i * step]));
      runs[k].out[i * step] = static_cast<T>(state[k]);
    }
  }
}

template <typename F, typename T, typename A>
void scan_stream(const Stream<T, A>& run, std::int64_t n, std::int64_t step) {
  A state = run.state;
  for (std::int64_t i = 0; i < n; ++i) {
    state = F::combine(state, static_cast<A>(run.in[i * step]));
    run.out[i * step] = static_cast<T>(state);
  }
}

/// No power of two, or the streams would meet in the same sets of the L1 cache.
constexpr std::int64_t block_elements = 8000;
/// Blocks whose totals are taken before they are scanned: their elements are then still in the
/// cache.
constexpr std::int64_t group_blocks = 64;
/// Blocks that one thread takes at a time: as many elements as other kernels take.
constexpr std::int64_t chunk_elements = std::int64_t{1} << 16;

/// Turns totals (count of them, `stride` apart, in the order of the scan) into starts.
template <typename F, typename A>
void totals_to_starts(A* totals, std::int64_t count, std::int64_t stride) {
  A sum = F::identity;
  for (std::int64_t i = 0; i < count; ++i) {
    const A own = totals[i * stride];
    totals[i * stride] = sum;
    sum = F::combine(sum, own);
  }
}

/// Scans along the last axis: x.inner is 1.
template <typename F, typename T>
Result<void> scan_lines(const RunCall& call, const Folded& x, bool reverse) {
  using A = typename F::Accumulator;
  const T* in = x.tensor.as<T>();
  T* out = call.out[0].as<T>();
  const std::int64_t n = x.reduced;
  const std::int64_t blocks = (n + block_elements - 1) / block_elements;
  const std::int64_t tasks = x.outer * blocks;
  OUTRIGGER_TRY(
      const BufferPtr buffer,
      call.context.memory.allocate(static_cast<std::size_t>(blocks > 1 ? tasks : 0) * sizeof(A)));
  auto* starts = reinterpret_cast<A*>(buffer->data());
  const std::int64_t grain =
      std::max<std::int64_t>(streams, chunk_elements / std::min(n, block_elements));
  const auto length_of = [&](std::int64_t task) {
    return std::min(block_elements, n - task % blocks * block_elements);
  };
  // Block 0 is where the scan begins: at the line's end when it goes backwards.
  const auto offset_of = [&](std::int64_t task) {
    const std::int64_t begin = task % blocks * block_elements;
    return task / blocks * n + (reverse ? n - 1 - begin : begin);
  };
  const auto take_total = [&](std::int64_t task) {
    const std::int64_t length = length_of(task);
    const std::int64_t first = reverse ? offset_of(task) - length + 1 : offset_of(task);
    starts[task] = total<F>(in + first, length);
  };
  const auto stream_of = [&](std::int64_t task) {
    const std::int64_t offset = offset_of(task);
    return Stream<T, A>{in + offset, out + offset, blocks > 1 ? starts[task] : A{F::identity}};
  };
  const std::int64_t step = reverse ? -1 : 1;
  const auto scan_blocks = [&](std::int64_t task, std::int64_t end) {
    while (task < end) {
      // A line's last block may be shorter than its neighbours.
      bool alike = task + streams <= end;
      for (std::int64_t k = 1; alike && k < streams; ++k)
        alike = length_of(task + k) == length_of(task);
      if (!alike) {
        scan_stream<F>(stream_of(task), length_of(task), step);
        ++task;
        continue;
      }
      std::array<Stream<T, A>, streams> runs;
      for (std::int64_t k = 0; k < streams; ++k)
        runs[static_cast<std::size_t>(k)] = stream_of(task + k);
      scan_streams<F>(runs, length_of(task), step);
      task += streams;
    }
  };
  const std::int64_t group = blocks > 1 ? group_blocks : tasks;
  A sum = F::identity;
  for (std::int64_t first = 0; first < tasks; first += group) {
    const std::int64_t count = std::min(group, tasks - first);
    const std::int64_t work = count * std::min(n, block_elements);
    if (blocks > 1) {
      OUTRIGGER_CHECK(parallel_ranges(call.context, count, grain, work,
                                      [&](int, std::int64_t begin, std::int64_t end) {
                                        for (std::int64_t task = begin; task < end; ++task)
                                          take_total(first + task);
                                      }));
      for (std::int64_t task = first; task < first + count; ++task) {
        if (task % blocks == 0) sum = F::identity;
        const A own = starts[task];
        starts[task] = sum;
        sum = F::combine(sum, own);
      }
    }
    OUTRIGGER_CHECK(parallel_ranges(call.context, count, grain, work,
                                    [&](int, std::int64_t begin, std::int64_t end) {
                                      scan_blocks(first + begin, first + end);
                                    }));
  }
  return {};
}

constexpr std::int64_t columns_max = 1024;

struct Cut {
  std::int64_t width;  ///< columns of a tile
  std::int64_t tiles;
  std::int64_t rows_per_block;
  std::int64_t blocks;
};

/// Narrower tiles where that gives each thread one of its own; only else the rows are cut, too.
Cut cut_rows(std::int64_t outer, std::int64_t reduced, std::int64_t inner) {
  constexpr std::int64_t enough_tiles = 16;
  Cut cut{};
  cut.width = std::clamp<std::int64_t>(outer * inner / enough_tiles / 16 * 16, 128, columns_max);
  cut.tiles = (inner + cut.width - 1) / cut.width;
  cut.rows_per_block = outer * cut.tiles >= enough_tiles - 1
                           ? reduced
                           : std::max<std::int64_t>(1, chunk_elements / std::min(cut.width, inner));
  cut.blocks = (reduced + cut.rows_per_block - 1) / cut.rows_per_block;
  return cut;
}

/// Scans along an axis that others follow: rows of columns, side by side.
template <typename F, typename T>
Result<void> scan_columns(const RunCall& call, const Folded& x, bool reverse) {
  using A = typename F::Accumulator;
  const T* in = x.tensor.as<T>();
  T* out = call.out[0].as<T>();
  const Cut cut = cut_rows(x.outer, x.reduced, x.inner);
  const std::int64_t width = cut.width;
  const std::int64_t tiles = cut.tiles;
  const std::int64_t rows_per_block = cut.rows_per_block;
  const std::int64_t blocks = cut.blocks;
  OUTRIGGER_TRY(
      const BufferPtr buffer,
      call.context.memory.allocate(
          static_cast<std::size_t>(blocks > 1 ? x.outer * blocks * x.inner : 0) * sizeof(A)));
  auto* starts = reinterpret_cast<A*>(buffer->data());
  // f(elements of the first row, rows, stride between rows, columns, the block's starts)
  const auto for_each_task = [&](auto f) {
    const std::int64_t grain = std::max<std::int64_t>(
        1, chunk_elements / (std::min(rows_per_block, x.reduced) * std::min(width, x.inner)));
    return parallel_ranges(
        call.context, x.outer * blocks * tiles, grain, x.outer * x.reduced * x.inner,
        [&](int, std::int64_t begin, std::int64_t end) {
          for (std::int64_t task = begin; task < end; ++task) {
            const std::int64_t column = task % tiles * width;
            const std::int64_t block = task / tiles % blocks;
            const std::int64_t outer = task / tiles / blocks;
            const std::int64_t first = block * rows_per_block;
            const std::int64_t row = reverse ? x.reduced - 1 - first : first;
            f((outer * x.reduced + row) * x.inner + column,
              std::min(rows_per_block, x.reduced - first), std::min(width, x.inner - column),
              starts + (outer * blocks + block) * x.inner + column);
          }
        });
  };
  const std::int64_t step = reverse ? -x.inner : x.inner;
  if (blocks > 1) {
    OUTRIGGER_CHECK(
        for_each_task([&](std::int64_t at, std::int64_t rows, std::int64_t columns, A* totals) {
          std::array<A, columns_max> state;
          state.fill(F::identity);
          for (std::int64_t row = 0; row < rows; ++row) {
            const T* x_row = in + at + row * step;
            for (std::int64_t k = 0; k < columns; ++k)
              state[k] = F::combine(state[k], static_cast<A>(x_row[k]));
          }
          std::copy_n(state.begin(), columns, totals);
        }));
    for (std::int64_t outer = 0; outer < x.outer; ++outer) {
      for (std::int64_t column = 0; column < x.inner; ++column)
        totals_to_starts<F>(starts + outer * blocks * x.inner + column, blocks, x.inner);
    }
  }
  return for_each_task(
      [&](std::int64_t at, std::int64_t rows, std::int64_t columns, const A* start) {
        std::array<A, columns_max> state;
        if (blocks > 1)
          std::copy_n(start, columns, state.begin());
        else
          state.fill(F::identity);
        for (std::int64_t row = 0; row < rows; ++row) {
          const T* from = in + at + row * step;
          T* to = out + at + row * step;
          OUTRIGGER_INDEPENDENT
          for (std::int64_t k = 0; k < columns; ++k) {
            state[k] = F::combine(state[k], static_cast<A>(from[k]));
            to[k] = static_cast<T>(state[k]);
          }
        }
      });
}

template <template <typename> typename F, bool complex>
Result<void> run_scan(const RunCall& call) {
  const Tensor& in = call.in[0];
  if (in.size() == 0) return {};
  OUTRIGGER_TRY(const std::int64_t axis,
                normalize_axis(call.attrs.integer("axis"), in.shape().size()));
  OUTRIGGER_TRY(const Folded folded, fold(call.context, in, std::span(&axis, 1)));
  const bool reverse = call.attrs.boolean("reverse");
  const auto run = [&](auto tag) {
    using T = typename decltype(tag)::type;
    return folded.inner == 1 ? scan_lines<F<T>, T>(call, folded, reverse)
                             : scan_columns<F<T>, T>(call, folded, reverse);
  };
  if constexpr (complex) {
    if (is_complex(in.dtype())) return with_complex_type(in.dtype(), run);
  }
  return with_type(in.dtype(), run);
}

std::uint64_t scan_scratch(const ScratchCall& call) {
  const TensorType& from = *call.in[0].type;
  const auto axis = normalize_axis(call.attrs.integer("axis"), from.shape.size());
  if (!axis || element_count(from.shape) == 0) return 0;
  const Folding x = fold_shape(from.shape, std::span(&*axis, 1));
  const std::int64_t blocks = x.inner == 1 ? (x.reduced + block_elements - 1) / block_elements
                                           : cut_rows(x.outer, x.reduced, x.inner).blocks;
  const std::int64_t accumulator_bytes = is_complex(from.dtype) ? 16 : 8;
  return contiguous_bytes(call.in[0], x.order) +
         (blocks > 1 ? buffer_bytes(x.outer * blocks * x.inner * accumulator_bytes) : 0);
}

Result<Inferred> infer_scan(const InferCall& call) {
  OUTRIGGER_CHECK(normalize_axis(call.attrs.integer("axis"), call.type(0).shape.size()));
  Inferred inferred;
  inferred.operands = {call.type(0).dtype};
  inferred.results.push_back(call.type(0));
  return inferred;
}

OpRow scan(std::string_view name, Result<void> (*run)(const RunCall&), std::string_view doc) {
  return OpRow{.name = name,
               .family = "scan",
               .kind = Kind::compute,
               .operands = {{"tensor"}},
               .attrs = {{"axis", AttrType::integer, false, "0", "the axis to go along"},
                         {"reverse", AttrType::boolean, false, "false", "start at the axis's end"}},
               .infer = infer_scan,
               .run = run,
               .scratch = scan_scratch,
               .doc = doc};
}

}  // namespace

void register_scan(std::vector<OpRow>& rows) {
  rows.push_back(scan("cumulative_sum", run_scan<Sum, true>,
                      "Running sums along an axis. Keeps the dtype: integers wrap around, f32 is "
                      "added up in f64."));
  rows.back().complex = true;
  rows.push_back(scan("cumulative_product", run_scan<Product, true>,
                      "Running products along an axis. Keeps the dtype: integers wrap around, f32 "
                      "is multiplied in f64."));
  rows.back().complex = true;
  rows.push_back(scan("cumulative_min", run_scan<Minimum, false>,
                      "The smallest element so far along an axis. Keeps the dtype; NaN from the "
                      "first NaN on."));
  rows.push_back(scan("cumulative_max", run_scan<Maximum, false>,
                      "The largest element so far along an axis. Keeps the dtype; NaN from the "
                      "first NaN on."));
}

}  // namespace outrigger::ops
