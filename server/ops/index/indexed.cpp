#include <algorithm>
#include <array>

#include "ops/apart.hpp"
#include "ops/cast/conversion.hpp"
#include "ops/elementwise/kernels.hpp"
#include "ops/index/places.hpp"
#include "ops/index/rows.hpp"
#include "ops/support/scratch.hpp"
#include "tensor/cast_element.hpp"
#include "tensor/small_float.hpp"

namespace outrigger::ops {
namespace {

Result<Inferred> infer_put(const InferCall& call) {
  OUTRIGGER_TRY(const DType index, index_dtype(call.type(1)));
  const TensorType& into = call.type(0);
  OUTRIGGER_TRY(const Dims axes, indexed_axes(into, call.type(1), call.attrs));
  const Dims widest = gathered_shape(into, call.type(1), axes);
  const std::size_t rows = call.type(1).shape.size() - 1;
  const Dims& updates = call.type(2).shape;
  // As in Nx, an update may be smaller than its block. It begins at the beginning of the block.
  bool fits = updates.size() == widest.size();
  for (std::size_t axis = 0; fits && axis < updates.size(); ++axis) {
    fits = axis < rows ? updates[axis] == widest[axis] : updates[axis] <= widest[axis];
  }
  if (!fits) {
    return fail(ErrorCode::bad_shape, "updates for indices " + to_string(call.type(1)) + " into " +
                                          to_string(into) + " must have the shape " +
                                          to_string(widest) + ", got " + to_string(call.type(2)));
  }
  const std::array<InferOperand, 2> merged{call.in[0], call.in[2]};
  const DType dtype = merged_dtype(merged);
  Inferred inferred;
  inferred.operands = {dtype, index, dtype};
  inferred.results.push_back(TensorType{dtype, into.shape});
  return inferred;
}

/// Small floats are summed in f32, and their operands are not rounded first.
Result<Inferred> infer_add(const InferCall& call) {
  OUTRIGGER_TRY(Inferred inferred, infer_put(call));
  const DType dtype = inferred.results[0].dtype;
  if (!is_small_float(dtype)) return inferred;
  inferred.operands[2] = call.in[2].literal != nullptr ? DType::f32 : call.type(2).dtype;
  if (call.type(0).dtype == dtype) return inferred;
  // The target must be converted in any case.
  inferred.operands[0] = inferred.operands[2] = DType::f32;
  inferred.raw = {DType::f32};
  return inferred;
}

struct Put {
  template <typename T>
  static T apply(T, T update) {
    return update;
  }
};
struct Accumulate {
  template <typename T>
  static T apply(T old, T update) {
    return static_cast<T>(old + update);
  }
};
template <typename I>
struct AccumulateInteger {
  static typename I::Carrier apply(typename I::Carrier old, typename I::Carrier update) {
    return I::wrap(static_cast<typename I::Carrier>(old + update));
  }
};

/// Applies n elements of an update, from element `start` on, to the block at `to`.
template <typename F, typename T>
void update_block(const WalkedAxes& block, T* to, const T* from, std::int64_t start,
                  std::int64_t n) {
  if (block.together()) {
    T* const first = to + start;
    OUTRIGGER_INDEPENDENT
    for (std::int64_t i = 0; i < n; ++i) first[i] = F::apply(first[i], from[i]);
    return;
  }
  for_each_run(
      block.dims, block.strides, start, n,
      [&](std::int64_t position, std::int64_t offset, std::int64_t stride, std::int64_t length) {
        T* const run = to + offset;
        for (std::int64_t i = 0; i < length; ++i)
          run[i * stride] = F::apply(run[i * stride], from[position + i]);
      });
}

/// Applies the updates of rows [begin, end), which are adjacent in memory.
template <typename F, typename T>
void update_rows(const Places& places, T* base, const T* updates, std::int64_t begin,
                 std::int64_t end) {
  if (places.single()) {
    const std::int64_t stride = places.strides[0];
    with_rows(places, [&](const auto& rows) {
      rows.for_each(begin, end, [&](std::int64_t first, const auto* index, std::int64_t n) {
        const T* const from = updates + (first - begin);
        for (std::int64_t row = 0; row < n; ++row) {
          T& element = base[index[row] * stride];
          element = F::apply(element, from[row]);
        }
      });
    });
    return;
  }
  const std::int64_t count = places.block.count;
  for_each_place(places, begin, end, [&](std::int64_t row, std::int64_t at) {
    update_block<F>(places.block, base + at, updates + (row - begin) * count, 0, count);
  });
}

/// The elements of updates between two checks of the interrupt. Each element may be in another
/// page.
constexpr std::int64_t piece_elements = std::int64_t{1} << 13;
/// The elements of one copy, if they are not adjacent.
constexpr std::int64_t copied_elements = 1024;

/// Calls f(first row, last row + 1) for pieces of the rows, in order. Each row has n elements.
template <typename F>
Result<void> in_pieces(const Context& context, std::int64_t rows, std::int64_t n, F&& f) {
  const std::int64_t at_once = std::max<std::int64_t>(1, piece_elements / n);
  for (std::int64_t row = 0; row < rows; row += at_once) {
    if (context.interrupt.raised()) return tl::make_unexpected(context.interrupt.error());
    f(row, std::min(row + at_once, rows));
  }
  return {};
}

/// Applies the updates one after the other, in the order of the indices. Therefore the last one of
/// equal indices wins, and sums of floats do not depend on the number of threads.
template <typename F, typename T>
Result<void> update_all(const Context& context, const Places& places, T* base,
                        const Tensor& updates) {
  const WalkedAxes walk(updates.shape(), updates.strides);
  const T* const from = updates.as<T>();
  const bool together = walk.together();
  const std::int64_t count = places.block.count;
  if (count == 0) return {};
  std::array<T, copied_elements> copy;
  const std::int64_t fitting = together ? piece_elements : copied_elements;
  const auto elements = [&](std::int64_t position, std::int64_t n) -> const T* {
    if (together) return from + position;
    gather_tile(copy.data(), from, walk.dims, walk.strides, position, n);
    return copy.data();
  };
  if (count <= fitting) {
    return in_pieces(context, places.rows, count, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t step = fitting / count;
      for (std::int64_t row = begin; row < end; row += step) {
        const std::int64_t stop = std::min(row + step, end);
        update_rows<F>(places, base, elements(row * count, (stop - row) * count), row, stop);
      }
    });
  }
  for (std::int64_t row = 0; row < places.rows; ++row) {
    std::int64_t at = 0;
    for_each_place(places, row, row + 1, [&](std::int64_t, std::int64_t offset) { at = offset; });
    const std::int64_t pieces = (count + fitting - 1) / fitting;
    OUTRIGGER_CHECK(in_pieces(context, pieces, fitting, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t piece = begin; piece < end; ++piece) {
        const std::int64_t start = piece * fitting;
        const std::int64_t n = std::min(fitting, count - start);
        update_block<F>(places.block, base + at, elements(row * count + start, n), start, n);
      }
    }));
  }
  return {};
}

