#include "ops/fold/fold.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "ops/catalogue.hpp"
#include "ops/elementwise/kernels.hpp"
#include "ops/fold/source.hpp"
#include "ops/pass/reduction.hpp"
#include "ops/reduce/reduction_row.hpp"
#include "ops/support/axes.hpp"
#include "ops/support/look.hpp"
#include "ops/support/scratch.hpp"
#include "ops/support/strided.hpp"

namespace outrigger::ops {
namespace {

/// The lanes of an associative fold with few results, and the elements of one partial result.
constexpr std::int64_t fold_lanes = tile_size;
constexpr std::int64_t fold_block = std::int64_t{1} << 16;
/// The overhead of one element position of a tile of windows, as a number of elements.
constexpr std::int64_t tap_overhead = 32;
/// With fewer results than this, a tile is mostly empty.
constexpr std::int64_t fold_few = 64;

/// The memory of one thread: the region's registers, and tiles of accumulators and elements.
struct Desk {
  Desk(const Pass& pass, std::span<const Tensor> captured, std::byte* scratch)
      : function(pass, captured, scratch) {
    now = scratch + TileFunction::scratch_bytes(pass);
    next = now + pass.slot_bytes;
    loaded = next + pass.slot_bytes;
  }
  static std::size_t bytes(const Pass& pass) {
    return TileFunction::scratch_bytes(pass) + (2 + loaded_tiles) * std::size_t{pass.slot_bytes};
  }

  static constexpr std::size_t loaded_tiles = taps_together * apart_tile / tile_size;

  TileFunction function;
  std::byte* now;
  std::byte* next;
  std::byte* loaded;
};

void fill(std::byte* tile, const Tensor& scalar, std::int64_t n) {
  with_width(size_of(scalar.dtype()), [&](auto tag) {
    using T = typename decltype(tag)::type;
    std::fill_n(reinterpret_cast<T*>(tile), n, *scalar.as<T>());
  });
}

class Fold {
 public:
  Fold(Context& context, const Lifted& region, const Windows& windows, const Tensor& x,
       const Tensor& init, std::span<const Tensor> captured, const Tensor& out)
      : context_(context),
        region_(region),
        windows_(windows),
        x_(x),
        init_(init),
        captured_(captured),
        out_(out),
        width_(size_of(out.dtype())),
        outputs_(out.size()),
        taps_(windows.taps()) {}

  Result<void> run() {
    if (outputs_ == 0) return {};
    OUTRIGGER_TRY(const BufferPtr scratch,
                  context_.memory.allocate(Desk::bytes(region_.pass) *
                                           static_cast<std::size_t>(context_.threads)));
    scratch_ = scratch->data();
    if (region_.associative && outputs_ < fold_few && taps_ >= 4 * fold_lanes && !overlapping()) {
      return with_lanes();
    }
    return side_by_side();
  }

 private:
  Desk desk(int thread) const {
    return Desk(region_.pass, captured_,
                scratch_ + Desk::bytes(region_.pass) * static_cast<std::size_t>(thread));
  }

  /// True if windows have padding, steps or dilations. Only reductions without these are cut into
  /// lanes.
  bool overlapping() const {
    for (std::size_t axis = 0; axis < windows_.out.size(); ++axis) {
      const bool kept = windows_.window[axis] == 1 && windows_.out[axis] == x_.shape()[axis];
      const bool reduced = windows_.out[axis] == 1 && windows_.window[axis] == x_.shape()[axis];
      if ((!kept && !reduced) || windows_.low[axis] != 0 || windows_.dilations[axis] != 1)
        return true;
    }
    return false;
  }

  /// For many results: the windows of a tile of results are folded in the same loop.
  Result<void> side_by_side() {
    const Source source(windows_, x_, init_.data());
    const auto micro_ops = static_cast<std::int64_t>(1 + region_.pass.micro_ops.size());
    const std::int64_t grain = source.apart() ? apart_tile : tile_size;
    return looking_ranges(
        context_, outputs_, grain,
        outputs_ * std::max<std::int64_t>(1, std::min<std::int64_t>(taps_, 1 << 20)),
        [&](int thread, std::int64_t begin, std::int64_t end) {
          Desk here = desk(thread);
          const std::int64_t n = end - begin;
          fill(here.now, init_, n);
          const auto call = [&](const std::byte* x) {
            here.function(x, here.now, here.next, n);
            std::swap(here.now, here.next);
          };
          Look look(context_.interrupt);
          for (std::int64_t tap = 0; tap < taps_;) {
            const std::int64_t count = source.apart() ? source.together(tap) : 1;
            if (!look.go_on(count * (n + tap_overhead) * micro_ops)) return false;
            if (count == 1) {
              call(source.tile(begin, n, tap, here.loaded));
            } else {
              source.block(begin, n, tap, count, here.loaded);
              for (std::int64_t t = 0; t < count; ++t) {
                call(here.loaded + static_cast<std::size_t>(t * apart_tile) * width_);
              }
            }
            tap += count;
          }
          std::memcpy(out_.data() + static_cast<std::size_t>(begin) * width_, here.now,
                      static_cast<std::size_t>(n) * width_);
          return true;
        });
  }

