#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace outrigger {

/// Casts one element as Nx.as_type/2 does on Nx.BinaryBackend. A float is truncated to an integer,
/// which then wraps modulo 2^bits; NaN becomes 0, and an infinity the largest or smallest integer.
/// An integer wraps.
template <typename To, typename From>
To cast_element(From x) {
  if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    constexpr From two63 = 9223372036854775808.0;
    if (x > -two63 && x < two63) return static_cast<To>(static_cast<std::int64_t>(x));
    if (std::isnan(x)) return To{0};
    if (std::isinf(x)) {
      return x > 0 ? std::numeric_limits<To>::max() : std::numeric_limits<To>::min();
    }
    // Beyond 2^63 every float is an integer. Its low 64 bits are the result of the modulus.
    const From low = std::fmod(std::fabs(x), 2 * two63);
    const auto bits = static_cast<std::uint64_t>(low);
    return static_cast<To>(x < 0 ? std::uint64_t{0} - bits : bits);
  } else {
    return static_cast<To>(x);
  }
}

/// An integer narrower than a byte, stored in a byte.
template <typename Carrier_, int bits_>
struct SmallInteger {
  using Carrier = Carrier_;
  static constexpr int unused = 8 - bits_;
  static constexpr bool is_signed = std::is_signed_v<Carrier>;
  static constexpr Carrier max = std::numeric_limits<Carrier>::max() >> unused;
  static constexpr Carrier min = std::numeric_limits<Carrier>::min() >> unused;

  /// Keeps the low bits, and extends the sign.
  static Carrier wrap(Carrier x) {
    return static_cast<Carrier>(static_cast<Carrier>(static_cast<std::uint8_t>(x) << unused) >>
                                unused);
  }
};

using U2 = SmallInteger<std::uint8_t, 2>;
using U4 = SmallInteger<std::uint8_t, 4>;
using S2 = SmallInteger<std::int8_t, 2>;
using S4 = SmallInteger<std::int8_t, 4>;

/// cast_element to a small integer.
template <typename I, typename From>
typename I::Carrier cast_small(From x) {
  if constexpr (std::is_floating_point_v<From>) {
    if (std::isinf(x)) return x > 0 ? I::max : I::min;
  }
  return I::wrap(cast_element<typename I::Carrier>(x));
}

}  // namespace outrigger
