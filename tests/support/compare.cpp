#include "support/compare.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>
#include <type_traits>

#include "tensor/packing.hpp"
#include "tensor/small_float.hpp"

namespace outrigger::test {
namespace {

/// The number of an element of a float narrower than f32.
template <typename F>
struct Small {
  typename F::Bits bits;
  explicit operator double() const { return widen<F>(bits); }
};

template <typename T>
struct is_small : std::false_type {};
template <typename F>
struct is_small<Small<F>> : std::true_type {};
template <typename T>
inline constexpr bool is_real = std::is_floating_point_v<T> || is_small<T>::value;

template <typename T>
T element(const Data& data, std::size_t i) {
  T value;
  std::memcpy(&value, data.bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

/// Floats as integers in the order of their values; +0 and -0 are both 0.
template <typename T>
std::int64_t rank_of(T value) {
  using Int = std::conditional_t<
      sizeof(T) == 1, std::int8_t,
      std::conditional_t<sizeof(T) == 2, std::int16_t,
                         std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>>>;
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
  if constexpr (is_real<T>) {
    const auto want = static_cast<double>(expected);
    const auto got = static_cast<double>(actual);
    if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got);
    if (std::memcmp(&expected, &actual, sizeof(T)) == 0) return true;
    if (std::isinf(want) || std::isinf(got)) {
      return tolerance.ulp > 0 && ulps_between(expected, actual) <= tolerance.ulp;
    }
    if (tolerance.ulp > 0 && ulps_between(expected, actual) <= tolerance.ulp) return true;
    return std::abs(want - got) <= tolerance.abs && tolerance.abs > 0;
  } else {
    return expected == actual;
  }
}

template <typename T>
void write(std::ostream& out, T value) {
  if constexpr (is_real<T>) {
    out.precision(
        std::numeric_limits<std::conditional_t<sizeof(T) == 8, double, float>>::max_digits10);
    out << static_cast<double>(value);
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
  if (dtype == "f8") return f(Small<F8>{});
  if (dtype == "f8_e4m3fn") return f(Small<F8E4M3FN>{});
  if (dtype == "f16") return f(Small<F16>{});
  if (dtype == "bf16") return f(Small<BF16>{});
}

/// The same elements in a dtype that with_dtype accepts: the parts of complex numbers become one
/// more axis, and each integer below 8 bits takes a byte.
Data plain(const Data& data) {
  const auto dtype = parse_dtype(data.dtype);
  if (!dtype) return data;
  Data made = data;
  if (is_complex(*dtype)) {
    made.dtype = name_of(to_real(*dtype));
    made.shape.push_back(2);
  } else if (bits_of(*dtype) < 8) {
    made.dtype = name_of(compute_dtype(*dtype));
    made.bytes.resize(static_cast<std::size_t>(element_count(data.shape)));
    unpack(*dtype, data.bytes.data(), static_cast<std::int64_t>(made.bytes.size()),
           made.bytes.data());
  }
  return made;
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
    if constexpr (is_real<T>) {
      if (!std::isnan(static_cast<double>(want)) && !std::isnan(static_cast<double>(got)))
        text << " (" << ulps_between(want, got) << " ulp)";
    }
  }
  if (wrong == 0) return std::nullopt;
  return std::to_string(wrong) + " of " + std::to_string(count) + " elements of " +
         type_text(expected.dtype, expected.shape) + " differ:" + text.str();
}

}  // namespace

std::size_t data_bytes(const std::string& dtype, const std::vector<std::int64_t>& shape) {
  const auto parsed = parse_dtype(dtype);
  if (!parsed) return 0;
  const TensorType type{*parsed, Dims(shape.begin(), shape.end())};
  return static_cast<std::size_t>(packed_byte_count(type));
}

std::string type_text(const std::string& dtype, const std::vector<std::int64_t>& shape) {
  std::string text = dtype;
  for (const std::int64_t size : shape) text += "[" + std::to_string(size) + "]";
  return text;
}

std::string value_text(const Data& given, std::size_t count_max) {
  const Data data = plain(given);
  std::ostringstream text;
  text << type_text(given.dtype, given.shape) << " {";
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
  const Data want = plain(expected);
  const Data got = plain(actual);
  with_dtype(want.dtype, [&]<typename T>(T) { result = compare<T>(want, got, tolerance); });
  return result;
}

}  // namespace outrigger::test
