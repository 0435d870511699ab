#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string>

#include "ops/sort/key_sort.hpp"
#include "ops/sort/keys.hpp"
#include "ops/sort/rows.hpp"
#include "ops/support/axes.hpp"
#include "ops/support/look.hpp"
#include "ops/support/scratch.hpp"
#include "ops/support/strided.hpp"

namespace outrigger::ops {
namespace {

std::uint64_t greatest(std::uint64_t) { return std::numeric_limits<std::uint64_t>::max(); }
WideKey greatest(const WideKey&) {
  return WideKey{std::numeric_limits<std::uint64_t>::max(),
                 std::numeric_limits<std::uint64_t>::max()};
}

/// The elements of one chunk, which one thread examines.
constexpr std::int64_t chunk_elements = std::int64_t{1} << 16;
constexpr std::int64_t block_elements = 256;

/// True if the k first of n elements are selected, false if a long line is sorted up to them. The
/// selection has no check of the interrupt, and k must be small enough for that.
bool selects(std::int64_t n, std::int64_t k) {
  constexpr std::int64_t selected_max = std::int64_t{1} << 19;
  return !sorts_in_parts(n) || (k <= n / 64 && k <= selected_max);
}

/// A chunk is much longer than k, so that few items remain for the second selection.
std::int64_t chunk_length(std::int64_t k) { return std::max(chunk_elements, 16 * k); }
std::int64_t chunk_count(std::int64_t n, std::int64_t k) {
  return (n + chunk_length(k) - 1) / chunk_length(k);
}

/// Keeps the k first of many items, in a buffer of capacity(k).
template <typename Item>
class Best {
 public:
  static std::int64_t capacity(std::int64_t k) { return 2 * k + block_elements; }

  Best(Item* items, std::int64_t k) : items_(items), k_(k) {}

  void add(const Item* from, std::int64_t n) {
    for (std::int64_t i = 0; i < n; i += block_elements) {
      const std::int64_t end = std::min(i + block_elements, n);
      if (!full_) {
        for (std::int64_t j = i; j < end; ++j) items_[count_++] = from[j];
      } else {
        for (std::int64_t j = i; j < end; ++j) {
          items_[count_] = from[j];
          count_ += less(from[j], last_) ? 1 : 0;
        }
      }
      if (count_ > capacity(k_) - block_elements || (!full_ && count_ >= k_)) shrink();
    }
  }

  /// Returns the number of items: k if at least k were added. The items have no order.
  std::int64_t finish() {
    shrink();
    return count_;
  }

 private:
  void shrink() {
    if (count_ < k_) return;
    if (count_ > k_) {
      std::nth_element(items_, items_ + k_ - 1, items_ + count_,
                       [](const Item& a, const Item& b) { return less(a, b); });
    }
    count_ = k_;
    full_ = true;
    last_ = *std::max_element(items_, items_ + k_,
                              [](const Item& a, const Item& b) { return less(a, b); });
  }

  Item* items_;
  std::int64_t k_;
  std::int64_t count_ = 0;
  /// True once there are k items. Then only items before the last of them are added.
  bool full_ = false;
  Item last_{};
};

/// The lines along the last axis of a tensor, with any strides.
struct Operand {
  explicit Operand(const Tensor& in)
      : keys(keys_of(in.dtype())),
        width(static_cast<std::int64_t>(size_of(in.dtype()))),
        data(in.data()),
        n(in.shape().back()),
        step(in.strides.back()),
        others(axes_but(in, in.shape().size() - 1)) {}

  const std::byte* line(std::int64_t index) const { return data + others.offset(index) * width; }