  /// For few results with many elements each. The elements of a block are folded on lanes; the
  /// lanes of a block are combined by halves; the blocks are combined one after the other.
  Result<void> with_lanes() {
    Dims kept, kept_strides, reduced, reduced_strides;
    for (std::size_t axis = 0; axis < windows_.out.size(); ++axis) {
      const bool is_kept = windows_.window[axis] == 1;
      (is_kept ? kept : reduced).push_back(x_.shape()[axis]);
      (is_kept ? kept_strides : reduced_strides).push_back(x_.strides[axis]);
    }
    collapse(reduced, std::span(&reduced_strides, 1));
    const std::int64_t blocks = (taps_ + fold_block - 1) / fold_block;
    OUTRIGGER_TRY(const BufferPtr partials,
                  context_.memory.allocate(static_cast<std::size_t>(outputs_ * blocks) * width_));
    std::byte* partial = partials->data();
    OUTRIGGER_CHECK(parallel_ranges(
        context_, outputs_ * blocks, 1, outputs_ * taps_,
        [&](int thread, std::int64_t begin, std::int64_t end) {
          Desk here = desk(thread);
          for (std::int64_t task = begin; task < end; ++task) {
            std::int64_t rest = task / blocks;
            std::int64_t offset = 0;
            for (std::size_t axis = kept.size(); axis-- > 0; rest /= kept[axis]) {
              offset += rest % kept[axis] * kept_strides[axis];
            }
            const std::int64_t first = task % blocks * fold_block;
            lanes(here, offset, reduced, reduced_strides, first,
                  std::min(fold_block, taps_ - first));
            std::memcpy(partial + static_cast<std::size_t>(task) * width_, here.now, width_);
          }
        }));
    Desk here = desk(0);
    for (std::int64_t o = 0; o < outputs_; ++o) {
      std::memcpy(here.now, init_.data(), width_);
      for (std::int64_t block = 0; block < blocks; ++block) {
        here.function(partial + static_cast<std::size_t>(o * blocks + block) * width_, here.now,
                      here.next, 1);
        std::swap(here.now, here.next);
      }
      std::memcpy(out_.data() + static_cast<std::size_t>(o) * width_, here.now, width_);
    }
    return {};
  }

  /// Folds n elements on lanes. The result is the first element of here.now.
  void lanes(Desk& here, std::int64_t offset, const Dims& dims, const Dims& strides,
             std::int64_t first, std::int64_t n) const {
    const bool direct = dims.size() == 1 && strides[0] == 1;
    const auto load = [&](std::int64_t at, std::int64_t count, std::byte* to) -> const std::byte* {
      const std::byte* base = x_.data() + offset * static_cast<std::int64_t>(width_);
      if (direct) return base + at * static_cast<std::int64_t>(width_);
      with_width(width_, [&](auto tag) {
        using T = typename decltype(tag)::type;
        gather_tile(reinterpret_cast<T*>(to), reinterpret_cast<const T*>(base), dims, strides, at,
                    count);
      });
      return to;
    };
    std::int64_t active = std::min(n, fold_lanes);
    const std::byte* start = load(first, active, here.loaded);
    std::memcpy(here.now, start, static_cast<std::size_t>(active) * width_);
    for (std::int64_t at = active; at < n; at += fold_lanes) {
      const std::int64_t count = std::min(fold_lanes, n - at);
      const std::byte* x = load(first + at, count, here.loaded);
      here.function(x, here.now, here.next, count);
      if (count < active) {
        std::memcpy(here.next + static_cast<std::size_t>(count) * width_,
                    here.now + static_cast<std::size_t>(count) * width_,
                    static_cast<std::size_t>(active - count) * width_);
      }
      std::swap(here.now, here.next);
    }
    while (active > 1) {
      const std::int64_t half = (active + 1) / 2;
      here.function(here.now + static_cast<std::size_t>(half) * width_, here.now, here.next,
                    active - half);
      if (active % 2 == 1) {
        std::memcpy(here.next + static_cast<std::size_t>(half - 1) * width_,
                    here.now + static_cast<std::size_t>(half - 1) * width_, width_);
      }
      std::swap(here.now, here.next);
      active = half;
    }
  }

