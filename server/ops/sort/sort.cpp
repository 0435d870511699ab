#include <algorithm>
#include <limits>

#include "ops/sort/key_sort.hpp"
#include "ops/sort/keys.hpp"
#include "ops/sort/rows.hpp"
#include "ops/support/axes.hpp"
#include "ops/support/lines.hpp"
#include "ops/support/look.hpp"
#include "ops/support/scratch.hpp"

namespace outrigger::ops {
namespace {

/// The sorted axis.
Result<std::size_t> sorted_axis(const AttrView& attrs, std::size_t rank) {
  OUTRIGGER_TRY(const std::int64_t axis, normalize_axis(attrs.integer("axis"), rank));
  return static_cast<std::size_t>(axis);
}

bool descending(const AttrView& attrs) { return attrs.string("direction", "asc") == "desc"; }

/// The operations for each of n keys of a line.
constexpr std::int64_t work_per_key = 16;

/// Sorts the keys of lines of type K, in place.
template <typename K>
class LineSorter {
 public:
  LineSorter(Context& context, const Tensor& tensor, std::size_t axis, bool down)
      : context_(context),
        keys_(keys_of(tensor.dtype())),
        lines_(tensor, tensor, axis),
        elements_(tensor.as<K>()),
        down_(down) {}

  Result<void> run() const {
    if (lines_.count == 0 || lines_.n == 1) return {};
    const bool apart = lines_.apart();
    if (sorts_in_parts(lines_.n)) return long_lines(apart);
    const std::int64_t room = room_keys(lines_.n, lines_.per_block(context_.threads), apart);
    OUTRIGGER_TRY(
        const BufferPtr buffer,
        context_.memory.allocate(static_cast<std::size_t>(context_.threads * room) * sizeof(K)));
    auto* const rooms = reinterpret_cast<K*>(buffer->data());
    return for_each_block(context_, lines_, lines_.count * lines_.n * work_per_key,
                          [&](int thread, const LineBlock& block) {
                            K* const spare = rooms + thread * room;
                            apart ? sort_apart(block, spare) : sort_in_place(block, spare);
                          });
  }

  /// The memory of a thread for lines that are not sorted in parts, in keys.
  static std::int64_t room_keys(std::int64_t n, std::int64_t per_block, bool apart) {
    return (needs_spare<K> ? n : 0) + (apart ? per_block * n : 0);
  }

 private:
  void sort_in_place(const LineBlock& block, K* spare) const {
    const std::int64_t n = lines_.n;
    K* const first = elements_ + block.to;
    // Adjacent lines are converted as one line.
    const bool together = block.to_stride == n;
    const std::int64_t pieces = together ? 1 : block.count;
    const std::int64_t length = together ? block.count * n : n;
    for (std::int64_t i = 0; i < pieces; ++i) {
      K* const piece = first + i * block.to_stride;
      keys_.encode(piece, piece, length, down_);
      for (std::int64_t at = 0; at < length; at += n) sort_keys(piece + at, n, spare);
      keys_.decode(piece, piece, length, down_);
    }
  }

  void sort_apart(const LineBlock& block, K* spare) const {
    const std::int64_t n = lines_.n;
    K* const copy = spare + (needs_spare<K> ? n : 0);
    K* const first = elements_ + block.to;
    gather_lines(first, block.to_stride, lines_.to_step, block.count, n, copy);
    keys_.encode(copy, copy, block.count * n, down_);
    for (std::int64_t i = 0; i < block.count; ++i) sort_keys(copy + i * n, n, spare);
    keys_.decode(copy, copy, block.count * n, down_);
    scatter_lines(copy, block.count, n, first, block.to_stride, lines_.to_step);
  }

  Result<void> long_lines(bool apart) const {
    const std::int64_t n = lines_.n, step = lines_.to_step;
    OUTRIGGER_TRY(
        const BufferPtr buffer,
        context_.memory.allocate(static_cast<std::size_t>(apart ? 2 * n : n) * sizeof(K)));
    auto* const spare = reinterpret_cast<K*>(buffer->data());
    OUTRIGGER_CHECK(touch_pages(context_, spare, (apart ? 2 : 1) * n * std::int64_t{sizeof(K)}));
    const WalkedAxes others(lines_.dims, lines_.to);
    for (std::int64_t line = 0; line < lines_.count; ++line) {
      K* const elements = elements_ + others.offset(line);
      K* const sorted = apart ? spare + n : elements;
      OUTRIGGER_CHECK(sort_keys_in_parts<K>(
          context_, spare, sorted, n,
          [&](std::int64_t begin, std::int64_t end) {
            for_each_piece(reinterpret_cast<const std::byte*>(elements), sizeof(K), step, begin,
                           end,
                           [&](const std::byte* piece, std::int64_t first, std::int64_t count) {
                             keys_.encode(piece, spare + first, count, down_);
                           });
          },
          [&](std::int64_t begin, std::int64_t end) {
            keys_.decode(sorted + begin, sorted + begin, end - begin, down_);
            if (!apart) return;
            for (std::int64_t i = begin; i < end; ++i) elements[i * step] = sorted[i];
          },
          n));
    }
    return {};
  }

