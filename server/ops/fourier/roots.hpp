#pragma once

#include <complex>
#include <cstdint>
#include <vector>

namespace outrigger::ops::fourier {

/// e^(−2πi k/n) for 0 ≤ k < n; the error of each part is at most an ulp. Roots come from this
/// function and not from a recurrence, so that the errors of a transform grow with log n only.
std::complex<double> root_of_unity(std::int64_t k, std::int64_t n);

/// All roots of n, as products of two out of about 2 √n roots. The error is at most 2 ulp, and the
/// table is quick to make.
class RootTable {
 public:
  explicit RootTable(std::int64_t n);

  std::complex<double> operator()(std::int64_t k) const {
    const std::complex<double> a = coarse_[static_cast<std::size_t>(k >> shift_)];
    const std::complex<double> b = fine_[static_cast<std::size_t>(k & ((1 << shift_) - 1))];
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
  }

 private:
  int shift_ = 0;
  std::vector<std::complex<double>> coarse_;
  std::vector<std::complex<double>> fine_;
};

/// True if n has no prime factor above 13.
bool is_smooth(std::int64_t n);

/// The radices whose product is n, a smooth number, with the fewest passes over the data.
std::vector<int> radices_of(std::int64_t n);

/// The points of the convolution in Bluestein's algorithm for n: a smooth number, at least 2n − 1.
std::int64_t convolution_length(std::int64_t n);

/// The rows of the matrix for a long transform: the largest divisor up to the square root.
std::int64_t matrix_rows(std::int64_t n);

}  // namespace outrigger::ops::fourier