  Keys keys;
  std::int64_t width;
  const std::byte* data;
  std::int64_t n;
  std::int64_t step;
  WalkedAxes others;
};

/// Makes the items of elements of a line, from `first` on. The item of a larger element is less.
template <typename Item>
void make_items(const Operand& operand, const std::byte* elements, std::int64_t first,
                std::int64_t n, Item* items) {
  if constexpr (std::is_same_v<Item, WideKey>)
    operand.keys.wide_items(elements, items, first, n, true);
  else
    operand.keys.narrow_items(elements, items, first, n, true);
}

/// Examines elements [begin, end) of a line, and returns the number of its best items. Returns
/// nothing if it was interrupted.
template <typename Item>
std::optional<std::int64_t> best_of(const Operand& operand, std::int64_t line, std::int64_t begin,
                                    std::int64_t end, std::int64_t k, Item* buffer, Look& look) {
  std::array<Item, block_elements> items;
  Best<Item> best(buffer, k);
  const std::int64_t width = operand.width;
  for (std::int64_t at = begin; at < end; at += chunk_elements) {
    const std::int64_t stop = std::min(at + chunk_elements, end);
    if (!look.go_on(4 * (stop - at))) return std::nullopt;
    for_each_piece(operand.line(line), width, operand.step, at, stop,
                   [&](const std::byte* piece, std::int64_t start, std::int64_t length) {
                     for (std::int64_t i = 0; i < length; i += block_elements) {
                       const std::int64_t n = std::min(block_elements, length - i);
                       make_items(operand, piece + i * width, start + i, n, items.data());
                       best.add(items.data(), n);
                     }
                   });
  }
  return best.finish();
}

/// Stores the elements and indices of items [begin, end) of a line's results.
template <typename Item>
void store(const RunCall& call, const Operand& operand, std::int64_t line, const Item* items,
           std::int64_t begin, std::int64_t end) {
  const std::int64_t k = call.out[0].shape().back();
  const std::byte* from = operand.line(line);
  auto* indices = call.out[1].as<std::int32_t>() + line * k;
  with_width(static_cast<std::size_t>(operand.width), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* values = call.out[0].as<T>() + line * k;
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t index = index_of_item(items[i]);
      values[i] = reinterpret_cast<const T*>(from)[index * operand.step];
      indices[i] = static_cast<std::int32_t>(index);
    }
  });
}

/// Sorts each line up to its k first items.
template <typename Item>
Result<void> sort_lines(const RunCall& call, const Operand& operand, std::int64_t k) {
  const std::int64_t n = operand.n;
  OUTRIGGER_TRY(const BufferPtr buffer,
                call.context.memory.allocate(static_cast<std::size_t>(2 * n) * sizeof(Item)));
  auto* const items = reinterpret_cast<Item*>(buffer->data());
  Item* const in_order = items + n;
  OUTRIGGER_CHECK(touch_pages(call.context, items, 2 * n * std::int64_t{sizeof(Item)}));
  for (std::int64_t line = 0; line < operand.others.count; ++line) {
    OUTRIGGER_CHECK(sort_keys_in_parts<Item>(
        call.context, items, in_order, n,
        [&](std::int64_t begin, std::int64_t end) {
          for_each_piece(operand.line(line), operand.width, operand.step, begin, end,
                         [&](const std::byte* piece, std::int64_t first, std::int64_t count) {
                           make_items(operand, piece, first, count, items + first);
                         });
        },
        [&](std::int64_t begin, std::int64_t end) {
          store(call, operand, line, in_order, begin, std::min(end, k));
        },
        k));
  }
  return {};
}

template <typename Item>
Result<void> top_k_lines(const RunCall& call, std::int64_t k) {
  const Operand operand(call.in[0]);
  const std::int64_t n = operand.n;
  if (!selects(n, k)) return sort_lines<Item>(call, operand, k);
  const std::int64_t lines = operand.others.count;
  const std::int64_t chunk = chunk_length(k);
  const std::int64_t chunks = chunk_count(n, k);
  const std::int64_t capacity = Best<Item>::capacity(k);
  OUTRIGGER_TRY(
      const BufferPtr buffer,
      call.context.memory.allocate(
          static_cast<std::size_t>((chunks + call.context.threads) * capacity) * sizeof(Item)));
  auto* found = reinterpret_cast<Item*>(buffer->data());
  const auto give = [&](std::int64_t line, Item* items) {
    sort_keys(items, k, static_cast<Item*>(nullptr));
    store(call, operand, line, items, 0, k);
  };
  if (chunks == 1) {
    const std::int64_t grain = std::max<std::int64_t>(1, chunk_elements / n);
    return looking_ranges(call.context, lines, grain, lines * n * 4,
                          [&](int thread, std::int64_t begin, std::int64_t end) {
                            Item* mine = found + thread * capacity;
                            Look look(call.context.interrupt);
                            for (std::int64_t line = begin; line < end; ++line) {
                              if (!best_of(operand, line, 0, n, k, mine, look)) return false;
                              give(line, mine);
                            }
                            return true;
                          });
  }
  for (std::int64_t line = 0; line < lines; ++line) {
    OUTRIGGER_CHECK(looking_ranges(
        call.context, n, chunk, n * 4, [&](int, std::int64_t begin, std::int64_t end) {
          Item* mine = found + begin / chunk * capacity;
          Look look(call.context.interrupt);
          const auto count = best_of(operand, line, begin, end, k, mine, look);
          if (!count) return false;
          // If the last chunk is shorter than k, the rest of the buffer is filled with the greatest
          // item.
          std::fill(mine + *count, mine + std::max(*count, k), greatest(Item{}));
          return true;
        }));
    Best<Item> best(found + chunks * capacity, k);
    for (std::int64_t c = 0; c < chunks; ++c) {
      if (call.context.interrupt.raised())
        return tl::make_unexpected(call.context.interrupt.error());
      best.add(found + c * capacity, k);
    }
    best.finish();
    give(line, found + chunks * capacity);
  }
  return {};
}

