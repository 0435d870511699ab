#include "files/csv_field.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <system_error>

#include "files/file.hpp"

namespace outrigger::files {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }

bool is_missing(std::string_view content) { return content.empty() || content == "NA"; }

std::string wrong(std::string_view content, std::string_view what) {
  return in_quotes(content) + " is no " + std::string(what);
}

/// from_chars accepts no plus sign.
std::string_view without_plus(std::string_view text) {
  const bool plus = text.size() > 1 && text[0] == '+' && text[1] != '-' && text[1] != '+';
  return plus ? text.substr(1) : text;
}

/// Returns false if the text is no number. A number that is too large becomes an infinity, and one
/// that is too small becomes a zero.
template <typename T>
bool parse_float(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size()) return false;
  if (error == std::errc::result_out_of_range) {
    const std::string terminated(text);  // at most number_bytes_max
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
    return content.empty() ? "a number is missing; only float dtypes have NaN for that"
                           : wrong(content, "integer; only float dtypes have NaN for it");
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

/// The contents of a field, without the spaces and the quotes around them.
std::string_view content_of(std::string_view field) {
  while (!field.empty() && is_space(field.front())) field.remove_prefix(1);
  while (!field.empty() && is_space(field.back())) field.remove_suffix(1);
  if (field.size() >= 2 && field.front() == '"' && field.back() == '"')
    return content_of(field.substr(1, field.size() - 2));
  return field;
}

}  // namespace

std::string_view next_line(std::string_view& text, Scan& scan) {
  const std::size_t length = scan.find(text, '\n');
  const std::string_view line = text.substr(0, length);
  text.remove_prefix(std::min(length + 1, text.size()));
  return line;
}

bool is_blank(std::string_view line, char separator, Scan& scan) {
  const auto is_content = [=](char c) { return c == separator || !is_space(c); };
  return scan.find_if(line, 0, is_content) == line.size();
}

std::string_view next_field(std::string_view& line, char separator, Scan& scan, bool& open) {
  std::size_t at = 0;
  if (!open) {
    at = scan.find_if(line, 0, [=](char c) { return c == separator || !is_space(c); });
    open = at < line.size() && line[at] == '"' && separator != '"';
    at += open ? 1 : 0;
  }
  while (open && !scan.ended()) {
    const std::size_t quote = scan.find(line, '"', at);
    if (quote == line.size()) break;
    const bool doubled = quote + 1 < line.size() && line[quote + 1] == '"';
    open = doubled;
    at = quote + (doubled ? 2 : 1);
  }
  const std::size_t end =
      open ? line.size() : scan.find_if(line, at, [=](char c) { return c == separator; });
  const std::string_view field = line.substr(0, end);
  if (end < line.size())
    line.remove_prefix(end + 1);
  else
    line = std::string_view();
  return field;
}

std::int64_t count_fields(std::string_view line, char separator, Scan& scan) {
  std::int64_t count = 0;
  for (bool open = false; line.data() != nullptr && !scan.ended(); ++count)
    next_field(line, separator, scan, open);
  return count;
}

std::string parse_field(std::string_view field, DType dtype, std::byte* element) {
  if (field.size() > number_bytes_max) {
    return "a field of " + std::to_string(field.size()) + " bytes; a number has at most " +
           std::to_string(number_bytes_max);
  }
  const std::string_view content = content_of(field);
  if (dtype == DType::f32) return parse_float<float>(content, dtype, element);
  if (is_float(dtype)) return parse_float<double>(content, dtype, element);
  return is_unsigned(dtype) ? parse_integer<std::uint64_t>(content, dtype, element)
                            : parse_integer<std::int64_t>(content, dtype, element);
}

}  // namespace outrigger::files
