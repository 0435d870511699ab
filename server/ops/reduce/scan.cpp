#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <optional>

#include "ops/cast/conversion.hpp"
#include "ops/pass/reduction.hpp"
#include "ops/reduce/rows.hpp"
#include "ops/reduce/scan_loops.hpp"
#include "ops/support/axes.hpp"
#include "ops/support/look.hpp"
#include "ops/support/scratch.hpp"

namespace outrigger::ops {
namespace {

using namespace scanning;

// A scan works in blocks of a fixed length. The first step computes the total of each block, the
// second the start of each block from the totals, and the third scans each block from its start.
// Each block can therefore go to any thread, and results do not depend on the number of threads.

/// The conversions from the dtype of the elements to that of the loops and back, and memory for
/// converted elements for each thread.
struct Conversions {
  Conversion widen;
  Conversion narrow;
  std::int64_t room_bytes;
  BufferPtr rooms;
};

/// One scan: its operation, its elements and its direction.
struct Scan {
  const RunCall& call;
  const ScanLoops& loops;
  const std::byte* from;  ///< elements in C order
  const Folding& x;
  bool reverse;
  const Conversions* conversions;  ///< null if the loops accept the dtype of the elements

  std::int64_t element_bytes() const {
    return static_cast<std::int64_t>(size_of(call.out[0].dtype()));
  }
  const std::byte* in(std::int64_t element) const { return from + element * element_bytes(); }
  std::byte* out(std::int64_t element) const {
    return call.out[0].data() + element * element_bytes();
  }
  /// The thread's memory for converted elements, from element `skip` on.
  std::byte* room(int thread, std::int64_t skip) const {
    if (conversions == nullptr) return nullptr;
    return conversions->rooms->data() + thread * conversions->room_bytes +
           skip * loops.element_bytes;
  }

  /// n elements, from `first` on, in the dtype of the loops.
  const std::byte* load(std::int64_t first, std::int64_t n, std::byte* room) const {
    if (conversions == nullptr) return in(first);
    conversions->widen.run(in(first), room, n);
    return room;
  }
  /// The memory to which the loops write; store() converts it to results.
  std::byte* place(std::int64_t first, std::byte* room) const {
    return conversions == nullptr ? out(first) : room;
  }
  void store(std::int64_t first, std::int64_t n, const std::byte* room) const {
    if (conversions != nullptr) conversions->narrow.run(room, out(first), n);
  }
};

/// The length is not a power of two, because the streams would then share sets of the L1 cache.
constexpr std::int64_t block_elements = 8000;
/// The blocks of a group. The totals of a group are computed just before its scan, while its
/// elements are in the cache.
constexpr std::int64_t group_blocks = 64;
/// The elements of one task of a thread, as in other kernels.
constexpr std::int64_t chunk_elements = std::int64_t{1} << 16;

/// Lines cut into blocks. The blocks are numbered line by line, in the order of the scan.
struct LineBlocks {
  std::int64_t n;  ///< elements of a line
  std::int64_t per_line;
  bool reverse;

