#pragma once

#include <cstdint>

#include "ops/support/simd.hpp"

namespace outrigger::ops::fourier {

/// A complex number; with V a vector, one in each lane, parts apart.
template <typename V>
struct Number {
  V re, im;

  Number operator+(const Number& b) const { return {re + b.re, im + b.im}; }
  Number operator-(const Number& b) const { return {re - b.re, im - b.im}; }
  template <typename U>
  Number operator*(const Number<U>& b) const {
    return {re * b.re - im * b.im, re * b.im + im * b.re};
  }
  template <typename R>
  Number scaled(R by) const {
    return {re * by, im * by};
  }
  Number conjugate() const { return {re, -im}; }
  /// × −i
  Number turned() const { return {im, -re}; }
  /// The inverse transform is the forward one with the parts exchanged, before and after.
  Number swapped() const { return {im, re}; }
};

/// A number of each of `lanes` sequences, or so many neighbours of one.
template <typename R>
using Pack = Number<Vector<R>>;

/// Of n numbers per lane, in natural order, Z = transform of z with z[j] = x[2j] + i x[2j + 1];
/// roots[k] is e^(−2πi k/2n). X is the transform of x: X[k] and X[n − k] from Z[k] and Z[n − k].
template <typename R, typename V, typename U>
void split_halves(Number<V>& low, Number<V>& high, const Number<U>& root) {
  const Number<V> even = (low + high.conjugate()).scaled(R{0.5});
  const Number<V> odd = (low - high.conjugate()).scaled(R{0.5}).turned() * root;
  low = even + odd;
  high = (even - odd).conjugate();
}

/// The other way round, and twice as large.
template <typename V, typename U>
void join_halves(Number<V>& low, Number<V>& high, const Number<U>& root) {
  const Number<V> even = low + high.conjugate();
  const Number<V> odd = (low - high.conjugate()) * root.conjugate();
  low = {even.re - odd.im, even.im + odd.re};
  high = {even.re + odd.im, odd.re - even.im};
}

}  // namespace outrigger::ops::fourier