Result<void> run_top_k(const RunCall& call) {
  const std::int64_t k = call.attrs.integer("k", 1);
  if (call.out[0].size() == 0) return {};
  return size_of(call.in[0].dtype()) <= 4 ? top_k_lines<std::uint64_t>(call, k)
                                          : top_k_lines<WideKey>(call, k);
}

std::uint64_t top_k_scratch(const ScratchCall& call) {
  const TensorType& from = *call.in[0].type;
  const std::int64_t k = call.attrs.integer("k", 1);
  const std::int64_t n = from.shape.back();
  const bool narrow = size_of(from.dtype) <= 4;
  const std::int64_t item_bytes = narrow ? sizeof(std::uint64_t) : sizeof(WideKey);
  if (!selects(n, k)) return buffer_bytes(2 * n * item_bytes) + parts_scratch(n);
  const std::int64_t capacity =
      narrow ? Best<std::uint64_t>::capacity(k) : Best<WideKey>::capacity(k);
  return buffer_bytes((chunk_count(n, k) + call.threads) * capacity * item_bytes);
}

Result<Inferred> infer_top_k(const InferCall& call) {
  const TensorType& from = call.type(0);
  const std::int64_t k = call.attrs.integer("k", 1);
  if (k < 1) return fail(ErrorCode::bad_attr, "k must be at least 1, got " + std::to_string(k));
  if (from.shape.empty()) {
    return fail(ErrorCode::bad_shape,
                "the tensor must have at least 1 axis, got " + to_string(from));
  }
  if (from.shape.back() < k) {
    return fail(ErrorCode::bad_shape, "the last axis of " + to_string(from) +
                                          " must have at least k = " + std::to_string(k) +
                                          " elements");
  }
  if (from.shape.back() > std::numeric_limits<std::int32_t>::max()) {
    return fail(ErrorCode::bad_shape,
                "the last axis of " + to_string(from) + " is too long for indices of s32");
  }
  Dims shape = from.shape;
  shape.back() = k;
  Inferred inferred;
  inferred.operands = {from.dtype};
  inferred.results.push_back(TensorType{from.dtype, shape});
  inferred.results.push_back(TensorType{DType::s32, std::move(shape)});
  return inferred;
}

}  // namespace

void add_top_k_rows(std::vector<OpRow>& rows) {
  rows.push_back(OpRow{
      .name = "top_k",
      .family = "sort",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .attrs = {{"k", AttrType::integer, false, "1", "how many"}},
      .results = 2,
      .any_dtype = true,
      .real_only = true,
      .infer = infer_top_k,
      .run = run_top_k,
      .scratch = top_k_scratch,
      .doc =
          "The k largest elements along the last axis in descending order, and their indices "
          "(s32). NaN counts as the largest value; of equal elements, the one with the lower index "
          "is first. If the axis is shorter than k, the error is `bad_shape`. The op takes memory "
          "for about 2 k items for each 2^16 elements of a line. For lines of 2^16 elements or "
          "more, if k is larger than 2^19 or than a 64th of the line, it takes memory for two "
          "items for each element. An item has 8 bytes, or 16 bytes for dtypes of 64 bits."});
}

}  // namespace outrigger::ops
