#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <limits>

#include "ops/catalogue.hpp"
#include "ops/complex_math.hpp"
#include "ops/kernels.hpp"
#include "ops/reducers.hpp"
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

/// As reducers.hpp's, but integers keep their dtype.
template <typename T>
struct RunningSum {
  using Accumulator = Wide<T>;
  static constexpr Accumulator identity = 0;
  static Accumulator lift(T x) { return static_cast<Accumulator>(x); }
  static Accumulator combine(Accumulator a, Accumulator b) {
    return static_cast<Accumulator>(a + b);
  }
};
template <typename T>
struct RunningProduct {
  using Accumulator = Wide<T>;
  static constexpr Accumulator identity = 1;
  static Accumulator lift(T x) { return static_cast<Accumulator>(x); }
  static Accumulator combine(Accumulator a, Accumulator b) { return times(a, b); }
};

/// Runs that are scanned side by side: each step of one run waits for the one before it.
constexpr std::size_t streams = 8;

/// Where a run starts, and what came before it.
struct Run {
  const std::byte* in;
  std::byte* out;
  const std::byte* start;
};

/// Room for any accumulator.
struct alignas(16) State {
  std::array<std::byte, 16> bytes;
  std::byte* data() { return bytes.data(); }
  const std::byte* data() const { return bytes.data(); }
};

/// The loops of one scan over one type. What goes round them knows sizes only, and is compiled
/// once. A start or total is an accumulator; steps are in elements, 1 or more, or negative.
struct ScanLoops {
  std::int64_t element_bytes;
  std::int64_t accumulator_bytes;
  State identity;
  void (*total)(const std::byte* in, std::int64_t n, std::byte* total);
  /// a := a ∘ b, and b := the old a.
  void (*advance)(std::byte* a, std::byte* b);
  void (*scan)(const Run& run, std::int64_t n, std::int64_t step);
  void (*scan_streams)(const std::array<Run, streams>& runs, std::int64_t n, std::int64_t step);
  void (*total_columns)(const std::byte* in, std::int64_t rows, std::int64_t step,
                        std::int64_t columns, std::byte* totals);
  void (*scan_columns)(const Run& run, std::int64_t rows, std::int64_t step, std::int64_t columns);
};

constexpr std::int64_t columns_max = 1024;

template <typename F, typename T>
struct Loops {
  using A = typename F::Accumulator;

  static const T* elements(const std::byte* at) { return reinterpret_cast<const T*>(at); }
  static T* elements(std::byte* at) { return reinterpret_cast<T*>(at); }
  static const A* accumulators(const std::byte* at) { return reinterpret_cast<const A*>(at); }
  static A* accumulators(std::byte* at) { return reinterpret_cast<A*>(at); }

  static void total(const std::byte* in, std::int64_t n, std::byte* total) {
    *accumulators(total) = reduce_run<F>(elements(in), n);
  }

  static void advance(std::byte* a, std::byte* b) {
    const A own = *accumulators(b);
    *accumulators(b) = *accumulators(a);
    *accumulators(a) = F::combine(*accumulators(a), own);
  }

  static void scan(const Run& run, std::int64_t n, std::int64_t step) {
    const T* in = elements(run.in);
    T* out = elements(run.out);
    A state = *accumulators(run.start);
    for (std::int64_t i = 0; i < n; ++i) {
      state = F::combine(state, F::lift(in[i * step]));
      out[i * step] = static_cast<T>(state);
    }
  }

  static void scan_streams(const std::array<Run, streams>& runs, std::int64_t n,
                           std::int64_t step) {
    std::array<const T*, streams> in;
    std::array<T*, streams> out;
    std::array<A, streams> state;
    for (std::size_t k = 0; k < streams; ++k) {
      in[k] = elements(runs[k].in);
      out[k] = elements(runs[k].out);
      state[k] = *accumulators(runs[k].start);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::size_t k = 0; k < streams; ++k) {
        state[k] = F::combine(state[k], F::lift(in[k][i * step]));
        out[k][i * step] = static_cast<T>(state[k]);
      }
    }
  }

  static void total_columns(const std::byte* in, std::int64_t rows, std::int64_t step,
                            std::int64_t columns, std::byte* totals) {
    std::array<A, columns_max> state;
    std::fill_n(state.begin(), columns, F::identity);
    const T* x = elements(in);
    for (std::int64_t row = 0; row < rows; ++row, x += step) {
      for (std::int64_t k = 0; k < columns; ++k) state[k] = F::combine(state[k], F::lift(x[k]));
    }
    std::copy_n(state.begin(), columns, accumulators(totals));
  }

  static void scan_columns(const Run& run, std::int64_t rows, std::int64_t step,
                           std::int64_t columns) {
    std::array<A, columns_max> state;
    if (run.start == nullptr)
      std::fill_n(state.begin(), columns, F::identity);
    else
      std::copy_n(accumulators(run.start), columns, state.begin());
    const T* from = elements(run.in);
    T* to = elements(run.out);
    for (std::int64_t row = 0; row < rows; ++row, from += step, to += step) {
      OUTRIGGER_INDEPENDENT
      for (std::int64_t k = 0; k < columns; ++k) {
        state[k] = F::combine(state[k], F::lift(from[k]));
        to[k] = static_cast<T>(state[k]);
      }
    }
  }

  static ScanLoops loops() {
    ScanLoops loops{sizeof(T),    sizeof(A),     {},          total, advance, scan,
                    scan_streams, total_columns, scan_columns};
    const A identity = F::identity;
    std::memcpy(loops.identity.data(), &identity, sizeof(A));
    return loops;
  }
};