  std::int64_t length(std::int64_t block) const {
    return std::min(block_elements, n - block % per_line * block_elements);
  }
  /// The first element of a block in the order of the scan: its last one in memory if the scan is
  /// reversed.
  std::int64_t first(std::int64_t block) const {
    const std::int64_t begin = block % per_line * block_elements;
    return block / per_line * n + (reverse ? n - 1 - begin : begin);
  }
  std::int64_t lowest(std::int64_t block) const {
    return reverse ? first(block) - length(block) + 1 : first(block);
  }
};

void scan_blocks(const Scan& scan, const LineBlocks& lines, const std::byte* starts, int thread,
                 std::int64_t block, std::int64_t end) {
  const std::int64_t step = scan.reverse ? -1 : 1;
  const auto room_of = [&](std::int64_t k) { return scan.room(thread, k * block_elements); };
  const auto run_of = [&](std::int64_t b, std::int64_t k) {
    const std::int64_t lowest = lines.lowest(b);
    const std::int64_t offset = (lines.first(b) - lowest) * scan.loops.element_bytes;
    return Run{
        scan.load(lowest, lines.length(b), room_of(k)) + offset,
        scan.place(lowest, room_of(k)) + offset,
        starts == nullptr ? scan.loops.identity.data() : starts + b * scan.loops.accumulator_bytes};
  };
  constexpr auto together = static_cast<std::int64_t>(streams);
  while (block < end) {
    const std::int64_t length = lines.length(block);
    // The last block of a line may be shorter than its neighbours.
    bool alike = block + together <= end;
    for (std::int64_t k = 1; alike && k < together; ++k) alike = lines.length(block + k) == length;
    const std::int64_t count = alike ? together : 1;
    if (alike) {
      std::array<Run, streams> runs;
      for (std::int64_t k = 0; k < count; ++k)
        runs[static_cast<std::size_t>(k)] = run_of(block + k, k);
      scan.loops.scan_streams(runs, length, step);
    } else {
      scan.loops.scan(run_of(block, 0), length, step);
    }
    for (std::int64_t k = 0; k < count; ++k, ++block)
      scan.store(lines.lowest(block), length, room_of(k));
  }
}

/// Scans along the last axis; x.inner is 1.
Result<void> scan_lines(const Scan& scan) {
  const Folding& x = scan.x;
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
      return parallel_ranges(scan.call.context, count, grain, work,
                             [&](int thread, std::int64_t begin, std::int64_t end) {
                               f(thread, first + begin, first + end);
                             });
    };
    if (cut) {
      OUTRIGGER_CHECK(in_parallel([&](int thread, std::int64_t block, std::int64_t end) {
        for (; block < end; ++block) {
          const std::int64_t n = lines.length(block);
          scan.loops.total(scan.load(lines.lowest(block), n, scan.room(thread, 0)), n,
                           starts + block * state);
        }
      }));
      for (std::int64_t block = first; block < first + count; ++block) {
        if (block % lines.per_line == 0) sum = scan.loops.identity;
        scan.loops.advance(sum.data(), starts + block * state);
      }
    }
    OUTRIGGER_CHECK(in_parallel([&](int thread, std::int64_t block, std::int64_t end) {
      scan_blocks(scan, lines, starts, thread, block, end);
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

/// Chooses narrower tiles if each thread then has a tile. Otherwise cuts the rows, too.
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

/// Adjacent columns, whose rows one thread scans in one step.
struct Columns {
  std::int64_t first;  ///< position of the first element of the first row, in the order of the scan
  std::int64_t rows;
  std::int64_t step;  ///< elements from a row to the next
  std::int64_t columns;
};

/// Calls f(input, output, rows, step) for some rows at a time in the dtype of the loops; there are
/// fewer rows if they are converted. Returns false if it was interrupted.
template <typename F>
bool for_rows(const Scan& scan, const Columns& at, int thread, F&& f) {
  Look look(scan.call.context.interrupt);
  if (scan.conversions == nullptr) {
    const std::int64_t together = std::max<std::int64_t>(1, chunk_elements / at.columns);
    for (std::int64_t row = 0; row < at.rows; row += together) {
      const std::int64_t count = std::min(together, at.rows - row);
      if (!look.go_on(count * at.columns)) return false;
      const std::int64_t first = at.first + row * at.step;
      f(scan.in(first), scan.out(first), count, at.step);
    }
    return true;
  }
  const std::int64_t together = std::max<std::int64_t>(1, block_elements / at.columns);
  std::byte* const room = scan.room(thread, 0);
  const auto room_of = [&](std::int64_t k) { return scan.room(thread, k * at.columns); };
  for (std::int64_t row = 0; row < at.rows; row += together) {
    const std::int64_t count = std::min(together, at.rows - row);
    if (!look.go_on(count * at.columns)) return false;
    for (std::int64_t k = 0; k < count; ++k)
      scan.load(at.first + (row + k) * at.step, at.columns, room_of(k));
    f(room, room, count, at.columns);
    for (std::int64_t k = 0; k < count; ++k)
      scan.store(at.first + (row + k) * at.step, at.columns, room_of(k));
  }
  return true;
}

/// Scans along an axis before the last one: rows of adjacent columns.
Result<void> scan_columns(const Scan& scan) {
  const Folding& x = scan.x;
  const Cut cut = cut_rows(x.outer, x.reduced, x.inner);
  const std::int64_t state = scan.loops.accumulator_bytes;
  const auto start_anew = [&](std::byte* totals, std::int64_t columns) {
    for (std::int64_t k = 0; k < columns; ++k)
      std::memcpy(totals + k * state, scan.loops.identity.data(), static_cast<std::size_t>(state));
  };
  const bool by_blocks = cut.blocks > 1;
  OUTRIGGER_TRY(const BufferPtr buffer,
                scan.call.context.memory.allocate(static_cast<std::size_t>(
                    by_blocks ? x.outer * cut.blocks * x.inner * state : 0)));
  std::byte* starts = by_blocks ? buffer->data() : nullptr;
  // Calls f(thread, columns, starts of the block).
  const auto for_each_task = [&](const auto& f) {
    const std::int64_t grain = std::max<std::int64_t>(
        1,
        chunk_elements / (std::min(cut.rows_per_block, x.reduced) * std::min(cut.width, x.inner)));
    return looking_ranges(
        scan.call.context, x.outer * cut.blocks * cut.tiles, grain, x.outer * x.reduced * x.inner,
        [&](int thread, std::int64_t begin, std::int64_t end) {
          for (std::int64_t task = begin; task < end; ++task) {
            const std::int64_t column = task % cut.tiles * cut.width;
            const std::int64_t block = task / cut.tiles % cut.blocks;
            const std::int64_t outer = task / cut.tiles / cut.blocks;
            const std::int64_t first = block * cut.rows_per_block;
            const std::int64_t row = scan.reverse ? x.reduced - 1 - first : first;
            const bool done =
                f(thread,
                  Columns{(outer * x.reduced + row) * x.inner + column,
                          std::min(cut.rows_per_block, x.reduced - first),
                          scan.reverse ? -x.inner : x.inner, std::min(cut.width, x.inner - column)},
                  by_blocks ? starts + ((outer * cut.blocks + block) * x.inner + column) * state
                            : nullptr);
            if (!done) return false;
          }
          return true;
        });
  };
  if (by_blocks) {
    OUTRIGGER_CHECK(for_each_task([&](int thread, const Columns& at, std::byte* totals) {
      start_anew(totals, at.columns);
      return for_rows(
          scan, at, thread,
          [&](const std::byte* in, const std::byte*, std::int64_t rows, std::int64_t step) {
            scan.loops.total_columns(in, rows, step, at.columns, totals);
          });
    }));
    for (std::int64_t column = 0; column < x.outer * x.inner; ++column) {
      State sum = scan.loops.identity;
      std::byte* at = starts + (column / x.inner * cut.blocks * x.inner + column % x.inner) * state;
      for (std::int64_t block = 0; block < cut.blocks; ++block, at += x.inner * state)
        scan.loops.advance(sum.data(), at);
    }
  }
  return for_each_task([&](int thread, const Columns& at, std::byte* totals) {
    std::array<State, columns_max> own;
    if (totals == nullptr) {
      totals = own.front().data();
      start_anew(totals, at.columns);
    }
    return for_rows(scan, at, thread,
                    [&](const std::byte* in, std::byte* out, std::int64_t rows, std::int64_t step) {
                      scan.loops.scan_columns(in, out, totals, rows, step, at.columns);
                    });
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

/// The bytes of a thread's memory for converted elements.
std::int64_t room_bytes(DType compute) {
  return static_cast<std::int64_t>(streams) * block_elements *
         static_cast<std::int64_t>(size_of(compute));
}

/// The conversions; nothing if the loops accept the dtype.
Result<std::optional<Conversions>> conversions_for(const Context& context, DType dtype) {
  const DType compute = compute_dtype(dtype);
  if (compute == dtype) return std::nullopt;
  const std::int64_t each = room_bytes(compute);
  OUTRIGGER_TRY(BufferPtr rooms,
                context.memory.allocate(static_cast<std::size_t>(context.threads * each)));
  return Conversions{Conversion(dtype, compute), Conversion(compute, dtype), each,
                     std::move(rooms)};
}

template <template <typename> typename F, bool complex>
Result<void> run_scan(const RunCall& call) {
  const Tensor& in = call.in[0];
  if (in.size() == 0) return {};
  OUTRIGGER_TRY(const std::int64_t axis,
                normalize_axis(call.attrs.integer("axis"), in.shape().size()));
  const Folding folding = fold_shape(in.shape(), std::span(&axis, 1));
  // Each result is written after its operand has been read. An operand that is not contiguous is
  // copied to the output first.
  const bool apart = !in.contiguous();
  if (apart) OUTRIGGER_CHECK(copy_tensor(call.context, in, call.out[0]));
  OUTRIGGER_TRY(const auto conversions, conversions_for(call.context, in.dtype()));
  const ScanLoops loops = loops_of<F, complex>(compute_dtype(in.dtype()));
  const Scan scan{call,
                  loops,
                  (apart ? call.out[0] : in).data(),
                  folding,
                  call.attrs.boolean("reverse"),
                  conversions ? &*conversions : nullptr};
  return folding.inner == 1 ? scan_lines(scan) : scan_columns(scan);
}

std::uint64_t scan_scratch(const ScratchCall& call) {
  const TensorType& from = *call.in[0].type;
  const auto axis = normalize_axis(call.attrs.integer("axis"), from.shape.size());
  if (!axis || element_count(from.shape) == 0) return 0;
  const Folding x = fold_shape(from.shape, std::span(&*axis, 1));
  const std::int64_t blocks = x.inner == 1 ? (x.reduced + block_elements - 1) / block_elements
                                           : cut_rows(x.outer, x.reduced, x.inner).blocks;
  const std::int64_t accumulator_bytes = is_complex(from.dtype) ? 16 : 8;
  const DType compute = compute_dtype(from.dtype);
  return (blocks > 1 ? buffer_bytes(x.outer * blocks * x.inner * accumulator_bytes) : 0) +
         (compute != from.dtype ? buffer_bytes(call.threads * room_bytes(compute)) : 0);
}

Result<Inferred> infer_scan(const InferCall& call) {
  OUTRIGGER_CHECK(normalize_axis(call.attrs.integer("axis"), call.type(0).shape.size()));
  Inferred inferred;
  inferred.operands = {call.type(0).dtype};
  inferred.results.push_back(call.type(0));
  return inferred;
}

OpRow scan(std::string_view name, Result<void> (*run)(const RunCall&), std::string_view doc) {
  return OpRow{
      .name = name,
      .family = "scan",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .attrs = {{"axis", AttrType::integer, false, "0", "the axis of the scan"},
                {"reverse", AttrType::boolean, false, "false", "start at the end of the axis"}},
      .any_dtype = true,
      .infer = infer_scan,
      .run = run,
      .scratch = scan_scratch,
      .doc = doc};
}

}  // namespace

void add_scan_rows(std::vector<OpRow>& rows) {
  rows.push_back(scan(
      "cumulative_sum", run_scan<RunningSum, true>,
      "Running sums along an axis. Keeps the dtype: integers wrap around, f32 is summed in f64."));
  rows.push_back(scan("cumulative_product", run_scan<RunningProduct, true>,
                      "Running products along an axis. Keeps the dtype: integers wrap around, f32 "
                      "is multiplied in f64."));
  rows.push_back(scan("cumulative_min", run_scan<Minimum, false>,
                      "The running minimum along an axis. Keeps the dtype; from the first NaN on, "
                      "the result is NaN."));
  rows.back().real_only = true;
  rows.push_back(scan("cumulative_max", run_scan<Maximum, false>,
                      "The running maximum along an axis. Keeps the dtype; from the first NaN on, "
                      "the result is NaN."));
  rows.back().real_only = true;
}

}  // namespace outrigger::ops
