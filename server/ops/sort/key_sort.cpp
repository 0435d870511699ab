#include "ops/sort/key_sort.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <limits>
#include <type_traits>

#include "ops/sort/partition.hpp"
#include "ops/support/scratch.hpp"
#if defined(__AVX2__)
#include "ops/sort/network.hpp"
#endif

namespace outrigger::ops {
namespace {

/// For so few keys, all other algorithms need too much preparation.
constexpr std::int64_t inserted_max = 16;

template <typename K>
void insertion_sort(K* keys, std::int64_t n) {
  for (std::int64_t i = 1; i < n; ++i) {
    const K key = keys[i];
    std::int64_t at = i;
    for (; at > 0 && less(key, keys[at - 1]); --at) keys[at] = keys[at - 1];
    keys[at] = key;
  }
}

template <typename K>
void vector_sort(K* keys, std::int64_t n) {
  if (n <= inserted_max) return insertion_sort(keys, n);
  static thread_local const hwy::Sorter sorter;
  sorter(keys, static_cast<std::size_t>(n), hwy::SortAscending());
}

/// The largest number of keys of 32 bits that sort_few gets.
#if defined(__AVX2__)
constexpr std::int64_t few_keys_max = network::keys_max;
#else
constexpr std::int64_t few_keys_max = 256;
#endif

/// It gets more keys only if quicksort has found too many bad pivots.
void sort_few(std::uint32_t* keys, std::int64_t n) {
#if defined(__AVX2__)
  if (n <= few_keys_max) {
    network::sort(keys, n);
    return;
  }
#endif
  vector_sort(keys, n);
}

constexpr std::int64_t parts_max = 32;
/// From this length on, a line is sorted in parts.
constexpr std::int64_t parts_keys_min = std::int64_t{1} << 16;
/// A part of this size stays in the L2 cache.
constexpr std::int64_t part_keys_wanted = std::int64_t{1} << 16;
constexpr std::int64_t chunk_keys = std::int64_t{1} << 16;
constexpr std::int64_t samples_per_part = 64;
/// The sort of a larger part would take too long without a check of the interrupt.
constexpr std::int64_t sorted_at_once_max = std::int64_t{1} << 20;

/// The keys that divide the parts: part p has the keys k with divider[p - 1] <= k < divider[p].
template <typename K>
struct Dividers {
  std::array<K, parts_max> keys{};
  /// True if all keys of a part are equal.
  std::array<bool, parts_max> equal{};
  std::int64_t parts = 0;
};

template <typename K>
Dividers<K> choose_dividers(K* keys, std::int64_t n, const FillKeys& fill) {
  Dividers<K> dividers;
  dividers.parts = std::clamp<std::int64_t>(n / part_keys_wanted, 2, parts_max);
  // The samples are evenly spaced, with a random offset in each stretch. Without the offset,
  // periodic data would give equal samples.
  std::array<K, parts_max * samples_per_part> samples;
  const std::int64_t count = dividers.parts * samples_per_part;
  const std::int64_t stretch = n / count;
  std::uint64_t random = 0x9E3779B97F4A7C15U;
  for (std::int64_t i = 0; i < count; ++i) {
    random = random * 6364136223846793005U + 1442695040888963407U;
    const auto jump =
        static_cast<std::int64_t>((random >> 33) % static_cast<std::uint64_t>(stretch));
    fill(i * stretch + jump, i * stretch + jump + 1);
    samples[static_cast<std::size_t>(i)] = keys[i * stretch + jump];
  }
  std::sort(samples.begin(), samples.begin() + count,
            [](const K& a, const K& b) { return less(a, b); });
  const auto divider = [&](std::int64_t d) -> const K& {
    return samples[static_cast<std::size_t>((d + 1) * samples_per_part)];
  };
  const std::int64_t last = dividers.parts - 2;
  for (std::int64_t d = 0; d <= last; ++d) {
    K& key = dividers.keys[static_cast<std::size_t>(d)];
    key = divider(d);
    // Part d has the keys that are not less than divider(d - 1). A key that would divide twice is
    // so frequent that it gets a part of its own. Items of argsort are all different.
    if constexpr (std::is_integral_v<K>) {
      const bool again = d > 0 && divider(d - 1) == key;
      if (!again || (d < last && divider(d + 1) == key)) continue;
      const bool greatest = key == std::numeric_limits<K>::max();
      dividers.equal[static_cast<std::size_t>(greatest ? d + 1 : d)] = true;
      if (!greatest) ++key;
    }
  }
  return dividers;
}

constexpr std::int64_t block_keys = 1024;

/// Finds the part of each of n keys.
template <typename K>
void find_parts(const K* keys, std::int64_t n, const Dividers<K>& dividers, std::uint8_t* part) {
  // The counts have the width of the keys, stay in registers, and are narrowed once.
  constexpr std::int64_t group = 64;
  using Count = std::conditional_t<std::is_integral_v<K>, K, std::uint64_t>;
  std::array<Count, group> count;
  for (std::int64_t start = 0; start < n; start += group) {
    const std::int64_t m = std::min(group, n - start);
    count.fill(0);
    for (std::int64_t d = 0; d + 1 < dividers.parts; ++d) {
      const K divider = dividers.keys[static_cast<std::size_t>(d)];
      if (m == group) {
        for (std::int64_t i = 0; i < group; ++i)
          count[i] = static_cast<Count>(count[i] + (less(keys[start + i], divider) ? 0 : 1));
      } else {
        for (std::int64_t i = 0; i < m; ++i)
          count[i] = static_cast<Count>(count[i] + (less(keys[start + i], divider) ? 0 : 1));
      }
    }
    for (std::int64_t i = 0; i < m; ++i) part[start + i] = static_cast<std::uint8_t>(count[i]);
  }
}

}  // namespace

void sort_keys(std::uint8_t* keys, std::int64_t n, std::uint8_t*) {
  if (n <= inserted_max) return insertion_sort(keys, n);
  // Each value has four counters, because in runs of equal bytes each increment would wait for the
  // one before it.
  std::array<std::array<std::int64_t, 256>, 4> counts{};
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (std::size_t k = 0; k < 4; ++k) ++counts[k][keys[i + static_cast<std::int64_t>(k)]];
  }
  for (; i < n; ++i) ++counts[0][keys[i]];
  for (std::size_t value = 0; value < 256; ++value) {
    const std::int64_t count =
        counts[0][value] + counts[1][value] + counts[2][value] + counts[3][value];
    std::fill_n(keys, count, static_cast<std::uint8_t>(value));
    keys += count;
  }
}
void sort_keys(std::uint16_t* keys, std::int64_t n, std::uint16_t*) { vector_sort(keys, n); }
void sort_keys(std::uint32_t* keys, std::int64_t n, std::uint32_t* spare) {
  // sorting networks are faster from small sizes on
  if (n <= inserted_max / 2) return insertion_sort(keys, n);
  const int depth = 2 * static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n)));
  partition::sort<few_keys_max>(keys, n, spare, depth, &sort_few);
}
void sort_keys(std::uint64_t* keys, std::int64_t n, std::uint64_t*) { vector_sort(keys, n); }
void sort_keys(WideKey* keys, std::int64_t n, WideKey*) { vector_sort(keys, n); }