struct Update {
  Places places;
  Tensor updates;
};

/// Copies an operand if it shares memory with the output. Errors: bad_index, out_of_memory.
Result<Update> prepare_update(const RunCall& call) {
  OUTRIGGER_TRY(const Dims axes, indexed_axes(call.in[0].type, call.in[1].type, call.attrs));
  const auto prepare = [&](const Tensor& from) -> Result<Tensor> {
    if (from.storage->buffer != call.out[0].storage->buffer) return from;
    OUTRIGGER_TRY(Tensor copy, allocate_tensor(call.context.memory, from.type));
    OUTRIGGER_CHECK(copy_tensor(call.context, from, copy));
    return copy;
  };
  OUTRIGGER_TRY(Tensor indices, prepare(call.in[1]));
  OUTRIGGER_TRY(Tensor updates, prepare(call.in[2]));
  // An update may be smaller than its block.
  const auto rows_rank = static_cast<std::ptrdiff_t>(indices.shape().size()) - 1;
  const Dims part(updates.shape().begin() + rows_rank, updates.shape().end());
  Places places(call.out[0], std::move(indices), axes, &part);
  OUTRIGGER_CHECK(check_places(call, places, axes));
  return Update{std::move(places), std::move(updates)};
}

/// The part of a target that is summed in one pass: a number of cells (a cell is the block that an
/// index selects), and a number of elements of each.
struct Portion {
  std::int64_t cells, elements;
};

Portion portion_of(std::int64_t cells, std::int64_t count) {
  constexpr std::int64_t least = std::int64_t{1} << 20;
  const std::int64_t limit = std::max(least, cells * count / 4);
  if (count > limit) return {1, limit};
  return {std::min(cells, limit / std::max<std::int64_t>(1, count)), count};
}

/// Adds small floats: each element of a cell and its updates are summed in f32, in the order of the
/// indices, and rounded once. Only cells that an index selects are read.
template <typename F>
class SmallFloatSums {
 public:
  using Bits = typename F::Bits;

  SmallFloatSums(const RunCall& call, const Update& update)
      : context_(call.context),
        places_(update.places),
        block_(places_.block),
        base_(call.out[0].as<Bits>()),
        updates_(update.updates),
        walk_(updates_.shape(), updates_.strides),
        widen_(updates_.dtype(), DType::f32),
        cells_(element_count(places_.sizes)),
        cell_strides_(contiguous_strides(places_.sizes)),
        portion_(portion_of(cells_, block_.count)) {}

