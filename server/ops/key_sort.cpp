#include "ops/key_sort.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "ops/scratch.hpp"

namespace outrigger::ops {
namespace {

template <typename K>
void vector_sort(K* keys, std::int64_t n) {
  static thread_local const hwy::Sorter sorter;
  sorter(keys, static_cast<std::size_t>(n), hwy::SortAscending());
}

constexpr std::int64_t parts_max = 256;
/// A line of fewer keys is sorted as it lies.
constexpr std::int64_t parts_keys_min = std::int64_t{1} << 16;
/// A part, and as much memory beside it, stay in the L2 cache.
constexpr std::int64_t part_bytes_wanted = std::int64_t{1} << 18;
constexpr std::int64_t chunk_keys = std::int64_t{1} << 16;
constexpr std::int64_t samples_per_part = 32;

/// What orders keys roughly: all of the key, or the half above the index.
template <typename K>
K rank_of(K key) {
  return key;
}
std::uint64_t rank_of(const WideKey& key) { return key.hi; }

/// Which part a key belongs to. The range where most keys lie is cut into cells of equal width, and
/// these are given to parts, so that each has about as many keys of a sample.
template <typename K>
class Parts {
 public:
  using Rank = decltype(rank_of(K{}));

  Parts(const K* keys, std::int64_t n) {
    count_ =
        std::clamp<std::int64_t>(n * std::int64_t{sizeof(K)} / part_bytes_wanted, 2, parts_max);
    // Evenly spaced with a jump inside of each stretch, or periodic data would look alike.
    std::array<Rank, parts_max * samples_per_part> samples;
    const std::int64_t taken = count_ * samples_per_part;
    const std::int64_t stretch = n / taken;
    std::uint64_t random = 0x9E3779B97F4A7C15U;
    for (std::int64_t i = 0; i < taken; ++i) {
      random = random * 6364136223846793005U + 1442695040888963407U;
      const auto jump =
          static_cast<std::int64_t>((random >> 33) % static_cast<std::uint64_t>(stretch));
      samples[static_cast<std::size_t>(i)] = rank_of(keys[i * stretch + jump]);
    }
    std::sort(samples.begin(), samples.begin() + taken);
    // A few far out must not make the cells too wide for all the others.
    low_ = samples[static_cast<std::size_t>(taken / 64)];
    high_ = samples[static_cast<std::size_t>(taken - 1 - taken / 64)];
    while (static_cast<std::uint64_t>(high_ - low_) >> shift_ >= cells) ++shift_;
    std::int64_t at = 0;
    for (std::size_t cell = 0; cell < cells; ++cell) {
      part_[cell] = static_cast<std::uint8_t>(std::min(at / samples_per_part, count_ - 1));
      while (at < taken && cell_of(samples[static_cast<std::size_t>(at)]) <= cell) ++at;
    }
  }

  std::int64_t count() const { return count_; }
  std::size_t operator()(const K& key) const { return part_[cell_of(rank_of(key))]; }

 private:
  static constexpr std::size_t cells = std::size_t{1} << 14;

  std::size_t cell_of(Rank rank) const {
    return static_cast<std::size_t>(static_cast<Rank>(std::clamp(rank, low_, high_) - low_) >>
                                    shift_);
  }