/// One scan: what to do, where, and in which direction.
struct Scan {
  const RunCall& call;
  const ScanLoops& loops;
  const Folded& x;
  bool reverse;

  const std::byte* in(std::int64_t element) const {
    return x.tensor.data() + element * loops.element_bytes;
  }
  std::byte* out(std::int64_t element) const {
    return call.out[0].data() + element * loops.element_bytes;
  }
};

/// No power of two, or the streams would meet in the same sets of the L1 cache.
constexpr std::int64_t block_elements = 8000;
/// Blocks whose totals are taken before they are scanned: their elements are then still in the
/// cache.
constexpr std::int64_t group_blocks = 64;
/// Blocks that one thread takes at a time: as many elements as other kernels take.
constexpr std::int64_t chunk_elements = std::int64_t{1} << 16;

/// Lines cut into blocks, which are numbered line by line in the order of the scan.
struct LineBlocks {
  std::int64_t n;  ///< elements of a line
  std::int64_t per_line;
  bool reverse;

  std::int64_t length(std::int64_t block) const {
    return std::min(block_elements, n - block % per_line * block_elements);
  }
  /// Where the scan of a block begins: at its end when it goes backwards.
  std::int64_t first(std::int64_t block) const {
    const std::int64_t begin = block % per_line * block_elements;
    return block / per_line * n + (reverse ? n - 1 - begin : begin);
  }
  std::int64_t lowest(std::int64_t block) const {
    return reverse ? first(block) - length(block) + 1 : first(block);
  }
};

void scan_blocks(const Scan& scan, const LineBlocks& lines, const std::byte* starts,
                 std::int64_t block, std::int64_t end) {
  const std::int64_t step = scan.reverse ? -1 : 1;
  const auto run_of = [&](std::int64_t b) {
    const std::int64_t first = lines.first(b);
    return Run{
        scan.in(first), scan.out(first),
        starts == nullptr ? scan.loops.identity.data() : starts + b * scan.loops.accumulator_bytes};
  };
  constexpr auto together = static_cast<std::int64_t>(streams);
  while (block < end) {
    const std::int64_t length = lines.length(block);
    // A line's last block may be shorter than its neighbours.
    bool alike = block + together <= end;
    for (std::int64_t k = 1; alike && k < together; ++k) alike = lines.length(block + k) == length;
    if (!alike) {
      scan.loops.scan(run_of(block), length, step);
      ++block;
      continue;
    }
    std::array<Run, streams> runs;
    for (Run& run : runs) run = run_of(block++);
    scan.loops.scan_streams(runs, length, step);
  }
}

