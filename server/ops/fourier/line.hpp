#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/fourier/number.hpp"

namespace outrigger::ops::fourier {

/// Loads `lanes` elements of T, converted to R.
template <typename R, typename T>
OUTRIGGER_INLINE Vector<R> load_as(const T* from) {
  if constexpr (sizeof(R) == sizeof(T)) {
    return load_vector<Vector<R>>(from);
  } else {
    return __builtin_convertvector((load_vector<Vector<T, lanes<R>>>(from)), Vector<R>);
  }
}
template <typename R, typename T>
OUTRIGGER_INLINE void store_as(T* to, Vector<R> x) {
  if constexpr (sizeof(R) == sizeof(T)) {
    store_vector(to, x);
  } else {
    store_vector(to, __builtin_convertvector(x, Vector<T, lanes<R>>));
  }
}

/// Loads `lanes` complex numbers whose parts alternate in memory.
template <typename R, typename T>
OUTRIGGER_INLINE Pack<R> load_pairs(const T* from) {
  const Vector<R> a = load_as<R>(from);
  const Vector<R> b = load_as<R>(from + lanes<R>);
  return {shuffle<&lane::even, lanes<R>>(a, b), shuffle<&lane::odd, lanes<R>>(a, b)};
}
template <typename R, typename T>
OUTRIGGER_INLINE void store_pairs(T* to, const Pack<R>& x, bool streamed = false) {
  const Vector<R> low = shuffle<&lane::zip_low, lanes<R>>(x.re, x.im);
  const Vector<R> high = shuffle<&lane::zip_high, lanes<R>>(x.re, x.im);
  if (sizeof(T) == sizeof(R) && streamed) {
    stream_vector(to, low);
    stream_vector(to + lanes<R>, high);
  } else {
    store_as<R>(to, low);
    store_as<R>(to + lanes<R>, high);
  }
}

template <typename R>
OUTRIGGER_INLINE Pack<R> reversed(const Pack<R>& x) {
  return {shuffle<&lane::reversed, lanes<R>>(x.re, x.re),
          shuffle<&lane::reversed, lanes<R>>(x.im, x.im)};
}

/// A sequence of complex numbers in the memory of a tensor with elements of type T, computed in R.
/// The distances between the parts are free, so that two real elements can be the parts of one
/// number.
template <typename T, typename R>
struct Line {
  T* data = nullptr;
  /// The distances, in elements of T: from a number to the next, and from a number to its imaginary
  /// part.
  std::int64_t stride = 2;
  std::int64_t imaginary = 1;
  /// The number of real (imaginary) parts that are in memory; the other parts are 0.
  std::int64_t reals = 0;
  std::int64_t imaginaries = 0;
  /// If it is not 0, each number k beyond half of `mirror` is the conjugate of number mirror − k.
  std::int64_t mirror = 0;
  /// True if loads and stores exchange the parts, as the inverse transform needs it.
  bool swap = false;
  /// True if stores bypass the caches.
  bool streamed = false;
  /// Stores multiply by `scale`, and set parts with magnitudes up to `eps` to 0.
  R scale = 1;
  R eps = 0;

  bool pairs() const { return stride == 2 && imaginary == 1; }

  OUTRIGGER_INLINE Number<R> at(std::int64_t k) const {
    Number<R> x{};
    if (mirror == 0 || k <= mirror / 2) {
      x = given(k);
    } else if (k < mirror) {
      x = given(mirror - k).conjugate();
    }
    return swap ? x.swapped() : x;
  }

  /// Loads numbers k … k + lanes − 1.
  OUTRIGGER_INLINE Pack<R> load(std::int64_t k) const {
    Pack<R> x{};
    if (pairs() && k + lanes<R> <= imaginaries && (mirror == 0 || k + lanes<R> <= mirror / 2)) {
      x = load_pairs<R>(data + 2 * k);
    } else if (stride == 1 && imaginaries == 0 && k + lanes<R> <= reals) {
      x.re = load_as<R>(data + k);
    } else {
      return gathered(k);
    }
    return swap ? x.swapped() : x;
  }

  /// Stores the first `count` numbers of x at k, as far as the line has them. finished() must have
  /// been applied to them.
  OUTRIGGER_INLINE void store(std::int64_t k, const Pack<R>& x, std::int64_t count) const {
    if (pairs() && count == lanes<R> && k + lanes<R> <= imaginaries) {
      store_pairs<R>(data + 2 * k, x, streamed);
    } else if (stride == 1 && imaginaries == 0 && count == lanes<R> && k + lanes<R> <= reals) {
      store_as<R>(data + k, x.re);
    } else {
      scatter(k, x, count);
    }
  }

  /// Loads number k of this line and of the next lines; each line begins `apart` (1 or 2) elements
  /// after the one before.
  OUTRIGGER_INLINE Pack<R> load_across(std::int64_t k, std::int64_t apart) const {
    const bool mirrored = mirror != 0 && k > mirror / 2;
    if (mirrored) k = mirror - k;
    const T* const from = data + k * stride;
    Pack<R> x{};
    if (apart == 2 && k < imaginaries) {
      x = load_pairs<R>(from);
    } else if (apart == 1) {
      if (k < reals) x.re = load_as<R>(from);
      if (k < imaginaries) x.im = load_as<R>(from + imaginary);
    }
    if (mirrored) x = x.conjugate();
    return swap ? x.swapped() : x;
  }
  OUTRIGGER_INLINE void store_across(std::int64_t k, std::int64_t apart, const Pack<R>& x) const {
    T* const to = data + k * stride;
    if (apart == 2) {
      store_pairs<R>(to, x);
      return;
    }
    store_as<R>(to, x.re);
    if (k < imaginaries) store_as<R>(to + imaginary, x.im);
  }

  OUTRIGGER_INLINE void put(std::int64_t k, const Number<R>& x) const {
    if (k < reals) data[k * stride] = static_cast<T>(x.re);
    if (k < imaginaries) data[k * stride + imaginary] = static_cast<T>(x.im);
  }

  template <typename V>
  OUTRIGGER_INLINE Number<V> finished(const Number<V>& x) const {
    const Number<V> y = (swap ? x.swapped() : x).scaled(scale);
    return {clean(y.re), clean(y.im)};
  }

 private:
  [[gnu::noinline]] Pack<R> gathered(std::int64_t k) const {
    Pack<R> x{};
    for (int l = 0; l < lanes<R>; ++l) {
      const Number<R> one = at(k + l);
      x.re[l] = one.re;
      x.im[l] = one.im;
    }
    return x;
  }
  [[gnu::noinline]] void scatter(std::int64_t k, const Pack<R>& x, std::int64_t count) const {
    for (std::int64_t l = 0; l < count; ++l) put(k + l, Number<R>{x.re[l], x.im[l]});
  }

  OUTRIGGER_INLINE Number<R> given(std::int64_t k) const {
    return {k < reals ? static_cast<R>(data[k * stride]) : R{0},
            k < imaginaries ? static_cast<R>(data[k * stride + imaginary]) : R{0}};
  }

  template <typename V>
  OUTRIGGER_INLINE V clean(V x) const {
    const V zero{};
    // Both comparisons are false for NaN, so that NaN does not become 0.
    return ((x <= eps) & (x >= -eps)) ? zero : x;
  }
};

}  // namespace outrigger::ops::fourier