  Result<void> run() {
    if (block_.count == 0 || places_.rows == 0) return {};
    OUTRIGGER_TRY(
        const BufferPtr buffer,
        context_.memory.allocate(static_cast<std::size_t>(portion_.cells * portion_.elements) *
                                 sizeof(float)));
    sums_ = reinterpret_cast<float*>(buffer->data());
    for (start_ = 0; start_ < block_.count; start_ += portion_.elements) {
      n_ = std::min(portion_.elements, block_.count - start_);
      for (first_ = 0; first_ < cells_; first_ += portion_.cells) OUTRIGGER_CHECK(portion());
    }
    return {};
  }

 private:
  Result<void> portion() {
    const auto load = [](Bits element, float& sum) { sum = widen<F>(element); };
    const auto store = [](Bits& element, float sum) { element = narrow<F>(sum); };
    OUTRIGGER_CHECK(for_each_sum(
        [&](std::int64_t, Bits* block, float* sums) { with_elements(block, sums, load); }));
    OUTRIGGER_CHECK(for_each_sum([&](std::int64_t row, Bits*, float* sums) { add(row, sums); }));
    return for_each_sum(
        [&](std::int64_t, Bits* block, float* sums) { with_elements(block, sums, store); });
  }

  /// Calls f(row, its block, its sums) for the rows that select a cell of the portion.
  template <typename Each>
  Result<void> for_each_sum(Each&& f) {
    return with_rows(places_, [&](const auto& rows) {
      return in_pieces(context_, places_.rows, n_, [&](std::int64_t begin, std::int64_t end) {
        rows.for_each(begin, end, [&](std::int64_t first, const auto* index, std::int64_t n) {
          for (std::int64_t i = 0; i < n; ++i, index += places_.depth) {
            std::int64_t cell = -first_;
            for (std::size_t k = 0; k < cell_strides_.size(); ++k)
              cell += index[k] * cell_strides_[k];
            if (cell < 0 || cell >= portion_.cells) continue;
            f(first + i, base_ + places_.offset(index), sums_ + cell * portion_.elements);
          }
        });
      });
    });
  }

  template <typename Each>
  void with_elements(Bits* block, float* sums, Each&& f) {
    if (block_.together()) {
      for (std::int64_t i = 0; i < n_; ++i) f(block[start_ + i], sums[i]);
      return;
    }
    for_each_run(
        block_.dims, block_.strides, start_, n_,
        [&](std::int64_t position, std::int64_t offset, std::int64_t stride, std::int64_t length) {
          for (std::int64_t i = 0; i < length; ++i)
            f(block[offset + i * stride], sums[position + i]);
        });
  }

  void add(std::int64_t row, float* sums) {
    if (n_ == block_.count && n_ <= copied_elements) {
      if (row < loaded_ || row >= loaded_end_) {
        loaded_ = row;
        loaded_end_ = std::min(row + copied_elements / n_, places_.rows);
        load(row * n_, (loaded_end_ - row) * n_);
      }
      const float* const from = updates_in_f32_.data() + (row - loaded_) * n_;
      for (std::int64_t i = 0; i < n_; ++i) sums[i] += from[i];
      return;
    }
    for (std::int64_t done = 0; done < n_; done += copied_elements) {
      const std::int64_t n = std::min(copied_elements, n_ - done);
      load(row * block_.count + start_ + done, n);
      const float* const from = updates_in_f32_.data();
      for (std::int64_t i = 0; i < n; ++i) sums[done + i] += from[i];
    }
  }

  /// Loads n elements of the updates, from a position in C order on.
  void load(std::int64_t position, std::int64_t n) {
    const auto width = static_cast<std::int64_t>(widen_.from_width());
    for_each_run(
        walk_.dims, walk_.strides, position, n,
        [&](std::int64_t at, std::int64_t offset, std::int64_t stride, std::int64_t length) {
          widen_.gather(updates_.data() + offset * width, stride, updates_in_f32_.data() + at,
                        length);
        });
  }

  const Context& context_;
  const Places& places_;
  const WalkedAxes& block_;
  Bits* base_;
  const Tensor& updates_;
  WalkedAxes walk_;
  Conversion widen_;
  std::int64_t cells_;
  Dims cell_strides_;
  Portion portion_;
  float* sums_ = nullptr;
  std::int64_t start_ = 0, n_ = 0;  ///< the elements of each block
  std::int64_t first_ = 0;          ///< the first cell
  std::array<float, copied_elements> updates_in_f32_;
  std::int64_t loaded_ = 0, loaded_end_ = 0;  ///< the rows in updates_in_f32_
};