  Context& context_;
  Keys keys_;
  Lines lines_;
  K* elements_;
  bool down_;
};

Result<void> run_sort(const RunCall& call) {
  const Tensor& tensor = call.out[0];
  OUTRIGGER_TRY(const std::size_t axis, sorted_axis(call.attrs, tensor.shape().size()));
  return with_width(size_of(tensor.dtype()), [&](auto tag) -> Result<void> {
    using K = typename decltype(tag)::type;
    if constexpr (std::is_integral_v<K>)
      return LineSorter<K>(call.context, tensor, axis, descending(call.attrs)).run();
    else
      return fail(ErrorCode::bad_dtype, "complex numbers have no order");
  });
}

/// Sorts the (key, index) items of each line: equal elements keep their order.
template <typename Item>
class LineArgsorter {
 public:
  LineArgsorter(const RunCall& call, std::size_t axis)
      : context_(call.context),
        keys_(keys_of(call.in[0].dtype())),
        lines_(call.in[0], call.out[0], axis),
        from_(call.in[0].data()),
        width_(static_cast<std::int64_t>(size_of(call.in[0].dtype()))),
        to_(call.out[0].data()),
        wide_indices_(call.out[0].dtype() == DType::s64),
        down_(descending(call.attrs)) {}

  Result<void> run() const {
    if (lines_.count == 0) return {};
    if (sorts_in_parts(lines_.n)) return long_lines();
    const Room room(lines_.n, lines_.per_block(context_.threads), width_, index_bytes(),
                    lines_.from_step != 1, lines_.to_step != 1);
    OUTRIGGER_TRY(
        const BufferPtr buffer,
        context_.memory.allocate(static_cast<std::size_t>(context_.threads * room.bytes)));
    return for_each_block(context_, lines_, lines_.count * lines_.n * work_per_key,
                          [&](int thread, const LineBlock& block) {
                            sort_block(block, room, buffer->data() + thread * room.bytes);
                          });
  }

  /// The memory of a thread for lines that are not sorted in parts: the items of a line, and a
  /// block of elements or indices if they are not contiguous.
  struct Room {
    Room(std::int64_t n, std::int64_t per_block, std::int64_t width, std::int64_t index_width,
         bool from_apart, bool to_apart)
        : elements(whole_lines(n * std::int64_t{sizeof(Item)})),
          indices(elements + (from_apart ? whole_lines(per_block * n * width) : 0)),
          bytes(indices + (to_apart ? whole_lines(per_block * n * index_width) : 0)) {}

    std::int64_t elements, indices;  ///< the beginnings of both
    std::int64_t bytes;

   private:
    /// Each begins at a cache line.
    static std::int64_t whole_lines(std::int64_t size) { return (size + 63) / 64 * 64; }
  };

 private:
  std::int64_t index_bytes() const {
    return wide_indices_ ? std::int64_t{sizeof(std::int64_t)} : std::int64_t{sizeof(std::int32_t)};
  }

  void make_items(const std::byte* elements, std::int64_t first, std::int64_t n,
                  Item* items) const {
    if constexpr (std::is_same_v<Item, WideKey>)
      keys_.wide_items(elements, items, first, n, down_);
    else
      keys_.narrow_items(elements, items, first, n, down_);
  }

  /// Calls f with a pointer of the dtype of the indices.
  template <typename F>
  void with_indices(std::byte* at, F&& f) const {
    if (wide_indices_)
      f(reinterpret_cast<std::int64_t*>(at));
    else
      f(reinterpret_cast<std::int32_t*>(at));
  }

  void store_indices(const Item* items, std::int64_t n, std::byte* at, std::int64_t step) const {
    with_indices(at, [&](auto* to) {
      using Index = std::remove_reference_t<decltype(*to)>;
      for (std::int64_t i = 0; i < n; ++i)
        to[i * step] = static_cast<Index>(index_of_item(items[i]));
    });
  }