bool sorts_in_parts(std::int64_t n) { return n >= parts_keys_min; }

std::uint64_t parts_scratch(std::int64_t n) {
  const std::int64_t chunks = (n + chunk_keys - 1) / chunk_keys;
  return buffer_bytes(chunks * parts_max * static_cast<std::int64_t>(sizeof(std::int64_t)) + n);
}

namespace {

/// The beginnings of the parts, and the end of the last one.
struct Dealt {
  std::int64_t parts = 0;
  std::array<std::int64_t, parts_max + 1> starts{};
  std::array<bool, parts_max> equal{};
};

/// Distributes the n keys that `fill` writes to `keys` over consecutive parts in `to`.
template <typename K>
Result<Dealt> deal(const Context& context, K* keys, K* to, std::int64_t n, const FillKeys& fill) {
  const Dividers<K> dividers = choose_dividers(keys, n, fill);
  Dealt dealt{dividers.parts, {}, dividers.equal};
  const std::int64_t parts = dividers.parts;
  const std::int64_t chunks = (n + chunk_keys - 1) / chunk_keys;
  const std::int64_t table = chunks * parts * std::int64_t{sizeof(std::int64_t)};
  OUTRIGGER_TRY(const BufferPtr buffer,
                context.memory.allocate(static_cast<std::size_t>(table + n)));
  // The number of keys of each part in each chunk, and then the positions of these keys.
  auto* places = reinterpret_cast<std::int64_t*>(buffer->data());
  auto* part_of = reinterpret_cast<std::uint8_t*>(buffer->data() + table);
  OUTRIGGER_CHECK(
      parallel_ranges(context, n, chunk_keys, n, [&](int, std::int64_t begin, std::int64_t end) {
        std::array<std::int64_t, parts_max> counts{};
        for (std::int64_t start = begin; start < end; start += block_keys) {
          const std::int64_t stop = std::min(start + block_keys, end);
          fill(start, stop);
          find_parts(keys + start, stop - start, dividers, part_of + start);
          for (std::int64_t i = start; i < stop; ++i) ++counts[part_of[i]];
        }
        std::copy_n(counts.begin(), parts, places + begin / chunk_keys * parts);
      }));
  std::int64_t next = 0;
  for (std::int64_t part = 0; part < parts; ++part) {
    dealt.starts[static_cast<std::size_t>(part)] = next;
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      const std::int64_t count = places[chunk * parts + part];
      places[chunk * parts + part] = next;
      next += count;
    }
  }
  dealt.starts[static_cast<std::size_t>(parts)] = n;
  OUTRIGGER_CHECK(
      parallel_ranges(context, n, chunk_keys, n, [&](int, std::int64_t begin, std::int64_t end) {
        std::array<std::int64_t, parts_max> at;
        std::copy_n(places + begin / chunk_keys * parts, parts, at.begin());
        for (std::int64_t i = begin; i < end; ++i) to[at[part_of[i]]++] = keys[i];
      }));
  return dealt;
}

