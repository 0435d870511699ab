#pragma once

// The vectors of the instruction set level of this build, and SLEEF's functions on them (sleef.org;
// at most 1.0 ulp). Only the names differ between levels.

#include <immintrin.h>
#include <sleef.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "ops/pass/compile/lanes.hpp"
#include "ops/pass/pass.hpp"

namespace outrigger::ops {

#if defined(__AVX512F__) && defined(__AVX512DQ__)
struct F32 {
  using Element = float;
  using Vector = __m512;
};
struct F64 {
  using Element = double;
  using Vector = __m512d;
};
inline constexpr Isa vector_isa = Isa::avx512;
#define OUTRIGGER_SLEEF_F32(name) Sleef_##name##f16_u10avx512f
#define OUTRIGGER_SLEEF_F32_U15(name) Sleef_##name##f16_u15avx512f
#define OUTRIGGER_SLEEF_F64(name) Sleef_##name##d8_u10avx512f
#define OUTRIGGER_SLEEF_F64_U15(name) Sleef_##name##d8_u15avx512f
#elif defined(__AVX2__) && defined(__FMA__)
struct F32 {
  using Element = float;
  using Vector = __m256;
};
struct F64 {
  using Element = double;
  using Vector = __m256d;
};
inline constexpr Isa vector_isa = Isa::avx2;
#define OUTRIGGER_SLEEF_F32(name) Sleef_##name##f8_u10avx2
#define OUTRIGGER_SLEEF_F32_U15(name) Sleef_##name##f8_u15avx2
#define OUTRIGGER_SLEEF_F64(name) Sleef_##name##d4_u10avx2
#define OUTRIGGER_SLEEF_F64_U15(name) Sleef_##name##d4_u15avx2
#else
struct F32 {
  using Element = float;
  using Vector = __m128;
};
struct F64 {
  using Element = double;
  using Vector = __m128d;
};
inline constexpr Isa vector_isa = Isa::none;
#define OUTRIGGER_SLEEF_F32(name) Sleef_##name##f4_u10sse4
#define OUTRIGGER_SLEEF_F32_U15(name) Sleef_##name##f4_u15sse4
#define OUTRIGGER_SLEEF_F64(name) Sleef_##name##d2_u10sse4
#define OUTRIGGER_SLEEF_F64_U15(name) Sleef_##name##d2_u15sse4
#endif

/// Applies a function on vectors to a tile. The last, partial vector is padded, so that the result
/// of an element never depends on its position in a tile.
template <typename Traits, auto F>
void vector_unary_kernel(void* out, const void* const* in, std::int64_t n) {
  using T = typename Traits::Element;
  using V = typename Traits::Vector;
  constexpr std::int64_t lanes = sizeof(V) / sizeof(T);
  auto* r = static_cast<T*>(out);
  const auto* a = static_cast<const T*>(in[0]);
  V x{};
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    std::memcpy(&x, a + i, sizeof x);
    x = F(x);
    std::memcpy(r + i, &x, sizeof x);
  }
  if (i == n) return;
  const auto rest = static_cast<std::size_t>(n - i) * sizeof(T);
  x = V{};
  std::memcpy(&x, a + i, rest);
  x = F(x);
  std::memcpy(r + i, &x, rest);
}

/// A function on vectors, made from a function object on numbers.
template <typename Traits, typename F>
typename Traits::Vector on_vector(typename Traits::Vector x) {
  std::array<typename Traits::Element, sizeof x / sizeof(typename Traits::Element)> elements;
  std::memcpy(elements.data(), &x, sizeof x);
  for (auto& element : elements) element = F::apply(element);
  std::memcpy(&x, elements.data(), sizeof x);
  return x;
}

template <typename Traits, auto F>
Trace::Id record_vector_function(Trace& trace, const Trace::Id* in) {
  // The functions of SLEEF return `const` vectors.
  auto* const function = F;
  return trace.call(vector_isa, dtype_v<typename Traits::Element>,
                    reinterpret_cast<std::uint64_t>(function), in[0]);
}

/// A kernel that applies F to vectors, which compiled passes also call. In F, each lane must be
/// independent of the others. That is not so for a function that takes a slower path for all lanes
/// if one lane needs it.
template <typename Traits, auto F>
constexpr Kernel vector_unary_kernel_of() {
  return {&vector_unary_kernel<Traits, F>, &record_vector_function<Traits, F>};
}

template <typename Traits, auto F>
void vector_binary_kernel(void* out, const void* const* in, std::int64_t n) {
  using T = typename Traits::Element;
  using V = typename Traits::Vector;
  constexpr std::int64_t lanes = sizeof(V) / sizeof(T);
  auto* r = static_cast<T*>(out);
  const auto* a = static_cast<const T*>(in[0]);
  const auto* b = static_cast<const T*>(in[1]);
  V x{};
  V y{};
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    std::memcpy(&x, a + i, sizeof x);
    std::memcpy(&y, b + i, sizeof y);
    x = F(x, y);
    std::memcpy(r + i, &x, sizeof x);
  }
  if (i == n) return;
  const auto rest = static_cast<std::size_t>(n - i) * sizeof(T);
  x = V{};
  y = V{};
  std::memcpy(&x, a + i, rest);
  std::memcpy(&y, b + i, rest);
  x = F(x, y);
  std::memcpy(r + i, &x, rest);
}

}  // namespace outrigger::ops