  void sort_block(const LineBlock& block, const Room& places, std::byte* room) const {
    const std::int64_t n = lines_.n;
    auto* const items = reinterpret_cast<Item*>(room);
    const std::byte* elements = from_ + block.from * width_;
    std::int64_t stride = block.from_stride;
    if (lines_.from_step != 1) {
      with_width(static_cast<std::size_t>(width_), [&](auto tag) {
        using T = typename decltype(tag)::type;
        gather_lines(reinterpret_cast<const T*>(elements), stride, lines_.from_step, block.count, n,
                     reinterpret_cast<T*>(room + places.elements));
      });
      elements = room + places.elements;
      stride = n;
    }
    const bool apart = lines_.to_step != 1;
    std::byte* const indices = apart ? room + places.indices : to_ + block.to * index_bytes();
    const std::int64_t index_stride = apart ? n : block.to_stride;
    for (std::int64_t i = 0; i < block.count; ++i) {
      make_items(elements + i * stride * width_, 0, n, items);
      sort_keys(items, n, static_cast<Item*>(nullptr));
      store_indices(items, n, indices + i * index_stride * index_bytes(), 1);
    }
    if (!apart) return;
    with_indices(to_ + block.to * index_bytes(), [&](auto* to) {
      using Index = std::remove_reference_t<decltype(*to)>;
      scatter_lines(reinterpret_cast<const Index*>(indices), block.count, n, to, block.to_stride,
                    lines_.to_step);
    });
  }

  Result<void> long_lines() const {
    const std::int64_t n = lines_.n;
    OUTRIGGER_TRY(const BufferPtr buffer,
                  context_.memory.allocate(static_cast<std::size_t>(2 * n) * sizeof(Item)));
    auto* const items = reinterpret_cast<Item*>(buffer->data());
    OUTRIGGER_CHECK(touch_pages(context_, items, 2 * n * std::int64_t{sizeof(Item)}));
    const WalkedAxes from(lines_.dims, lines_.from);
    const WalkedAxes to(lines_.dims, lines_.to);
    for (std::int64_t line = 0; line < lines_.count; ++line) {
      const std::byte* const elements = from_ + from.offset(line) * width_;
      std::byte* const indices = to_ + to.offset(line) * index_bytes();
      OUTRIGGER_CHECK(sort_keys_in_parts<Item>(
          context_, items, items + n, n,
          [&](std::int64_t begin, std::int64_t end) {
            for_each_piece(elements, width_, lines_.from_step, begin, end,
                           [&](const std::byte* piece, std::int64_t first, std::int64_t count) {
                             make_items(piece, first, count, items + first);
                           });
          },
          [&](std::int64_t begin, std::int64_t end) {
            store_indices(items + n + begin, end - begin,
                          indices + begin * lines_.to_step * index_bytes(), lines_.to_step);
          },
          n));
    }
    return {};
  }

