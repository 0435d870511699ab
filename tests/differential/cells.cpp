#include "differential/cells.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdio>
#include <limits>

#include "ops/pass/pass.hpp"
#include "tensor/small_float.hpp"

namespace outrigger::test {
namespace {

/// A float dtype: the explicit bits of the mantissa, the exponent of the smallest normal number,
/// and the largest number.
struct Format {
  int mantissa;
  int smallest;
  long double largest;
};

Format format_of(DType dtype) {
  switch (dtype) {
    case DType::f8:
      return {2, -14, 57344};
    case DType::f8_e4m3fn:
      return {3, -6, 448};
    case DType::f16:
      return {10, -14, 65504};
    case DType::bf16:
      return {7, -126, std::ldexp(255.0L, 120)};
    case DType::f32:
    case DType::c64:
      return {23, -126, std::numeric_limits<float>::max()};
    default:
      return {52, -1022, std::numeric_limits<double>::max()};
  }
}

template <typename T>
long double read(const std::byte* at) {
  T value;
  std::copy_n(at, sizeof value, reinterpret_cast<std::byte*>(&value));
  return static_cast<long double>(value);
}

/// Reads a small float bit by bit, from the definition of the format.
long double read_small(const Format& format, int exponent_bits, bool finite_only, unsigned bits) {
  const unsigned mantissa = bits & ((1U << format.mantissa) - 1);
  const unsigned exponent = bits >> format.mantissa & ((1U << exponent_bits) - 1);
  const bool negative = (bits >> (format.mantissa + exponent_bits) & 1) != 0;
  const unsigned last = (1U << exponent_bits) - 1;
  long double x = 0;
  if (exponent == 0) {
    x = std::ldexp(static_cast<long double>(mantissa), format.smallest - format.mantissa);
  } else if (exponent == last && !finite_only) {
    x = mantissa == 0 ? std::numeric_limits<long double>::infinity()
                      : std::numeric_limits<long double>::quiet_NaN();
  } else if (exponent == last && mantissa == (1U << format.mantissa) - 1) {
    x = std::numeric_limits<long double>::quiet_NaN();
  } else {
    x = std::ldexp(static_cast<long double>(mantissa + (1U << format.mantissa)),
                   format.smallest - format.mantissa + static_cast<int>(exponent) - 1);
  }
  return negative ? -x : x;
}

long double to_integer(long double x, bool from_float, DType to) {
  const int bits = static_cast<int>(bits_of(to));
  const long double modulus = std::ldexp(1.0L, bits);
  const long double low = is_unsigned(to) ? 0 : -modulus / 2;
  const long double high = is_unsigned(to) ? modulus - 1 : modulus / 2 - 1;
  if (std::isnan(x)) return 0;
  if (from_float && std::isinf(x)) return x > 0 ? high : low;
  long double wrapped = std::fmod(std::trunc(x), modulus);
  if (wrapped < low) wrapped += modulus;
  if (wrapped > high) wrapped -= modulus;
  return wrapped + 0.0L;
}

long double cast_part(long double x, DType from, DType to) {
  if (is_integer(to)) return to_integer(x, !is_integer(from), to);
  return round_to(to, x);
}

bool same_part(long double a, long double b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

bool agrees(long double exact, long double got, DType result, const Slack& slack) {
  const DType computed = is_complex(slack.dtype) ? to_real(slack.dtype) : slack.dtype;
  const auto final = [&](long double x) {
    return is_integer(computed) ? cast_part(x, computed, result)
                                : cast_part(round_to(computed, x), computed, result);
  };
  if (slack.ulp == 0 && slack.abs == 0) return same_part(final(exact), got);
  if (std::isnan(exact)) return std::isnan(got);
  if (std::isinf(exact)) return same_part(final(exact), got);
  // Rounding is monotone: a number in the interval is rounded to a number between the rounded ends.
  const long double margin = slack.ulp * spacing(computed, exact) + slack.abs;
  return final(exact - margin) <= got && got <= final(exact + margin);
}

}  // namespace

Cell cell_at(DType dtype, const std::byte* element) {
  if (is_complex(dtype)) {
    const DType part = to_real(dtype);
    return {cell_at(part, element).re, cell_at(part, element + size_of(part)).re};
  }
  switch (dtype) {
    case DType::f8:
      return {read_small(format_of(dtype), 5, false, static_cast<unsigned>(*element))};
    case DType::f8_e4m3fn:
      return {read_small(format_of(dtype), 4, true, static_cast<unsigned>(*element))};
    case DType::f16:
      return {read_small(format_of(dtype), 5, false,
                         static_cast<unsigned>(read<std::uint16_t>(element)))};
    case DType::bf16:
      return {read_small(format_of(dtype), 8, false,
                         static_cast<unsigned>(read<std::uint16_t>(element)))};
    default:
      return with_type(compute_dtype(dtype), [&](auto tag) -> Cell {
        return {read<typename decltype(tag)::type>(element)};
      });
  }
}

Cells cells_of(const Tensor& tensor) {
  const std::size_t width = size_of(tensor.dtype());
  std::vector<std::byte> bytes(static_cast<std::size_t>(byte_count(tensor.type)));
  if (!bytes.empty()) ops::read_elements(tensor, 0, tensor.size(), bytes.data());
  Cells cells(static_cast<std::size_t>(tensor.size()));
  for (std::size_t i = 0; i < cells.size(); ++i)
    cells[i] = cell_at(tensor.dtype(), bytes.data() + i * width);
  return cells;
}

long double spacing(DType dtype, long double x) {
  const Format format = format_of(dtype);
  const int exponent = x == 0 ? format.smallest : std::max(std::ilogb(x), format.smallest);
  return std::ldexp(1.0L, exponent - format.mantissa);
}

long double round_to(DType dtype, long double x) {
  if (std::isnan(x)) return x;
  const Format format = format_of(dtype);
  const long double beyond =
      dtype == DType::f8_e4m3fn ? format.largest : std::numeric_limits<long double>::infinity();
  if (std::isinf(x)) return std::copysign(beyond, x);
  const long double quantum = spacing(dtype, x);
  const long double rounded = std::nearbyint(x / quantum) * quantum;
  return std::copysign(std::fabs(rounded) > format.largest ? beyond : rounded, x);
}

Cell cast_cell(Cell x, DType from, DType to) {
  if (is_complex(to)) return {cast_part(x.re, from, to_real(to)), round_to(to_real(to), x.im)};
  return {cast_part(x.re, from, to)};
}

std::optional<std::string> disagreement(Cell exact, Cell got, DType result, const Slack& slack) {
  const DType part = is_complex(result) ? to_real(result) : result;
  if (agrees(exact.re, got.re, part, slack) &&
      (!is_complex(result) || agrees(exact.im, got.im, part, slack))) {
    return std::nullopt;
  }
  return "expected " + to_text(exact) + ", got " + to_text(got);
}

std::optional<std::string> bit_difference(const Tensor& expected, const Tensor& actual) {
  if (expected.type != actual.type)
    return "expected " + to_string(expected.type) + ", got " + to_string(actual.type);
  const Cells a = cells_of(expected);
  const Cells b = cells_of(actual);
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (same_part(a[i].re, b[i].re) && same_part(a[i].im, b[i].im)) continue;
    return "element " + std::to_string(i) + ": " + to_text(a[i]) + " became " + to_text(b[i]);
  }
  return std::nullopt;
}

std::string to_text(Cell x) {
  char text[80];
  std::snprintf(text, sizeof text, x.im == 0 ? "%.21Lg" : "%.21Lg%+.21Lgi", x.re, x.im);
  return text;
}

}  // namespace outrigger::test
