#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "base/kernel_unit.hpp"
#include "tensor/cast_element.hpp"

// Operations on cells: an integer extended to 64 bits, the bits of a float, or 0 and 1. Each has
// the meaning of the op of the same name.

namespace outrigger::kernel {

template <typename T>
T value_of(std::uint64_t cell) {
  if constexpr (std::is_same_v<T, float>)
    return std::bit_cast<float>(static_cast<std::uint32_t>(cell));
  else if constexpr (std::is_same_v<T, double>)
    return std::bit_cast<double>(cell);
  else
    return static_cast<T>(cell);
}

template <typename T>
std::uint64_t cell_of(T value) {
  if constexpr (std::is_same_v<T, float>)
    return std::bit_cast<std::uint32_t>(value);
  else if constexpr (std::is_same_v<T, double>)
    return std::bit_cast<std::uint64_t>(value);
  else if constexpr (std::is_signed_v<T>)
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
  else
    return value;
}

constexpr bool is_comparison(What what) {
  return what >= What::equal && what <= What::greater_equal;
}

template <What what, typename T>
bool compare(std::uint64_t x, std::uint64_t y) {
  const T a = value_of<T>(x);
  const T b = value_of<T>(y);
  if constexpr (what == What::equal) return a == b;
  if constexpr (what == What::not_equal) return a != b;
  if constexpr (what == What::less) return a < b;
  if constexpr (what == What::less_equal) return a <= b;
  if constexpr (what == What::greater) return a > b;
  if constexpr (what == What::greater_equal) return a >= b;
  return false;
}

/// The divisor of a quotient or remainder is not 0.
template <What what, typename T>
std::uint64_t binary(std::uint64_t x, std::uint64_t y) {
  const T a = value_of<T>(x);
  const T b = value_of<T>(y);
  if constexpr (is_comparison(what)) return compare<what, T>(x, y) ? 1 : 0;
  if constexpr (what == What::min) return cell_of(a != a ? a : a < b ? a : b);
  if constexpr (what == What::max) return cell_of(a != a ? a : a > b ? a : b);
  if constexpr (std::is_floating_point_v<T>) {
    if constexpr (what == What::add) return cell_of(a + b);
    if constexpr (what == What::subtract) return cell_of(a - b);
    if constexpr (what == What::multiply) return cell_of(a * b);
    if constexpr (what == What::divide) return cell_of(a / b);
  } else {
    // The low bits of the sum of two cells are those of the sum; unsigned integers wrap around.
    constexpr std::uint64_t bits = 8 * sizeof(T);
    if constexpr (what == What::add) return cell_of(static_cast<T>(x + y));
    if constexpr (what == What::subtract) return cell_of(static_cast<T>(x - y));
    if constexpr (what == What::multiply) return cell_of(static_cast<T>(x * y));
    if constexpr (what == What::bitwise_and) return x & y;
    if constexpr (what == What::bitwise_or) return x | y;
    if constexpr (what == What::bitwise_xor) return x ^ y;
    // A negative shift, as a cell, is larger than the width.
    if constexpr (what == What::left_shift) return y < bits ? cell_of(static_cast<T>(x << y)) : 0;
    if constexpr (what == What::right_shift)
      return cell_of(static_cast<T>(a >> (y < bits ? y : bits - 1) >> (y < bits ? 0 : 1)));
    if constexpr (what == What::quotient) {
      if (std::is_signed_v<T> && b == static_cast<T>(-1))
        return cell_of(static_cast<T>(std::uint64_t{0} - x));
      return cell_of(static_cast<T>(a / b));
    }
    if constexpr (what == What::remainder) {
      if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
      return cell_of(static_cast<T>(a % b));
    }
  }
  return 0;
}

template <What what, typename T>
std::uint64_t unary(std::uint64_t x) {
  const T a = value_of<T>(x);
  if constexpr (std::is_floating_point_v<T>) {
    if constexpr (what == What::negate) return cell_of(-a);
    if constexpr (what == What::abs) return cell_of(std::fabs(a));
    if constexpr (what == What::sqrt) return cell_of(std::sqrt(a));
    if constexpr (what == What::floor) return cell_of(std::floor(a));
    if constexpr (what == What::ceil) return cell_of(std::ceil(a));
    if constexpr (what == What::trunc) return cell_of(std::trunc(a));
    if constexpr (what == What::is_nan) return std::isnan(a) ? 1 : 0;
  } else {
    using U = std::make_unsigned_t<T>;
    const auto u = static_cast<U>(x);
    if constexpr (what == What::negate) return cell_of(static_cast<T>(std::uint64_t{0} - x));
    if constexpr (what == What::abs)
      return a < 0 ? cell_of(static_cast<T>(std::uint64_t{0} - x)) : x;
    if constexpr (what == What::bitwise_not) return cell_of(static_cast<T>(~x));
    if constexpr (what == What::population_count) return cell_of(static_cast<T>(std::popcount(u)));
    if constexpr (what == What::count_leading_zeros)
      return cell_of(static_cast<T>(std::countl_zero(u)));
    if constexpr (what == What::count_trailing_zeros)
      return cell_of(static_cast<T>(std::countr_zero(u)));
  }
  return 0;
}

/// The conversion of `as_type`.
template <typename To, typename From>
std::uint64_t convert(std::uint64_t x) {
  return cell_of(cast_element<To>(value_of<From>(x)));
}

}  // namespace outrigger::kernel