  std::int64_t count_ = 0;
  Rank low_{}, high_{};
  int shift_ = 0;
  std::array<std::uint8_t, cells> part_;
};

/// Sorts by digits, lowest first, of those bits from `first_bit` on that are not the same in all
/// keys; stable. `spare` has room for n keys.
void digit_sort(std::uint64_t* keys, std::uint64_t* spare, std::int64_t n, int first_bit) {
  using K = std::uint64_t;
  constexpr int digit_bits_max = 8;
  constexpr std::size_t digits_max = sizeof(K);
  constexpr std::size_t values = std::size_t{1} << digit_bits_max;
  K differ = 0;
  for (std::int64_t i = 0; i < n; ++i) differ |= keys[i] ^ keys[0];
  const auto bits = static_cast<int>(std::bit_width(static_cast<K>(differ >> first_bit)));
  if (bits == 0) return;
  const int digits = (bits + digit_bits_max - 1) / digit_bits_max;
  const int digit_bits = (bits + digits - 1) / digits;
  const K mask = (K{1} << digit_bits) - 1;
  std::array<std::array<std::uint32_t, values>, digits_max> counts{};
  for (std::int64_t i = 0; i < n; ++i) {
    K rest = keys[i] >> first_bit;
    for (int d = 0; d < digits; ++d, rest >>= digit_bits)
      ++counts[static_cast<std::size_t>(d)][rest & mask];
  }
  K* from = keys;
  K* to = spare;
  for (int d = 0; d < digits; ++d) {
    auto& places = counts[static_cast<std::size_t>(d)];
    std::uint32_t next = 0;
    for (std::uint32_t& place : places) next += std::exchange(place, next);
    const int shift = first_bit + d * digit_bits;
    for (std::int64_t i = 0; i < n; ++i) to[places[from[i] >> shift & mask]++] = from[i];
    std::swap(from, to);
  }
  if (from != keys) std::copy_n(from, n, keys);
}

/// Digits are worth it where the index needs no sorting, as it rises: half of the bits.
constexpr std::int64_t digit_sort_min = 2048;
constexpr std::int64_t digit_sort_max = std::int64_t{1} << 31;

template <typename K>
void sort_part(K* keys, K* spare, std::int64_t n, int index_bits) {
  if constexpr (std::is_same_v<K, std::uint64_t>) {
    if (index_bits > 0 && n >= digit_sort_min && n < digit_sort_max) {
      digit_sort(keys, spare, n, index_bits);
      return;
    }
  }
  sort_keys(keys, n);
}

}  // namespace

void sort_keys(std::uint8_t* keys, std::int64_t n) {
  // Four counters for each value: runs of equal bytes would wait for their own increments.
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
void sort_keys(std::uint16_t* keys, std::int64_t n) { vector_sort(keys, n); }
void sort_keys(std::uint32_t* keys, std::int64_t n) { vector_sort(keys, n); }
void sort_keys(std::uint64_t* keys, std::int64_t n) { vector_sort(keys, n); }
void sort_keys(WideKey* keys, std::int64_t n) { vector_sort(keys, n); }

bool sorts_in_parts(std::int64_t n) { return n >= parts_keys_min; }

std::uint64_t parts_scratch(std::int64_t n) {
  const std::int64_t chunks = (n + chunk_keys - 1) / chunk_keys;
  return buffer_bytes(chunks * parts_max * static_cast<std::int64_t>(sizeof(std::int64_t)));
}

template <typename K>
Result<void> sort_keys_in_parts(Context& context, K* keys, K* to, std::int64_t n, int index_bits,
                                const PartSorted& sorted) {
  const Parts<K> part_of(keys, n);
  const std::int64_t parts = part_of.count();
  const std::int64_t chunks = (n + chunk_keys - 1) / chunk_keys;
  OUTRIGGER_TRY(
      const BufferPtr buffer,
      context.memory.allocate(static_cast<std::size_t>(chunks * parts) * sizeof(std::int64_t)));
  // First how many keys of each part a chunk has, then where they go.
  auto* places = reinterpret_cast<std::int64_t*>(buffer->data());
  OUTRIGGER_CHECK(
      parallel_ranges(context, n, chunk_keys, n, [&](int, std::int64_t begin, std::int64_t end) {
        std::array<std::int64_t, parts_max> counts{};
        for (std::int64_t i = begin; i < end; ++i) ++counts[part_of(keys[i])];
        std::copy_n(counts.begin(), parts, places + begin / chunk_keys * parts);
      }));
  std::array<std::int64_t, parts_max + 1> starts{};
  std::int64_t next = 0;
  for (std::int64_t part = 0; part < parts; ++part) {
    starts[static_cast<std::size_t>(part)] = next;
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      const std::int64_t count = places[chunk * parts + part];
      places[chunk * parts + part] = next;
      next += count;
    }
  }
  starts[static_cast<std::size_t>(parts)] = n;
  OUTRIGGER_CHECK(
      parallel_ranges(context, n, chunk_keys, n, [&](int, std::int64_t begin, std::int64_t end) {
        std::int64_t* const at = places + begin / chunk_keys * parts;
        for (std::int64_t i = begin; i < end; ++i) to[at[part_of(keys[i])]++] = keys[i];
      }));
  return parallel_ranges(context, parts, 1, n * 16, [&](int, std::int64_t begin, std::int64_t) {
    const std::int64_t first = starts[static_cast<std::size_t>(begin)];
    const std::int64_t end = starts[static_cast<std::size_t>(begin) + 1];
    // What was dealt out is room for sorting.
    sort_part(to + first, keys + first, end - first, index_bits);
    sorted(first, end);
  });
}

template Result<void> sort_keys_in_parts(Context&, std::uint8_t*, std::uint8_t*, std::int64_t, int,
                                         const PartSorted&);
template Result<void> sort_keys_in_parts(Context&, std::uint16_t*, std::uint16_t*, std::int64_t,
                                         int, const PartSorted&);
template Result<void> sort_keys_in_parts(Context&, std::uint32_t*, std::uint32_t*, std::int64_t,
                                         int, const PartSorted&);
template Result<void> sort_keys_in_parts(Context&, std::uint64_t*, std::uint64_t*, std::int64_t,
                                         int, const PartSorted&);
template Result<void> sort_keys_in_parts(Context&, WideKey*, WideKey*, std::int64_t, int,
                                         const PartSorted&);

}  // namespace outrigger::ops
