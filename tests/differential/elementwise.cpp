#include "differential/elementwise.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <map>
#include <type_traits>

namespace outrigger::test {
namespace {

/// Computes it by Newton's method from below, where erf is concave: every step is monotone.
long double inverse_erf(long double x, long double) {
  const long double a = std::fabs(x);
  if (!(a < 1)) return a == 1 ? std::copysign(INFINITY, x) : NAN;
  const long double slope = 2 / std::sqrt(std::acos(-1.0L));
  if (a < 1e-12L) return x / slope;
  long double y = a / slope;
  for (int i = 0; i < 200; ++i) {
    const long double residual = a < 0.5L ? std::erf(y) - a : (1 - a) - std::erfc(y);
    const long double next = y - residual / (slope * std::exp(-y * y));
    if (std::fabs(next - y) <= y * 1e-19L) break;
    y = next;
  }
  return std::copysign(y, x);
}

using Real = long double;
const std::map<std::string_view, RealFunction>& real_functions() {
  static const std::map<std::string_view, RealFunction> all{
      {"exp", [](Real x, Real) { return std::exp(x); }},
      {"log", [](Real x, Real) { return std::log(x); }},
      {"sin", [](Real x, Real) { return std::sin(x); }},
      {"cos", [](Real x, Real) { return std::cos(x); }},
      {"tan", [](Real x, Real) { return std::tan(x); }},
      {"asin", [](Real x, Real) { return std::asin(x); }},
      {"acos", [](Real x, Real) { return std::acos(x); }},
      {"atan", [](Real x, Real) { return std::atan(x); }},
      {"sinh", [](Real x, Real) { return std::sinh(x); }},
      {"cosh", [](Real x, Real) { return std::cosh(x); }},
      {"tanh", [](Real x, Real) { return std::tanh(x); }},
      {"asinh", [](Real x, Real) { return std::asinh(x); }},
      {"acosh", [](Real x, Real) { return std::acosh(x); }},
      {"atanh", [](Real x, Real) { return std::atanh(x); }},
      {"expm1", [](Real x, Real) { return std::expm1(x); }},
      {"log1p", [](Real x, Real) { return std::log1p(x); }},
      {"sigmoid", [](Real x, Real) { return 1 / (1 + std::exp(-x)); }},
      {"rsqrt", [](Real x, Real) { return 1 / std::sqrt(x); }},
      {"cbrt", [](Real x, Real) { return std::cbrt(x); }},
      {"erf", [](Real x, Real) { return std::erf(x); }},
      {"erfc", [](Real x, Real) { return std::erfc(x); }},
      {"erf_inv", inverse_erf},
      {"pow", [](Real x, Real y) { return std::pow(x, y); }},
      {"atan2", [](Real y, Real x) { return std::atan2(y, x); }},
  };
  return all;
}

template <typename T>
std::optional<T> integer_element(std::string_view op, std::size_t bits, T a, T b) {
  using U = std::uint64_t;
  const U x = static_cast<U>(a);
  const U y = static_cast<U>(b);
  const auto wrapped = [](U value) { return static_cast<T>(value); };
  // The bits of the dtype of the op, which may be narrower than T.
  const U mask = bits == 64 ? ~U{0} : (U{1} << bits) - 1;
  const bool out = (std::is_signed_v<T> && b < 0) || y >= bits;
  if (op == "add") return wrapped(x + y);
  if (op == "subtract") return wrapped(x - y);
  if (op == "multiply") return wrapped(x * y);
  if (op == "negate") return wrapped(U{0} - x);
  if (op == "abs") return std::is_signed_v<T> && a < 0 ? wrapped(U{0} - x) : a;
  if (op == "floor" || op == "ceil" || op == "round") return a;
  if (op == "bitwise_not") return wrapped(~x);
  if (op == "bitwise_and") return wrapped(x & y);
  if (op == "bitwise_or") return wrapped(x | y);
  if (op == "bitwise_xor") return wrapped(x ^ y);
  if (op == "left_shift") return out ? T{0} : wrapped(x << y);
  if (op == "right_shift")
    return out ? static_cast<T>(std::is_signed_v<T> && a < 0 ? -1 : 0) : static_cast<T>(a >> b);
  if (op == "population_count") return static_cast<T>(std::popcount(x & mask));
  if (op == "count_leading_zeros")
    return static_cast<T>(std::countl_zero(x & mask) - (64 - static_cast<int>(bits)));
  if (op == "quotient") {
    if (b == 0) return static_cast<T>(-1);
    return std::is_signed_v<T> && y == ~U{0} ? wrapped(U{0} - x) : static_cast<T>(a / b);
  }
  if (op == "remainder") {
    if (b == 0) return a;
    return std::is_signed_v<T> && y == ~U{0} ? T{0} : static_cast<T>(a % b);
  }
  if (op == "pow") {
    if (std::is_signed_v<T> && b < 0) {
      if (y == ~U{0} || a == 1 || x != ~U{0}) return x == ~U{0} || a == 1 ? a : T{0};
      return b % 2 == 0 ? T{1} : a;
    }
    if (y > 255) return std::nullopt;
    U product = 1;
    for (U i = 0; i < y; ++i) product *= x;
    return wrapped(product);
  }
  return std::nullopt;
}

template <typename T>
std::optional<T> float_element(std::string_view op, T a, T b) {
  if (op == "add") return a + b;
  if (op == "subtract") return a - b;
  if (op == "multiply") return a * b;
  if (op == "divide") return a / b;
  if (op == "remainder") return std::fmod(a, b);
  if (op == "negate") return -a;
  if (op == "real") return a;
  if (op == "imag") return T{0};
  if (op == "phase") return std::atan2(T{0}, a);
  if (op == "abs") return std::fabs(a);
  if (op == "floor") return std::floor(a);
  if (op == "ceil") return std::ceil(a);
  if (op == "round") return std::round(a);
  if (op == "sqrt") return std::sqrt(a);
  return std::nullopt;
}

/// The reference of ops that only compare, for each ordered dtype.
template <typename T>
std::optional<T> ordered_element(std::string_view op, T a, T b, T c) {
  const auto nan = [](T x) { return x != x; };
  if (op == "min") return nan(a) || a < b ? a : b;
  if (op == "max") return nan(a) || a > b ? a : b;
  if (op == "clip" && (nan(b) || nan(c))) return std::nullopt;
  if (op == "clip") return nan(a) ? a : std::min(std::max(a, b), c);
  if (op == "sign") return a > 0 ? T{1} : a < 0 ? static_cast<T>(-1) : a;
  if (op == "equal") return static_cast<T>(a == b);
  if (op == "not_equal") return static_cast<T>(a != b);
  if (op == "greater") return static_cast<T>(a > b);
  if (op == "less") return static_cast<T>(a < b);
  if (op == "greater_equal") return static_cast<T>(a >= b);
  if (op == "less_equal") return static_cast<T>(a <= b);
  if (op == "is_nan") return static_cast<T>(nan(a));
  if (op == "is_infinity")
    return static_cast<T>(std::is_floating_point_v<T> && std::isinf(static_cast<long double>(a)));
  return std::nullopt;
}

std::optional<Cell> complex_element(std::string_view op, DType compute, Cell x, Cell y) {
  if (op == "add") {
    return Cell{round_to(to_real(compute), x.re + y.re), round_to(to_real(compute), x.im + y.im)};
  }
  if (op == "negate") return Cell{-x.re, -x.im};
  if (op == "conjugate") return Cell{x.re, -x.im};
  if (op == "real") return Cell{x.re};
  if (op == "imag") return Cell{x.im};
  if (op == "equal") return Cell{x.re == y.re && x.im == y.im ? 1.0L : 0.0L};
  if (op == "not_equal") return Cell{x.re == y.re && x.im == y.im ? 0.0L : 1.0L};
  if (op == "is_nan") return Cell{std::isnan(x.re) || std::isnan(x.im) ? 1.0L : 0.0L};
  if (op == "is_infinity") return Cell{std::isinf(x.re) || std::isinf(x.im) ? 1.0L : 0.0L};
  return std::nullopt;
}

}  // namespace

RealFunction real_function(std::string_view op) {
  const auto found = real_functions().find(op);
  return found == real_functions().end() ? nullptr : found->second;
}

std::optional<Cell> element_of(std::string_view op, DType compute, std::size_t bits,
                               std::span<const Cell> in) {
  const auto operand = [&](std::size_t i) { return i < in.size() ? in[i] : Cell{}; };
  const Cell a = operand(0);
  const Cell b = operand(1);
  const Cell c = operand(2);
  const auto truth = [](bool value) { return Cell{value ? 1.0L : 0.0L}; };
  if (op == "as_type") return a;
  if (op == "fill") return b;
  if (op == "select") return a.re != 0 ? b : c;
  if (op == "logical_and") return truth(a.re != 0 && b.re != 0);
  if (op == "logical_or") return truth(a.re != 0 || b.re != 0);
  if (op == "logical_xor") return truth((a.re != 0) != (b.re != 0));
  if (op == "logical_not") return truth(a.re == 0);
  if (op == "complex") return Cell{a.re, b.re};
  if (is_complex(compute)) return complex_element(op, compute, a, b);
  return with_type(compute_dtype(compute), [&](auto tag) -> std::optional<Cell> {
    using T = typename decltype(tag)::type;
    const T x = static_cast<T>(a.re);
    const T y = static_cast<T>(b.re);
    std::optional<T> result = ordered_element<T>(op, x, y, static_cast<T>(c.re));
    if constexpr (std::is_integral_v<T>) {
      if (!result) result = integer_element<T>(op, bits, x, y);
    } else {
      if (!result) result = float_element<T>(op, x, y);
      if (!result && real_function(op) != nullptr) return Cell{real_function(op)(a.re, b.re)};
    }
    if (!result) return std::nullopt;
    return Cell{static_cast<long double>(*result)};
  });
}

}  // namespace outrigger::test