  Context& context_;
  const Lifted& region_;
  const Windows& windows_;
  const Tensor& x_;
  const Tensor& init_;
  std::span<const Tensor> captured_;
  const Tensor& out_;
  std::size_t width_;
  std::int64_t outputs_;
  std::int64_t taps_;
  std::byte* scratch_ = nullptr;
};

Result<void> check_init(const InferCall& call) {
  if (call.type(1).shape.empty()) return {};
  return fail(ErrorCode::bad_shape, "acc must be a scalar, got " + to_string(call.type(1)));
}

Result<Inferred> infer_reduce(const InferCall& call) {
  OUTRIGGER_CHECK(check_init(call));
  const TensorType& from = call.type(0);
  OUTRIGGER_TRY(const Dims axes, reduced_axes(from.shape.size(), call.attrs));
  const DType dtype = call.attrs.dtype("type", merged_dtype(call.in));
  Inferred inferred;
  inferred.operands = {dtype, dtype};
  inferred.results.push_back(
      TensorType{dtype, remove_axes(from.shape, axes, call.attrs.boolean("keep_axes"))});
  return inferred;
}

Result<Inferred> infer_window_reduce(const InferCall& call) {
  OUTRIGGER_CHECK(check_init(call));
  const TensorType& from = call.type(0);
  OUTRIGGER_TRY(const Windows windows, windows_of(from.shape, call.attrs));
  Inferred inferred;
  inferred.operands = {from.dtype, from.dtype};
  inferred.results.push_back(TensorType{from.dtype, windows.out});
  return inferred;
}

Result<Inferred> infer_map(const InferCall& call) {
  const TensorType& from = call.type(0);
  Inferred inferred;
  inferred.operands = {from.dtype};
  inferred.results.push_back(TensorType{call.attrs.dtype("type", from.dtype), from.shape});
  return inferred;
}

}  // namespace

Result<Windows> fold_windows(const OpRow& row, std::span<const std::int64_t> shape,
                             const AttrView& attrs) {
  if (row.name == "window_reduce") return windows_of(shape, attrs);
  const std::size_t rank = shape.size();
  OUTRIGGER_TRY(const Dims axes, reduced_axes(rank, attrs));
  Windows windows{Dims(rank, 1), Dims(rank, 1), Dims(rank),
                  Dims(rank),    Dims(rank, 1), Dims(rank, 1)};
  for (std::size_t axis = 0; axis < rank; ++axis) {
    const bool reduced = contains(axes, static_cast<std::int64_t>(axis));
    (reduced ? windows.window : windows.out)[axis] = shape[axis];
  }
  return windows;
}

Result<void> run_fold(Context& context, const Lifted& region, const Windows& windows,
                      const Tensor& x, const Tensor& init, std::span<const Tensor> captured,
                      const Tensor& out) {
  return Fold(context, region, windows, x, init, captured, out).run();
}

std::uint64_t fold_scratch(const Lifted& region, const Windows& windows, int threads) {
  const auto desks = static_cast<std::int64_t>(Desk::bytes(region.pass)) * threads;
  const std::int64_t outputs = std::min(element_count(windows.out), fold_few);
  // There is at most one partial result for each block of each of the few results.
  const std::int64_t partials =
      region.associative ? outputs * (windows.taps() / fold_block + 1) : 0;
  const auto width = static_cast<std::int64_t>(size_of(region.pass.registers[0]));
  return buffer_bytes(desks) + buffer_bytes(partials * width);
}

void register_fold(std::vector<OpRow>& rows) {
  rows.push_back(OpRow{
      .name = "reduce",
      .family = "fold",
      .kind = Kind::fold,
      .operands = {{"tensor"}, {"acc"}},
      .attrs = {{"axes", AttrType::integers, false, "", "axes to reduce; by default all"},
                {"keep_axes", AttrType::boolean, false, "false", "keep reduced axes with size 1"},
                {"type", AttrType::dtype, false, "",
                 "dtype of the result; by default the common dtype of the tensor and acc"}},
      .regions = {"fun"},
      .any_dtype = true,
      .infer = infer_reduce,
      .doc = "Folds the elements over axes with a region, in C order. The first accumulator is the "
             "scalar `acc`. The region takes an element and the accumulator, which are scalars of "
             "the result's dtype, and returns the next accumulator, which is cast to that dtype. "
             "The region may use values from outside. If all its ops are elementwise on scalars, "
             "the region runs on tiles of many results, almost as fast as elementwise ops. "
             "Otherwise it runs once for each element, which is slow. A region of one associative "
             "op (`add`, `multiply`, `max`, `min`, `bitwise_and`, `bitwise_or`, `bitwise_xor`) "
             "regroups the elements if there are few results."});
  rows.push_back(
      OpRow{.name = "window_reduce",
            .family = "fold",
            .kind = Kind::fold,
            .operands = {{"tensor"}, {"acc"}},
            .attrs = window_attrs(true),
            .regions = {"fun"},
            .any_dtype = true,
            .cost = Cost::unbounded,
            .infer = infer_window_reduce,
            .doc = "Folds the elements of each window with a region in C order, as `reduce` does. "
                   "The scalar `acc` is the first accumulator and the value of the padding. The "
                   "result has the tensor's dtype. If no window fits, the error is `bad_shape`."});
  rows.push_back(OpRow{.name = "map",
                       .family = "fold",
                       .kind = Kind::fold,
                       .operands = {{"tensor"}},
                       .attrs = {{"type", AttrType::dtype, false, "",
                                  "dtype of the result; by default the tensor's"}},
                       .regions = {"fun"},
                       .any_dtype = true,
                       .infer = infer_map,
                       .doc = "Applies a region to each element. The region takes a scalar of the "
                              "tensor's dtype and returns a scalar, which is cast to the result's "
                              "dtype. `reduce` tells which regions are fast."});
}

}  // namespace outrigger::ops
