#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "ops/support/simd.hpp"

/// The inner loop of quicksort on vectors. Keys are packed in registers, and whole vectors are
/// written. AMD's processors take about ten times as long for the masked stores that libraries use
/// here.

namespace outrigger::ops::partition {

/// The lanes of v whose bit is set in mask, packed to the front; the other lanes are undefined.
#if defined(__AVX512F__)
template <typename K>
OUTRIGGER_INLINE __m512i packed(__m512i v, unsigned mask) {
  if constexpr (sizeof(K) == 4)
    return _mm512_maskz_compress_epi32(static_cast<__mmask16>(mask), v);
  else
    return _mm512_maskz_compress_epi64(static_cast<__mmask8>(mask), v);
}
#elif defined(__AVX2__)
/// For each mask of eight lanes of 32 bits: the order of the lanes.
struct Orders {
  std::array<std::array<std::uint8_t, 8>, 256> of{};
  constexpr Orders() {
    for (unsigned mask = 0; mask < 256; ++mask) {
      std::size_t next = 0;
      for (std::uint8_t lane = 0; lane < 8; ++lane) {
        if ((mask >> lane & 1U) != 0) of[mask][next++] = lane;
      }
    }
  }
};
inline constexpr Orders orders;

/// `mask` has one bit for each 32 bits.
OUTRIGGER_INLINE __m256i packed(__m256i v, unsigned mask) {
  const __m128i order = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(orders.of[mask].data()));
  return _mm256_permutevar8x32_epi32(v, _mm256_cvtepu8_epi32(order));
}
#endif

/// Moves the keys below the pivot (or up to it, if `equal`) to the front of `keys`, and the other
/// keys to `rest`, which has space for n. Returns the number of keys in front.
template <bool equal, typename K>
std::int64_t split(K* keys, std::int64_t n, K pivot, K* rest) {
  std::int64_t i = 0;
  K* front = keys;
#if defined(__AVX512F__)
  constexpr int width = lanes<K>;
  constexpr unsigned all = (1U << width) - 1;
  const auto at = [&](__m512i& v, unsigned& mask) {
    v = _mm512_loadu_si512(keys + i);
    if constexpr (sizeof(K) == 4) {
      const __m512i p = _mm512_set1_epi32(static_cast<int>(pivot));
      mask = equal ? _mm512_cmple_epu32_mask(v, p) : _mm512_cmplt_epu32_mask(v, p);
    } else {
      const __m512i p = _mm512_set1_epi64(static_cast<long long>(pivot));
      mask = equal ? _mm512_cmple_epu64_mask(v, p) : _mm512_cmplt_epu64_mask(v, p);
    }
  };
  for (; i + width <= n; i += width) {
    __m512i v;
    unsigned mask;
    at(v, mask);
    _mm512_storeu_si512(front, packed<K>(v, mask));
    _mm512_storeu_si512(rest, packed<K>(v, ~mask & all));
    const int count = std::popcount(mask);
    front += count;
    rest += width - count;
  }
#elif defined(__AVX2__)
  constexpr int width = lanes<K>;
  constexpr int bits = static_cast<int>(sizeof(K) / 4);
  for (; i + width <= n; i += width) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(keys + i));
    __m256i below;
    if constexpr (sizeof(K) == 4) {
      const __m256i sign = _mm256_set1_epi32(INT32_MIN);
      const __m256i p = _mm256_set1_epi32(static_cast<int>(pivot) ^ INT32_MIN);
      const __m256i x = _mm256_xor_si256(v, sign);
      below = equal ? _mm256_cmpgt_epi32(x, p) : _mm256_cmpgt_epi32(p, x);
    } else {
      const __m256i sign = _mm256_set1_epi64x(INT64_MIN);
      const __m256i p = _mm256_set1_epi64x(static_cast<long long>(pivot) ^ INT64_MIN);
      const __m256i x = _mm256_xor_si256(v, sign);
      below = equal ? _mm256_cmpgt_epi64(x, p) : _mm256_cmpgt_epi64(p, x);
    }
    unsigned mask = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(below)));
    if (equal) mask = ~mask & 255U;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(front), packed(v, mask));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(rest), packed(v, ~mask & 255U));
    const int count = std::popcount(mask) / bits;
    front += count;
    rest += width - count;
  }
#endif
  for (; i < n; ++i) {
    const K key = keys[i];
    const bool below = equal ? key <= pivot : key < pivot;
    *front = key;
    *rest = key;
    front += below ? 1 : 0;
    rest += below ? 0 : 1;
  }
  return front - keys;
}

template <typename K>
K middle(K a, K b, K c) {
  return std::max(std::min(a, b), std::min(std::max(a, b), c));
}

/// An approximation of the median: of three medians of three, or of three of those if there are
/// many keys.
template <typename K>
K pivot_of(const K* keys, std::int64_t n) {
  const auto nine = [](const K* from, std::int64_t step) {
    return middle(middle(from[0], from[step], from[2 * step]),
                  middle(from[3 * step], from[4 * step], from[5 * step]),
                  middle(from[6 * step], from[7 * step], from[8 * step]));
  };
  if (n < 8192) return nine(keys + n / 18, n / 9);
  const std::int64_t third = n / 3;
  const std::int64_t step = third / 9;
  return middle(nine(keys + step / 2, step), nine(keys + third + step / 3, step),
                nine(keys + 2 * third + step / 5, step));
}

/// Sorts n keys in place; `spare` has space for n keys. `few` sorts small parts, and parts for
/// which too many pivots were bad.
template <std::int64_t few_max, typename K, typename Few>
void sort(K* keys, std::int64_t n, K* spare, int depth, const Few& few) {
  while (n > few_max) {
    if (depth-- == 0) break;
    const K pivot = pivot_of(keys, n);
    std::int64_t below = split<false>(keys, n, pivot, spare);
    bool done = false;
    if (below == 0) {
      // The pivot is the smallest key. All keys are in `spare`, and no key is in front.
      std::memcpy(keys, spare, static_cast<std::size_t>(n) * sizeof(K));
      below = split<true>(keys, n, pivot, spare);
      done = true;
    }
    K* const above = keys + below;
    std::memcpy(above, spare, static_cast<std::size_t>(n - below) * sizeof(K));
    if (!done) sort<few_max>(keys, below, spare, depth, few);
    n -= below;
    keys = above;
  }
  few(keys, n);
}

}  // namespace outrigger::ops::partition
