#include <algorithm>
#include <limits>

#include "ops/catalogue.hpp"
#include "ops/key_sort.hpp"
#include "ops/keys.hpp"
#include "ops/scratch.hpp"
#include "ops/shapes.hpp"

namespace outrigger::ops {
namespace {

/// Elements that are converted at a time.
constexpr std::int64_t chunk_elements = std::int64_t{1} << 16;

std::int64_t lines_at_once(std::int64_t length) {
  return std::max<std::int64_t>(1, chunk_elements / std::max<std::int64_t>(1, length));
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

/// Sorts lines whose keys have type K, where the result belongs.
template <typename K>
Result<void> sort_lines(const RunCall& call, const Sortable& sortable, bool down) {
  const Keys keys = keys_of(sortable.in.dtype());
  const std::int64_t n = sortable.in.shape().back();
  const std::int64_t lines = n == 0 ? 0 : sortable.in.size() / n;
  const auto* from = sortable.in.as<K>();
  auto* to = sortable.out.as<K>();
  const bool in_parts = sorts_in_parts(n);
  const std::int64_t spares = in_parts ? 1 : needs_spare<K> ? call.context.threads : 0;
  OUTRIGGER_TRY(const BufferPtr buffer,
                call.context.memory.allocate(static_cast<std::size_t>(spares * n) * sizeof(K)));
  auto* spare = reinterpret_cast<K*>(buffer->data());
  if (!in_parts) {
    return parallel_ranges(call.context, lines, lines_at_once(n), lines * n * 16,
                           [&](int thread, std::int64_t begin, std::int64_t end) {
                             K* mine = needs_spare<K> ? spare + thread * n : nullptr;
                             keys.encode(from + begin * n, to + begin * n, (end - begin) * n, down);
                             for (std::int64_t line = begin; line < end; ++line)
                               sort_keys(to + line * n, n, mine);
                             keys.decode(to + begin * n, to + begin * n, (end - begin) * n, down);
                           });
  }
  for (std::int64_t line = 0; line < lines; ++line) {
    K* const sorted = to + line * n;
    OUTRIGGER_CHECK(sort_keys_in_parts<K>(
        call.context, spare, sorted, n,
        [&](std::int64_t begin, std::int64_t end) {
          keys.encode(from + line * n + begin, spare + begin, end - begin, down);
        },
        [&](std::int64_t begin, std::int64_t end) {
          keys.decode(sorted + begin, sorted + begin, end - begin, down);
        }));
  }
  return {};
}

Result<void> run_sort(const RunCall& call) {
  OUTRIGGER_TRY(const Sortable sortable, make_sortable(call, call.out[0]));
  OUTRIGGER_CHECK(with_width(size_of(sortable.in.dtype()), [&](auto tag) -> Result<void> {
    using K = typename decltype(tag)::type;
    if constexpr (std::is_integral_v<K>)
      return sort_lines<K>(call, sortable, descending(call.attrs));
    else
      return fail(ErrorCode::bad_dtype, "complex numbers have no order");
  }));
  return finish(call, sortable);
}

template <typename Item>
void store_indices(const Item* items, const Tensor& out, std::int64_t at, std::int64_t n) {
  const auto store = [&](auto* to) {
    for (std::int64_t i = 0; i < n; ++i)
      to[i] = static_cast<std::remove_reference_t<decltype(*to)>>(index_of_item(items[i]));
  };
  if (out.dtype() == DType::s64)
    store(out.as<std::int64_t>() + at);
  else
    store(out.as<std::int32_t>() + at);
}

/// Sorts (key, index) items of each line: equal elements keep their order.
template <typename Item>
Result<void> argsort_lines(const RunCall& call, const Tensor& in, const Tensor& out, bool down) {
  const Keys keys = keys_of(in.dtype());
  const auto width = static_cast<std::int64_t>(size_of(in.dtype()));
  const std::int64_t n = in.shape().back();
  const std::int64_t lines = n == 0 ? 0 : in.size() / n;
  const std::byte* from = in.data();
  const auto make_items = [&](std::int64_t line, std::int64_t begin, std::int64_t end,
                              Item* items) {
    const std::byte* elements = from + (line * n + begin) * width;
    if constexpr (std::is_same_v<Item, WideKey>)
      keys.wide_items(elements, items + begin, begin, end - begin, down);
    else
      keys.narrow_items(elements, items + begin, begin, end - begin, down);
  };
  const bool in_parts = sorts_in_parts(n);
  const std::int64_t buffers = in_parts ? 2 : call.context.threads;
  OUTRIGGER_TRY(const BufferPtr buffer,
                call.context.memory.allocate(static_cast<std::size_t>(buffers * n) * sizeof(Item)));
  auto* items = reinterpret_cast<Item*>(buffer->data());
  if (!in_parts) {
    return parallel_ranges(call.context, lines, lines_at_once(n), lines * n * 16,
                           [&](int thread, std::int64_t begin, std::int64_t end) {
                             Item* mine = items + thread * n;
                             for (std::int64_t line = begin; line < end; ++line) {
                               make_items(line, 0, n, mine);
                               sort_keys(mine, n, static_cast<Item*>(nullptr));
                               store_indices(mine, out, line * n, n);
                             }
                           });
  }
  for (std::int64_t line = 0; line < lines; ++line) {
    OUTRIGGER_CHECK(sort_keys_in_parts<Item>(
        call.context, items, items + n, n,
        [&](std::int64_t begin, std::int64_t end) { make_items(line, begin, end, items); },
        [&](std::int64_t begin, std::int64_t end) {
          store_indices(items + n + begin, out, line * n + begin, end - begin);
        }));
  }
  return {};
}

/// Whether key and index fit into 64 bits.
bool narrow_items(DType dtype, std::int64_t n) {
  return size_of(dtype) <= 4 && n <= std::numeric_limits<std::uint32_t>::max();
}

Result<void> argsort_into(const RunCall& call, const Tensor& in, const Tensor& out, bool down) {
  return narrow_items(in.dtype(), in.shape().back())
             ? argsort_lines<std::uint64_t>(call, in, out, down)
             : argsort_lines<WideKey>(call, in, out, down);
}

Result<void> run_argsort(const RunCall& call) {
  OUTRIGGER_TRY(const Sortable sortable, make_sortable(call, call.in[0]));
  OUTRIGGER_CHECK(argsort_into(call, sortable.in, sortable.out, descending(call.attrs)));
  return finish(call, sortable);
}

/// Operand and result with the sorted axis last if it is not, and `items_bytes` of a line's length.
std::uint64_t sort_scratch(const ScratchCall& call, bool result_plain,
                           std::uint64_t (*items_bytes)(const ScratchCall&, std::int64_t)) {
  const Dims& shape = call.in[0].type->shape;
  const auto order = sorted_last(call.attrs, shape.size());
  if (!order) return 0;
  const std::int64_t n = shape[static_cast<std::size_t>(order->back())];
  const ScratchOperand result{call.out.data(), result_plain};
  return contiguous_bytes(call.in[0], *order) + contiguous_bytes(result, *order) +
         items_bytes(call, n);
}

std::uint64_t sorted_scratch(const ScratchCall& call) {
  // It works in the target, which is operand 0.
  return sort_scratch(call, call.in[0].plain, [](const ScratchCall& sort, std::int64_t n) {
    const auto width = static_cast<std::int64_t>(size_of(sort.in[0].type->dtype));
    if (sorts_in_parts(n)) return buffer_bytes(n * width) + parts_scratch(n);
    return width == 4 ? buffer_bytes(sort.threads * n * width) : std::uint64_t{0};
  });
}

std::uint64_t argsort_scratch(const ScratchCall& call) {
  return sort_scratch(call, true, [](const ScratchCall& sort, std::int64_t n) {
    const bool narrow = narrow_items(sort.in[0].type->dtype, n);
    const auto bytes = static_cast<std::int64_t>(narrow ? sizeof(std::uint64_t) : sizeof(WideKey));
    return sorts_in_parts(n) ? buffer_bytes(2 * n * bytes) + parts_scratch(n)
                             : buffer_bytes(sort.threads * n * bytes);
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

const AttrSpec axis_attr{"axis", AttrType::integer, false, "0", "the axis to sort along"};
const AttrSpec direction_attr{"direction", AttrType::string, false, "asc", "\"asc\" or \"desc\""};

}  // namespace

void register_sort(std::vector<OpRow>& rows) {
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
            .doc = "Sorts along an axis. NaN counts as the largest value. A line of 2^16 elements "
                   "or more takes as much memory again while it is sorted, and a byte for each "
                   "element. Source: samplesort and quicksort of keys of 32 bits, else Highway's "
                   "vqsort (Wassenberg et al., 2022)."});
  rows.push_back(
      OpRow{.name = "argsort",
            .family = "sort",
            .kind = Kind::compute,
            .operands = {{"tensor"}},
            .attrs = {axis_attr,
                      direction_attr,
                      {"stable", AttrType::boolean, false, "false",
                       "equal elements keep their order; they always do here"},
                      {"type", AttrType::dtype, false, "s32", "dtype of the indices, s32 or s64"}},
            .any_dtype = true,
            .real_only = true,
            .infer = infer_argsort,
            .run = run_argsort,
            .scratch = argsort_scratch,
            .doc = "Indices that would sort along an axis, stably. NaN counts as the largest "
                   "value, both zeros are equal. A line of n elements takes 8 n bytes while it is "
                   "sorted, 16 n for dtypes of 64 bits, twice that and n from 2^16 elements on."});
}

}  // namespace outrigger::ops
