#pragma once

#include <cstdint>
#include <functional>

#include <hwy/contrib/sort/vqsort.h>

#include "base/error.hpp"
#include "ops/support/context.hpp"

namespace outrigger::ops {

/// Sorts unsigned keys, to which every dtype is mapped. Equal keys are identical, so that the
/// result does not depend on the algorithm or the number of threads.

/// A key of 64 bits (hi) above an index.
using WideKey = hwy::uint128_t;

inline bool less(const WideKey& a, const WideKey& b) {
  return a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo);
}
template <typename K>
bool less(K a, K b) {
  return a < b;
}

/// The index in an item of argsort, which is below a key of at most 32 bits, or of 64 bits.
inline std::int64_t index_of_item(std::uint64_t item) {
  return static_cast<std::int64_t>(item & 0xffffffffU);
}
inline std::int64_t index_of_item(const WideKey& item) {
  return static_cast<std::int64_t>(item.lo);
}

/// Sorts n keys in place, on this thread. `spare` has space for as many keys of 32 bits; other keys
/// do not need it. Bytes are counted. Keys of 32 bits are sorted by a quicksort
/// (ops/sort/partition.hpp) down to a size that vqsort sorts in one step. Other keys are sorted by
/// Highway's vqsort (J. Wassenberg et al., 2022).
void sort_keys(std::uint8_t* keys, std::int64_t n, std::uint8_t* spare);
void sort_keys(std::uint16_t* keys, std::int64_t n, std::uint16_t* spare);
void sort_keys(std::uint32_t* keys, std::int64_t n, std::uint32_t* spare);
void sort_keys(std::uint64_t* keys, std::int64_t n, std::uint64_t* spare);
void sort_keys(WideKey* keys, std::int64_t n, WideKey* spare);

/// True if sort_keys needs spare space.
template <typename K>
inline constexpr bool needs_spare = sizeof(K) == 4;

/// True if a line of n keys is cut into parts, which are sorted in parallel. The interrupt is
/// checked between parts.
bool sorts_in_parts(std::int64_t n);

/// The largest number of bytes that sort_keys_in_parts takes for n keys.
std::uint64_t parts_scratch(std::int64_t n);

/// Writes the keys [begin, end). Any thread may call it, and some keys are written twice. It must
/// not throw.
using FillKeys = std::function<void(std::int64_t begin, std::int64_t end)>;
/// Called with the range of sorted keys, some keys at a time, while they are in the cache. Any
/// thread may call it. It must not throw.
using PartSorted = std::function<void(std::int64_t begin, std::int64_t end)>;

/// Sorts the n keys that `fill` writes to `keys` into `to`, which does not overlap `keys`. It takes
/// samples, distributes the keys over consecutive parts, and sorts the parts, all in parallel.
/// Large parts are sorted in the same way. `keys` is overwritten. Only the first `wanted` of the
/// sorted keys are guaranteed. Errors: cancelled, deadline_exceeded, out_of_memory.
template <typename K>
Result<void> sort_keys_in_parts(Context& context, K* keys, K* to, std::int64_t n,
                                const FillKeys& fill, const PartSorted& sorted,
                                std::int64_t wanted);

}  // namespace outrigger::ops
