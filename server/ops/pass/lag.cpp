#include "ops/pass/lag.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <limits>

#include <boost/container/small_vector.hpp>

#include "ops/pass/run.hpp"
#include "ops/support/strided.hpp"

namespace outrigger::ops {
namespace {

/// The smallest number of positions of a block. In a smaller block, preparations take most of the
/// time.
constexpr std::int64_t block_min = 8 * tile_size;
/// The positions between two checks of the interrupt.
constexpr std::int64_t unwatched = 16 * tile_size;
/// The blocks of a range that are held in separate memory: the first one, the last computed one,
/// and the one in progress.
constexpr std::int64_t blocks_held = 3;
/// The largest number of bytes of these blocks. If they do not fit the caches, a lag costs as much
/// as copies.
constexpr std::int64_t held_bytes_max = std::int64_t{8} << 20;
constexpr std::int64_t blocks_of_range_min = 4;

/// True if addresses grow with positions: each step along an axis exceeds the extent of the axes
/// behind it.
bool grows(const Tensor& tensor) {
  std::int64_t reach = 0;
  for (std::size_t axis = tensor.shape().size(); axis-- > 0;) {
    if (tensor.shape()[axis] == 1) continue;
    if (tensor.strides[axis] <= reach) return false;
    reach += (tensor.shape()[axis] - 1) * tensor.strides[axis];
  }
  return true;
}

/// The distance in elements from the beginning of the output to that of an input, if the two
/// windows are otherwise equal.
std::optional<std::int64_t> shift_of(const Tensor& input, const Tensor& out) {
  if (size_of(input.dtype()) != size_of(out.dtype())) return std::nullopt;
  const Dims strides = broadcast_strides(input, out.shape());
  for (std::size_t axis = 0; axis < strides.size(); ++axis) {
    if (out.shape()[axis] != 1 && strides[axis] != out.strides[axis]) return std::nullopt;
  }
  return input.offset - out.offset;
}

class LaggingRun {
 public:
  /// `blocks` is the memory for the blocks of all ranges.
  LaggingRun(Context& context, const Pass& pass, std::span<const Tensor> in, const Tensor& out,
             const Lag& lag, const Tensor& blocks)
      : context_(context),
        lag_(lag),
        n_(element_count(pass.space)),
        work_(n_ * static_cast<std::int64_t>(1 + pass.micro_ops.size())),
        width_(size_of(out.dtype())),
        blocks_(blocks.data()),
        to_(out.data()),
        dims_(out.shape()),
        strides_(out.strides) {
    collapse(dims_, std::span(&strides_, 1));
    // The run is bound to an output in `blocks`. put_output() sets the address for each block.
    const Tensor whole{TensorType{out.dtype(), pass.space}, contiguous_strides(pass.space), 0,
                       blocks.storage};
    Context cached = context;
    cached.stream_from = std::numeric_limits<std::size_t>::max();
    const PassRun run(pass, in, std::span(&whole, 1), {}, cached);
    const std::size_t bytes = run.scratch_bytes();
    std::byte* scratch =
        aligned_scratch(context, bytes * static_cast<std::size_t>(context.threads));
    for (int thread = 0; thread < context.threads; ++thread, scratch += bytes)
      threads_.emplace_back(run, scratch);
  }

  Result<void> run() {
    const bool computed =
        parallel_for(context_, lag_.ranges, work_,
                     [this](int thread, std::int64_t range) { compute(thread, range); });
    if (!computed || stopped_) return tl::make_unexpected(context_.interrupt.error());
    if (lag_.ranges == 1) return {};
    const bool written =
        parallel_for(context_, lag_.ranges, work_, [this](int, std::int64_t range) {
          const auto [first, last] = blocks_of(range);
          for (const std::int64_t block : {first, last}) {
            if (waits(range, block)) write(range, block);
          }
        });
    if (!written) return tl::make_unexpected(context_.interrupt.error());
    return {};
  }

 private:
  struct Thread {
    Thread(const PassRun& bound, std::byte* memory) : run(bound), scratch(memory) {}
    PassRun run;
    std::byte* scratch;
    bool prepared = false;
    std::array<std::byte*, pass_registers_max> registers;
  };

