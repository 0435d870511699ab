#pragma once

#include <complex>
#include <cstdint>
#include <memory>
#include <vector>

namespace outrigger::ops {

/// Complex numbers with their parts apart, as the vector unit likes them.
struct Planes {
  double* re;
  double* im;

  Planes operator+(std::int64_t offset) const { return {re + offset, im + offset}; }
};

/// A discrete Fourier transform of one length, made ready: factors and roots of unity.
///
/// Lengths whose prime factors are at most 13 use Stockham's autosort algorithm (no bit reversal;
/// each stage reads and writes runs) with the radices 4, 2, 3, 5, 7, 11 and 13. Other lengths go
/// through Bluestein's (Rabiner, Schafer and Rader, 1969): a convolution by transforms of a power
/// of two. Roots come from root_of_unity(), not from a recurrence, so that errors grow with log n
/// only. Immutable; threads share it.
class FourierPlan {
 public:
  /// n ≥ 1.
  explicit FourierPlan(std::int64_t n);

  /// Bytes that making and keeping a plan takes, at most, and what scratch_size() would be.
  static std::uint64_t bytes(std::int64_t n);
  static std::int64_t scratch_size(std::int64_t n, std::int64_t batch);

  std::int64_t length() const { return n_; }

  /// Numbers that each plane of the scratch needs for `batch` transforms.
  std::int64_t scratch_size(std::int64_t batch) const { return scratch_size(n_, batch); }

  /// Transforms `batch` sequences at once, forward (e^(−2πi jk/n)) and in place: element k of
  /// sequence b is data[k × batch + b]. Several beside each other fill the vector unit.
  void transform(Planes data, std::int64_t batch, Planes scratch) const;

 private:
  struct Stage {
    std::int64_t radix = 1;
    /// Length of the transforms that this stage begins with.
    std::int64_t length = 1;
    /// Where its roots stand: radix − 1 for each of length / radix positions.
    std::size_t roots = 0;
  };

  void add_stages();
  void stockham(Planes data, std::int64_t batch, Planes scratch) const;
  void bluestein(Planes data, std::int64_t batch, Planes scratch) const;

  std::int64_t n_;
  std::vector<Stage> stages_;
  std::vector<std::complex<double>> roots_;
  /// Bluestein's: the transform of the convolution, the chirp and the other factor's transform.
  std::unique_ptr<FourierPlan> inner_;
  std::vector<std::complex<double>> chirp_;
  std::vector<std::complex<double>> spectrum_;
};

/// e^(−2πi k/n) for 0 ≤ k < n, each part within an ulp.
std::complex<double> root_of_unity(std::int64_t k, std::int64_t n);

}  // namespace outrigger::ops
