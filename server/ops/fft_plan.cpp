#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "ops/fft.hpp"
#include "ops/kernels.hpp"
#include "ops/windows.hpp"

namespace outrigger::ops {
namespace {

constexpr std::array<std::int64_t, 7> radices{4, 2, 3, 5, 7, 11, 13};
/// From here on a transform is cut into rows and columns.
constexpr std::int64_t long_points = std::int64_t{1} << 15;
/// Rows or columns that are transformed beside each other: a cache line holds 8 numbers.
constexpr std::int64_t beside = 16;

std::int64_t next_radix(std::int64_t n) {
  for (const std::int64_t radix : radices) {
    if (n % radix == 0) return radix;
  }
  return 0;
}

bool is_smooth(std::int64_t n) {
  while (n > 1) {
    const std::int64_t radix = next_radix(n);
    if (radix == 0) return false;
    n /= radix;
  }
  return true;
}

/// Points of the convolution that Bluestein's algorithm makes of n.
std::int64_t convolution_length(std::int64_t n) {
  std::int64_t m = 1;
  while (m < 2 * n - 1) m *= 2;
  return m;
}

/// Length of the columns of a long transform: the largest divisor up to the square root.
std::int64_t column_length(std::int64_t n) {
  auto length = static_cast<std::int64_t>(std::sqrt(static_cast<double>(n)));
  while (n % length != 0) --length;
  return length;
}

/// Numbers of a thread's tile of rows or columns, and of its scratch.
std::int64_t desk_size(std::int64_t n) { return 2 * beside * (n / column_length(n)); }

struct Number {
  double re;
  double im;