  /// The first and the last block of a range. Only the last block of the space may be short.
  std::pair<std::int64_t, std::int64_t> blocks_of(std::int64_t range) const {
    const std::int64_t count = (n_ + lag_.block - 1) / lag_.block;
    return {range * count / lag_.ranges, (range + 1) * count / lag_.ranges - 1};
  }

  /// True if a neighbouring range may still read the elements that the block overwrites.
  bool waits(std::int64_t range, std::int64_t block) const {
    const auto [first, last] = blocks_of(range);
    return (block == first && range > 0) || (block == last && range + 1 < lag_.ranges);
  }

  std::byte* memory_of(std::int64_t range, std::int64_t block) const {
    const std::int64_t from_first = block - blocks_of(range).first;
    const std::int64_t place = from_first == 0 ? 0 : 1 + from_first % 2;
    return blocks_ + static_cast<std::size_t>((range * blocks_held + place) * lag_.block) * width_;
  }

  void compute(int thread, std::int64_t range) {
    Thread& here = threads_[static_cast<std::size_t>(thread)];
    if (!here.prepared) here.run.prepare(here.scratch, n_, here.registers);
    here.prepared = true;
    const auto [first, last] = blocks_of(range);
    for (std::int64_t block = first; block <= last; ++block) {
      here.run.put_output(memory_of(range, block), block * lag_.block);
      const std::int64_t end = std::min((block + 1) * lag_.block, n_);
      for (std::int64_t begin = block * lag_.block; begin < end; begin += unwatched) {
        stopped_ = stopped_ || context_.interrupt.raised();
        if (stopped_) return;
        here.run.tiles(begin, std::min(begin + unwatched, end), here.run.step(), here.registers,
                       nullptr);
      }
      if (block > first && !waits(range, block - 1)) write(range, block - 1);
    }
    if (!waits(range, last)) write(range, last);
  }

  void write(std::int64_t range, std::int64_t block) const {
    const std::int64_t begin = block * lag_.block;
    with_width(width_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      scatter_tile(reinterpret_cast<const T*>(memory_of(range, block)), reinterpret_cast<T*>(to_),
                   dims_, strides_, begin, std::min(lag_.block, n_ - begin));
    });
  }

  const Context& context_;
  const Lag& lag_;
  std::int64_t n_;
  std::int64_t work_;
  std::size_t width_;
  std::byte* blocks_;
  std::byte* to_;
  Dims dims_;
  Dims strides_;
  boost::container::small_vector<Thread, 2> threads_;
  std::atomic<bool> stopped_{false};
};

}  // namespace

std::optional<Lag> find_lag(const Pass& pass, std::span<const Tensor> overlapping,
                            const Tensor& out, int threads) {
  if (!grows(out)) return std::nullopt;
  std::int64_t furthest = 0;
  for (const Tensor& input : overlapping) {
    const auto shift = shift_of(input, out);
    if (!shift) return std::nullopt;
    furthest = std::max(furthest, std::abs(*shift));
  }
  const std::int64_t block =
      (std::max(furthest, block_min) + tile_size - 1) / tile_size * tile_size;
  const auto width = static_cast<std::int64_t>(size_of(out.dtype()));
  if (block > held_bytes_max / blocks_held / width) return std::nullopt;
  if (element_count(pass.space) / threads < blocks_of_range_min * block) return std::nullopt;
  return Lag{block, threads,
             Memory::capacity_of(static_cast<std::size_t>(threads * blocks_held * block * width))};
}

Result<void> run_lagging(Context& context, const Pass& pass, std::span<const Tensor> in,
                         const Tensor& out, const Lag& lag) {
  const TensorType held{out.dtype(), {lag.ranges * blocks_held * lag.block}};
  OUTRIGGER_TRY(const Tensor blocks, allocate_tensor(context.memory, held));
  return LaggingRun(context, pass, in, out, lag, blocks).run();
}

}  // namespace outrigger::ops