  Context& context_;
  Keys keys_;
  Lines lines_;
  const std::byte* from_;
  std::int64_t width_;
  std::byte* to_;
  bool wide_indices_;
  bool down_;
};

/// True if a key and an index fit in 64 bits.
bool narrow_items(DType dtype, std::int64_t n) {
  return size_of(dtype) <= 4 && n <= std::numeric_limits<std::uint32_t>::max();
}

Result<void> run_argsort(const RunCall& call) {
  const Tensor& in = call.in[0];
  OUTRIGGER_TRY(const std::size_t axis, sorted_axis(call.attrs, in.shape().size()));
  return narrow_items(in.dtype(), in.shape()[axis]) ? LineArgsorter<std::uint64_t>(call, axis).run()
                                                    : LineArgsorter<WideKey>(call, axis).run();
}

/// The temporaries of a thread or of a line. They depend on the layouts of operand and result.
template <typename F>
std::uint64_t sort_scratch(const ScratchCall& call, F&& bytes) {
  const Dims& shape = call.in[0].type->shape;
  const auto axis = sorted_axis(call.attrs, shape.size());
  if (!axis) return 0;
  const bool last = *axis + 1 == shape.size();
  const std::int64_t n = shape[*axis];
  if (element_count(shape) == 0) return 0;
  const bool from_apart = !last || !call.in[0].plain;
  return bytes(n, lines_per_block(n, element_count(shape) / n, from_apart, call.threads),
               from_apart, !last);
}

std::uint64_t sorted_scratch(const ScratchCall& call) {
  // The op works in the target, which is operand 0.
  return sort_scratch(call, [&](std::int64_t n, std::int64_t per_block, bool apart, bool) {
    return with_width(size_of(call.in[0].type->dtype), [&](auto tag) -> std::uint64_t {
      using K = typename decltype(tag)::type;
      constexpr auto width = static_cast<std::int64_t>(sizeof(K));
      if (sorts_in_parts(n)) return buffer_bytes((apart ? 2 : 1) * n * width) + parts_scratch(n);
      return buffer_bytes(call.threads * LineSorter<K>::room_keys(n, per_block, apart) * width);
    });
  });
}

std::uint64_t argsort_scratch(const ScratchCall& call) {
  return sort_scratch(call, [&](std::int64_t n, std::int64_t per_block, bool from_apart,
                                bool to_apart) {
    const DType dtype = call.in[0].type->dtype;
    const auto bytes = [&](auto tag) {
      using Item = typename decltype(tag)::type;
      if (sorts_in_parts(n))
        return buffer_bytes(2 * n * std::int64_t{sizeof(Item)}) + parts_scratch(n);
      const typename LineArgsorter<Item>::Room room(
          n, per_block, static_cast<std::int64_t>(size_of(dtype)),
          static_cast<std::int64_t>(size_of(call.out[0].dtype)), from_apart, to_apart);
      return buffer_bytes(call.threads * room.bytes);
    };
    return narrow_items(dtype, n) ? bytes(type_tag<std::uint64_t>{}) : bytes(type_tag<WideKey>{});
  });
}

Result<Inferred> infer_sort(const InferCall& call, DType result) {
  const TensorType& from = call.type(0);
  OUTRIGGER_CHECK(normalize_axis(call.attrs.integer("axis"), from.shape.size()));
  const std::string_view direction = call.attrs.string("direction", "asc");
  if (direction != "asc" && direction != "desc") {
    return fail(ErrorCode::bad_attr,
                "direction must be \"asc\" or \"desc\", got \"" + std::string(direction) + "\"");
  }
  Inferred inferred;
  inferred.operands = {from.dtype};
  inferred.results.push_back(TensorType{result, from.shape});
  return inferred;
}

Result<Inferred> infer_sorted(const InferCall& call) {
  return infer_sort(call, call.type(0).dtype);
}

Result<Inferred> infer_argsort(const InferCall& call) {
  const DType type = call.attrs.dtype("type", DType::s32);
  if (type != DType::s32 && type != DType::s64) {
    return fail(ErrorCode::bad_dtype,
                "the type of indices must be s32 or s64, got " + std::string(name_of(type)));
  }
  return infer_sort(call, type);
}

const AttrSpec axis_attr{"axis", AttrType::integer, false, "0",
                         "the axis along which elements are sorted"};
const AttrSpec direction_attr{"direction", AttrType::string, false, "asc", "\"asc\" or \"desc\""};

}  // namespace

void add_sort_rows(std::vector<OpRow>& rows) {
  rows.push_back(
      OpRow{.name = "sort",
            .family = "sort",
            .kind = Kind::update,
            .operands = {{"tensor"}},
            .attrs = {axis_attr, direction_attr},
            .in_place = 0,
            .any_dtype = true,
            .real_only = true,
            .infer = infer_sorted,
            .run = run_sort,
            .scratch = sorted_scratch,
            .doc = "Sorts along an axis. NaN counts as the largest value. During the sort, a line "
                   "of 2^16 elements or more takes its own size in memory again (twice that, if "
                   "its elements are not adjacent), and a byte for each element. Shorter lines "
                   "whose elements are not adjacent are copied in blocks of at most 2^18 elements "
                   "for each thread. Method: samplesort and quicksort of keys of 32 bits, else "
                   "Highway's vqsort (Wassenberg et al., 2022)."});
  rows.push_back(
      OpRow{.name = "argsort",
            .family = "sort",
            .kind = Kind::compute,
            .operands = {{"tensor"}},
            .attrs = {axis_attr,
                      direction_attr,
                      {"stable", AttrType::boolean, false, "false",
                       "equal elements keep their order; here they do in any case"},
                      {"type", AttrType::dtype, false, "s32", "dtype of the indices, s32 or s64"}},
            .any_dtype = true,
            .real_only = true,
            .infer = infer_argsort,
            .run = run_argsort,
            .scratch = argsort_scratch,
            .doc = "The indices that sort along an axis, with a stable order. NaN counts as the "
                   "largest value; the two zeros are equal. During the sort, a line of n elements "
                   "takes 8 n bytes, or 16 n bytes for dtypes of 64 bits; from 2^16 elements on it "
                   "takes twice that plus n bytes. Shorter lines whose elements are not adjacent "
                   "are copied in blocks, as for `sort`."});
}

}  // namespace outrigger::ops
