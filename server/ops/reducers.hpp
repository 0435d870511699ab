#pragma once

#include <array>
#include <complex>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "ops/complex_math.hpp"

namespace outrigger::ops {

// A reducer lifts elements to an accumulator and combines two of them. Combination is commutative,
// and associative up to rounding: lanes, blocks and threads regroup it, always in the same way.

/// f32 accumulates in f64, c64 in c128, as Nx.BinaryBackend does.
template <typename T>
using SumAccumulator = std::conditional_t<
    std::is_floating_point_v<T>, double,
    std::conditional_t<
        is_complex_v<T>, std::complex<double>,
        std::conditional_t<sizeof(T) == 8, std::int64_t,
                           std::conditional_t<std::is_signed_v<T>, std::int32_t, std::uint32_t>>>>;

template <typename T>
struct Sum {
  using Accumulator = SumAccumulator<T>;
  static constexpr Accumulator identity = 0;
  static Accumulator lift(T x) { return static_cast<Accumulator>(x); }
  static Accumulator combine(Accumulator a, Accumulator b) { return a + b; }
};
template <typename T>
struct Product {
  using Accumulator = SumAccumulator<T>;
  static constexpr Accumulator identity = 1;
  static Accumulator lift(T x) { return static_cast<Accumulator>(x); }
  static Accumulator combine(Accumulator a, Accumulator b) { return times(a, b); }
};
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

/// Reduces n neighbours on lanes.
template <typename R, typename T>
typename R::Accumulator reduce_run(const T* x, std::int64_t n) {
  using A = typename R::Accumulator;
  constexpr std::int64_t lanes = 32;
  std::array<A, lanes> lane;
  lane.fill(R::identity);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (std::int64_t k = 0; k < lanes; ++k) lane[k] = R::combine(lane[k], R::lift(x[i + k]));
  }
  for (std::int64_t k = 0; i < n; ++i, ++k) lane[k] = R::combine(lane[k], R::lift(x[i]));
  A result = lane[0];
  for (std::int64_t k = 1; k < lanes; ++k) result = R::combine(result, lane[k]);
  return result;
}

}  // namespace outrigger::ops
