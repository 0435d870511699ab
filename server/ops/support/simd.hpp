#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX__)
#include <immintrin.h>
#endif

/// The compiler's vector types, as wide as the registers of the instruction set level. One source
/// serves all levels and element types.

// Kernels consist of small functions on vectors, whose values must stay in registers.
#define OUTRIGGER_INLINE [[gnu::always_inline]] inline

namespace outrigger::ops {

#if defined(__AVX512F__)
inline constexpr std::size_t vector_bytes = 64;
#elif defined(__AVX__)
inline constexpr std::size_t vector_bytes = 32;
#else
inline constexpr std::size_t vector_bytes = 16;
#endif

/// The elements of a register.
template <typename T>
inline constexpr int lanes = static_cast<int>(vector_bytes / sizeof(T));

template <typename T, int n = lanes<T>>
struct VectorOf {
  using type __attribute__((vector_size(n * sizeof(T)))) = T;
};
template <typename T, int n = lanes<T>>
using Vector = typename VectorOf<T, n>::type;

/// Loads from and stores to memory of any alignment.
template <typename V, typename T>
OUTRIGGER_INLINE V load_vector(const T* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
template <typename V, typename T>
OUTRIGGER_INLINE void store_vector(T* to, V v) {
  std::memcpy(static_cast<void*>(to), &v, sizeof v);
}

/// Stores that bypass the caches if the address allows it, for results that are larger than the
/// caches.
template <typename V, typename T>
OUTRIGGER_INLINE void stream_vector(T* to, V v) {
#if defined(__AVX512F__)
  if (reinterpret_cast<std::uintptr_t>(to) % vector_bytes == 0) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to), reinterpret_cast<__m512i>(v));
    return;
  }
#elif defined(__AVX__)
  if (reinterpret_cast<std::uintptr_t>(to) % vector_bytes == 0) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(v));
    return;
  }
#endif
  store_vector(to, v);
}

/// Makes streamed stores of this thread visible to other threads.
inline void end_stream() {
#if defined(__AVX__)
  _mm_sfence();
#endif
}

/// Lane i of the result is lane index(i) of a and b, where the lanes of b follow those of a.
template <int (*index)(int, int), int n, typename V, int... i>
OUTRIGGER_INLINE V shuffle(V a, V b, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(a, b, index(i, n)...);
}
template <int (*index)(int, int), int n, typename V>
OUTRIGGER_INLINE V shuffle(V a, V b) {
  return shuffle<index, n>(a, b, std::make_integer_sequence<int, n>{});
}

namespace lane {
constexpr int even(int i, int) { return 2 * i; }
constexpr int odd(int i, int) { return 2 * i + 1; }
constexpr int zip_low(int i, int n) { return i / 2 + i % 2 * n; }
constexpr int zip_high(int i, int n) { return n / 2 + zip_low(i, n); }
constexpr int reversed(int i, int n) { return n - 1 - i; }
/// Exchanges squares of h lanes: one step of a transposition.
template <int h>
constexpr int swap_low(int i, int n) {
  return (i & h) == 0 ? i : n + i - h;
}
template <int h>
constexpr int swap_high(int i, int n) {
  return (i & h) == 0 ? i + h : n + i;
}
}  // namespace lane

/// Transposes a square of n vectors of n lanes.
template <int n, int h = n / 2, typename V>
OUTRIGGER_INLINE void transpose_square(V (&x)[n]) {
  if constexpr (h >= 1) {
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) {
      if ((i & h) != 0) continue;
      const V low = shuffle<&lane::swap_low<h>, n>(x[i], x[i + h]);
      x[i + h] = shuffle<&lane::swap_high<h>, n>(x[i], x[i + h]);
      x[i] = low;
    }
    transpose_square<n, h / 2>(x);
  }
}

}  // namespace outrigger::ops