template <typename K>
Result<void> sort_parts(const Context& context, const Dealt& dealt, K* keys, K* spare,
                        const PartSorted& sorted, std::int64_t wanted);

/// Sorts a large number n of keys in place.
template <typename K>
Result<void> sort_large(const Context& context, K* keys, K* spare, std::int64_t n,
                        const PartSorted& sorted, std::int64_t wanted) {
  OUTRIGGER_TRY(const Dealt dealt,
                deal<K>(context, keys, spare, n, [](std::int64_t, std::int64_t) {}));
  const auto back = [&](std::int64_t begin, std::int64_t end) {
    std::copy(spare + begin, spare + end, keys + begin);
    sorted(begin, end);
  };
  return sort_parts<K>(context, dealt, spare, keys, back, wanted);
}

/// Sorts each part of `keys` that begins before `wanted`.
template <typename K>
Result<void> sort_parts(const Context& context, const Dealt& dealt, K* keys, K* spare,
                        const PartSorted& sorted, std::int64_t wanted) {
  const auto first_of = [&](std::int64_t part) {
    return dealt.starts[static_cast<std::size_t>(part)];
  };
  const std::int64_t n = first_of(dealt.parts);
  // A part with almost all of the keys would not become smaller if it were distributed again.
  const auto is_large = [&](std::int64_t part) {
    const std::int64_t count = first_of(part + 1) - first_of(part);
    return count > sorted_at_once_max && count < n - n / 8;
  };
  OUTRIGGER_CHECK(
      parallel_ranges(context, dealt.parts, 1, n * 16, [&](int, std::int64_t part, std::int64_t) {
        const std::int64_t first = first_of(part), end = first_of(part + 1);
        if (first >= wanted || dealt.equal[static_cast<std::size_t>(part)] || is_large(part))
          return;
        sort_keys(keys + first, end - first, spare + first);
        sorted(first, end);
      }));
  for (std::int64_t part = 0; part < dealt.parts; ++part) {
    const std::int64_t first = first_of(part), count = first_of(part + 1) - first;
    if (first >= wanted) continue;
    const PartSorted moved = [&](std::int64_t begin, std::int64_t end) {
      sorted(first + begin, first + end);
    };
    if (dealt.equal[static_cast<std::size_t>(part)]) {
      OUTRIGGER_CHECK(
          parallel_ranges(context, count, chunk_keys, count,
                          [&](int, std::int64_t begin, std::int64_t end) { moved(begin, end); }));
    } else if (is_large(part)) {
      OUTRIGGER_CHECK(
          sort_large(context, keys + first, spare + first, count, moved, wanted - first));
    }
  }
  return {};
}

}  // namespace

template <typename K>
Result<void> sort_keys_in_parts(Context& context, K* keys, K* to, std::int64_t n,
                                const FillKeys& fill, const PartSorted& sorted,
                                std::int64_t wanted) {
  OUTRIGGER_TRY(const Dealt dealt, deal(context, keys, to, n, fill));
  return sort_parts(context, dealt, to, keys, sorted, wanted);
}

#define OUTRIGGER_INSTANTIATE(K)                                                            \
  template Result<void> sort_keys_in_parts(Context&, K*, K*, std::int64_t, const FillKeys&, \
                                           const PartSorted&, std::int64_t);
OUTRIGGER_INSTANTIATE(std::uint8_t)
OUTRIGGER_INSTANTIATE(std::uint16_t)
OUTRIGGER_INSTANTIATE(std::uint32_t)
OUTRIGGER_INSTANTIATE(std::uint64_t)
OUTRIGGER_INSTANTIATE(WideKey)
#undef OUTRIGGER_INSTANTIATE

}  // namespace outrigger::ops
