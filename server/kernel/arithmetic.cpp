#include "kernel/arithmetic.hpp"

#include <bit>
#include <cassert>
#include <cmath>
#include <limits>
#include <type_traits>

#include "tensor/cast_element.hpp"

namespace outrigger::kernel {
namespace {

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

template <What what, typename T>
std::uint64_t binary(std::uint64_t x, std::uint64_t y) {
  const T a = value_of<T>(x);
  const T b = value_of<T>(y);
  if constexpr (what == What::equal) return a == b;
  if constexpr (what == What::not_equal) return a != b;
  if constexpr (what == What::less) return a < b;
  if constexpr (what == What::less_equal) return a <= b;
  if constexpr (what == What::greater) return a > b;
  if constexpr (what == What::greater_equal) return a >= b;
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
    if constexpr (what == What::is_nan) return std::isnan(a);
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

template <typename T>
struct Tag {
  using type = T;
};

template <typename F>
auto with_type(Type type, F&& f) {
  switch (type) {
    case Type::u8:
      return f(Tag<std::uint8_t>{});
    case Type::u16:
      return f(Tag<std::uint16_t>{});
    case Type::u32:
      return f(Tag<std::uint32_t>{});
    case Type::u64:
      return f(Tag<std::uint64_t>{});
    case Type::s8:
      return f(Tag<std::int8_t>{});
    case Type::s16:
      return f(Tag<std::int16_t>{});
    case Type::s32:
      return f(Tag<std::int32_t>{});
    case Type::f32:
      return f(Tag<float>{});
    case Type::f64:
      return f(Tag<double>{});
    default:
      assert(type == Type::s64);
      return f(Tag<std::int64_t>{});
  }
}

std::uint64_t logical_not(std::uint64_t x) { return x ^ 1; }

}  // namespace

Unary unary_operation(What what, Type type) {
  if (what == What::logical_not) return &logical_not;
  return with_type(type, [what](auto tag) -> Unary {
    using T = typename decltype(tag)::type;
    switch (what) {
      case What::negate:
        return &unary<What::negate, T>;
      case What::abs:
        return &unary<What::abs, T>;
      case What::sqrt:
        return &unary<What::sqrt, T>;
      case What::floor:
        return &unary<What::floor, T>;
      case What::ceil:
        return &unary<What::ceil, T>;
      case What::trunc:
        return &unary<What::trunc, T>;
      case What::is_nan:
        return &unary<What::is_nan, T>;
      case What::bitwise_not:
        return &unary<What::bitwise_not, T>;
      case What::population_count:
        return &unary<What::population_count, T>;
      case What::count_leading_zeros:
        return &unary<What::count_leading_zeros, T>;
      default:
        assert(what == What::count_trailing_zeros);
    }
    return &unary<What::count_trailing_zeros, T>;
  });
}

Binary binary_operation(What what, Type type) {
  return with_type(type, [what](auto tag) -> Binary {
    using T = typename decltype(tag)::type;
    switch (what) {
      case What::add:
        return &binary<What::add, T>;
      case What::subtract:
        return &binary<What::subtract, T>;
      case What::multiply:
        return &binary<What::multiply, T>;
      case What::min:
        return &binary<What::min, T>;
      case What::max:
        return &binary<What::max, T>;
      case What::divide:
        return &binary<What::divide, T>;
      case What::quotient:
        return &binary<What::quotient, T>;
      case What::remainder:
        return &binary<What::remainder, T>;
      case What::bitwise_and:
        return &binary<What::bitwise_and, T>;
      case What::bitwise_or:
        return &binary<What::bitwise_or, T>;
      case What::bitwise_xor:
        return &binary<What::bitwise_xor, T>;
      case What::left_shift:
        return &binary<What::left_shift, T>;
      case What::right_shift:
        return &binary<What::right_shift, T>;
      case What::equal:
        return &binary<What::equal, T>;
      case What::not_equal:
        return &binary<What::not_equal, T>;
      case What::less:
        return &binary<What::less, T>;
      case What::less_equal:
        return &binary<What::less_equal, T>;
      case What::greater:
        return &binary<What::greater, T>;
      default:
        assert(what == What::greater_equal);
    }
    return &binary<What::greater_equal, T>;
  });
}

Unary conversion(Type from, Type to) {
  return with_type(from, [to](auto from_tag) -> Unary {
    using From = typename decltype(from_tag)::type;
    return with_type(to, [](auto to_tag) -> Unary {
      using To = typename decltype(to_tag)::type;
      return [](std::uint64_t x) { return cell_of(cast_element<To>(value_of<From>(x))); };
    });
  });
}

}  // namespace outrigger::kernel
