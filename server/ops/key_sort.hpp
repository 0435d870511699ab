#pragma once

#include <cstdint>
#include <functional>

#include <hwy/contrib/sort/vqsort.h>

#include "base/error.hpp"
#include "ops/context.hpp"

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

/// Sorts n keys in place, on this thread, without memory: Highway's vqsort (J. Wassenberg et al.,
/// 2022), bytes by counting.
void sort_keys(std::uint8_t* keys, std::int64_t n);
void sort_keys(std::uint16_t* keys, std::int64_t n);
void sort_keys(std::uint32_t* keys, std::int64_t n);
void sort_keys(std::uint64_t* keys, std::int64_t n);
void sort_keys(WideKey* keys, std::int64_t n);

/// Whether a line of n keys is cut into parts that are sorted in parallel (and between which an
/// interrupt is seen).
bool sorts_in_parts(int threads, std::int64_t n);

/// What sort_keys_in_parts takes for n keys, at most.
std::uint64_t parts_scratch(std::int64_t n);

/// Called with the bounds of a part that is sorted, while it is in the cache; from any thread. Must
/// not throw.
using PartSorted = std::function<void(std::int64_t begin, std::int64_t end)>;

/// Sorts n keys into `to`, which does not overlap them: samples, deals the keys out to parts that
/// follow one another, sorts the parts, all in parallel. Errors: cancelled,
/// deadline_exceeded, out_of_memory.
template <typename K>
Result<void> sort_keys_in_parts(Context& context, const K* keys, K* to, std::int64_t n,
                                const PartSorted& sorted);

}  // namespace outrigger::ops
