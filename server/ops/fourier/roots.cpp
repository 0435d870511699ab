#include "ops/fourier/roots.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "tensor/dims.hpp"

namespace outrigger::ops::fourier {

std::complex<double> root_of_unity(std::int64_t k, std::int64_t n) {
  // The angle is at most an eighth of a turn, from integers. The other angles are its reflections.
  const auto octant = static_cast<std::int64_t>(Wide{8} * k / n);
  const Wide rest = Wide{8} * k - Wide{octant} * n;
  const bool backwards = octant % 2 == 1;
  const auto part = static_cast<double>(backwards ? Wide{n} - rest : rest);
  const double angle = part / static_cast<double>(n) * (std::numbers::pi / 4);
  double c = std::cos(angle);
  double s = std::sin(angle);
  // Octants 1, 2, 5 and 6 are adjacent to the vertical axis.
  if (((octant + 1) & 2) != 0) std::swap(c, s);
  const bool left = octant >= 2 && octant < 6;
  const bool below = octant >= 4;
  return {left ? -c : c, below ? s : -s};
}

RootTable::RootTable(std::int64_t n) {
  while ((std::int64_t{1} << 2 * shift_) < n) ++shift_;
  const std::int64_t width = std::int64_t{1} << shift_;
  for (std::int64_t k = 0; k < n; k += width) coarse_.push_back(root_of_unity(k, n));
  for (std::int64_t k = 0; k < width; ++k)
    fine_.push_back(k < n ? root_of_unity(k, n) : std::complex<double>{});
}

bool is_smooth(std::int64_t n) {
  for (const std::int64_t prime : {2, 3, 5, 7, 11, 13}) {
    while (n % prime == 0) n /= prime;
  }
  return n == 1;
}

std::vector<int> radices_of(std::int64_t n) {
  std::vector<int> radices;
  for (const int prime : {13, 11, 7, 5, 3}) {
    for (; n % prime == 0; n /= prime) radices.push_back(prime);
  }
  // The rest of n is a power of two. 16 · 2 has as many passes as 8 · 4, but they are less equal.
  while (n > 1) {
    const int radix = n == 32 ? 8 : static_cast<int>(std::min<std::int64_t>(n, 16));
    radices.push_back(radix);
    n /= radix;
  }
  return radices;
}

std::int64_t convolution_length(std::int64_t n) {
  const std::int64_t least = 2 * n - 1;
  std::int64_t best = 1;
  while (best < least) best *= 2;
  for (const std::int64_t odd : {3, 5, 9, 15}) {
    std::int64_t m = odd;
    while (m < least) m *= 2;
    best = std::min(best, m);
  }
  return best;
}

std::int64_t matrix_rows(std::int64_t n) {
  auto rows = static_cast<std::int64_t>(std::sqrt(static_cast<double>(n)));
  while (n % rows != 0) --rows;
  return rows;
}

}  // namespace outrigger::ops::fourier