/// Calls f(type_tag<T>{}, how) with the C++ type of the dtype in memory, and with the function
/// object that adds its elements and wraps each sum.
template <typename F>
Result<void> with_accumulation(DType dtype, F&& f) {
  constexpr type_tag<std::uint8_t> byte;
  constexpr type_tag<std::int8_t> signed_byte;
  switch (dtype) {
    case DType::u2:
      return f(byte, AccumulateInteger<U2>{});
    case DType::u4:
      return f(byte, AccumulateInteger<U4>{});
    case DType::s2:
      return f(signed_byte, AccumulateInteger<S2>{});
    case DType::s4:
      return f(signed_byte, AccumulateInteger<S4>{});
    case DType::c64:
    case DType::c128:
      return with_complex_type(dtype, [&](auto tag) { return f(tag, Accumulate{}); });
    default:
      return with_type(dtype, [&](auto tag) { return f(tag, Accumulate{}); });
  }
}

Result<void> run_indexed_put(const RunCall& call) {
  OUTRIGGER_TRY(const Update update, prepare_update(call));
  return with_width(size_of(call.out[0].dtype()), [&](auto tag) {
    using T = typename decltype(tag)::type;
    return update_all<Put>(call.context, update.places, call.out[0].as<T>(), update.updates);
  });
}

Result<void> run_indexed_add(const RunCall& call) {
  OUTRIGGER_TRY(const Update update, prepare_update(call));
  switch (call.out[0].dtype()) {
    case DType::f8:
      return SmallFloatSums<F8>(call, update).run();
    case DType::f8_e4m3fn:
      return SmallFloatSums<F8E4M3FN>(call, update).run();
    case DType::f16:
      return SmallFloatSums<F16>(call, update).run();
    case DType::bf16:
      return SmallFloatSums<BF16>(call, update).run();
    default:
      return with_accumulation(call.out[0].dtype(), [&](auto tag, auto how) {
        using T = typename decltype(tag)::type;
        return update_all<decltype(how)>(call.context, update.places, call.out[0].as<T>(),
                                         update.updates);
      });
  }
}

std::uint64_t put_scratch(const ScratchCall& call) {
  return apart_bytes(call.in[1]) + apart_bytes(call.in[2]);
}

std::uint64_t add_scratch(const ScratchCall& call) {
  const std::uint64_t apart = put_scratch(call);
  const TensorType& into = call.out[0];
  if (!is_small_float(into.dtype)) return apart;
  const auto axes = indexed_axes(into, *call.in[1].type, call.attrs);
  if (!axes) return apart;
  std::int64_t cells = 1;
  for (const std::int64_t axis : *axes) cells *= into.shape[static_cast<std::size_t>(axis)];
  const Dims& updates = call.in[2].type->shape;
  const auto rows_rank = call.in[1].type->shape.size() - 1;
  const Portion portion = portion_of(cells, element_count(std::span(updates).subspan(rows_rank)));
  return apart +
         buffer_bytes(portion.cells * portion.elements * static_cast<std::int64_t>(sizeof(float)));
}

OpRow indexed(std::string_view name, Result<Inferred> (*infer)(const InferCall&),
              Result<void> (*run)(const RunCall&), std::uint64_t (*scratch)(const ScratchCall&),
              std::string_view doc) {
  return OpRow{.name = name,
               .family = "index",
               .kind = Kind::update,
               .operands = {{"tensor"}, {"indices"}, {"updates"}},
               .attrs = {{"axes", AttrType::integers, false, "",
                          "axes that the last axis of `indices` selects, ascending; by default the "
                          "leading axes"}},
               .in_place = 0,
               .any_dtype = true,
               .infer = infer,
               .run = run,
               .scratch = scratch,
               .doc = doc};
}

}  // namespace

void add_indexed_rows(std::vector<OpRow>& rows) {
  rows.push_back(
      indexed("indexed_put", infer_put, run_indexed_put, put_scratch,
              "The tensor with `updates` put at the places that the rows of `indices` select. If "
              "several rows select one place, the last update stays. Tensor and updates are "
              "converted to their common dtype. The op accesses only the elements that it writes. "
              "An index out of bounds is an error (`bad_index`), and then nothing has changed."));
  rows.push_back(indexed(
      "indexed_add", infer_add, run_indexed_add, add_scratch,
      "The tensor with `updates` added at the places that the rows of `indices` select, one after "
      "the other. Tensor and updates are converted to their common dtype. Integers wrap around. "
      "All updates of a small float are summed in f32, and the sum is rounded once. An index out "
      "of bounds is an error (`bad_index`), and then nothing has changed."));
}

}  // namespace outrigger::ops
