#pragma once

#include <cstdint>
#include <functional>

#include <hwy/contrib/sort/vqsort.h>

#include "base/error.hpp"
#include "ops/support/context.hpp"

namespace outrigger::ops {

/// Sorting of unsigned keys, to which every dtype is mapped. Equal keys cannot be told apart, so
/// there is one answer only, whatever the algorithm and the number of threads.

/// A key of 64 bits (hi) above an index.
using WideKey = hwy::uint128_t;

inline bool less(const WideKey& a, const WideKey& b) {
  return a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo);
}
template <typename K>
bool less(K a, K b) {
  return a < b;
}

/// The index in an item of argsort: below a key of at most 32 bits, or of 64.
inline std::int64_t index_of_item(std::uint64_t item) {
  return static_cast<std::int64_t>(item & 0xffffffffU);
}
inline std::int64_t index_of_item(const WideKey& item) {
  return static_cast<std::int64_t>(item.lo);
}

/// Sorts n keys in place, on this thread; `spare` has room for as many keys of 32 bits, others do
/// not need it. Bytes by counting; 32 bits by a quicksort (ops/sort/partition.hpp) down to what
/// vqsort sorts in one go; others by Highway's vqsort (J. Wassenberg et al., 2022).
void sort_keys(std::uint8_t* keys, std::int64_t n, std::uint8_t* spare);
void sort_keys(std::uint16_t* keys, std::int64_t n, std::uint16_t* spare);
void sort_keys(std::uint32_t* keys, std::int64_t n, std::uint32_t* spare);
void sort_keys(std::uint64_t* keys, std::int64_t n, std::uint64_t* spare);
void sort_keys(WideKey* keys, std::int64_t n, WideKey* spare);

/// Whether sort_keys takes spare room.
template <typename K>
inline constexpr bool needs_spare = sizeof(K) == 4;

/// Whether a line of n keys is cut into parts that are sorted in parallel, and between which an
/// interrupt is seen.
bool sorts_in_parts(std::int64_t n);

/// What sort_keys_in_parts takes for n keys, at most.
std::uint64_t parts_scratch(std::int64_t n);

/// Writes the keys begin … end − 1; from any thread, some of them twice. Must not throw.
using FillKeys = std::function<void(std::int64_t begin, std::int64_t end)>;
/// Called with the bounds of what is sorted, some keys at a time and while they are in the cache;
/// from any thread. Must not throw.
using PartSorted = std::function<void(std::int64_t begin, std::int64_t end)>;

/// Sorts the n keys that `fill` writes to `keys` into `to`, which does not overlap them: samples,
/// deals the keys out to parts that follow one another, sorts the parts, all in parallel; large
/// parts in the same way. `keys` are lost. Only the first `wanted` of the sorted keys need to be
/// there. Errors: cancelled, deadline_exceeded, out_of_memory.
template <typename K>
Result<void> sort_keys_in_parts(Context& context, K* keys, K* to, std::int64_t n,
                                const FillKeys& fill, const PartSorted& sorted,
                                std::int64_t wanted);

}  // namespace outrigger::ops
