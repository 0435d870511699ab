#include "support/compare.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>
#include <type_traits>

namespace outrigger::test {
namespace {

template <typename T>
T element(const Data& data, std::size_t i) {
  T value;
  std::memcpy(&value, data.bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

/// Floats as integers in the order of their values, +0 and -0 both 0.
template <typename T>
std::int64_t rank_of(T value) {
  using Int = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  const auto bits = std::bit_cast<Int>(value);
  const auto magnitude = static_cast<std::int64_t>(bits & std::numeric_limits<Int>::max());
  return bits < 0 ? -magnitude : magnitude;
}

template <typename T>
std::uint64_t ulps_between(T a, T b) {
  const std::int64_t x = rank_of(a);
  const std::int64_t y = rank_of(b);
  return x < y ? static_cast<std::uint64_t>(y) - static_cast<std::uint64_t>(x)
               : static_cast<std::uint64_t>(x) - static_cast<std::uint64_t>(y);
}

template <typename T>
bool same(T expected, T actual, const Tolerance& tolerance) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(expected) || std::isnan(actual))
      return std::isnan(expected) && std::isnan(actual);
    if (std::memcmp(&expected, &actual, sizeof(T)) == 0) return true;
    if (std::isinf(expected) || std::isinf(actual)) {
      return tolerance.ulp > 0 && ulps_between(expected, actual) <= tolerance.ulp;
    }
    if (tolerance.ulp > 0 && ulps_between(expected, actual) <= tolerance.ulp) return true;
    return std::abs(static_cast<double>(expected) - static_cast<double>(actual)) <= tolerance.abs &&
           tolerance.abs > 0;
  } else {
    return expected == actual;
  }
}

template <typename T>
void write(std::ostream& out, T value) {
  if constexpr (std::is_floating_point_v<T>) {
    out.precision(std::numeric_limits<T>::max_digits10);
    out << value;
  } else {
    out << +value;
  }
}

/// Calls f with a value of the dtype's C++ type.
template <typename F>
void with_dtype(const std::string& dtype, F&& f) {
  if (dtype == "u8") return f(std::uint8_t{});
  if (dtype == "u16") return f(std::uint16_t{});
  if (dtype == "u32") return f(std::uint32_t{});
  if (dtype == "u64") return f(std::uint64_t{});
  if (dtype == "s8") return f(std::int8_t{});
  if (dtype == "s16") return f(std::int16_t{});
  if (dtype == "s32") return f(std::int32_t{});
  if (dtype == "s64") return f(std::int64_t{});
  if (dtype == "f32") return f(float{});
  if (dtype == "f64") return f(double{});
}

std::string position(std::size_t i, const std::vector<std::int64_t>& shape) {
  std::string text;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    const auto n = static_cast<std::size_t>(shape[axis]);
    text = "[" + std::to_string(i % n) + "]" + text;
    i /= n;
  }
  return text;
}

template <typename T>
std::optional<std::string> compare(const Data& expected, const Data& actual,
                                   const Tolerance& tolerance) {
  const std::size_t count = expected.bytes.size() / sizeof(T);
  std::size_t wrong = 0;
  std::ostringstream text;
  for (std::size_t i = 0; i < count; ++i) {
    const T want = element<T>(expected, i);
    const T got = element<T>(actual, i);
    if (same(want, got, tolerance)) continue;
    if (++wrong > 4) continue;
    text << "\n  at " << position(i, expected.shape) << " expected ";
    write(text, want);
    text << ", got ";
    write(text, got);
    if constexpr (std::is_floating_point_v<T>) {
      if (!std::isnan(want) && !std::isnan(got)) text << " (" << ulps_between(want, got) << " ulp)";
    }
  }
  if (wrong == 0) return std::nullopt;
  return std::to_string(wrong) + " of " + std::to_string(count) + " elements of " +
         type_text(expected.dtype, expected.shape) + " differ:" + text.str();
}

}  // namespace

std::size_t element_bytes(const std::string& dtype) {
  std::size_t bytes = 0;
  with_dtype(dtype, [&](auto value) { bytes = sizeof(value); });
  return bytes;
}

std::string type_text(const std::string& dtype, const std::vector<std::int64_t>& shape) {
  std::string text = dtype;
  for (const std::int64_t size : shape) text += "[" + std::to_string(size) + "]";
  return text;
}

std::string value_text(const Data& data, std::size_t count_max) {
  std::ostringstream text;
  text << type_text(data.dtype, data.shape) << " {";
  with_dtype(data.dtype, [&]<typename T>(T) {
    const std::size_t count = data.bytes.size() / sizeof(T);
    for (std::size_t i = 0; i < count && i < count_max; ++i) {
      if (i > 0) text << ", ";
      write(text, element<T>(data, i));
    }
    if (count > count_max) text << ", …";
  });
  text << "}";
  return text.str();
}

std::optional<std::string> difference(const Data& expected, const Data& actual,
                                      const Tolerance& tolerance) {
  if (expected.dtype != actual.dtype || expected.shape != actual.shape) {
    return "expected " + type_text(expected.dtype, expected.shape) + ", got " +
           type_text(actual.dtype, actual.shape);
  }
  if (expected.bytes.size() != actual.bytes.size()) {
    return "expected " + std::to_string(expected.bytes.size()) + " bytes, got " +
           std::to_string(actual.bytes.size());
  }
  std::optional<std::string> result = "unknown dtype " + expected.dtype;
  with_dtype(expected.dtype,
             [&]<typename T>(T) { result = compare<T>(expected, actual, tolerance); });
  return result;
}

}  // namespace outrigger::test