/// Scans along the last axis: x.inner is 1.
Result<void> scan_lines(const Scan& scan) {
  const Folded& x = scan.x;
  const LineBlocks lines{x.reduced, (x.reduced + block_elements - 1) / block_elements,
                         scan.reverse};
  const bool cut = lines.per_line > 1;
  const std::int64_t tasks = x.outer * lines.per_line;
  const std::int64_t state = scan.loops.accumulator_bytes;
  OUTRIGGER_TRY(const BufferPtr buffer, scan.call.context.memory.allocate(
                                            static_cast<std::size_t>(cut ? tasks * state : 0)));
  std::byte* starts = cut ? buffer->data() : nullptr;
  const std::int64_t grain =
      std::max<std::int64_t>(streams, chunk_elements / std::min(lines.n, block_elements));
  const std::int64_t group = cut ? group_blocks : tasks;
  State sum = scan.loops.identity;
  for (std::int64_t first = 0; first < tasks; first += group) {
    const std::int64_t count = std::min(group, tasks - first);
    const std::int64_t work = count * std::min(lines.n, block_elements);
    const auto in_parallel = [&](const auto& f) {
      return parallel_ranges(
          scan.call.context, count, grain, work,
          [&](int, std::int64_t begin, std::int64_t end) { f(first + begin, first + end); });
    };
    if (cut) {
      OUTRIGGER_CHECK(in_parallel([&](std::int64_t block, std::int64_t end) {
        for (; block < end; ++block)
          scan.loops.total(scan.in(lines.lowest(block)), lines.length(block),
                           starts + block * state);
      }));
      for (std::int64_t block = first; block < first + count; ++block) {
        if (block % lines.per_line == 0) sum = scan.loops.identity;
        scan.loops.advance(sum.data(), starts + block * state);
      }
    }
    OUTRIGGER_CHECK(in_parallel([&](std::int64_t block, std::int64_t end) {
      scan_blocks(scan, lines, starts, block, end);
    }));
  }
  return {};
}

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
Result<void> scan_columns(const Scan& scan) {
  const Folded& x = scan.x;
  const Cut cut = cut_rows(x.outer, x.reduced, x.inner);
  const std::int64_t state = scan.loops.accumulator_bytes;
  const bool by_blocks = cut.blocks > 1;
  OUTRIGGER_TRY(const BufferPtr buffer,
                scan.call.context.memory.allocate(static_cast<std::size_t>(
                    by_blocks ? x.outer * cut.blocks * x.inner * state : 0)));
  std::byte* starts = by_blocks ? buffer->data() : nullptr;
  // f(first element, rows, columns, the block's starts)
  const auto for_each_task = [&](const auto& f) {
    const std::int64_t grain = std::max<std::int64_t>(
        1,
        chunk_elements / (std::min(cut.rows_per_block, x.reduced) * std::min(cut.width, x.inner)));
    return parallel_ranges(
        scan.call.context, x.outer * cut.blocks * cut.tiles, grain, x.outer * x.reduced * x.inner,
        [&](int, std::int64_t begin, std::int64_t end) {
          for (std::int64_t task = begin; task < end; ++task) {
            const std::int64_t column = task % cut.tiles * cut.width;
            const std::int64_t block = task / cut.tiles % cut.blocks;
            const std::int64_t outer = task / cut.tiles / cut.blocks;
            const std::int64_t first = block * cut.rows_per_block;
            const std::int64_t row = scan.reverse ? x.reduced - 1 - first : first;
            f((outer * x.reduced + row) * x.inner + column,
              std::min(cut.rows_per_block, x.reduced - first),
              std::min(cut.width, x.inner - column),
              by_blocks ? starts + ((outer * cut.blocks + block) * x.inner + column) * state
                        : nullptr);
          }
        });
  };
  const std::int64_t step = scan.reverse ? -x.inner : x.inner;
  if (by_blocks) {
    OUTRIGGER_CHECK(for_each_task(
        [&](std::int64_t at, std::int64_t rows, std::int64_t columns, std::byte* totals) {
          scan.loops.total_columns(scan.in(at), rows, step, columns, totals);
        }));
    for (std::int64_t column = 0; column < x.outer * x.inner; ++column) {
      State sum = scan.loops.identity;
      std::byte* at = starts + (column / x.inner * cut.blocks * x.inner + column % x.inner) * state;
      for (std::int64_t block = 0; block < cut.blocks; ++block, at += x.inner * state)
        scan.loops.advance(sum.data(), at);
    }
  }
  return for_each_task(
      [&](std::int64_t at, std::int64_t rows, std::int64_t columns, const std::byte* start) {
        scan.loops.scan_columns(Run{scan.in(at), scan.out(at), start}, rows, step, columns);
      });
}

template <template <typename> typename F, bool complex>
ScanLoops loops_of(DType dtype) {
  const auto of = [](auto tag) {
    using T = typename decltype(tag)::type;
    return Loops<F<T>, T>::loops();
  };
  if constexpr (complex) {
    if (is_complex(dtype)) return with_complex_type(dtype, of);
  }
  return with_type(dtype, of);
}

template <template <typename> typename F, bool complex>
Result<void> run_scan(const RunCall& call) {
  const Tensor& in = call.in[0];
  if (in.size() == 0) return {};
  OUTRIGGER_TRY(const std::int64_t axis,
                normalize_axis(call.attrs.integer("axis"), in.shape().size()));
  OUTRIGGER_TRY(const Folded folded, fold(call.context, in, std::span(&axis, 1)));
  const ScanLoops loops = loops_of<F, complex>(in.dtype());
  const Scan scan{call, loops, folded, call.attrs.boolean("reverse")};
  return folded.inner == 1 ? scan_lines(scan) : scan_columns(scan);
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
  rows.push_back(scan("cumulative_sum", run_scan<RunningSum, true>,
                      "Running sums along an axis. Keeps the dtype: integers wrap around, f32 is "
                      "added up in f64."));
  rows.back().complex = true;
  rows.push_back(scan("cumulative_product", run_scan<RunningProduct, true>,
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
