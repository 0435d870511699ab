#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "ops/catalogue.hpp"
#include "ops/op.hpp"
#include "ops/scratch.hpp"
#include "ops/shapes.hpp"

namespace outrigger::ops {
namespace {

template <typename T>
using KeyOf = std::conditional_t<
    sizeof(T) == 1, std::uint8_t,
    std::conditional_t<sizeof(T) == 2, std::uint16_t,
                       std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>>;

/// An unsigned integer that sorts as the element does; every NaN is the largest.
template <typename T>
KeyOf<T> to_key(T x) {
  using K = KeyOf<T>;
  constexpr K sign = K{1} << (sizeof(K) * 8 - 1);
  if constexpr (std::is_floating_point_v<T>) {
    if (x != x) return std::numeric_limits<K>::max();
    const K bits = std::bit_cast<K>(x);
    return (bits & sign) != 0 ? static_cast<K>(~bits) : static_cast<K>(bits | sign);
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<K>(static_cast<K>(x) ^ sign);
  } else {
    return x;
  }
}

/// Both zeros are equal to argsort.
template <typename T>
T one_zero(T x) {
  return x == 0 ? T{0} : x;
}

template <typename T>
T from_key(KeyOf<T> key) {
  using K = KeyOf<T>;
  constexpr K sign = K{1} << (sizeof(K) * 8 - 1);
  if constexpr (std::is_floating_point_v<T>) {
    if (key == std::numeric_limits<K>::max()) return std::numeric_limits<T>::quiet_NaN();
    return std::bit_cast<T>((key & sign) != 0 ? static_cast<K>(key ^ sign) : static_cast<K>(~key));
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<T>(key ^ sign);
  } else {
    return key;
  }
}

/// What argsort sorts: equal keys stay in the order of their indices, so it is always stable.
template <typename K>
struct Entry {
  K key;
  std::int64_t index;
  friend bool operator<(const Entry& a, const Entry& b) {
    return a.key < b.key || (a.key == b.key && a.index < b.index);
  }
};

constexpr std::int64_t run_elements = std::int64_t{1} << 16;

/// Sorts n items: runs of a fixed length first, then pairs of runs are merged, all in parallel.
template <typename V>
Result<void> sort_items(const RunCall& call, V* items, V* spare, std::int64_t n) {
  OUTRIGGER_CHECK(parallel_ranges(
      call.context, n, run_elements, n * 16,
      [&](int, std::int64_t begin, std::int64_t end) { std::sort(items + begin, items + end); }));
  V* from = items;
  V* to = spare;
  for (std::int64_t length = run_elements; length < n; length *= 2) {
    OUTRIGGER_CHECK(parallel_ranges(
        call.context, n, 2 * length, n * 4, [&](int, std::int64_t begin, std::int64_t end) {
          const std::int64_t middle = std::min(begin + length, end);
          std::merge(from + begin, from + middle, from + middle, from + end, to + begin);
        }));
    std::swap(from, to);
  }
  if (from != items) std::copy_n(from, n, items);
  return {};
}

std::int64_t item_lines(std::int64_t n, int threads) { return n > run_elements ? 2 : threads; }

/// Sorts each line of the tensor along the axis: pack(elements → items), sort, unpack(items →
/// results).
template <typename V, typename T, typename Out, typename Pack, typename Unpack>
Result<void> sort_lines(const RunCall& call, const Tensor& in, const Tensor& out, Pack pack,
                        Unpack unpack) {
  const std::int64_t n = in.shape().back();
  const std::int64_t lines = n == 0 ? 0 : in.size() / n;
  const bool wide = n > run_elements;
  const std::int64_t lines_at_once =
      wide ? 1 : std::max<std::int64_t>(1, run_elements / std::max<std::int64_t>(1, n));
  const std::int64_t items_bytes = n * static_cast<std::int64_t>(sizeof(V));
  const std::int64_t bytes = items_bytes * item_lines(n, call.context.threads);
  OUTRIGGER_TRY(const BufferPtr buffer,
                call.context.memory.allocate(static_cast<std::size_t>(bytes)));
  auto* items = reinterpret_cast<V*>(buffer->data());
  const T* from = in.as<T>();
  Out* to = out.as<Out>();
  if (wide) {
    for (std::int64_t line = 0; line < lines; ++line) {
      for (std::int64_t i = 0; i < n; ++i) items[i] = pack(from[line * n + i], i);
      OUTRIGGER_CHECK(sort_items(call, items, items + n, n));
      for (std::int64_t i = 0; i < n; ++i) to[line * n + i] = unpack(items[i]);
    }
    return {};
  }
  return parallel_ranges(call.context, lines, lines_at_once, lines * n * 16,
                         [&](int thread, std::int64_t begin, std::int64_t end) {
                           V* mine = items + thread * n;
                           for (std::int64_t line = begin; line < end; ++line) {
                             for (std::int64_t i = 0; i < n; ++i)
                               mine[i] = pack(from[line * n + i], i);
                             std::sort(mine, mine + n);
                             for (std::int64_t i = 0; i < n; ++i)
                               to[line * n + i] = unpack(mine[i]);
                           }
                         });
}

/// A tensor with the sorted axis last.
struct Sortable {
  Tensor in;      ///< C order, axis last
  Tensor out;     ///< C order, axis last; the result itself or a temporary
  Tensor result;  ///< the result seen with the axis last
  bool copy_back = false;
};

/// All axes, the sorted one last.
Result<Dims> sorted_last(const AttrView& attrs, std::size_t rank) {
  OUTRIGGER_TRY(const std::int64_t axis, normalize_axis(attrs.integer("axis"), rank));
  Dims order;
  for (const std::int64_t other : all_axes(rank)) {
    if (other != axis) order.push_back(other);
  }
  order.push_back(axis);
  return order;
}

Result<Sortable> make_sortable(const RunCall& call, const Tensor& from) {
  const Tensor& out = call.out[0];
  Sortable sortable;
  OUTRIGGER_TRY(const Dims order, sorted_last(call.attrs, from.shape().size()));
  OUTRIGGER_TRY(sortable.in, to_contiguous(call.context, permute(from, order)));
  sortable.result = permute(out, order);
  sortable.out = sortable.result;
  sortable.copy_back = !sortable.result.contiguous();
  if (sortable.copy_back) {
    OUTRIGGER_TRY(sortable.out, allocate_tensor(call.context.memory, sortable.result.type));
  }
  return sortable;
}

Result<void> finish(const RunCall& call, const Sortable& sortable) {
  if (!sortable.copy_back) return {};
  return copy_tensor(call.context, sortable.out, sortable.result);
}

bool descending(const AttrView& attrs) { return attrs.string("direction", "asc") == "desc"; }

Result<void> run_sort(const RunCall& call) {
  OUTRIGGER_TRY(const Sortable sortable, make_sortable(call, call.out[0]));
  const bool down = descending(call.attrs);
  OUTRIGGER_CHECK(with_type(sortable.in.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using K = KeyOf<T>;
    const K flip = down ? std::numeric_limits<K>::max() : K{0};
    return sort_lines<K, T, T>(
        call, sortable.in, sortable.out,
        [flip](T x, std::int64_t) { return static_cast<K>(to_key(x) ^ flip); },
        [flip](K key) { return from_key<T>(static_cast<K>(key ^ flip)); });
  }));
  return finish(call, sortable);
}

template <typename Out>
Result<void> argsort_into(const RunCall& call, const Sortable& sortable) {
  const bool down = descending(call.attrs);
  // Keys of equal width share the code.
  return with_type(sortable.in.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using K = KeyOf<T>;
    const K flip = down ? std::numeric_limits<K>::max() : K{0};
    if constexpr (sizeof(K) <= 4) {
      // Key and index in one integer, while the index fits.
      if (sortable.in.shape().back() <= std::numeric_limits<std::uint32_t>::max()) {
        return sort_lines<std::uint64_t, T, Out>(
            call, sortable.in, sortable.out,
            [flip](T x, std::int64_t i) {
              return std::uint64_t{static_cast<K>(to_key(one_zero(x)) ^ flip)} << 32 |
                     static_cast<std::uint64_t>(i);
            },
            [](std::uint64_t item) { return static_cast<Out>(item & 0xffffffff); });
      }
    }
    return sort_lines<Entry<K>, T, Out>(
        call, sortable.in, sortable.out,
        [flip](T x, std::int64_t i) {
          return Entry<K>{static_cast<K>(to_key(one_zero(x)) ^ flip), i};
        },
        [](const Entry<K>& entry) { return static_cast<Out>(entry.index); });
  });
}

