#include "files/csv_field.hpp"

#include <charconv>
#include <cstdlib>
#include <limits>
#include <system_error>

#include "files/file.hpp"

namespace outrigger::files {
namespace {

bool is_missing(std::string_view content) { return content.empty() || content == "NA"; }

std::string wrong(std::string_view content, std::string_view what) {
  return in_quotes(content) + " is no " + std::string(what);
}

/// from_chars knows no plus sign.
std::string_view without_plus(std::string_view text) {
  const bool plus = text.size() > 1 && text[0] == '+' && text[1] != '-' && text[1] != '+';
  return plus ? text.substr(1) : text;
}

/// False if the text is no number. One that is too large is an infinity, one too small a zero.
template <typename T>
bool parse_float(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size()) return false;
  if (error == std::errc::result_out_of_range) {
    const std::string terminated(text);
    value = std::is_same_v<T, float> ? static_cast<T>(std::strtof(terminated.c_str(), nullptr))
                                     : static_cast<T>(std::strtod(terminated.c_str(), nullptr));
    return true;
  }
  return error == std::errc{};
}

template <typename T>
std::string parse_float(std::string_view content, DType dtype, std::byte* element) {
  T value = std::numeric_limits<T>::quiet_NaN();
  if (!is_missing(content) && !parse_float<T>(without_plus(content), value))
    return wrong(content, "number");
  store_number(Number{static_cast<double>(value)}, dtype, element);
  return {};
}

template <typename T>
std::string parse_integer(std::string_view content, DType dtype, std::byte* element) {
  if (is_missing(content)) {
    return content.empty() ? "a number is missing; only floats have NaN for that"
                           : wrong(content, "integer; only floats have NaN for it");
  }
  const std::string_view text = without_plus(content);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || error == std::errc::invalid_argument)
    return wrong(content, "integer");
  const auto bits = static_cast<int>(bits_of(dtype));
  const int unused = std::numeric_limits<T>::digits + (std::is_signed_v<T> ? 1 : 0) - bits;
  const bool fits = value <= std::numeric_limits<T>::max() >> unused &&
                    value >= std::numeric_limits<T>::min() >> unused;
  if (error != std::errc{} || !fits)
    return in_quotes(content) + " does not fit " + std::string(name_of(dtype));
  store_number(Number{value}, dtype, element);
  return {};
}

}  // namespace

std::string_view next_field(std::string_view& line, char separator) {
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') quoted = !quoted;
    if (line[i] != separator || quoted) continue;
    const std::string_view field = line.substr(0, i);
    line.remove_prefix(i + 1);
    return field;
  }
  const std::string_view field = line;
  line = std::string_view();
  return field;
}

std::string_view field_content(std::string_view field) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!field.empty() && is_space(field.front())) field.remove_prefix(1);
  while (!field.empty() && is_space(field.back())) field.remove_suffix(1);
  if (field.size() >= 2 && field.front() == '"' && field.back() == '"')
    return field_content(field.substr(1, field.size() - 2));
  return field;
}

std::string parse_field(std::string_view content, DType dtype, std::byte* element) {
  if (dtype == DType::f32) return parse_float<float>(content, dtype, element);
  if (is_float(dtype)) return parse_float<double>(content, dtype, element);
  return is_unsigned(dtype) ? parse_integer<std::uint64_t>(content, dtype, element)
                            : parse_integer<std::int64_t>(content, dtype, element);
}

}  // namespace outrigger::files