  Number operator+(Number b) const { return {re + b.re, im + b.im}; }
  Number operator-(Number b) const { return {re - b.re, im - b.im}; }
  Number operator*(Number b) const { return {re * b.re - im * b.im, re * b.im + im * b.re}; }
  Number operator*(double b) const { return {re * b, im * b}; }
  /// × −i
  Number turned() const { return {im, -re}; }
};

Number number(std::complex<double> x) { return {x.real(), x.imag()}; }
std::complex<double> product(std::complex<double> a, std::complex<double> b) {
  const Number p = number(a) * number(b);
  return {p.re, p.im};
}
inline Number load(Planes from, std::int64_t i) { return {from.re[i], from.im[i]}; }
inline void store(Planes to, std::int64_t i, Number x) {
  to.re[i] = x.re;
  to.im[i] = x.im;
}

void copy(Planes from, Planes to, std::int64_t n) {
  std::copy_n(from.re, n, to.re);
  std::copy_n(from.im, n, to.im);
}

/// One stage: butterflies at all positions, `side` of them beside each other. Element j of those of
/// position p begins at from + (p + j × positions) × side, result k at to + (p × radix + k) × side;
/// result k is multiplied with root (radix − 1) p + k − 1.
void stage2(Planes from, Planes to, const std::complex<double>* roots, std::int64_t positions,
            std::int64_t side) {
  const std::int64_t step = positions * side;
  for (std::int64_t p = 0; p < positions; ++p, from = from + side, to = to + 2 * side) {
    const Number w = number(roots[p]);
    OUTRIGGER_INDEPENDENT
    for (std::int64_t i = 0; i < side; ++i) {
      const Number a = load(from, i);
      const Number b = load(from, i + step);
      store(to, i, a + b);
      store(to, i + side, (a - b) * w);
    }
  }
}

void stage4(Planes from, Planes to, const std::complex<double>* roots, std::int64_t positions,
            std::int64_t side) {
  const std::int64_t step = positions * side;
  for (std::int64_t p = 0; p < positions; ++p, from = from + side, to = to + 4 * side) {
    const Number w1 = number(roots[3 * p]);
    const Number w2 = number(roots[3 * p + 1]);
    const Number w3 = number(roots[3 * p + 2]);
    OUTRIGGER_INDEPENDENT
    for (std::int64_t i = 0; i < side; ++i) {
      const Number a = load(from, i);
      const Number b = load(from, i + step);
      const Number c = load(from, i + 2 * step);
      const Number d = load(from, i + 3 * step);
      const Number even = a + c;
      const Number odd = b + d;
      const Number apart = a - c;
      const Number turned = (b - d).turned();
      store(to, i, even + odd);
      store(to, i + side, (apart + turned) * w1);
      store(to, i + 2 * side, (even - odd) * w2);
      store(to, i + 3 * side, (apart - turned) * w3);
    }
  }
}

/// Any odd radix. Elements j and radix − j share their products: half of a matrix.
template <std::int64_t radix>
void stage_odd(Planes from, Planes to, const std::complex<double>* roots, std::int64_t positions,
               std::int64_t side) {
  constexpr std::int64_t half = radix / 2;
  std::array<double, radix> cosine;
  std::array<double, radix> sine;
  for (std::int64_t k = 0; k < radix; ++k) {
    cosine[k] = root_of_unity(k, radix).real();
    sine[k] = root_of_unity(k, radix).imag();
  }
  const std::int64_t step = positions * side;
  for (std::int64_t p = 0; p < positions; ++p, from = from + side, to = to + radix * side) {
    const std::complex<double>* w = roots + (radix - 1) * p;
    OUTRIGGER_INDEPENDENT
    for (std::int64_t i = 0; i < side; ++i) {
      const Number first = load(from, i);
      std::array<Number, half> sum;
      std::array<Number, half> apart;
      Number total = first;
      for (std::int64_t j = 0; j < half; ++j) {
        const Number a = load(from, i + (j + 1) * step);
        const Number b = load(from, i + (radix - 1 - j) * step);
        sum[j] = a + b;
        apart[j] = a - b;
        total = total + sum[j];
      }
      store(to, i, total);
      for (std::int64_t k = 1; k <= half; ++k) {
        Number even = first;
        Number odd{0, 0};
        for (std::int64_t j = 0; j < half; ++j) {
          const std::int64_t turn = k * (j + 1) % radix;
          even = even + sum[j] * cosine[turn];
          odd = odd + apart[j] * sine[turn];
        }
        const Number turned = odd.turned();
        store(to, i + k * side, (even - turned) * number(w[k - 1]));
        store(to, i + (radix - k) * side, (even + turned) * number(w[radix - k - 1]));
      }
    }
  }
}

using StageFn = void (*)(Planes, Planes, const std::complex<double>*, std::int64_t, std::int64_t);

StageFn stage_of(std::int64_t radix) {
  switch (radix) {
    case 2:
      return &stage2;
    case 3:
      return &stage_odd<3>;
    case 4:
      return &stage4;
    case 5:
      return &stage_odd<5>;
    case 7:
      return &stage_odd<7>;
    case 11:
      return &stage_odd<11>;
    default:
      return &stage_odd<13>;
  }
}

}  // namespace

std::complex<double> root_of_unity(std::int64_t k, std::int64_t n) {
  // An angle of at most an eighth of a turn, from whole numbers; the others are its reflections.
  const auto octant = static_cast<std::int64_t>(Wide{8} * k / n);
  const Wide rest = Wide{8} * k - Wide{octant} * n;
  const bool backwards = octant % 2 == 1;
  const auto part = static_cast<double>(backwards ? Wide{n} - rest : rest);
  const double angle = part / static_cast<double>(n) * (std::numbers::pi / 4);
  double c = std::cos(angle);
  double s = std::sin(angle);
  // Octants 1, 2, 5 and 6 are next to the vertical axis.
  if (((octant + 1) & 2) != 0) std::swap(c, s);
  const bool left = octant >= 2 && octant < 6;
  const bool below = octant >= 4;
  return {left ? -c : c, below ? s : -s};
}

RootTable::RootTable(std::int64_t n, std::int64_t width) {
  for (std::int64_t h = 0; h * width < n; ++h) coarse_.push_back(root_of_unity(h * width, n));
  for (std::int64_t l = 0; l < width; ++l) fine_.push_back(root_of_unity(l, n));
}

FourierPlan::FourierPlan(std::int64_t n) : n_(n) {
  if (!is_smooth(n)) {
    add_chirp();
    return;
  }
  if (!is_long(n)) {
    add_stages();
    return;
  }
  const std::int64_t columns = column_length(n);
  columns_.reset(new FourierPlan(columns, Short{}));
  rows_.reset(new FourierPlan(n / columns, Short{}));
  between_ = RootTable(n, n / columns);
}

void FourierPlan::add_stages() {
  for (std::int64_t length = n_; length > 1;) {
    const std::int64_t radix = next_radix(length);
    stages_.push_back(Stage{radix, length, roots_.size()});
    for (std::int64_t p = 0; p < length / radix; ++p) {
      for (std::int64_t k = 1; k < radix; ++k) roots_.push_back(root_of_unity(p * k, length));
    }
    length /= radix;
  }
}

void FourierPlan::add_chirp() {
  const std::int64_t n = n_;
  const std::int64_t m = convolution_length(n);
  inner_ = std::make_unique<FourierPlan>(m);
  const auto width = static_cast<std::int64_t>(std::sqrt(static_cast<double>(2 * n)));
  const RootTable roots(2 * n, width);
  const std::int64_t plane = m + scratch_size(m, 1, 1);
  std::vector<double> planes(static_cast<std::size_t>(2 * plane));
  const Planes data{planes.data(), planes.data() + plane};
  for (std::int64_t k = 0; k < n; ++k) {
    // e^(−πi k²/n), with k² modulo 2n. The inverse transform of the convolution divides by m.
    const auto square = static_cast<std::int64_t>(Wide{k} * k % (2 * n));
    const std::complex<double> w =
        product(roots.coarse(square / width), roots.fine(square % width));
    const std::complex<double> other = std::conj(w) / static_cast<double>(m);
    chirp_.push_back(w);
    store(data, k, number(other));
    if (k > 0) store(data, m - k, number(other));
  }
  if (is_long(m)) {
    // Nobody can cancel it: a few long transforms cost no more than this one.
    Memory none;
    const Interrupt never;
    std::vector<std::byte> unused;
    const Context context{none, never, 1, unused};
    (void)inner_->transform_long(context, data, data + m);
  } else {
    inner_->transform(data, 1, data + m);
  }
  for (std::int64_t k = 0; k < m; ++k) spectrum_.emplace_back(data.re[k], data.im[k]);
}

bool FourierPlan::is_long(std::int64_t n) {
  const std::int64_t points = is_smooth(n) ? n : convolution_length(n);
  return points >= long_points;
}

std::uint64_t FourierPlan::bytes(std::int64_t n) {
  // Vectors that grow hold up to three times their size for a moment.
  constexpr std::uint64_t root_bytes = 3 * sizeof(std::complex<double>);
  if (is_smooth(n)) return static_cast<std::uint64_t>(2 * n) * root_bytes;
  const std::int64_t m = convolution_length(n);
  return bytes(m) + static_cast<std::uint64_t>(n + m) * root_bytes +
         static_cast<std::uint64_t>(m + scratch_size(m, 1, 1)) * 2 * sizeof(double);
}

std::int64_t FourierPlan::scratch_size(std::int64_t n, std::int64_t batch, int threads) {
  if (!is_smooth(n)) {
    const std::int64_t m = convolution_length(n);
    return m * batch + scratch_size(m, batch, threads);
  }
  return is_long(n) ? n + desk_size(n) * threads : n * batch;
}

void FourierPlan::transform(Planes data, std::int64_t batch, Planes scratch) const {
  if (inner_ == nullptr) {
    stockham(data, batch, scratch);
  } else {
    bluestein(data, batch, scratch);
  }
}

Result<void> FourierPlan::transform_long(const Context& context, Planes data,
                                         Planes scratch) const {
  return inner_ == nullptr ? four_steps(context, data, scratch)
                           : long_bluestein(context, data, scratch);
}

void FourierPlan::stockham(Planes data, std::int64_t batch, Planes scratch) const {
  Planes from = data;
  Planes to = scratch;
  // What is left to transform is `side` sequences, interleaved.
  std::int64_t side = batch;
  for (const Stage& stage : stages_) {
    stage_of(stage.radix)(from, to, roots_.data() + stage.roots, stage.length / stage.radix, side);
    std::swap(from, to);
    side *= stage.radix;
  }
  if (from.re == data.re) return;
  std::copy_n(from.re, n_ * batch, data.re);
  std::copy_n(from.im, n_ * batch, data.im);
}

Result<void> FourierPlan::four_steps(const Context& context, Planes data, Planes scratch) const {
  const std::int64_t height = columns_->length();
  const std::int64_t width = rows_->length();
  const Planes turned = scratch;
  const auto desk = [&](int thread) { return scratch + n_ + desk_size(n_) * thread; };
  // The sequence is a matrix [height][width]: its columns, and the roots between the two.
  OUTRIGGER_CHECK(parallel_ranges(
      context, width, beside, n_, [&](int thread, std::int64_t begin, std::int64_t end) {
        const std::int64_t count = end - begin;
        const Planes tile = desk(thread);
        for (std::int64_t j = 0; j < height; ++j)
          copy(data + (j * width + begin), tile + j * count, count);
        columns_->transform(tile, count, tile + height * beside);
        for (std::int64_t k = 0; k < height; ++k) {
          // Root (begin + i) × k of n is root h of height times root l of n.
          std::int64_t h = begin * k / width;
          std::int64_t l = begin * k % width;
          for (std::int64_t i = 0; i < count; ++i) {
            const Number w = number(between_.coarse(h)) * number(between_.fine(l));
            store(turned, k * width + begin + i, load(tile, k * count + i) * w);
            l += k;  // k is less than height, which is at most width
            if (l >= width) {
              l -= width;
              ++h;
            }
          }
        }
      }));
  // The rows of what came out; their points go to the columns of the result.
  return parallel_ranges(context, height, beside, n_,
                         [&](int thread, std::int64_t begin, std::int64_t end) {
                           const std::int64_t count = end - begin;
                           const Planes tile = desk(thread);
                           for (std::int64_t b = 0; b < count; ++b) {
                             const Planes row = turned + (begin + b) * width;
                             for (std::int64_t j = 0; j < width; ++j)
                               store(tile, j * count + b, load(row, j));
                           }
                           rows_->transform(tile, count, tile + width * beside);
                           for (std::int64_t k = 0; k < width; ++k)
                             copy(tile + k * count, data + (k * height + begin), count);
                         });
}

void FourierPlan::spread(Planes data, Planes wide, std::int64_t batch, std::int64_t begin,
                         std::int64_t end) const {
  for (std::int64_t k = begin; k < end; ++k) {
    const Number w = k < n_ ? number(chirp_[static_cast<std::size_t>(k)]) : Number{0, 0};
    OUTRIGGER_INDEPENDENT
    for (std::int64_t i = k * batch; i < (k + 1) * batch; ++i) {
      store(wide, i, k < n_ ? load(data, i) * w : w);
    }
  }
}

void FourierPlan::convolve(Planes wide, std::int64_t batch, std::int64_t begin,
                           std::int64_t end) const {
  for (std::int64_t k = begin; k < end; ++k) {
    const Number w = number(spectrum_[static_cast<std::size_t>(k)]);
    OUTRIGGER_INDEPENDENT
    for (std::int64_t i = k * batch; i < (k + 1) * batch; ++i) store(wide, i, load(wide, i) * w);
  }
}

void FourierPlan::gather(Planes wide, Planes data, std::int64_t batch, std::int64_t begin,
                         std::int64_t end) const {
  for (std::int64_t k = begin; k < end; ++k) {
    const Number w = number(chirp_[static_cast<std::size_t>(k)]);
    OUTRIGGER_INDEPENDENT
    for (std::int64_t i = k * batch; i < (k + 1) * batch; ++i) store(data, i, load(wide, i) * w);
  }
}

// The inverse transform is the forward one with the parts exchanged, before and after.

void FourierPlan::bluestein(Planes data, std::int64_t batch, Planes scratch) const {
  const std::int64_t m = inner_->length();
  const Planes rest = scratch + m * batch;
  spread(data, scratch, batch, 0, m);
  inner_->transform(scratch, batch, rest);
  convolve(scratch, batch, 0, m);
  inner_->transform(Planes{scratch.im, scratch.re}, batch, rest);
  gather(scratch, data, batch, 0, n_);
}

Result<void> FourierPlan::long_bluestein(const Context& context, Planes data,
                                         Planes scratch) const {
  constexpr std::int64_t grain = std::int64_t{1} << 14;
  const std::int64_t m = inner_->length();
  const Planes rest = scratch + m;
  OUTRIGGER_CHECK(parallel_ranges(
      context, m, grain, m,
      [&](int, std::int64_t begin, std::int64_t end) { spread(data, scratch, 1, begin, end); }));
  OUTRIGGER_CHECK(inner_->transform_long(context, scratch, rest));
  OUTRIGGER_CHECK(parallel_ranges(
      context, m, grain, m,
      [&](int, std::int64_t begin, std::int64_t end) { convolve(scratch, 1, begin, end); }));
  OUTRIGGER_CHECK(inner_->transform_long(context, Planes{scratch.im, scratch.re}, rest));
  return parallel_ranges(context, n_, grain, m, [&](int, std::int64_t begin, std::int64_t end) {
    gather(scratch, data, 1, begin, end);
  });
}

}  // namespace outrigger::ops
