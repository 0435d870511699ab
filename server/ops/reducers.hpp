#pragma once

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

}  // namespace outrigger::ops
