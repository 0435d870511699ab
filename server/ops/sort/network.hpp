#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "ops/support/simd.hpp"

/// Sorting networks for some hundred keys of 32 bits (K. Batcher, 1968). The columns of vectors are
/// sorted first, without shuffles; then runs are merged.

namespace outrigger::ops::network {

/// The lanes of AVX2. Shuffles of AVX-512 are not faster for the 16 lanes that it has.
inline constexpr int width = 8;
using Keys = Vector<std::uint32_t, width>;

OUTRIGGER_INLINE void order(Keys& low, Keys& high) {
  const Keys less = low < high ? low : high;
  high = low < high ? high : low;
  low = less;
}

namespace lane {
template <int h>
constexpr int partner(int i, int) {
  return i ^ h;
}
/// The lower of two partners from the first vector, and the upper from the second.
template <int h>
constexpr int pick(int i, int n) {
  return (i & h) == 0 ? i : n + i;
}
}  // namespace lane

/// Sorts the lanes of a vector in which the lanes first rise and then fall.
template <int h = width / 2>
OUTRIGGER_INLINE Keys sort_lanes(Keys x) {
  if constexpr (h == 0) {
    return x;
  } else {
    Keys other = shuffle<&lane::partner<h>, width>(x, x);
    order(x, other);
    // Both lanes of a pair now have the lower key in x, and the upper key in `other`.
    return sort_lanes<h / 2>(shuffle<&lane::pick<h>, width>(x, other));
  }
}

/// Sorts halves, quarters, … of vectors that first rise and then fall.
template <int n>
OUTRIGGER_INLINE void clean(Keys* x) {
  if constexpr (n > 1) {
#pragma GCC unroll 16
    for (int i = 0; i < n / 2; ++i) order(x[i], x[i + n / 2]);
    clean<n / 2>(x);
    clean<n / 2>(x + n / 2);
  }
}

/// Sorts each column of n vectors.
template <int n>
OUTRIGGER_INLINE void sort_columns(Keys* x) {
  if constexpr (n > 1) {
    sort_columns<n / 2>(x);
    sort_columns<n / 2>(x + n / 2);
#pragma GCC unroll 16
    for (int i = 0; i < n / 2; ++i) order(x[i], x[n - 1 - i]);
    clean<n / 2>(x);
    clean<n / 2>(x + n / 2);
  }
}

/// Merges the sorted halves of n vectors.
template <int n>
OUTRIGGER_INLINE void merge(Keys* x) {
  constexpr int half = n / 2;
  Keys high[half];
#pragma GCC unroll 16
  for (int i = 0; i < half; ++i) {
    high[i] = shuffle<&ops::lane::reversed, width>(x[n - 1 - i], x[n - 1 - i]);
    order(x[i], high[i]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < half; ++i) x[half + i] = high[i];
  clean<half>(x);
  clean<half>(x + half);
#pragma GCC unroll 32
  for (int i = 0; i < n; ++i) x[i] = sort_lanes(x[i]);
}

/// Sorts n keys; n is at most rows × width.
template <int rows>
void sort_rows(std::uint32_t* keys, std::int64_t n) {
  Keys x[rows];
  std::uint32_t padded[rows * width];
  std::copy_n(keys, n, padded);
  std::fill(padded + n, padded + rows * width, std::numeric_limits<std::uint32_t>::max());
#pragma GCC unroll 32
  for (int i = 0; i < rows; ++i) x[i] = load_vector<Keys>(padded + i * width);
  sort_columns<rows>(x);
  // Each column becomes a run of consecutive vectors.
  constexpr int length = rows / width;
  Keys runs[rows];
#pragma GCC unroll 4
  for (int part = 0; part < length; ++part) {
    Keys square[width];
#pragma GCC unroll 8
    for (int i = 0; i < width; ++i) square[i] = x[part * width + i];
    transpose_square(square);
#pragma GCC unroll 8
    for (int i = 0; i < width; ++i) runs[i * length + part] = square[i];
  }
#pragma GCC unroll 4
  for (int run = 0; run < width / 2; ++run) merge<2 * length>(runs + run * 2 * length);
#pragma GCC unroll 2
  for (int run = 0; run < width / 4; ++run) merge<4 * length>(runs + run * 4 * length);
  merge<8 * length>(runs);
#pragma GCC unroll 32
  for (int i = 0; i < rows; ++i) store_vector(padded + i * width, runs[i]);
  std::copy_n(padded, n, keys);
}

/// The largest number of keys that sort() accepts.
inline constexpr std::int64_t keys_max = std::int64_t{32} * width;

inline void sort(std::uint32_t* keys, std::int64_t n) {
  if (n <= 1) return;
  if (n <= std::int64_t{8} * width) {
    sort_rows<8>(keys, n);
  } else if (n <= std::int64_t{16} * width) {
    sort_rows<16>(keys, n);
  } else {
    sort_rows<32>(keys, n);
  }
}

}  // namespace outrigger::ops::network
