#pragma once

#include <complex>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/error.hpp"
#include "ops/context.hpp"

namespace outrigger::ops {

/// Complex numbers with their parts apart, as the vector unit likes them.
struct Planes {
  double* re;
  double* im;

  Planes operator+(std::int64_t offset) const { return {re + offset, im + offset}; }
};

/// e^(−2πi k/n) for 0 ≤ k < n, each part within an ulp.
std::complex<double> root_of_unity(std::int64_t k, std::int64_t n);

/// All roots of n, as products of two out of about 2 √n: within 2 ulp.
class RootTable {
 public:
  RootTable() = default;
  /// Root h × width + l is coarse(h) × fine(l).
  RootTable(std::int64_t n, std::int64_t width);

  std::complex<double> coarse(std::int64_t h) const { return coarse_[static_cast<std::size_t>(h)]; }
  std::complex<double> fine(std::int64_t l) const { return fine_[static_cast<std::size_t>(l)]; }

 private:
  std::vector<std::complex<double>> coarse_;
  std::vector<std::complex<double>> fine_;
};

/// A discrete Fourier transform of one length, made ready: factors and roots of unity.
///
/// Lengths whose prime factors are at most 13 use Stockham's autosort algorithm (no bit reversal;
/// each stage reads and writes runs) with the radices 4, 2, 3, 5, 7, 11 and 13. Long ones are first
/// cut into rows and columns (Bailey's four steps, 1990), which fit the cache. Other lengths go
/// through Bluestein's algorithm (Rabiner, Schafer and Rader, 1969): a convolution by transforms of
/// a power of two. Roots come from root_of_unity(), not from a recurrence, so that errors grow with
/// log n only. Immutable; threads share it.
class FourierPlan {
 public:
  /// n ≥ 1.
  explicit FourierPlan(std::int64_t n);

  /// Bytes that making and keeping a plan takes, at most.
  static std::uint64_t bytes(std::int64_t n);
  /// Numbers that each plane of the scratch needs for `batch` transforms, or one long transform by
  /// a team.
  static std::int64_t scratch_size(std::int64_t n, std::int64_t batch, int threads);
  /// Whether a transform is long enough for a team. It is then done alone.
  static bool is_long(std::int64_t n);

  std::int64_t length() const { return n_; }

  /// Transforms `batch` sequences at once, forward (e^(−2πi jk/n)) and in place: element k of
  /// sequence b is data[k × batch + b]. Several beside each other fill the vector unit. Not for
  /// long lengths.
  void transform(Planes data, std::int64_t batch, Planes scratch) const;

  /// Transforms one long sequence, in place. Errors: cancelled, deadline_exceeded.
  Result<void> transform_long(const Context& context, Planes data, Planes scratch) const;

 private:
  struct Stage {
    std::int64_t radix = 1;
    /// Length of the transforms that this stage begins with.
    std::int64_t length = 1;
    /// Where its roots stand: radix − 1 for each of length / radix positions.
    std::size_t roots = 0;
  };

  struct Short {};
  FourierPlan(std::int64_t n, Short) : n_(n) { add_stages(); }

  void add_stages();
  void add_chirp();
  void stockham(Planes data, std::int64_t batch, Planes scratch) const;
  void bluestein(Planes data, std::int64_t batch, Planes scratch) const;
  Result<void> four_steps(const Context& context, Planes data, Planes scratch) const;
  Result<void> long_bluestein(const Context& context, Planes data, Planes scratch) const;
  // The parts of Bluestein's algorithm, for points [begin, end) of `batch` sequences.
  void spread(Planes data, Planes wide, std::int64_t batch, std::int64_t begin,
              std::int64_t end) const;
  void convolve(Planes wide, std::int64_t batch, std::int64_t begin, std::int64_t end) const;
  void gather(Planes wide, Planes data, std::int64_t batch, std::int64_t begin,
              std::int64_t end) const;

  using Roots = std::vector<std::complex<double>>;

  std::int64_t n_;
  std::vector<Stage> stages_;
  Roots roots_;
  /// Four steps: the transforms of columns and of rows, and the roots between them.
  std::unique_ptr<FourierPlan> columns_;
  std::unique_ptr<FourierPlan> rows_;
  RootTable between_;
  /// Bluestein's: the transform of the convolution, the chirp and the other factor's transform.
  std::unique_ptr<FourierPlan> inner_;
  Roots chirp_;
  Roots spectrum_;
};

}  // namespace outrigger::ops