Result<void> run_argsort(const RunCall& call) {
  OUTRIGGER_TRY(const Sortable sortable, make_sortable(call, call.in[0]));
  if (call.out[0].dtype() == DType::s64) {
    OUTRIGGER_CHECK(argsort_into<std::int64_t>(call, sortable));
  } else {
    OUTRIGGER_CHECK(argsort_into<std::int32_t>(call, sortable));
  }
  return finish(call, sortable);
}

/// Items of the lines at work, and operand and result with the sorted axis last if it is not.
std::uint64_t sort_scratch(const ScratchCall& call, std::int64_t item_bytes, bool result_plain) {
  const Dims& shape = call.in[0].type->shape;
  const auto order = sorted_last(call.attrs, shape.size());
  if (!order) return 0;
  const std::int64_t n = shape[static_cast<std::size_t>(order->back())];
  const ScratchOperand result{call.out.data(), result_plain};
  return contiguous_bytes(call.in[0], *order) + contiguous_bytes(result, *order) +
         buffer_bytes(n * item_bytes * item_lines(n, call.threads));
}

std::uint64_t sorted_scratch(const ScratchCall& call) {
  // It works in the target, which is operand 0.
  const auto key_bytes = static_cast<std::int64_t>(size_of(call.in[0].type->dtype));
  return sort_scratch(call, key_bytes, call.in[0].plain);
}

std::uint64_t argsort_scratch(const ScratchCall& call) {
  return sort_scratch(call, sizeof(Entry<std::uint64_t>), true);
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

const AttrSpec axis_attr{"axis", AttrType::integer, false, "0", "the axis to sort along"};
const AttrSpec direction_attr{"direction", AttrType::string, false, "asc", "\"asc\" or \"desc\""};

}  // namespace

void register_sort(std::vector<OpRow>& rows) {
  rows.push_back(OpRow{.name = "sort",
                       .family = "sort",
                       .kind = Kind::update,
                       .operands = {{"tensor"}},
                       .attrs = {axis_attr, direction_attr},
                       .in_place = 0,
                       .infer = infer_sorted,
                       .run = run_sort,
                       .scratch = sorted_scratch,
                       .doc = "Sorts along an axis. NaN counts as the largest value."});
  rows.push_back(OpRow{
      .name = "argsort",
      .family = "sort",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .attrs = {axis_attr,
                direction_attr,
                {"stable", AttrType::boolean, false, "false",
                 "equal elements keep their order; they always do here"},
                {"type", AttrType::dtype, false, "s32", "dtype of the indices, s32 or s64"}},
      .infer = infer_argsort,
      .run = run_argsort,
      .scratch = argsort_scratch,
      .doc = "Indices that would sort along an axis, stably. NaN counts as the largest value."});
}

}  // namespace outrigger::ops
