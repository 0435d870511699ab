#pragma once

#include <cstdint>

#include "ops/fourier/number.hpp"
#include "ops/fourier/roots.hpp"

/// Transforms of a few points, unrolled, and the stages of long transforms. Each lane has its own
/// transform, so that there are no shuffles.

namespace outrigger::ops::fourier {

/// e^(−2πi k/16), k = 1, 2, 3.
template <typename R>
inline constexpr R cos_16 = static_cast<R>(0.92387953251128675613L);
template <typename R>
inline constexpr R sin_16 = static_cast<R>(0.38268343236508977173L);
template <typename R>
inline constexpr R sqrt_half = static_cast<R>(0.70710678118654752440L);

template <typename R>
using Root = Number<R>;

template <typename R>
OUTRIGGER_INLINE void dft(Pack<R> (&x)[2]) {
  const Pack<R> sum = x[0] + x[1];
  x[1] = x[0] - x[1];
  x[0] = sum;
}

template <typename R>
OUTRIGGER_INLINE void dft4(Pack<R>& a, Pack<R>& b, Pack<R>& c, Pack<R>& d) {
  const Pack<R> even = a + c;
  const Pack<R> apart = a - c;
  const Pack<R> odd = b + d;
  const Pack<R> turned = (b - d).turned();
  a = even + odd;
  b = apart + turned;
  c = even - odd;
  d = apart - turned;
}

template <typename R>
OUTRIGGER_INLINE void dft(Pack<R> (&x)[4]) {
  dft4<R>(x[0], x[1], x[2], x[3]);
}

template <typename R>
OUTRIGGER_INLINE void dft(Pack<R> (&x)[8]) {
  dft4<R>(x[0], x[2], x[4], x[6]);
  dft4<R>(x[1], x[3], x[5], x[7]);
  const Pack<R> odd[4] = {x[1], Pack<R>{x[3].re + x[3].im, x[3].im - x[3].re}.scaled(sqrt_half<R>),
                          x[5].turned(),
                          Pack<R>{x[7].im - x[7].re, -x[7].re - x[7].im}.scaled(sqrt_half<R>)};
  const Pack<R> even[4] = {x[0], x[2], x[4], x[6]};
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    x[k] = even[k] + odd[k];
    x[k + 4] = even[k] - odd[k];
  }
}

template <typename R>
OUTRIGGER_INLINE void dft(Pack<R> (&x)[16]) {
  constexpr R c = cos_16<R>;
  constexpr R s = sin_16<R>;
  constexpr R h = sqrt_half<R>;
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) dft4<R>(x[i], x[i + 4], x[i + 8], x[i + 12]);
  // x[i + 4k] × e^(−2πi ik/16)
  x[5] = x[5] * Root<R>{c, -s};
  x[6] = x[6] * Root<R>{h, -h};
  x[7] = x[7] * Root<R>{s, -c};
  x[9] = x[9] * Root<R>{h, -h};
  x[10] = x[10].turned();
  x[11] = x[11] * Root<R>{-h, -h};
  x[13] = x[13] * Root<R>{s, -c};
  x[14] = x[14] * Root<R>{-h, -h};
  x[15] = x[15] * Root<R>{-c, s};
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) dft4<R>(x[4 * k], x[4 * k + 1], x[4 * k + 2], x[4 * k + 3]);
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
#pragma GCC unroll 4
    for (int l = k + 1; l < 4; ++l) std::swap(x[4 * k + l], x[4 * l + k]);
  }
}

/// Any odd number of points. j and radix − j share their products, which are half of a matrix.
template <typename R, int radix>
OUTRIGGER_INLINE void dft_odd(Pack<R> (&x)[radix]) {
  struct Circle {
    R cosine[radix], sine[radix];
    Circle() {
      for (int k = 0; k < radix; ++k) {
        cosine[k] = static_cast<R>(root_of_unity(k, radix).real());
        sine[k] = static_cast<R>(root_of_unity(k, radix).imag());
      }
    }
  };
  static const Circle circle;
  constexpr int half = radix / 2;
  const Pack<R> first = x[0];
  Pack<R> sum[half], apart[half];
#pragma GCC unroll 6
  for (int j = 0; j < half; ++j) {
    sum[j] = x[j + 1] + x[radix - 1 - j];
    apart[j] = x[j + 1] - x[radix - 1 - j];
    x[0] = x[0] + sum[j];
  }
#pragma GCC unroll 6
  for (int k = 1; k <= half; ++k) {
    Pack<R> even = first;
    Pack<R> odd{};
#pragma GCC unroll 6
    for (int j = 0; j < half; ++j) {
      const int turn = k * (j + 1) % radix;
      even = even + sum[j].scaled(circle.cosine[turn]);
      odd = odd + apart[j].scaled(circle.sine[turn]);
    }
    x[k] = even - odd.turned();
    x[radix - k] = even + odd.turned();
  }
}

template <typename R, int radix>
OUTRIGGER_INLINE void butterfly(Pack<R> (&x)[radix]) {
  if constexpr (radix % 2 == 0) {
    dft<R>(x);
  } else {
    dft_odd<R, radix>(x);
  }
}

/// One stage of Stockham's algorithm: the butterflies at all positions, `side` of them beside each
/// other. Element j of position p is at from + (p + j × positions) × side. Result k is at to + (p ×
/// radix + k) × side, multiplied by root (radix − 1) p + k − 1.
template <typename R, int radix>
void stage(const Pack<R>* from, Pack<R>* to, const Root<R>* roots, std::int64_t positions,
           std::int64_t side) {
  const std::int64_t step = positions * side;
  for (std::int64_t p = 0; p < positions; ++p, roots += radix - 1) {
    for (std::int64_t i = 0; i < side; ++i) {
      Pack<R> x[radix];
#pragma GCC unroll 16
      for (int j = 0; j < radix; ++j) x[j] = from[i + j * step];
      butterfly<R, radix>(x);
      to[i] = x[0];
#pragma GCC unroll 16
      for (int k = 1; k < radix; ++k) to[i + k * side] = x[k] * roots[k - 1];
    }
    from += side;
    to += radix * side;
  }
}

/// The last stage: it has one position, where all roots are 1.
template <typename R, int radix>
void last_stage(const Pack<R>* from, Pack<R>* to, const Root<R>*, std::int64_t, std::int64_t side) {
  for (std::int64_t i = 0; i < side; ++i) {
    Pack<R> x[radix];
#pragma GCC unroll 16
    for (int j = 0; j < radix; ++j) x[j] = from[i + j * side];
    butterfly<R, radix>(x);
#pragma GCC unroll 16
    for (int k = 0; k < radix; ++k) to[i + k * side] = x[k];
  }
}

template <typename R>
using StageFn = void (*)(const Pack<R>* from, Pack<R>* to, const Root<R>* roots,
                         std::int64_t positions, std::int64_t side);

template <typename R, int radix>
StageFn<R> stage_of(bool last) {
  return last ? &last_stage<R, radix> : &stage<R, radix>;
}

template <typename R>
StageFn<R> stage_of(int radix, bool last) {
  switch (radix) {
    case 2:
      return stage_of<R, 2>(last);
    case 3:
      return stage_of<R, 3>(last);
    case 4:
      return stage_of<R, 4>(last);
    case 5:
      return stage_of<R, 5>(last);
    case 7:
      return stage_of<R, 7>(last);
    case 8:
      return stage_of<R, 8>(last);
    case 11:
      return stage_of<R, 11>(last);
    case 13:
      return stage_of<R, 13>(last);
    default:
      return stage_of<R, 16>(last);
  }
}

}  // namespace outrigger::ops::fourier
