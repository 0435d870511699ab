#pragma once

#include <cstdint>

#include "ops/support/simd.hpp"

namespace outrigger::ops::fourier {

/// A complex number. If V is a vector, it has one number in each lane, with separate vectors for
/// the parts.
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
  /// The product with −i.
  Number turned() const { return {im, -re}; }
  /// The number with its parts exchanged. The inverse transform is the forward transform with the
  /// parts exchanged before and after it.
  Number swapped() const { return {im, re}; }
};

/// `lanes` numbers: one from each of `lanes` sequences, or neighbours from one sequence.
template <typename R>
using Pack = Number<Vector<R>>;

/// The transform X of 2n real numbers x from the transform Z of the n numbers z[j] = x[2j] + i x[2j
/// + 1]: X[k] and X[n − k] from Z[k] and Z[n − k], in each lane. roots[k] is e^(−2πi k/2n).
template <typename R, typename V, typename U>
void split_halves(Number<V>& low, Number<V>& high, const Number<U>& root) {
  const Number<V> even = (low + high.conjugate()).scaled(R{0.5});
  const Number<V> odd = (low - high.conjugate()).scaled(R{0.5}).turned() * root;
  low = even + odd;
  high = (even - odd).conjugate();
}

/// The reverse of split_halves; the results are twice as large.
template <typename V, typename U>
void join_halves(Number<V>& low, Number<V>& high, const Number<U>& root) {
  const Number<V> even = low + high.conjugate();
  const Number<V> odd = (low - high.conjugate()) * root.conjugate();
  low = {even.re - odd.im, even.im + odd.re};
  high = {even.re + odd.im, odd.re - even.im};
}

}  // namespace outrigger::ops::fourier
