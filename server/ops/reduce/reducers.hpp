#pragma once

#include <algorithm>
#include <array>
#include <complex>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "ops/elementwise/complex_math.hpp"
#include "ops/pass/reducer.hpp"
#include "ops/support/transpose.hpp"

namespace outrigger::ops {

/// Short runs that are reduced side by side.
inline constexpr std::int64_t runs_turned = 64;

/// Transposes `count` runs of n adjacent elements, n < run_lanes, some runs at a time. Calls
/// f(first, runs, turned); element k of run first + i is turned[k · runs_turned + i].
template <typename T, typename F>
void turn_short_runs(const T* x, std::int64_t count, std::int64_t n, F&& f) {
  std::array<T, static_cast<std::size_t>(run_lanes * runs_turned)> turned;
  for (std::int64_t first = 0; first < count; first += runs_turned) {
    const std::int64_t runs = std::min(runs_turned, count - first);
    transpose(turned.data(), runs_turned, x + first * n, n, runs, n);
    f(first, runs, turned.data());
  }
}

// A reducing function lifts elements to an accumulator, and combines two accumulators. The
// combination is commutative, and associative except for rounding. Lanes, blocks and threads
// regroup it, always in the same way.

/// f32 accumulates in f64, and c64 in c128, as in Nx.BinaryBackend.
template <typename T>
using SumAccumulator = std::conditional_t<
    std::is_floating_point_v<T>, double,
    std::conditional_t<
        is_complex_v<T>, std::complex<double>,
        std::conditional_t<sizeof(T) == 8, std::int64_t,
                           std::conditional_t<std::is_signed_v<T>, std::int32_t, std::uint32_t>>>>;

/// Sums in A; integers wrap around.
template <typename T, typename A>
struct SumIn {
  using Accumulator = A;
  static constexpr Accumulator identity = 0;
  static Accumulator lift(T x) { return static_cast<Accumulator>(x); }
  static Accumulator combine(Accumulator a, Accumulator b) {
    return static_cast<Accumulator>(a + b);
  }
};
template <typename T, typename A>
struct ProductIn {
  using Accumulator = A;
  static constexpr Accumulator identity = 1;
  static Accumulator lift(T x) { return static_cast<Accumulator>(x); }
  static Accumulator combine(Accumulator a, Accumulator b) { return times(a, b); }
};
template <typename T>
using Sum = SumIn<T, SumAccumulator<T>>;
template <typename T>
using Product = ProductIn<T, SumAccumulator<T>>;
template <typename T>
struct Maximum {
  using Accumulator = T;
  static constexpr T identity = std::is_floating_point_v<T> ? -std::numeric_limits<T>::infinity()
                                                            : std::numeric_limits<T>::min();
  static T lift(T x) { return x; }
  static T combine(T a, T b) { return a > b || a != a ? a : b; }
};
template <typename T>
struct Minimum {
  using Accumulator = T;
  static constexpr T identity = std::is_floating_point_v<T> ? std::numeric_limits<T>::infinity()
                                                            : std::numeric_limits<T>::max();
  static T lift(T x) { return x; }
  static T combine(T a, T b) { return a < b || a != a ? a : b; }
};

/// The number of lanes from which on they do not stay in registers.
inline constexpr std::int64_t wide_lanes = 256;
/// The rows that are added to wide lanes in one step: to read and write a lane takes longer than to
/// read the rows.
inline constexpr std::int64_t rows_together = 4;

/// Combines n adjacent elements with run_lanes lanes; the first element belongs to the first lane.
/// The function is inlined, so that lanes with a short life stay in registers.
template <typename R, typename T>
[[gnu::always_inline]] inline void add_to_run(typename R::Accumulator* lane, const T* x,
                                              std::int64_t n) {
  std::array<typename R::Accumulator, run_lanes> kept;
  std::copy_n(lane, run_lanes, kept.begin());
  for (; n >= run_lanes; n -= run_lanes, x += run_lanes) {
    for (std::int64_t k = 0; k < run_lanes; ++k) kept[k] = R::combine(kept[k], R::lift(x[k]));
  }
  for (std::int64_t k = 0; k < n; ++k) kept[k] = R::combine(kept[k], R::lift(x[k]));
  std::copy_n(kept.begin(), run_lanes, lane);
}

/// Combines elements [at, at + n) of rows of `lanes` elements with the lanes.
template <typename R, typename T>
void add_to_lanes(typename R::Accumulator* lane, std::int64_t lanes, std::int64_t at, const T* x,
                  std::int64_t n) {
  const auto add = [&](std::int64_t first, std::int64_t count) {
    OUTRIGGER_INDEPENDENT
    for (std::int64_t k = 0; k < count; ++k)
      lane[first + k] = R::combine(lane[first + k], R::lift(x[k]));
    x += count;
    n -= count;
  };
  if (const std::int64_t first = at % lanes; first > 0) add(first, std::min(lanes - first, n));
  if (lanes == run_lanes) return add_to_run<R>(lane, x, n);
  if constexpr (sizeof(*lane) > sizeof(T)) {
    const std::int64_t step = rows_together * lanes;
    for (; lanes >= wide_lanes && n >= step; n -= step, x += step) {
      OUTRIGGER_INDEPENDENT
      for (std::int64_t k = 0; k < lanes; ++k) {
        typename R::Accumulator sum = lane[k];
        for (std::int64_t row = 0; row < rows_together; ++row)
          sum = R::combine(sum, R::lift(x[k + row * lanes]));
        lane[k] = sum;
      }
    }
  }
  while (n >= lanes) add(0, lanes);
  add(0, n);
}

/// Combines n lanes, a power of two. The first lane has the result.
template <typename R, std::int64_t n = run_lanes>
[[gnu::always_inline]] inline void join_run(typename R::Accumulator* lane) {
  if constexpr (n > 1) {
    for (std::int64_t k = 0; k < n / 2; ++k) lane[k] = R::combine(lane[k], lane[k + n / 2]);
    join_run<R, n / 2>(lane);
  }
}

/// Combines `groups` groups of `width` lanes. The first group has the result.
template <typename R>
void join_lanes(typename R::Accumulator* lane, std::int64_t width, std::int64_t groups) {
  if (width == 1 && groups == run_lanes) return join_run<R>(lane);
  while (groups > 1) {
    const std::int64_t half = groups / 2;
    const std::int64_t kept = groups - half;
    OUTRIGGER_INDEPENDENT
    for (std::int64_t k = 0; k < half * width; ++k)
      lane[k] = R::combine(lane[k], lane[kept * width + k]);
    groups = kept;
  }
}

/// Reduces n adjacent elements on lanes.
template <typename R, typename T>
typename R::Accumulator reduce_run(const T* x, std::int64_t n) {
  std::array<typename R::Accumulator, run_lanes> lane;
  lane.fill(R::identity);
  add_to_run<R>(lane.data(), x, n);
  join_run<R>(lane.data());
  return lane[0];
}

}  // namespace outrigger::ops
