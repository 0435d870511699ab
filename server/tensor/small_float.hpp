#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace outrigger {

/// The layout of a float narrower than f32: sign, exponent and mantissa, from the highest bit. An
/// `fn` format has no infinities: a value that is too large becomes the largest finite number, and
/// NaN is only the pattern with all bits set.
template <typename Bits_, int mantissa_, int bias_, bool fn_>
struct SmallFloat {
  using Bits = Bits_;
  static constexpr int mantissa = mantissa_;
  static constexpr int bias = bias_;
  static constexpr bool fn = fn_;
  static constexpr std::uint32_t magnitude_mask = (std::uint32_t{1} << (sizeof(Bits) * 8 - 1)) - 1;
  static constexpr std::uint32_t mantissa_mask = (std::uint32_t{1} << mantissa) - 1;
  /// The largest magnitude that is not NaN: infinity, or the largest finite number.
  static constexpr std::uint32_t largest =
      fn ? magnitude_mask - 1 : magnitude_mask & ~mantissa_mask;
};

using F8 = SmallFloat<std::uint8_t, 2, 15, false>;      // E5M2
using F8E4M3FN = SmallFloat<std::uint8_t, 3, 7, true>;  // E4M3, finite
using F16 = SmallFloat<std::uint16_t, 10, 15, false>;   // IEEE binary16
using BF16 = SmallFloat<std::uint16_t, 7, 127, false>;  // the upper half of an f32

/// The same number as an f32, which is always exact. A NaN keeps its sign and payload and, except
/// for bf16, becomes quiet, as in the hardware's conversions. The function has no branches, so that
/// loops over it vectorise.
template <typename F>
float widen(typename F::Bits bits) {
  if constexpr (F::bias == 127) {
    return std::bit_cast<float>(std::uint32_t{bits} << 16);  // the upper half of an f32
  } else {
    const std::uint32_t sign = std::uint32_t{bits} >> (sizeof(bits) * 8 - 1) << 31;
    const std::uint32_t magnitude = bits & F::magnitude_mask;
    constexpr int shift = 23 - F::mantissa;
    constexpr float quantum =
        std::bit_cast<float>(std::uint32_t{127 + 1 - F::bias - F::mantissa} << 23);
    const std::uint32_t normal = (magnitude << shift) + (std::uint32_t{127 - F::bias} << 23);
    const auto subnormal = std::bit_cast<std::uint32_t>(
        static_cast<float>(static_cast<std::int32_t>(magnitude)) * quantum);
    std::uint32_t result = magnitude <= F::mantissa_mask ? subnormal : normal;
    constexpr std::uint32_t infinity = 0x7f800000;
    constexpr std::uint32_t quiet = 0x00400000;
    result = !F::fn && magnitude == F::largest ? infinity : result;
    result = magnitude > F::largest ? (magnitude << shift | infinity | quiet) & 0x7fffffff : result;
    return std::bit_cast<float>(result | sign);
  }
}

/// Rounds to nearest, ties to even. A value that is too large becomes infinity, or the largest
/// finite number if the format has no infinities. The function has no branches.
template <typename F>
typename F::Bits narrow(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = bits >> 31;
  const std::uint32_t u = bits & 0x7fffffff;
  constexpr int shift = 23 - F::mantissa;
  const std::uint32_t half_down = (std::uint32_t{1} << (shift - 1)) - 1 + (u >> shift & 1);
  const std::uint32_t normal =
      ((u + half_down) >> shift) - (std::uint32_t{127 - F::bias} << F::mantissa);
  std::uint32_t result = normal;
  if constexpr (F::bias != 127) {
    // The last bit of `magic` has the value of the format's smallest number, so that the addition
    // rounds to that number.
    constexpr std::uint32_t magic = std::uint32_t{127 + 1 - F::bias - F::mantissa + 23} << 23;
    constexpr std::uint32_t smallest_normal = std::uint32_t{127 + 1 - F::bias} << 23;
    const std::uint32_t subnormal =
        std::bit_cast<std::uint32_t>(std::bit_cast<float>(u) + std::bit_cast<float>(magic)) - magic;
    result = u < smallest_normal ? subnormal : normal;
  }
  result = std::min(result, F::largest);
  constexpr std::uint32_t quiet = F::fn ? F::magnitude_mask : std::uint32_t{1} << (F::mantissa - 1);
  const std::uint32_t nan = F::largest | quiet | (u >> shift & F::mantissa_mask);
  result = u > 0x7f800000 ? nan : result;
  return static_cast<typename F::Bits>(result | sign << (sizeof(typename F::Bits) * 8 - 1));
}

/// Converts f64 to f32, and sets the last bit if anything was lost ("round to odd"). A second
/// rounding to a narrower float then gives the same result as one rounding of x (Boldo and
/// Melquiond, 2008).
inline float round_to_odd(double x) {
  const auto nearest = static_cast<float>(x);
  const auto back = static_cast<double>(nearest);
  const auto magnitude = [](double y) { return std::bit_cast<std::uint64_t>(y) << 1; };
  auto bits = std::bit_cast<std::uint32_t>(nearest);
  bits -= magnitude(back) > magnitude(x) ? 1 : 0;
  bits |= back != x ? 1 : 0;
  return std::bit_cast<float>(bits);
}

template <typename F>
typename F::Bits narrow(double x) {
  return narrow<F>(round_to_odd(x));
}

}  // namespace outrigger
